/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The smallest complete user interrupt: one thread waits for it, another sends
 * it.  This is the sample of the talk "User Interrupts - A faster way to
 * signal" (Linux Plumbers Conference 2021) as a whole program.
 *
 *	gcc -Wall -muintr -mgeneral-regs-only -I../include uipi_sample.c -lpthread -o uipi_sample
 *
 *	$ ./uipi_sample
 *	Receiver enabled interrupts
 *	Sending IPI from sender thread
 *	    User Interrupt!
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "uintr.h"

static volatile int uintr_received;
static int uintr_fd;

/*
 * The processor calls this between any two instructions of main().  So it may
 * do only what a signal handler may do: write(2) yes, printf(3) no.
 */
static void __attribute__((interrupt))
u_handler(struct __uintr_frame *frame, unsigned long long vector)
{
	static const char text[] = "    User Interrupt!\n";

	(void)frame;		/* where we were interrupted */
	(void)vector;		/* which of the 64 vectors: here 0 */
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_FAILURE);
	uintr_received = 1;
}

static void *sender_thread(void *arg)
{
	int uipi_handle;

	(void)arg;

	/* The fd gives the right to send; the index is what the instruction takes. */
	uipi_handle = uintr_register_sender(uintr_fd, 0);
	if (uipi_handle < 0) {
		perror("uintr_register_sender");
		exit(EXIT_FAILURE);
	}

	printf("Sending IPI from sender thread\n");
	fflush(stdout);		/* the handler writes past stdio's buffer */
	_senduipi(uipi_handle);

	uintr_unregister_sender(uipi_handle, 0);
	return NULL;
}

int main(void)
{
	int vector = 0;
	pthread_t pt;

	if (uintr_register_handler(u_handler, 0)) {
		perror("uintr_register_handler");
		return EXIT_FAILURE;
	}

	uintr_fd = uintr_create_fd(vector, 0);
	if (uintr_fd < 0) {
		perror("uintr_create_fd");
		return EXIT_FAILURE;
	}

	/* Until now a user interrupt would have been held back. */
	_stui();
	printf("Receiver enabled interrupts\n");
	fflush(stdout);

	if (pthread_create(&pt, NULL, sender_thread, NULL))
		return EXIT_FAILURE;

	/* Do some other work: no system call, no polling of the kernel. */
	while (!uintr_received)
		;

	pthread_join(pt, NULL);
	close(uintr_fd);
	uintr_unregister_handler(0);
	return EXIT_SUCCESS;
}
