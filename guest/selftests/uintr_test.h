/* SPDX-License-Identifier: GPL-2.0-only */
/* What several of the test programs need around user interrupts. */
#ifndef RING3_UINTR_TEST_H
#define RING3_UINTR_TEST_H

#include "tap.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <ucontext.h>

#include "../../include/uintr.h"

/* ---- a handler that counts ---- */

static volatile unsigned long ui_count;		/* deliveries */
static volatile unsigned long ui_seen[64];	/* by vector */

static void __attribute__((interrupt, unused))
ui_handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	ui_seen[vector]++;
	ui_count++;
}

static inline int wait_until_at_least(volatile unsigned long *counter, unsigned long n)
{
	struct timespec start, t;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (*counter < n) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		if (t.tv_sec - start.tv_sec > 20)
			return 0;
	}
	return 1;
}

/* Enough time for a delivery that must not come. */
static inline void spin_ms(int ms)
{
	struct timespec start, t;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		clock_gettime(CLOCK_MONOTONIC, &t);
	} while ((t.tv_sec - start.tv_sec) * 1000 +
		 (t.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

static inline long long elapsed_ms(const struct timespec *since)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (t.tv_sec - since->tv_sec) * 1000LL +
	       (t.tv_nsec - since->tv_nsec) / 1000000;
}

/* ---- which signal does SENDUIPI raise? ---- */

static sigjmp_buf fault_jmp;
static volatile sig_atomic_t fault_expected;
static volatile uint8_t *fault_ip;

static void fault_handler(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	if (!fault_expected) {
		signal(number, SIG_DFL);
		return;
	}
	fault_ip = (uint8_t *)uc->uc_mcontext.gregs[REG_RIP];
	siglongjmp(fault_jmp, number);
}

static inline void catch_faults(void)
{
	struct sigaction a = { .sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO };

	sigaction(SIGILL, &a, NULL);
	sigaction(SIGSEGV, &a, NULL);
}

/* 0, SIGILL or SIGSEGV */
static int __attribute__((noinline, unused)) try_senduipi(unsigned long long index)
{
	int number;

	catch_faults();
	number = sigsetjmp(fault_jmp, 1);
	if (!number) {
		fault_expected = 1;
		_senduipi(index);
	}
	fault_expected = 0;
	return number;
}

/* ---- fds over a socket ---- */

static inline int send_fd(int sock, int fd)
{
	char byte = 'f';
	struct iovec iov = { &byte, 1 };
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -1;
}

static inline int recv_fd(int sock)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n;
	int fd;

	do {
		n = recvmsg(sock, &msg, 0);
	} while (n < 0 && errno == EINTR);	/* perhaps by a user interrupt */
	c = CMSG_FIRSTHDR(&msg);
	if (n != 1 || !c)
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

/* one byte each way */
static inline void tell(int fd)
{
	NEED(write(fd, "x", 1) == 1);
}

static inline void hear(int fd)
{
	char c;
	ssize_t n;

	do {
		n = read(fd, &c, 1);
	} while (n < 0 && errno == EINTR);
	NEED(n == 1);
}

/* ---- processors ---- */

static inline int nr_cpus(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

static inline int pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

#endif
