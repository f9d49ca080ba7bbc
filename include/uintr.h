/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * uintr.h - the system calls of user interrupts, under the names in which Intel
 * presented them (uintr_register_handler ...) and those of the later kernel
 * branch (uintr_vector_fd, uintr_register_self ...).  C and C++.
 *
 * The instructions come with the compiler (GCC >= 11, -muintr): _senduipi(),
 * _stui(), _clui(), _testui() and struct __uintr_frame; this header includes
 * theirs.  A handler is
 *
 *	void __attribute__((interrupt))
 *	handler(struct __uintr_frame *frame, unsigned long long vector)
 *
 * and is best compiled with -mgeneral-regs-only, because the processor saves no
 * vector registers for it.
 *
 * All calls return -1 and set errno on failure, like system calls do in libc.
 *
 * Living together with programs that bring definitions of their own: nothing
 * here is a macro but the include guard.  A name that is a macro already when
 * this header is read is left alone; one that becomes a macro later hides ours.
 */
#ifndef RING3_UINTR_H
#define RING3_UINTR_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__has_include)
# if __has_include(<x86gprintrin.h>)
#  include <x86gprintrin.h>
# else
#  include <x86intrin.h>
# endif
#else
# include <x86gprintrin.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* System-call numbers. */
enum {
	RING3_NR_uintr_register_handler		= 471,
	RING3_NR_uintr_unregister_handler	= 472,
	RING3_NR_uintr_vector_fd		= 473,
	RING3_NR_uintr_register_sender		= 474,
	RING3_NR_uintr_unregister_sender	= 475,
	RING3_NR_uintr_wait			= 476,
	RING3_NR_uintr_register_self		= 477,
	RING3_NR_uintr_alt_stack		= 478,
	RING3_NR_uintr_ipi_fd			= 479,

	/* ioctl of a uipi fd: adopt its target table, see uintr_ipi_fd() */
	RING3_UIPI_SET_TARGET_TABLE		= 0x7500
};

/*
 * Flags of uintr_register_handler(): may a user interrupt end a system call
 * that blocks the receiver?  (The call then fails with EINTR.)
 */
#ifndef UINTR_HANDLER_FLAG_WAITING_NONE
enum { UINTR_HANDLER_FLAG_WAITING_NONE = 0x0 };
#endif
#ifndef UINTR_HANDLER_FLAG_WAITING_RECEIVER
enum { UINTR_HANDLER_FLAG_WAITING_RECEIVER = 0x1000 };
#endif
#ifndef UINTR_HANDLER_FLAG_WAITING_SENDER
enum { UINTR_HANDLER_FLAG_WAITING_SENDER = 0x2000 };
#endif
#ifndef UINTR_HANDLER_FLAG_WAITING_ANY
enum { UINTR_HANDLER_FLAG_WAITING_ANY = 0x3000 };
#endif

/*
 * One system call with up to three arguments.  Not syscall(2), which strict
 * language modes hide and whose C++ declaration differs between libraries.
 */
static inline long ring3_uintr_call(long number, uint64_t arg1, uint64_t arg2,
				    uint64_t arg3)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a" (result)
			 : "a" (number), "D" (arg1), "S" (arg2), "d" (arg3)
			 : "rcx", "r11", "memory");
	if (result < 0 && result > -4096) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

/* ---- receiver ---- */

/*
 * Make the calling thread a receiver: user interrupts will call handler.  They
 * are held back until the thread executes _stui().
 * EINVAL flags, EFAULT handler is not a user address, EBUSY has one already,
 * ENOMEM, ENOSYS no support.
 */
#ifndef uintr_register_handler
static inline int uintr_register_handler(void *handler, unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_register_handler,
				     (uint64_t)(uintptr_t)handler, flags, 0);
}
#endif

/* EINVAL flags, or the thread has no handler. */
#ifndef uintr_unregister_handler
static inline int uintr_unregister_handler(unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_unregister_handler, flags, 0, 0);
}
#endif

/*
 * A new fd that stands for this vector (0..63, highest first) of the calling
 * thread; who has the fd may become a sender.
 * EINVAL flags, or the thread has no handler; ENOSPC vector; EMFILE, ENFILE,
 * ENOMEM.
 */
#ifndef uintr_vector_fd
static inline int uintr_vector_fd(uint64_t vector, unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_vector_fd, vector, flags, 0);
}
#endif

/* The first name of uintr_vector_fd(). */
#ifndef uintr_create_fd
static inline int uintr_create_fd(uint64_t vector, unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_vector_fd, vector, flags, 0);
}
#endif

/*
 * Run the handler on a stack of its own.  sp is the TOP of that stack (the
 * first byte behind it); size is not used.  NULL: the interrupted stack again.
 * Such a handler must not execute _stui(): the next interrupt would overwrite
 * its frame.
 * EINVAL flags, EOPNOTSUPP no handler, EFAULT sp is not a user address.
 */
#ifndef uintr_alt_stack
static inline int uintr_alt_stack(void *sp, size_t size, unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_alt_stack,
				     (uint64_t)(uintptr_t)sp, size, flags);
}
#endif

/*
 * Sleep for usec microseconds (at most 1,000,000,000).  0: slept that long.
 * EINTR woken before: by a signal, or by a user interrupt if the handler was
 * registered with a WAITING flag; EINVAL flags or usec; EOPNOTSUPP no handler.
 */
#ifndef uintr_wait
static inline int uintr_wait(uint64_t usec, unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_wait, usec, flags, 0);
}
#endif

/* ---- sender ---- */

/*
 * Returns an index for _senduipi(), good in all threads of the process and in
 * children forked afterwards.
 * EINVAL flags, EBADF, EOPNOTSUPP not a uintr fd, ESHUTDOWN the receiver is
 * gone, ENOSPC 256 in use, ENOMEM.
 */
#ifndef uintr_register_sender
static inline int uintr_register_sender(int fd, unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_register_sender,
				     (uint64_t)(int64_t)fd, flags, 0);
}
#endif

/*
 * The argument is the index that uintr_register_sender() returned (in the
 * first published interface it was the fd: such a call fails with EINVAL, or
 * hits whatever sender has that index).
 * EINVAL flags, or no such sender.
 */
#ifndef uintr_unregister_sender
static inline int uintr_unregister_sender(int index, unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_unregister_sender,
				     (uint64_t)(int64_t)index, flags, 0);
}
#endif

/* uintr_vector_fd() and uintr_register_sender() in one, without the fd. */
#ifndef uintr_register_self
static inline int uintr_register_self(uint64_t vector, unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_register_self, vector, flags, 0);
}
#endif

/*
 * An fd that stands for all senders of this process.  Another process that has
 * none yet takes them over, with their indexes, by
 * ioctl(fd, RING3_UIPI_SET_TARGET_TABLE).  EINVAL flags, EMFILE, ENFILE, ENOMEM.
 */
#ifndef uintr_ipi_fd
static inline int uintr_ipi_fd(unsigned int flags)
{
	return (int)ring3_uintr_call(RING3_NR_uintr_ipi_fd, flags, 0, 0);
}
#endif

#ifdef __cplusplus
} /* extern "C" */

#ifndef uintr_register_handler
/* C++ does not turn a function's address into void * by itself. */
template <typename Result, typename... Args>
static inline int uintr_register_handler(Result (*handler)(Args...),
					 unsigned int flags)
{
	return uintr_register_handler(reinterpret_cast<void *>(handler), flags);
}
#endif
#endif /* __cplusplus */

#endif /* RING3_UINTR_H */
