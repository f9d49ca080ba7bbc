// SPDX-License-Identifier: GPL-2.0-only
/* Receivers that block: with and without the WAITING flags. */
#include "uintr_test.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

static void nothing(int number)
{
	(void)number;
}

/* Becomes a waiting receiver and forks a child that sends once, later. */
static pid_t waiting_receiver(unsigned int flags, int after_ms)
{
	int index;
	pid_t pid;

	if (uintr_register_handler((void *)ui_handler, flags)) {
		if (errno == EINVAL && flags)
			SKIP("the module offers no WAITING flags");
		NEED(0);
	}
	index = uintr_register_self(1, 0);
	NEED(index >= 0);
	_stui();
	pid = fork();
	if (!pid) {
		usleep(after_ms * 1000);
		_senduipi(index);
		_exit(0);
	}
	return pid;
}

static void check_wait(unsigned int flags)
{
	struct timespec start;
	pid_t pid = waiting_receiver(flags, 200);

	clock_gettime(CLOCK_MONOTONIC, &start);
	CHECK_ERRNO(uintr_wait(20000000, 0), EINTR);
	CHECK_EQ(ui_count, 1);		/* the handler has run already */
	CHECK(elapsed_ms(&start) < 10000);
	CHECK_CHILD(pid);
}

TEST(uintr_wait_ends_with_an_interrupt_receiver)
{
	check_wait(UINTR_HANDLER_FLAG_WAITING_RECEIVER);
}

TEST(uintr_wait_ends_with_an_interrupt_sender)
{
	check_wait(UINTR_HANDLER_FLAG_WAITING_SENDER);
}

TEST(uintr_wait_ends_with_an_interrupt_any)
{
	check_wait(UINTR_HANDLER_FLAG_WAITING_ANY);
}

TEST(without_the_flag_the_sleep_goes_on)
{
	struct timespec start;
	pid_t pid = waiting_receiver(0, 50);

	clock_gettime(CLOCK_MONOTONIC, &start);
	CHECK_EQ(uintr_wait(500000, 0), 0);
	CHECK(elapsed_ms(&start) >= 500);
	CHECK(wait_until_at_least(&ui_count, 1));
	CHECK_CHILD(pid);
}

TEST(nanosleep_is_interrupted)
{
	struct timespec t = { 20, 0 }, rem = { 0, 0 };
	pid_t pid = waiting_receiver(UINTR_HANDLER_FLAG_WAITING_RECEIVER, 200);

	CHECK_ERRNO(nanosleep(&t, &rem), EINTR);
	CHECK_EQ(ui_count, 1);
	CHECK(rem.tv_sec >= 5);
	CHECK_CHILD(pid);
}

TEST(read_from_a_pipe_is_interrupted)
{
	int fds[2];
	char c;
	pid_t pid;

	NEED(pipe(fds) == 0);
	pid = waiting_receiver(UINTR_HANDLER_FLAG_WAITING_RECEIVER, 200);
	CHECK_ERRNO(read(fds[0], &c, 1), EINTR);
	CHECK_EQ(ui_count, 1);
	CHECK_CHILD(pid);
}

TEST(poll_is_interrupted)
{
	int fds[2];
	struct pollfd p;
	pid_t pid;

	NEED(pipe(fds) == 0);
	p.fd = fds[0];
	p.events = POLLIN;
	pid = waiting_receiver(UINTR_HANDLER_FLAG_WAITING_RECEIVER, 200);
	CHECK_ERRNO(poll(&p, 1, 20000), EINTR);
	CHECK_EQ(ui_count, 1);
	CHECK_CHILD(pid);
}

TEST(waitpid_is_interrupted)
{
	pid_t pid = waiting_receiver(UINTR_HANDLER_FLAG_WAITING_RECEIVER, 200), other;

	other = fork();
	if (!other) {
		usleep(3000000);
		_exit(0);
	}
	/* the sending child exits at about the same time, so wait for the other */
	CHECK_ERRNO(waitpid(other, NULL, 0), EINTR);
	CHECK_EQ(ui_count, 1);
	CHECK_CHILD(pid);
	kill(other, SIGKILL);
}

TEST(a_pending_interrupt_ends_the_sleep_at_once)
{
	struct timespec start;
	int index, i;

	if (uintr_register_handler((void *)ui_handler, UINTR_HANDLER_FLAG_WAITING_RECEIVER))
		SKIP("the module offers no WAITING flags");
	index = uintr_register_self(1, 0);
	_stui();
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 1; i <= 200; i++) {
		/* may be delivered before, in or after the call: never lost */
		_senduipi(index);
		if (ui_count < (unsigned long)i)
			uintr_wait(10000000, 0);
		CHECK(wait_until_at_least(&ui_count, i));
	}
	CHECK(elapsed_ms(&start) < 10000);
}

/*
 * poll() of many fds works for milliseconds before it sleeps.  An interrupt
 * that comes meanwhile is recognized by the processor but cannot be delivered;
 * the sleep must not begin.  Two seconds later a second one is sent: if that
 * had to end the sleep, and both together were delivered once, the first was
 * stuck.  (Delivered twice: the first came before the call.)
 */
