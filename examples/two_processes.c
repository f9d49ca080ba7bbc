/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One process interrupts another.
 *
 * The right to interrupt a thread is a file descriptor.  It travels like any
 * other: here over a UNIX socket (SCM_RIGHTS), between a parent and a child that
 * share nothing else.  Data that goes with the interrupt would live in shared
 * memory; this program only counts.
 *
 *	$ ./two_processes
 *	child: may now interrupt the parent
 *	parent: interrupted 5 times on vector 9
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uintr.h"

#define VECTOR	9
#define ROUNDS	5

static volatile int count;
static volatile int last_vector = -1;

static void __attribute__((interrupt))
handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	last_vector = vector;
	count++;
}

static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

/* Sends one byte and, as its luggage, a file descriptor. */
static void send_fd(int sock, int fd)
{
	char byte = 'f';
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	struct msghdr msg = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = control.space, .msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	if (sendmsg(sock, &msg, 0) != 1)
		fail("sendmsg");
}

static int receive_fd(int sock)
{
	char byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = control.space, .msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &msg, 0) != 1)
		fail("recvmsg");
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS) {
		fprintf(stderr, "no file descriptor came along\n");
		exit(EXIT_FAILURE);
	}
	memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

static int child(int sock)
{
	char byte;
	int index, i;

	index = uintr_register_sender(receive_fd(sock), 0);
	if (index < 0)
		fail("uintr_register_sender");
	printf("child: may now interrupt the parent\n");
	fflush(stdout);

	for (i = 0; i < ROUNDS; i++) {
		_senduipi(index);
		/*
		 * The same vector sent again before it was delivered would be
		 * delivered once.  So wait until the parent has seen this one.
		 */
		if (read(sock, &byte, 1) != 1)
			fail("read");
	}
	return EXIT_SUCCESS;
}

int main(void)
{
	int sv[2], fd, seen = 0, status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		fail("socketpair");

	pid = fork();
	if (pid < 0)
		fail("fork");
	if (!pid) {
		close(sv[0]);
		return child(sv[1]);
	}
	close(sv[1]);

	if (uintr_register_handler(handler, 0))
		fail("uintr_register_handler");
	fd = uintr_vector_fd(VECTOR, 0);
	if (fd < 0)
		fail("uintr_vector_fd");
	_stui();
	send_fd(sv[0], fd);

	while (seen < ROUNDS) {
		while (count == seen)
			;
		seen++;
		if (write(sv[0], "a", 1) != 1)
			fail("write");
	}

	waitpid(pid, &status, 0);
	printf("parent: interrupted %d times on vector %d\n", count, last_vector);
	close(fd);
	uintr_unregister_handler(0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
