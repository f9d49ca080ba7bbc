/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests in TAP (Test Anything Protocol).  Every test runs in a child process of
 * its own, which has never made a uintr call before, and is killed if it takes
 * longer than a minute (TEST_SECONDS overrides).
 *
 *	TEST(name_of_the_rule)
 *	{
 *		CHECK(something == 3);
 *		CHECK_ERRNO(call(...), EINVAL);
 *	}
 *
 * A failed check is reported as a "#" line; the test goes on.
 */
#ifndef RING3_TAP_H
#define RING3_TAP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct tap_test {
	const char *name;
	void (*fn)(void);
	struct tap_test *next;
};

static struct tap_test *tap_first, **tap_last __attribute__((unused)) = &tap_first;
static int tap_failures;

#define TEST(test_name)							\
	static void test_name(void);					\
	static struct tap_test tap_##test_name = { #test_name, test_name, NULL }; \
	static void __attribute__((constructor)) tap_add_##test_name(void) \
	{								\
		*tap_last = &tap_##test_name;				\
		tap_last = &tap_##test_name.next;			\
	}								\
	static void test_name(void)

#define CHECK(condition)						\
	do {								\
		if (!(condition)) {					\
			tap_failures++;					\
			printf("# %s:%d: false: %s\n", __FILE__, __LINE__, #condition); \
			fflush(stdout);					\
		}							\
	} while (0)

#define CHECK_EQ(expression, expected)					\
	do {								\
		long long tap_got = (expression), tap_want = (expected); \
		if (tap_got != tap_want) {				\
			tap_failures++;					\
			printf("# %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, \
			       #expression, tap_got, tap_want);		\
			fflush(stdout);					\
		}							\
	} while (0)

/* expression returns -1 and sets errno to expected */
#define CHECK_ERRNO(expression, expected)				\
	do {								\
		errno = 0;						\
		long long tap_got = (expression);			\
		if (tap_got != -1 || errno != (expected)) {		\
			tap_failures++;					\
			printf("# %s:%d: %s: returned %lld, errno %d (%s), not -1 and %s\n", \
			       __FILE__, __LINE__, #expression, tap_got, errno, \
			       strerror(errno), #expected);		\
			fflush(stdout);					\
		}							\
	} while (0)

/* Ends the test at once if a premise fails. */
#define NEED(condition)							\
	do {								\
		if (!(condition)) {					\
			printf("# %s:%d: premise failed: %s: %s\n", __FILE__, __LINE__, \
			       #condition, strerror(errno));		\
			fflush(stdout);					\
			_exit(1);					\
		}							\
	} while (0)

#define TAP_SKIP_STATUS	77

#define SKIP(reason)							\
	do {								\
		printf("# skipped: %s\n", reason);			\
		fflush(stdout);						\
		_exit(TAP_SKIP_STATUS);					\
	} while (0)

/* In a forked child of a test: _exit() with what the checks found. */
static inline void __attribute__((noreturn, unused)) tap_child_exit(void)
{
	fflush(stdout);
	_exit(tap_failures ? 1 : 0);
}

/* In a test: the child must have exited by tap_child_exit() without failure. */
#define CHECK_CHILD(pid)						\
	do {								\
		int tap_status;						\
		CHECK(waitpid(pid, &tap_status, 0) == (pid));		\
		CHECK(WIFEXITED(tap_status));				\
		if (WIFEXITED(tap_status))				\
			CHECK_EQ(WEXITSTATUS(tap_status), 0);		\
		else							\
			printf("# child was killed by signal %d\n", WTERMSIG(tap_status)); \
	} while (0)

static int __attribute__((unused)) tap_main(void)
{
	const char *seconds = getenv("TEST_SECONDS");
	const char *only = getenv("TEST_ONLY");
	struct tap_test *t;
	int n = 0, failed = 0, status;
	pid_t pid;

	for (t = tap_first; t; t = t->next) {
		if (only && !strstr(t->name, only))
			continue;
		n++;
		fflush(stdout);
		pid = fork();
		if (pid < 0) {
			perror("fork");
			return 1;
		}
		if (!pid) {
			setpgid(0, 0);
			alarm(seconds ? atoi(seconds) : 60);
			t->fn();
			tap_child_exit();
		}
		waitpid(pid, &status, 0);
		kill(-pid, SIGKILL);		/* what it left behind */
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			printf("ok %d - %s\n", n, t->name);
		} else if (WIFEXITED(status) && WEXITSTATUS(status) == TAP_SKIP_STATUS) {
			printf("ok %d - %s # SKIP\n", n, t->name);
		} else {
			if (WIFSIGNALED(status))
				printf("# killed by signal %d%s\n", WTERMSIG(status),
				       WTERMSIG(status) == SIGALRM ? " (time is up)" : "");
			printf("not ok %d - %s\n", n, t->name);
			failed++;
		}
	}
	printf("1..%d\n", n);
	return failed != 0;
}

#endif
