// SPDX-License-Identifier: GPL-2.0-only
/* Sending and receiving within one process: what arrives, when, in what order. */
#include "uintr_test.h"

static int self_index(unsigned int vector)
{
	int index = uintr_register_self(vector, 0);

	NEED(index >= 0);
	return index;
}

static void become_receiver(void)
{
	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
}

TEST(self_send_is_delivered_once)
{
	int index;

	become_receiver();
	index = self_index(9);
	_stui();
	_senduipi(index);
	CHECK(wait_until_at_least(&ui_count, 1));
	spin_ms(20);
	CHECK_EQ(ui_count, 1);
	CHECK_EQ(ui_seen[9], 1);
}

TEST(self_send_is_delivered_after_a_sleep)
{
	int index, i;

	become_receiver();
	index = self_index(0);
	_stui();
	_senduipi(index);
	for (i = 0; i < 1000 && !ui_count; i++)
		usleep(1);
	CHECK_EQ(ui_count, 1);
}

TEST(nothing_is_delivered_while_uif_is_clear)
{
	int index;

	become_receiver();
	index = self_index(0);
	CHECK_EQ(_testui(), 0);
	_senduipi(index);
	spin_ms(50);
	CHECK_EQ(ui_count, 0);
	usleep(1000);
	CHECK_EQ(ui_count, 0);
	_stui();
	CHECK(wait_until_at_least(&ui_count, 1));
	CHECK_EQ(_testui(), 1);
	_clui();
	CHECK_EQ(_testui(), 0);
}

TEST(same_vector_twice_is_delivered_once)
{
	int index;

	become_receiver();
	index = self_index(30);
	_senduipi(index);
	_senduipi(index);
	_senduipi(index);
	_stui();
	CHECK(wait_until_at_least(&ui_count, 1));
	spin_ms(20);
	CHECK_EQ(ui_count, 1);
}

static volatile int order[64];
static volatile int order_len;

static void __attribute__((interrupt))
order_handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	if (order_len < 64)
		order[order_len++] = vector;
	ui_count++;
}

TEST(highest_vector_comes_first)
{
	int index[64], v;

	NEED(uintr_register_handler((void *)order_handler, 0) == 0);
	for (v = 0; v < 64; v++)
		index[v] = self_index(v);
	for (v = 0; v < 64; v++)
		_senduipi(index[(v * 37) % 64]);
	/* let the notifications be processed in several portions */
	usleep(1000);
	_stui();
	CHECK(wait_until_at_least(&ui_count, 64));
	for (v = 0; v < 64; v++)
		CHECK_EQ(order[v], 63 - v);
}

/* Frame, alignment, red zone. */

static volatile uint64_t frame_rsp, frame_rip, frame_addr;

static void __attribute__((interrupt))
frame_handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)vector;
	frame_addr = (uintptr_t)frame;
	frame_rsp = frame->rsp;
	frame_rip = frame->rip;
	ui_count++;
}

TEST(frame_lies_below_the_red_zone_and_is_aligned)
{
	int index, i;

	NEED(uintr_register_handler((void *)frame_handler, 0) == 0);
	index = self_index(1);
	_stui();
	for (i = 0; i < 100; i++) {
		ui_count = 0;
		_senduipi(index);
		CHECK(wait_until_at_least(&ui_count, 1));
		/* the vector at the 16-aligned RSP, then rip, rflags, rsp */
		CHECK_EQ((frame_addr - 8) % 16, 0);
		CHECK_EQ(frame_addr - 8, ((frame_rsp - 128) & ~15ULL) - 32);
		CHECK(frame_rip > 0x1000);
	}
}

TEST(alt_stack_is_used_from_its_top)
{
	static char stack[8192] __attribute__((aligned(16)));
	uint64_t top = (uintptr_t)stack + sizeof(stack);
	int index;

	NEED(uintr_register_handler((void *)frame_handler, 0) == 0);
	index = self_index(1);
	NEED(uintr_alt_stack((void *)(uintptr_t)top, sizeof(stack), 0) == 0);
	_stui();
	_senduipi(index);
	CHECK(wait_until_at_least(&ui_count, 1));
	CHECK_EQ(frame_addr - 8, top - 32);
	CHECK(frame_rsp < (uintptr_t)stack || frame_rsp > top);

	/* an odd address counts as the aligned one below */
	NEED(uintr_alt_stack((void *)(uintptr_t)(top - 63), 0, 0) == 0);
	_senduipi(index);
	CHECK(wait_until_at_least(&ui_count, 2));
	CHECK_EQ(frame_addr - 8, ((top - 63) & ~15ULL) - 32);

	NEED(uintr_alt_stack(NULL, 0, 0) == 0);
	_senduipi(index);
	CHECK(wait_until_at_least(&ui_count, 3));
	CHECK_EQ(frame_addr - 8, ((frame_rsp - 128) & ~15ULL) - 32);
}