TEST(interrupts_that_come_before_the_sleep_end_it)
{
	enum { NR = 15000 };
	static struct pollfd p[NR];
	struct rlimit limit = { NR + 100, NR + 100 };
	struct { atomic_int go, done; } *shared;
	int fds[2], index, i, j, stuck = 0, early = 0;
	struct timespec start;
	unsigned long before;
	pid_t pid;

	if (nr_cpus() < 2)
		SKIP("only one processor");
	if (setrlimit(RLIMIT_NOFILE, &limit))
		SKIP("may not have that many fds");
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(shared != MAP_FAILED && pipe(fds) == 0);
	for (i = 0; i < NR; i++) {
		p[i].fd = fds[0];
		p[i].events = POLLIN;
	}
	if (uintr_register_handler((void *)ui_handler, UINTR_HANDLER_FLAG_WAITING_RECEIVER))
		SKIP("the module offers no WAITING flags");
	index = uintr_register_self(1, 0);
	_stui();
	pid = fork();
	if (!pid) {
		for (i = 1; i <= 40; i++) {
			while (shared->go != i)
				;
			clock_gettime(CLOCK_MONOTONIC, &start);
			for (j = 0; j < i * 10000; j++)
				__asm__ volatile("");
			_senduipi(index);
			while (shared->done != i && elapsed_ms(&start) < 2000)
				usleep(1000);
			if (shared->done != i)
				_senduipi(index);
		}
		tap_child_exit();
	}
	for (i = 1; i <= 40; i++) {
		before = ui_count;
		clock_gettime(CLOCK_MONOTONIC, &start);
		shared->go = i;
		CHECK_ERRNO(poll(p, NR, 20000), EINTR);
		if (elapsed_ms(&start) >= 2000) {
			if (ui_count == before + 1)
				stuck++;
			else
				early++;
		}
		shared->done = i;
	}
	CHECK_EQ(stuck, 0);
	if (early)
		printf("# %d of 40 came before the call\n", early);
	CHECK_CHILD(pid);
}

TEST(with_uif_clear_the_sleep_goes_on)
{
	struct timespec start;
	pid_t pid = waiting_receiver(UINTR_HANDLER_FLAG_WAITING_RECEIVER, 50);

	_clui();
	clock_gettime(CLOCK_MONOTONIC, &start);
	CHECK_EQ(uintr_wait(400000, 0), 0);
	CHECK(elapsed_ms(&start) >= 400);
	CHECK_EQ(ui_count, 0);
	_stui();
	CHECK(wait_until_at_least(&ui_count, 1));
	CHECK_CHILD(pid);
}

static volatile sig_atomic_t alarms;

static void on_signal(int number)
{
	(void)number;
	alarms++;
}

TEST(signals_with_sa_restart_still_restart)
{
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	int fds[2];
	char c = 0;
	pid_t pid;

	sigaction(SIGUSR2, &a, NULL);
	NEED(pipe(fds) == 0);
	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	NEED(uintr_unregister_handler(0) == 0);
	if (uintr_register_handler((void *)ui_handler, UINTR_HANDLER_FLAG_WAITING_RECEIVER))
		SKIP("the module offers no WAITING flags");
	_stui();
	pid = fork();
	if (!pid) {
		usleep(200000);
		kill(getppid(), SIGUSR2);
		usleep(200000);
		NEED(write(fds[1], "z", 1) == 1);
		_exit(0);
	}
	CHECK_EQ(read(fds[0], &c, 1), 1);
	CHECK_EQ(c, 'z');
	CHECK_EQ(alarms, 1);
	CHECK_CHILD(pid);
}

TEST(signals_end_uintr_wait_of_waiting_receivers)
{
	struct sigaction a = { .sa_handler = nothing };
	pid_t pid;

	sigaction(SIGUSR1, &a, NULL);
	if (uintr_register_handler((void *)ui_handler, UINTR_HANDLER_FLAG_WAITING_RECEIVER))
		SKIP("the module offers no WAITING flags");
	_stui();
	pid = fork();
	if (!pid) {
		usleep(200000);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	CHECK_ERRNO(uintr_wait(20000000, 0), EINTR);
	CHECK_CHILD(pid);
}

/* Two processes that sleep until the other one interrupts them. */
TEST(ping_pong_of_sleepers)
{
	int sv[2], index, i, rounds = 300;
	const char *n = getenv("STRESS_ROUNDS");
	pid_t pid;

	if (n)
		rounds = atoi(n);
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
	pid = fork();
	if (uintr_register_handler((void *)ui_handler, UINTR_HANDLER_FLAG_WAITING_RECEIVER)) {
		if (!pid)
			_exit(0);
		SKIP("the module offers no WAITING flags");
	}
	_stui();
	send_fd(sv[!pid], uintr_vector_fd(1, 0));
	index = uintr_register_sender(recv_fd(sv[!pid]), 0);
	NEED(index >= 0);
	for (i = 1; i <= rounds; i++) {
		if (pid)
			_senduipi(index);
		/* 30 s is forever here: a lost wake-up fails the test */
		while (ui_count < (unsigned long)i)
			if (uintr_wait(30000000, 0) == 0) {
				CHECK(ui_count >= (unsigned long)i);
				printf("# round %d: slept 30 s\n", i);
				tap_child_exit();
			}
		if (!pid)
			_senduipi(index);
	}
	if (!pid)
		tap_child_exit();
	CHECK_CHILD(pid);
}

int main(void)
{
	return tap_main();
}
