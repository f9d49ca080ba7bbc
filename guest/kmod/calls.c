// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system calls: numbers, arguments, and the flags check that comes before
 * every other check.  Numbers and argument order are those of Intel's later
 * kernel branch ("uintr-next"), which programs for the first patch series with
 * numbers 471 to 476 share.
 */
#include <asm/ptrace.h>

#include "kmod.h"

/* regs holds number and arguments as SYSCALL left them. */
long r3_call(struct pt_regs *regs)
{
	u64 a0 = regs->di, a1 = regs->si, a2 = regs->dx;

	switch ((int)regs->orig_ax) {	/* like the kernel: eax counts */
	case 471: /* uintr_register_handler(handler, flags) */
		return r3_register_handler(a0, a1);

	case 472: /* uintr_unregister_handler(flags) */
		return (u32)a0 ? -EINVAL : r3_unregister_handler();

	case 473: /* uintr_vector_fd(vector, flags), at first uintr_create_fd */
		return (u32)a1 ? -EINVAL : r3_vector_fd(a0);

	case 474: /* uintr_register_sender(fd, flags) */
		return (u32)a1 ? -EINVAL : r3_register_sender_fd(a0);

	case 475: /* uintr_unregister_sender(index, flags) */
		return (u32)a1 ? -EINVAL : r3_unregister_sender(a0);

	case 476: /* uintr_wait(usec, flags) */
		return (u32)a1 ? -EINVAL : r3_wait(a0);

	case 477: /* uintr_register_self(vector, flags) */
		return (u32)a1 ? -EINVAL : r3_register_self(a0);

	case 478: /* uintr_alt_stack(sp, size, flags) */
		return (u32)a2 ? -EINVAL : r3_alt_stack(a0);

	case 479: /* uintr_ipi_fd(flags) */
		return (u32)a0 ? -EINVAL : r3_ipi_fd();

	default:
		return -ENOSYS;
	}
}