TEST(unregister_forgets_the_alt_stack)
{
	static char stack[8192] __attribute__((aligned(16)));
	int index;

	NEED(uintr_register_handler((void *)frame_handler, 0) == 0);
	index = self_index(1);
	NEED(uintr_alt_stack(stack + sizeof(stack), sizeof(stack), 0) == 0);
	NEED(uintr_unregister_handler(0) == 0);
	NEED(uintr_register_handler((void *)frame_handler, 0) == 0);
	_stui();
	_senduipi(index);
	CHECK(wait_until_at_least(&ui_count, 1));
	CHECK_EQ(frame_addr - 8, ((frame_rsp - 128) & ~15ULL) - 32);
}

/* ---- flags and general registers ---- */

TEST(interrupted_code_notices_nothing)
{
	unsigned long i, sum = 0, again;
	int index;

	become_receiver();
	index = self_index(2);
	_stui();
	for (i = 0; i < 2000; i++) {
		unsigned long a = i, b = i * 3, c;

		_senduipi(index);
		/* keep a carry alive over what may be a delivery */
		__asm__ volatile("cmp %2, %1\n nop\n nop\n nop\n nop\n sbb %0, %0"
				 : "=r" (c) : "r" (a), "r" (b) : "cc");
		sum += c & 1;
	}
	again = 1999;		/* all but i = 0 have i < 3i */
	CHECK_EQ(sum, again);
	CHECK(ui_count > 0);
}

/* ---- threads ---- */

static int thread_fd = -1, thread_index = -1;

static void *send_by_fd(void *arg)
{
	(void)arg;
	thread_index = uintr_register_sender(thread_fd, 0);
	NEED(thread_index >= 0);
	_senduipi(thread_index);
	return NULL;
}

TEST(thread_to_thread)
{
	pthread_t thread;

	become_receiver();
	thread_fd = uintr_vector_fd(12, 0);
	NEED(thread_fd >= 0);
	_stui();
	NEED(!pthread_create(&thread, NULL, send_by_fd, NULL));
	CHECK(wait_until_at_least(&ui_seen[12], 1));
	pthread_join(thread, NULL);
}

static void *just_send(void *arg)
{
	return (void *)(intptr_t)try_senduipi(*(int *)arg);
}

TEST(an_index_is_good_in_every_thread)
{
	pthread_t thread;
	void *result;
	int index;

	become_receiver();
	index = self_index(13);
	_stui();
	NEED(!pthread_create(&thread, NULL, just_send, &index));
	CHECK(wait_until_at_least(&ui_seen[13], 1));
	pthread_join(thread, &result);
	CHECK_EQ((intptr_t)result, 0);
}

static volatile int old_thread_go;

static void *wait_and_send(void *arg)
{
	while (!old_thread_go)
		sched_yield();
	return just_send(arg);
}

TEST(also_in_threads_older_than_the_table)
{
	pthread_t thread;
	void *result;
	int index;

	NEED(!pthread_create(&thread, NULL, wait_and_send, &index));
	become_receiver();
	index = self_index(13);
	_stui();
	old_thread_go = 1;
	CHECK(wait_until_at_least(&ui_seen[13], 1));
	pthread_join(thread, &result);
	CHECK_EQ((intptr_t)result, 0);
}

static void *expect_clean_thread(void *arg)
{
	(void)arg;
	CHECK_EQ(_testui(), 0);
	CHECK_ERRNO(uintr_unregister_handler(0), EINVAL);
	CHECK_ERRNO(uintr_vector_fd(0, 0), EINVAL);
	return NULL;
}

TEST(new_threads_are_no_receivers)
{
	pthread_t thread;

	become_receiver();
	_stui();
	NEED(!pthread_create(&thread, NULL, expect_clean_thread, NULL));
	pthread_join(thread, NULL);
}

