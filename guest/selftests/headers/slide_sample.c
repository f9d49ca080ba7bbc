/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The sample of the 2021 talk as someone would type it in: the function bodies
 * of the slides with the missing declarations added, nothing more.  Must
 * compile with: gcc -Wall -muintr -mgeneral-regs-only slide_sample.c -lpthread
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "uintr.h"

int ret, uintr_fd;
volatile unsigned int uintr_received;

void __attribute__((interrupt)) u_handler(struct __uintr_frame
					  *frame, unsigned long vector) {
	write(STDOUT_FILENO, "User Interrupt!\n", 16);
	uintr_received = 1;
}

void *sender_thread(void *arg)
{
	int uipi_handle;

	uipi_handle = uintr_register_sender(uintr_fd, 0);

	printf("Sending IPI from sender thread\n");
	_senduipi(uipi_handle);

	uintr_unregister_sender(uintr_fd, 0);
	return NULL;
}

int main(int argc, char *argv[]) {
	int vector = 0;
	pthread_t pt;

	ret = uintr_register_handler(u_handler, 0);
	uintr_fd = uintr_create_fd(vector, 0);
	_stui();
	printf("Receiver enabled interrupts\n");

	pthread_create(&pt, NULL, &sender_thread, NULL);

	/* Do some other work */
	while(!uintr_received);

	pthread_join(pt, NULL);
	close(uintr_fd);
	uintr_unregister_handler(0);
	exit(EXIT_SUCCESS);
}
