/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A preemptive scheduler without the kernel.
 *
 * Three tasks count.  None of them ever yields, sleeps or calls anything, and
 * all three share ONE kernel thread; still they take turns, because a second
 * kernel thread, the clock, interrupts them every millisecond, and the handler
 * goes on with another task.
 *
 * The trick is that the handler need not return where it came from.  It runs on
 * the interrupted task's stack.  Saving the stack pointer and loading that of
 * another task, which was itself interrupted in this handler some time ago,
 * makes "return from the handler" return into that other task:
 *
 *	task A            handler on A's stack       handler on B's stack    task B
 *	counting ...      entered by the processor
 *	                  switch_stacks(A -> B) ---> returns here (since B
 *	                                             was interrupted)
 *	                                             UIRET ----------------> counting ...
 *
 *	$ ./preempt
 *	task 0 finished
 *	task 1 finished
 *	task 2 finished
 *	all tasks done, the clock interrupted them at least 10 times
 *
 * (Which task finishes first can vary.)
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "uintr.h"

#define NR_TASKS	3
#define STACK_SIZE	(64 * 1024)
#define MIN_SWITCHES	10

struct task {
	void *sp;			/* while it does not run: its stack pointer */
	int finished;
	void *vector_state;		/* see handler() */
};

/* Task NR_TASKS is main() itself, which runs when all others have finished. */
static struct task tasks[NR_TASKS + 1];
static int current = NR_TASKS;
static atomic_int switches;
static atomic_int stop_clock;
static int clock_fd;

/*
 * Push what a function must preserve, exchange stack pointers, pop.  Returns in
 * the other task.
 */
void switch_stacks(void **save_sp, void *load_sp);
__asm__(".text\n"
	"switch_stacks:\n"
	"	push %rbp\n	push %rbx\n	push %r12\n"
	"	push %r13\n	push %r14\n	push %r15\n"
	"	mov  %rsp, (%rdi)\n"
	"	mov  %rsi, %rsp\n"
	"	pop  %r15\n	pop  %r14\n	pop  %r13\n"
	"	pop  %r12\n	pop  %rbx\n	pop  %rbp\n"
	"	ret\n");

/* The next task in turn that still has work, or main(). UIF is clear. */
static void schedule(void)
{
	int from = current, to = from, i;

	for (i = 0; i < NR_TASKS; i++) {
		to = (to + 1) % NR_TASKS;
		if (!tasks[to].finished)
			break;
	}
	if (i == NR_TASKS)
		to = NR_TASKS;
	if (to == from)
		return;
	current = to;
	switch_stacks(&tasks[from].sp, tasks[to].sp);
}

/*
 * The clock ticks.  The compiler saves the general registers in an interrupt
 * function; vector registers are up to us, and the task may be in the middle of
 * a memcpy that uses them.  XSAVE stores all of them.
 */
static void __attribute__((interrupt))
handler(struct __uintr_frame *frame, unsigned long long vector)
{
	void *state = tasks[current].vector_state;

	(void)frame;
	(void)vector;
	__asm__ volatile("xsave64 (%0)" : : "r" (state), "a" (-1), "d" (-1) : "memory");
	atomic_fetch_add(&switches, 1);
	schedule();
	__asm__ volatile("xrstor64 (%0)" : : "r" (state), "a" (-1), "d" (-1) : "memory");
}

/* A task: count until it has been interrupted often enough. */
static void work(void)
{
	volatile uint64_t counter = 0;

	while (atomic_load(&switches) < MIN_SWITCHES || counter < 1000000)
		counter++;
}

static void task_main(void)
{
	/*
	 * We come from a handler or from schedule(), both with interrupts held
	 * back, and no UIRET will end that for us the first time.
	 */
	_stui();
	work();

	/*
	 * A lock that another task might hold (here: stdio's) must not be
	 * waited for with interrupts off, nor held with them on.
	 */
	_clui();
	printf("task %d finished\n", current);
	tasks[current].finished = 1;
	schedule();
	abort();			/* nobody switches back to a finished task */
}

static void make_task(struct task *t)
{
	uint64_t *sp;

	sp = (uint64_t *)((char *)aligned_alloc(64, STACK_SIZE) + STACK_SIZE);
	*--sp = 0;			/* task_main's return address: none */
	*--sp = (uint64_t)(uintptr_t)task_main;
	sp -= 6;			/* the registers switch_stacks() pops */
	t->sp = sp;
}

static void *clock_main(void *arg)
{
	int index = uintr_register_sender(clock_fd, 0);

	(void)arg;
	if (index < 0) {
		perror("uintr_register_sender");
		exit(EXIT_FAILURE);
	}
	while (!atomic_load(&stop_clock)) {
		usleep(1000);
		_senduipi(index);
	}
	return NULL;
}

int main(void)
{
	unsigned int size, a, c, d;
	pthread_t clock;
	int i;

	__cpuid_count(0xd, 0, a, size, c, d);	/* size of the XSAVE area */
	for (i = 0; i <= NR_TASKS; i++) {
		tasks[i].vector_state = aligned_alloc(64, (size + 63) & ~63u);
		/* XRSTOR wants a header of zeros where nothing was saved yet */
		for (a = 0; a < size; a++)
			((volatile char *)tasks[i].vector_state)[a] = 0;
		if (i < NR_TASKS)
			make_task(&tasks[i]);
	}

	if (uintr_register_handler(handler, 0)) {
		perror("uintr_register_handler");
		return EXIT_FAILURE;
	}
	clock_fd = uintr_vector_fd(0, 0);
	if (clock_fd < 0 || pthread_create(&clock, NULL, clock_main, NULL)) {
		perror("clock");
		return EXIT_FAILURE;
	}

	schedule();			/* comes back when all have finished */

	atomic_store(&stop_clock, 1);
	pthread_join(clock, NULL);
	printf("all tasks done, the clock interrupted them %s\n",
	       switches >= MIN_SWITCHES ? "at least 10 times" : "too rarely");
	uintr_unregister_handler(0);
	return EXIT_SUCCESS;
}
