// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many at once: preemption, migration, processes and threads that come and go
 * while others send.  STRESS_ROUNDS sets the length (default 300, which suits
 * slow simulators).
 */
#include "uintr_test.h"

#include <stdatomic.h>
#include <sys/mman.h>

static int rounds(void)
{
	const char *n = getenv("STRESS_ROUNDS");

	return n ? atoi(n) : 300;
}

static unsigned int random_below(unsigned int *state, unsigned int n)
{
	*state = *state * 1103515245 + 12345;
	return (*state >> 16) % n;
}

/* ---- ping-pong of pairs of processes that keep changing processors ---- */

static void play(int sock, int first, unsigned int seed, int n)
{
	int index, i;

	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	_stui();
	send_fd(sock, uintr_vector_fd(first, 0));
	index = uintr_register_sender(recv_fd(sock), 0);
	NEED(index >= 0);
	for (i = 1; i <= n; i++) {
		if (first)
			_senduipi(index);
		if (random_below(&seed, 16) == 0)
			pin_to(random_below(&seed, nr_cpus()));
		while (ui_count < (unsigned long)i)
			if (random_below(&seed, 64) == 0)
				sched_yield();
		if (!first)
			_senduipi(index);
	}
	CHECK_EQ(ui_count, n);
}

TEST(no_interrupt_is_lost_over_preemption_and_migration)
{
	int pairs = 2 * nr_cpus(), i, sv[2], n = rounds();
	pid_t pids[256];

	if (pairs > 128)
		pairs = 128;
	for (i = 0; i < 2 * pairs; i++) {
		if (i % 2 == 0)
			NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
		pids[i] = fork();
		if (!pids[i]) {
			play(sv[i % 2], i % 2, i, n);
			tap_child_exit();
		}
		if (i % 2) {
			close(sv[0]);
			close(sv[1]);
		}
	}
	for (i = 0; i < 2 * pairs; i++)
		CHECK_CHILD(pids[i]);
}

/* ---- first senders of a process, by several threads at the same time ---- */

static pthread_barrier_t start;
static int common_fd;
static int got_index[4];

static void *first_sender(void *arg)
{
	long n = (long)arg;

	pthread_barrier_wait(&start);
	got_index[n] = uintr_register_sender(common_fd, 0);
	CHECK_EQ(try_senduipi(got_index[n]), 0);
	return NULL;
}

TEST(threads_that_create_the_table_at_once_share_it)
{
	pthread_t threads[4];
	int i, round, seen;
	pid_t pid;

	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	common_fd = uintr_vector_fd(3, 0);
	for (round = 0; round < rounds() / 10 + 1; round++) {
		pid = fork();
		if (!pid) {
			pthread_barrier_init(&start, NULL, 4);
			for (i = 0; i < 4; i++)
				NEED(!pthread_create(&threads[i], NULL, first_sender,
						     (void *)(long)i));
			for (i = 0; i < 4; i++)
				pthread_join(threads[i], NULL);
			for (seen = i = 0; i < 4; i++)
				seen |= 1 << got_index[i];
			CHECK_EQ(seen, 15);
			tap_child_exit();
		}
		CHECK_CHILD(pid);
	}
}

/* ---- threads register, send, unregister and die, all at random ---- */

#define SLOTS 8

static atomic_int slots[SLOTS];		/* fds + 1 */
static atomic_int churn_stop;

/* A sender that was removed by somebody else faults: the program asked for it. */
static __thread sigjmp_buf churn_jmp;
static __thread volatile int churn_armed;

static void churn_fault(int number)
{
	if (!churn_armed) {
		signal(number, SIG_DFL);
		return;
	}
	siglongjmp(churn_jmp, 1);
}

static void *churn(void *arg)
{
	unsigned int seed = (unsigned long)arg, slot;
	volatile int index;
	int fd, old;

	while (!churn_stop) {
		switch (random_below(&seed, 8)) {
		case 0:
			uintr_register_handler((void *)ui_handler, 0);
			_stui();
			break;
		case 1:
			uintr_unregister_handler(0);
			break;
		case 2:
			fd = uintr_vector_fd(random_below(&seed, 64), 0);
			if (fd >= 0) {
				slot = random_below(&seed, SLOTS);
				old = atomic_exchange(&slots[slot], fd + 1);
				if (old)
					close(old - 1);
			}
			break;
		case 3:
			slot = random_below(&seed, SLOTS);
			if (slots[slot])
				uintr_register_sender(slots[slot] - 1, 0);
			break;
		case 4:
			uintr_unregister_sender(random_below(&seed, 40), 0);
			break;
		case 5:
			pin_to(random_below(&seed, nr_cpus()));
			break;
		default:
			index = random_below(&seed, 40);
			if (!sigsetjmp(churn_jmp, 1)) {
				churn_armed = 1;
				_senduipi(index);
			}
			churn_armed = 0;
		}
		if (random_below(&seed, 64) == 0)
			break;		/* this thread dies with all it has */
	}
	return NULL;
}

