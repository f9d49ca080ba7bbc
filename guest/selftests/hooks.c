// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls among the kernel's other business with system calls: seccomp,
 * ptrace, 32-bit entry.  What is allowed to differ between the module's ways of
 * adding system calls is in docs/kernel-module.md.
 */
#include "uintr_test.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

/* How the module added the calls, or "" */
static const char *hook(void)
{
	static const char * const files[] = {
		"/sys/module/ring3_uintr/parameters/hook",
		"/sys/module/ring3_uintr_nohw/parameters/hook",
	};
	static char name[32];
	unsigned int i;
	FILE *f;

	for (i = 0; i < 2; i++) {
		f = fopen(files[i], "r");
		if (!f)
			continue;
		if (fscanf(f, "%31s", name) != 1)
			name[0] = 0;
		fclose(f);
	}
	return name;
}

/* From now on this system call gets that answer, all others are allowed. */
static void refuse(int nr, unsigned int answer)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { 4, code };

	NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		SKIP("no seccomp");
}

TEST(seccomp_may_refuse_with_enosys)
{
	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	_stui();
	refuse(472, SECCOMP_RET_ERRNO | ENOSYS);
	CHECK_ERRNO(uintr_unregister_handler(0), ENOSYS);
	CHECK_ERRNO(uintr_unregister_handler(0), ENOSYS);
	/* and really has not been done */
	if (strcmp(hook(), "ftrace")) {
		int index = uintr_register_self(1, 0);

		CHECK(index >= 0);
		_senduipi(index);
		CHECK(wait_until_at_least(&ui_count, 1));
	}
}

TEST(seccomp_may_refuse_with_another_error)
{
	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	refuse(472, SECCOMP_RET_ERRNO | EPERM);
	CHECK_ERRNO(uintr_unregister_handler(0), EPERM);
}

TEST(seccomp_may_allow)
{
	refuse(SYS_getppid, SECCOMP_RET_ERRNO | EPERM);
	if (!strcmp(hook(), "ftrace")) {
		CHECK_ERRNO(uintr_register_handler((void *)ui_handler, 0), ENOSYS);
		return;
	}
	CHECK_EQ(uintr_register_handler((void *)ui_handler, 0), 0);
	CHECK_EQ(uintr_unregister_handler(0), 0);
}

/* ---- ptrace ---- */

static pid_t traced_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		body();
		tap_child_exit();
	}
	NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	NEED(ptrace(PTRACE_SETOPTIONS, pid, 0,
		    PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
	return pid;
}

/* Run to the next system-call stop of this number; 0 if it exits first. */
static int run_to_call(pid_t pid, int request, long nr, struct user_regs_struct *regs)
{
	int status;

	for (;;) {
		NEED(ptrace(request, pid, 0, 0) == 0);
		NEED(waitpid(pid, &status, 0) == pid);
		if (!WIFSTOPPED(status))
			return 0;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		NEED(ptrace(PTRACE_GETREGS, pid, 0, regs) == 0);
		if ((long)regs->orig_rax == nr)
			return 1;
	}
}

static void finish_traced(pid_t pid)
{
	NEED(ptrace(PTRACE_DETACH, pid, 0, 0) == 0);
	CHECK_CHILD(pid);
}

static void expect_einval(void)
{
	CHECK_ERRNO(uintr_unregister_handler(0), EINVAL);
}

TEST(a_tracer_sees_call_and_result)
{
	struct user_regs_struct regs;
	pid_t pid = traced_child(expect_einval);

	NEED(run_to_call(pid, PTRACE_SYSCALL, 472, &regs));
	CHECK_EQ(regs.rax, -ENOSYS);
	NEED(run_to_call(pid, PTRACE_SYSCALL, 472, &regs));
	if (!strcmp(hook(), "patch"))
		CHECK_EQ(regs.rax, -EINVAL);
	finish_traced(pid);
}

static void expect_enosys(void)
{
	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	CHECK_ERRNO(uintr_unregister_handler(0), ENOSYS);
	CHECK_ERRNO(uintr_register_handler((void *)ui_handler, 0), EBUSY);
}

TEST(a_tracer_may_skip_the_call)
{
	struct user_regs_struct regs;
	pid_t pid = traced_child(expect_enosys);

	NEED(run_to_call(pid, PTRACE_SYSCALL, 472, &regs));
	regs.orig_rax = -1;
	NEED(ptrace(PTRACE_SETREGS, pid, 0, &regs) == 0);
	finish_traced(pid);
}

static void expect_getppid_to_be_ours(void)
{
	CHECK_ERRNO(syscall(SYS_getppid, 0L), EINVAL);
}

TEST(a_tracer_may_make_another_call_ours)
{
	struct user_regs_struct regs;
	pid_t pid = traced_child(expect_getppid_to_be_ours);

	NEED(run_to_call(pid, PTRACE_SYSCALL, SYS_getppid, &regs));
	regs.orig_rax = 472;
	regs.rdi = 0;
	NEED(ptrace(PTRACE_SETREGS, pid, 0, &regs) == 0);
	finish_traced(pid);
}

static void expect_42(void)
{
	CHECK_EQ(uintr_register_handler((void *)ui_handler, 0), 42);
	CHECK_ERRNO(uintr_unregister_handler(0), EINVAL);
}

TEST(a_system_call_emulator_gets_its_way)
{
	struct user_regs_struct regs;
	pid_t pid = traced_child(expect_42);

	NEED(run_to_call(pid, PTRACE_SYSEMU, 471, &regs));
	regs.rax = 42;
	NEED(ptrace(PTRACE_SETREGS, pid, 0, &regs) == 0);
	finish_traced(pid);
}

/* ---- 32-bit entry ---- */

TEST(the_32_bit_numbers_are_not_ours)
{
	long ret;

	catch_faults();
	if (sigsetjmp(fault_jmp, 1))
		SKIP("no 32-bit system calls");
	fault_expected = 1;
	__asm__ volatile("int $0x80" : "=a" (ret) : "a" (472L), "b" (0L)
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory");
	fault_expected = 0;
	CHECK_EQ((int)ret, -ENOSYS);
}

int main(void)
{
	return tap_main();
}