/* ---- faults ---- */

TEST(senduipi_without_a_table_is_sigill)
{
	CHECK_EQ(try_senduipi(0), SIGILL);
	CHECK_EQ(fault_ip[0], 0xf3);
	CHECK_EQ(fault_ip[1], 0x0f);
	CHECK_EQ(fault_ip[2], 0xc7);
	become_receiver();
	CHECK_EQ(try_senduipi(0), SIGILL);
}

TEST(senduipi_with_a_bad_index_is_sigsegv)
{
	int index;

	become_receiver();
	index = self_index(0);
	CHECK_EQ(try_senduipi(index + 1), SIGSEGV);
	CHECK_EQ(fault_ip[0], 0xf3);
	CHECK_EQ(fault_ip[2], 0xc7);
	CHECK_EQ(try_senduipi(255), SIGSEGV);
	CHECK_EQ(try_senduipi(256), SIGSEGV);
	CHECK_EQ(try_senduipi(-1), SIGSEGV);
	CHECK_EQ(try_senduipi(1ULL << 32 | index), SIGSEGV);
	CHECK_EQ(try_senduipi(index), 0);
}

TEST(senduipi_after_unregister_sender_is_sigsegv)
{
	int a, b;

	become_receiver();
	a = self_index(0);
	b = self_index(1);
	NEED(uintr_unregister_sender(a, 0) == 0);
	CHECK_EQ(try_senduipi(a), SIGSEGV);
	CHECK_EQ(try_senduipi(b), 0);
	NEED(uintr_unregister_sender(b, 0) == 0);
	CHECK_EQ(try_senduipi(b), SIGSEGV);
}

TEST(senduipi_takes_every_register)
{
	unsigned long i;
	int index;

	become_receiver();
	index = self_index(7);
	_stui();
#define SEND_BY(reg)							\
	do {								\
		i = ui_count;						\
		__asm__ volatile("mov %0, %%" reg "\n senduipi %%" reg	\
				 : : "r" ((long)index) : reg, "memory");	\
		CHECK(wait_until_at_least(&ui_count, i + 1));		\
	} while (0)
	SEND_BY("rax"); SEND_BY("rbx"); SEND_BY("rcx"); SEND_BY("rdx");
	SEND_BY("rsi"); SEND_BY("rdi"); SEND_BY("r8"); SEND_BY("r9");
	SEND_BY("r10"); SEND_BY("r11"); SEND_BY("r12"); SEND_BY("r13");
	SEND_BY("r14"); SEND_BY("r15");
}

static void plain_function(void)
{
}

TEST(a_plain_function_as_handler_is_sigsegv)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		NEED(uintr_register_handler((void *)plain_function, 0) == 0);
		_stui();
		_senduipi(self_index(0));
		spin_ms(20000);
		_exit(0);
	}
	NEED(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSEGV);
}

TEST(a_handler_at_an_unmapped_address_is_sigsegv)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		NEED(uintr_register_handler((void *)0xabcd, 0) == 0);
		_stui();
		_senduipi(self_index(0));
		spin_ms(20000);
		_exit(0);
	}
	NEED(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSEGV);
}

/* ---- registering again ---- */

TEST(unregistered_receivers_get_nothing)
{
	int index;

	become_receiver();
	index = self_index(4);
	_stui();
	NEED(uintr_unregister_handler(0) == 0);
	CHECK_EQ(try_senduipi(index), 0);
	spin_ms(20);
	usleep(1000);
	CHECK_EQ(ui_count, 0);
}

TEST(senders_work_again_after_registering_again)
{
	int index, fd, index2;

	become_receiver();
	index = self_index(4);
	fd = uintr_vector_fd(6, 0);
	NEED(uintr_unregister_handler(0) == 0);
	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	_stui();
	_senduipi(index);
	CHECK(wait_until_at_least(&ui_seen[4], 1));
	index2 = uintr_register_sender(fd, 0);
	CHECK(index2 >= 0);
	_senduipi(index2);
	CHECK(wait_until_at_least(&ui_seen[6], 1));
	CHECK_EQ(ui_count, 2);
}

TEST(requests_posted_between_handlers_reach_the_second)
{
	int index;

	become_receiver();
	index = self_index(4);
	_stui();
	NEED(uintr_unregister_handler(0) == 0);
	_senduipi(index);
	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	CHECK(wait_until_at_least(&ui_seen[4], 1));
}