static void *churn_spawner(void *arg)
{
	unsigned long n = 0;
	pthread_t thread;

	while (!churn_stop) {
		if (!pthread_create(&thread, NULL, churn, (void *)((long)arg * 1000 + n++)))
			pthread_join(thread, NULL);
	}
	return NULL;
}

static void churn_for(int ms, int spawners)
{
	struct sigaction a = { .sa_handler = churn_fault };
	pthread_t threads[16];
	int i;

	sigaction(SIGSEGV, &a, NULL);
	sigaction(SIGILL, &a, NULL);
	for (i = 0; i < spawners; i++)
		NEED(!pthread_create(&threads[i], NULL, churn_spawner, (void *)(long)i));
	usleep(ms * 1000);
	churn_stop = 1;
	for (i = 0; i < spawners; i++)
		pthread_join(threads[i], NULL);
}

TEST(threads_may_do_anything_at_any_time)
{
	churn_for(rounds() * 10, 8);
}

TEST(processes_that_share_a_table_too)
{
	pid_t pids[4];
	int i;

	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	NEED(uintr_register_self(0, 0) == 0);
	for (i = 0; i < 4; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			churn_for(rounds() * 10, 4);
			tap_child_exit();
		}
	}
	for (i = 0; i < 4; i++)
		CHECK_CHILD(pids[i]);
}

/* ---- receivers die, by exit, signal and exec, while they are sent to ---- */

TEST(receivers_die_while_they_are_sent_to)
{
	int round, sv[2], index, i, fd;
	pid_t pid;

	for (round = 0; round < rounds() / 5 + 1; round++) {
		NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
		pid = fork();
		if (!pid) {
			NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
			_stui();
			send_fd(sv[1], uintr_vector_fd(1, 0));
			while (ui_count < 5)
				;
			if (round % 3 == 0)
				_exit(0);
			if (round % 3 == 1)
				raise(SIGKILL);
			execl("/proc/self/exe", "stress", "--exit", NULL);
			_exit(1);
		}
		fd = recv_fd(sv[0]);
		index = uintr_register_sender(fd, 0);
		NEED(index >= 0);
		for (i = 0; waitpid(pid, NULL, WNOHANG) == 0; i++)
			_senduipi(index);
		CHECK_EQ(try_senduipi(index), 0);
		CHECK_ERRNO(uintr_register_sender(fd, 0), ESHUTDOWN);
		CHECK_EQ(uintr_unregister_sender(index, 0), 0);
		close(fd);
		close(sv[0]);
		close(sv[1]);
	}
}

/* ---- fork while the table changes ---- */

static void *change_table(void *arg)
{
	int fd = *(int *)arg, index;

	while (!churn_stop) {
		index = uintr_register_sender(fd, 0);
		if (index >= 0)
			uintr_unregister_sender(index, 0);
	}
	return NULL;
}

TEST(fork_while_the_table_changes)
{
	pthread_t threads[2];
	int fd, index, i;
	pid_t pid;

	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	fd = uintr_vector_fd(1, 0);
	index = uintr_register_self(2, 0);
	_stui();
	for (i = 0; i < 2; i++)
		NEED(!pthread_create(&threads[i], NULL, change_table, &fd));
	for (i = 1; i <= rounds() / 3 + 1; i++) {
		pid = fork();
		if (!pid) {
			CHECK_EQ(try_senduipi(index), 0);
			tap_child_exit();
		}
		CHECK_CHILD(pid);
		CHECK(wait_until_at_least(&ui_seen[2], i));
	}
	churn_stop = 1;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/* ---- processors come and go ---- */

static void set_cpu1(const char *online)
{
	FILE *f = fopen("/sys/devices/system/cpu/cpu1/online", "w");

	if (!f)
		SKIP("processor 1 cannot be taken offline");
	fputs(online, f);
	fclose(f);
}

TEST(ping_pong_over_cpu_hotplug)
{
	int sv[2], i;
	pid_t pids[2];

	if (nr_cpus() < 2)
		SKIP("only one processor");
	set_cpu1("1");
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
	for (i = 0; i < 2; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			play(sv[i], i, i, rounds());
			tap_child_exit();
		}
	}
	for (i = 0; i < 6; i++) {
		set_cpu1(i % 2 ? "1" : "0");
		usleep(100000);
	}
	CHECK_CHILD(pids[0]);
	CHECK_CHILD(pids[1]);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--exit"))
		return 0;
	return tap_main();
}
