/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How long does a notification take?  Two threads, each on a processor of its
 * own, notify each other in turn, by a user interrupt, a pipe, an eventfd and a
 * signal.  Printed is the time of half a round trip, in TSC cycles.
 *
 *	$ ./pingpong [rounds]
 *
 * The user-interrupt and signal receivers spin (they are running threads that
 * get interrupted); the pipe and eventfd receivers block in read(2), as they
 * do in programs.  The user-interrupt part is marked as region of interest.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ring3.h"
#include "uintr.h"

enum side { PING, PONG, SIDES };

struct method {
	const char *name;
	void (*prepare)(enum side me);		/* in the thread itself */
	void (*notify)(enum side other);
	void (*wait)(enum side me, unsigned long round);
	void (*finish)(enum side me);
};

static unsigned long rounds = 10000;
static pthread_barrier_t barrier;
static int cpu_of[SIDES];

static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static uint64_t now(void)
{
	uint32_t low, high;

	/* LFENCE: not before everything earlier is done */
	__asm__ volatile("lfence; rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* ---- user interrupts: vector 0 for PING, 1 for PONG ---- */

static volatile unsigned long arrived[SIDES];
static int vector_fd[SIDES], send_index[SIDES];

static void __attribute__((interrupt))
ui_handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	arrived[vector]++;
}

static void ui_prepare(enum side me)
{
	if (uintr_register_handler(ui_handler, 0))
		fail("uintr_register_handler");
	vector_fd[me] = uintr_vector_fd(me, 0);
	if (vector_fd[me] < 0)
		fail("uintr_vector_fd");
	pthread_barrier_wait(&barrier);		/* both fds exist */
	send_index[!me] = uintr_register_sender(vector_fd[!me], 0);
	if (send_index[!me] < 0)
		fail("uintr_register_sender");
	_stui();
}

static void ui_notify(enum side other)
{
	_senduipi(send_index[other]);
}

static void spin(enum side me, unsigned long round)
{
	while (arrived[me] <= round)
		__builtin_ia32_pause();
}

static void ui_finish(enum side me)
{
	_clui();
	uintr_unregister_handler(0);
	uintr_unregister_sender(send_index[!me], 0);
	close(vector_fd[me]);
}

/* ---- signals ---- */

static pid_t tid[SIDES];

static void signal_handler(int number)
{
	arrived[number == SIGUSR2]++;
}

static void signal_prepare(enum side me)
{
	struct sigaction action = { .sa_handler = signal_handler };

	if (sigaction(me == PING ? SIGUSR1 : SIGUSR2, &action, NULL))
		fail("sigaction");
	tid[me] = gettid();
}

static void signal_notify(enum side other)
{
	tgkill(getpid(), tid[other], other == PING ? SIGUSR1 : SIGUSR2);
}

/* ---- pipes and eventfds ---- */

static int rfd[SIDES], wfd[SIDES];

static void pipe_prepare(enum side me)
{
	int fds[2];

	if (pipe(fds))
		fail("pipe");
	rfd[me] = fds[0];
	wfd[me] = fds[1];
}

static void eventfd_prepare(enum side me)
{
	rfd[me] = eventfd(0, 0);
	if (rfd[me] < 0)
		fail("eventfd");
	wfd[me] = rfd[me];
}

static void fd_notify(enum side other)
{
	static const uint64_t one = 1;

	if (write(wfd[other], &one, sizeof(one)) != sizeof(one))
		fail("write");
}

static void fd_wait(enum side me, unsigned long round)
{
	uint64_t value;

	(void)round;
	if (read(rfd[me], &value, sizeof(value)) != sizeof(value))
		fail("read");
}

static void fd_finish(enum side me)
{
	if (wfd[me] != rfd[me])
		close(wfd[me]);
	close(rfd[me]);
}

static const struct method methods[] = {
	{ "user interrupt", ui_prepare, ui_notify, spin, ui_finish },
	{ "signal", signal_prepare, signal_notify, spin, NULL },
	{ "eventfd", eventfd_prepare, fd_notify, fd_wait, fd_finish },
	{ "pipe", pipe_prepare, fd_notify, fd_wait, fd_finish },
};

#define NR_METHODS (sizeof(methods) / sizeof(methods[0]))

static void play(enum side me)
{
	cpu_set_t cpus;
	unsigned int m;

	CPU_ZERO(&cpus);
	CPU_SET(cpu_of[me], &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		fail("sched_setaffinity");

	for (m = 0; m < NR_METHODS; m++) {
		const struct method *method = &methods[m];
		uint64_t start, cycles;
		unsigned long i;

		arrived[me] = 0;
		method->prepare(me);
		pthread_barrier_wait(&barrier);

		if (m == 0 && me == PING)
			ring3_roi_begin();
		start = now();
		for (i = 0; i < rounds; i++) {
			if (me == PING) {
				method->notify(PONG);
				method->wait(PING, i);
			} else {
				method->wait(PONG, i);
				method->notify(PING);
			}
		}
		cycles = now() - start;
		if (m == 0 && me == PING)
			ring3_roi_end();

		pthread_barrier_wait(&barrier);
		if (method->finish)
			method->finish(me);
		if (me == PING) {
			printf("%-16s %8llu cycles one way\n", method->name,
			       (unsigned long long)(cycles / rounds / 2));
			fflush(stdout);
		}
	}
}

static void *pong_main(void *arg)
{
	(void)arg;
	play(PONG);
	return NULL;
}

int main(int argc, char **argv)
{
	cpu_set_t cpus;
	pthread_t pong;
	int cpu, found = 0;

	if (argc > 1)
		rounds = strtoul(argv[1], NULL, 0);
	if (!rounds) {
		fprintf(stderr, "usage: %s [rounds]\n", argv[0]);
		return EXIT_FAILURE;
	}

	/* two processors we are allowed to use */
	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		fail("sched_getaffinity");
	for (cpu = 0; cpu < CPU_SETSIZE && found < SIDES; cpu++)
		if (CPU_ISSET(cpu, &cpus))
			cpu_of[found++] = cpu;
	if (found < SIDES) {
		fprintf(stderr, "only one processor: the spinning receivers wait for the scheduler\n");
		cpu_of[PONG] = cpu_of[PING];
	}

	pthread_barrier_init(&barrier, NULL, SIDES);
	if (pthread_create(&pong, NULL, pong_main, NULL))
		fail("pthread_create");
	play(PING);
	pthread_join(pong, NULL);
	return EXIT_SUCCESS;
}
