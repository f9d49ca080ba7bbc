/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Called from do_syscall_64 in place of one instruction,
 *	movq $-ENOSYS, 80(%rbx)		with rbx = struct pt_regs *
 * which changed no register and no flag: neither may this.
 */
#include <linux/linkage.h>

	.text

SYM_FUNC_START(r3_hook_stub)
	pushfq
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	movq	%rbx, %rdi
	call	r3_hook_patched
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	popfq
	RET
SYM_FUNC_END(r3_hook_stub)
