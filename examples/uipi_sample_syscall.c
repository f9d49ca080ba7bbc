/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * uipi_sample.c for those who have no header of ours: the system calls by
 * number, in the way programs for Intel's patched kernels wrap them.
 *
 *	gcc -Wall -muintr -mgeneral-regs-only uipi_sample_syscall.c -lpthread
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86gprintrin.h>

#define __NR_uintr_register_handler	471
#define __NR_uintr_unregister_handler	472
#define __NR_uintr_create_fd		473
#define __NR_uintr_register_sender	474
#define __NR_uintr_unregister_sender	475

#define uintr_register_handler(handler, flags)	syscall(__NR_uintr_register_handler, handler, flags)
#define uintr_unregister_handler(flags)		syscall(__NR_uintr_unregister_handler, flags)
#define uintr_create_fd(vector, flags)		syscall(__NR_uintr_create_fd, vector, flags)
#define uintr_register_sender(fd, flags)	syscall(__NR_uintr_register_sender, fd, flags)
#define uintr_unregister_sender(index, flags)	syscall(__NR_uintr_unregister_sender, index, flags)

static volatile int received;
static int vector_fd;

static void __attribute__((interrupt))
handler(struct __uintr_frame *frame, unsigned long long vector)
{
	static const char text[] = "    User Interrupt!\n";

	(void)frame;
	(void)vector;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_FAILURE);
	received = 1;
}

static void *sender(void *arg)
{
	long index = uintr_register_sender(vector_fd, 0);

	(void)arg;
	if (index < 0) {
		perror("uintr_register_sender");
		exit(EXIT_FAILURE);
	}
	printf("Sending IPI from sender thread\n");
	fflush(stdout);
	_senduipi(index);
	uintr_unregister_sender(index, 0);
	return NULL;
}

int main(void)
{
	pthread_t thread;

	if (uintr_register_handler(handler, 0)) {
		perror("uintr_register_handler");
		return EXIT_FAILURE;
	}
	vector_fd = uintr_create_fd(0, 0);
	if (vector_fd < 0) {
		perror("uintr_create_fd");
		return EXIT_FAILURE;
	}
	_stui();
	printf("Receiver enabled interrupts\n");
	fflush(stdout);

	if (pthread_create(&thread, NULL, sender, NULL))
		return EXIT_FAILURE;
	while (!received)
		;

	pthread_join(thread, NULL);
	close(vector_fd);
	uintr_unregister_handler(0);
	return EXIT_SUCCESS;
}