/* ---- UIF belongs to the thread ---- */

static volatile int uif_stop;

static void *uif_checker(void *arg)
{
	int want = *(int *)arg, i;

	pin_to(0);
	if (want)
		_stui();
	else
		_clui();
	for (i = 0; i < 300; i++) {
		CHECK_EQ(_testui(), want);
		sched_yield();
		if (i % 10 == 0)
			usleep(500);
	}
	return NULL;
}

TEST(uif_belongs_to_the_thread_even_without_a_handler)
{
	static int zero = 0, one = 1;
	pthread_t threads[6];
	int i;

	for (i = 0; i < 6; i++)
		NEED(!pthread_create(&threads[i], NULL, uif_checker, i % 2 ? &one : &zero));
	for (i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
}

TEST(stui_before_register_handler_counts)
{
	int index, i;

	_stui();
	for (i = 0; i < 20; i++)
		usleep(1000);
	become_receiver();
	CHECK_EQ(_testui(), 1);
	index = self_index(1);
	_senduipi(index);
	CHECK(wait_until_at_least(&ui_count, 1));
}

static void *uif_noise(void *arg)
{
	(void)arg;
	pin_to(0);
	while (!uif_stop) {
		_stui();
		sched_yield();
		_clui();
		sched_yield();
	}
	return NULL;
}

TEST(held_back_interrupts_survive_context_switches)
{
	pthread_t noise[2];
	int index, i;

	pin_to(0);
	for (i = 0; i < 2; i++)
		NEED(!pthread_create(&noise[i], NULL, uif_noise, NULL));
	become_receiver();
	index = self_index(22);
	for (i = 0; i < 200; i++) {
		unsigned long before = ui_count;

		_clui();
		_senduipi(index);
		sched_yield();
		CHECK_EQ(ui_count, before);
		sched_yield();
		_stui();
		CHECK(wait_until_at_least(&ui_count, before + 1));
	}
	CHECK_EQ(ui_count, 200);
	uif_stop = 1;
	for (i = 0; i < 2; i++)
		pthread_join(noise[i], NULL);
}

/* ---- handlers ---- */

static volatile int nest_depth, nest_max;
static int nest_index[64];

static void __attribute__((interrupt))
nest_handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	if (++nest_depth > nest_max)
		nest_max = nest_depth;
	if (vector < 5) {
		unsigned long before = ui_count;

		_senduipi(nest_index[vector + 1]);
		_stui();
		while (ui_count == before)
			;
	}
	nest_depth--;
	ui_count++;
}

TEST(handlers_nest_if_they_say_so)
{
	int v;

	NEED(uintr_register_handler((void *)nest_handler, 0) == 0);
	for (v = 0; v < 6; v++)
		nest_index[v] = self_index(v);
	_stui();
	_senduipi(nest_index[0]);
	CHECK(wait_until_at_least(&ui_count, 6));
	CHECK_EQ(nest_max, 6);
	CHECK_EQ(_testui(), 1);
}

static int pipe_fds[2];

static void __attribute__((interrupt))
syscall_handler(struct __uintr_frame *frame, unsigned long long vector)
{
	char c = 'a' + vector;

	(void)frame;
	if (write(pipe_fds[1], &c, 1) == 1)
		ui_count++;
}

TEST(handlers_may_call_the_system)
{
	char c = 0;

	NEED(pipe(pipe_fds) == 0);
	NEED(uintr_register_handler((void *)syscall_handler, 0) == 0);
	_stui();
	_senduipi(self_index(3));
	CHECK_EQ(read(pipe_fds[0], &c, 1), 1);
	CHECK_EQ(c, 'd');
	CHECK(wait_until_at_least(&ui_count, 1));
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

TEST(signals_and_user_interrupts_mix)
{
	struct sigaction a = { .sa_handler = count_signal };
	int index, i;

	sigaction(SIGUSR1, &a, NULL);
	become_receiver();
	index = self_index(3);
	_stui();
	for (i = 1; i <= 200; i++) {
		_senduipi(index);
		raise(SIGUSR1);
		CHECK(wait_until_at_least(&ui_count, i));
		CHECK_EQ(signals, i);
		CHECK_EQ(_testui(), 1);
	}
}

int main(void)
{
	return tap_main();
}
