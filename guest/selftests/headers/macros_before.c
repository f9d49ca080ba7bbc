/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A program that has defined everything before it includes our header. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "ring3.h"

#define __NR_uintr_register_handler	471
#define __NR_uintr_unregister_handler	472
#define __NR_uintr_create_fd		473
#define __NR_uintr_register_sender	474
#define __NR_uintr_unregister_sender	475
#define __NR_uintr_wait			476
#define __NR_uintr_register_self	477
#define __NR_uintr_alt_stack		478
#define __NR_uintr_ipi_fd		479
#define uintr_register_handler(handler, flags)	syscall(__NR_uintr_register_handler, handler, flags)
#define uintr_unregister_handler(flags)		syscall(__NR_uintr_unregister_handler, flags)
#define uintr_create_fd(vector, flags)		syscall(__NR_uintr_create_fd, vector, flags)
#define uintr_vector_fd(vector, flags)		syscall(__NR_uintr_create_fd, vector, flags)
#define uintr_register_sender(fd, flags)	syscall(__NR_uintr_register_sender, fd, flags)
#define uintr_unregister_sender(fd, flags)	syscall(__NR_uintr_unregister_sender, fd, flags)
#define uintr_wait(flags)			syscall(__NR_uintr_wait, flags)
#define uintr_register_self(vector, flags)	syscall(__NR_uintr_register_self, vector, flags)
#define uintr_alt_stack(sp, size, flags)	syscall(__NR_uintr_alt_stack, sp, size, flags)
#define uintr_ipi_fd(flags)			syscall(__NR_uintr_ipi_fd, flags)
#define UINTR_HANDLER_FLAG_WAITING_NONE		0x0
#define UINTR_HANDLER_FLAG_WAITING_RECEIVER	0x1000
#define UINTR_HANDLER_FLAG_WAITING_SENDER	0x2000
#define UINTR_HANDLER_FLAG_WAITING_ANY		(UINTR_HANDLER_FLAG_WAITING_SENDER | \
						 UINTR_HANDLER_FLAG_WAITING_RECEIVER)

#include "uintr.h"

static void __attribute__((interrupt, target("general-regs-only", "inline-all-stringops")))
handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	(void)vector;
}

int main(void)
{
	ring3_roi_begin();
	if (uintr_register_handler(handler, UINTR_HANDLER_FLAG_WAITING_ANY))
		perror("uintr_register_handler");
	uintr_wait(0);
	uintr_unregister_handler(0);
	ring3_roi_end();
	return 0;
}
