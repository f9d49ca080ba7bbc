// SPDX-License-Identifier: GPL-2.0-only
/*
 * How system calls 471..479 get from the kernel's entry code to r3_call().  The
 * kernel answers -ENOSYS to them; there are three ways to do better, tried in
 * this order unless the parameter "hook" names one:
 *
 *  patch       The instruction in do_syscall_64() that stores -ENOSYS becomes a
 *              call.  Costs other system calls nothing; tracers see the true
 *              result.  Needs the exact bytes.
 *  ftrace      exit_to_user_mode_prepare() is traced; a call that is about to
 *              return -ENOSYS is done then, in a task work.  Costs each return
 *              to user mode a short function.  A tracer stopped at the exit
 *              sees -ENOSYS.  Threads under seccomp or a system-call emulator
 *              do not get the calls: it cannot be told whether a filter refused
 *              them with ENOSYS.
 *  tracepoint  The sys_enter tracepoint queues the task work.  Exported
 *              functions only.  Costs each system call of the whole machine
 *              the traced path.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>
#include <linux/task_work.h>
#include <linux/tracepoint.h>
#include <linux/vmalloc.h>

#include <asm/sync_core.h>
#include <asm/syscall.h>

#include "kmod.h"

struct r3_hook {
	const char	*name;
	int		(*install)(void);
	void		(*remove)(void);
};

static char *hook = "auto";
module_param(hook, charp, 0444);
MODULE_PARM_DESC(hook, "how to add the system calls: auto (default), patch, ftrace, tracepoint; reads as the way in use");

static const struct r3_hook *r3_hook_used;

/* -- patch -- */

#define R3_STORE_LEN	8

/*
 *	cmp  $-1, %eax
 *	je   (anywhere)
 *	movq $-38, 80(%rbx)
 * 0x100 stands for any byte.
 */
static const u16 r3_pattern[] = {
	0x83, 0xf8, 0xff, 0x74, 0x100,
	0x48, 0xc7, 0x43, offsetof(struct pt_regs, ax), 0xda, 0xff, 0xff, 0xff
};

/* mov %rdi, %rbx: what makes rbx the pt_regs, in the function's prologue */
static const u16 r3_prologue_pattern[] = { 0x48, 0x89, 0xfb };

#define R3_PROLOGUE_SCAN	16
#define R3_FUNCTION_SCAN	192

static u8 *r3_store;			/* the patched instruction */
static u8 r3_store_old[R3_STORE_LEN];
static atomic_t r3_patched_calls = ATOMIC_INIT(0);

/* From r3_hook_stub: interrupts on, in the calling thread. */
void r3_hook_patched(struct pt_regs *regs)
{
	atomic_inc(&r3_patched_calls);
	regs->ax = r3_call(regs);
	atomic_dec(&r3_patched_calls);
}

/* Where in code the pattern begins, if it occurs exactly once. */
static u8 *r3_match(u8 *code, size_t len, const u16 *pattern, size_t n)
{
	u8 *found = NULL;
	size_t i, j;

	for (i = 0; i + n <= len; i++) {
		for (j = 0; j < n; j++)
			if (pattern[j] != 0x100 && pattern[j] != code[i + j])
				break;
		if (j < n)
			continue;
		if (found)
			return NULL;
		found = code + i;
	}
	return found;
}

struct r3_poke {
	u8		*alias;
	const u8	*from, *to;
	atomic_t	cpus;
	bool		done;
	int		ret;
};

/* On all CPUs at once, interrupts off: the first one writes. */
static int r3_poke_cpu(void *data)
{
	struct r3_poke *p = data;

	if (atomic_inc_return(&p->cpus) == 1) {
		if (memcmp(p->alias, p->from, R3_STORE_LEN))
			p->ret = -EBUSY;
		else
			memcpy(p->alias, p->to, R3_STORE_LEN);
		/* the text is written before anybody leaves */
		smp_store_release(&p->done, true);
	} else {
		while (!smp_load_acquire(&p->done))	/* see above */
			cpu_relax();
	}
	sync_core();
	return 0;
}

/* Replace the instruction at addr, kernel text, through a writable alias. */
static int r3_poke_text(u8 *addr, const u8 *from, const u8 *to)
{
	struct r3_poke p = { .from = from, .to = to };
	struct page *pages[2];
	void *map;
	int ret;

	pages[0] = virt_to_page(addr);
	pages[1] = virt_to_page(addr + R3_STORE_LEN - 1);
	map = vmap(pages, pages[0] == pages[1] ? 1 : 2, VM_MAP, PAGE_KERNEL);
	if (!map)
		return -ENOMEM;
	p.alias = map + offset_in_page(addr);
	ret = stop_machine(r3_poke_cpu, &p, cpu_online_mask);
	vunmap(map);
	return ret ?: p.ret;
}

static int r3_patch_install(void)
{
	u8 *func = r3_lookup_symbol("do_syscall_64");
	u8 call[R3_STORE_LEN] = { 0x2e, 0x2e, 0x2e, 0xe8 };
	s64 distance;
	s32 rel;
	u8 *p;

	if (!func) {
		pr_info("hook patch: do_syscall_64 not found\n");
		return -EOPNOTSUPP;
	}
	p = r3_match(func, R3_FUNCTION_SCAN, r3_pattern, ARRAY_SIZE(r3_pattern));
	if (!p || !r3_match(func, R3_PROLOGUE_SCAN, r3_prologue_pattern,
			    ARRAY_SIZE(r3_prologue_pattern))) {
		pr_info("hook patch: do_syscall_64 of this kernel is unknown code\n");
		return -EOPNOTSUPP;
	}
	p += ARRAY_SIZE(r3_pattern) - R3_STORE_LEN;
	memcpy(r3_store_old, p, R3_STORE_LEN);

	/*
	 * One instruction for one instruction, so that no thread can be
	 * preempted between two halves: a call, made eight bytes long by
	 * segment prefixes that calls ignore.
	 */
	distance = (s64)r3_hook_stub - (s64)(p + R3_STORE_LEN);
	rel = distance;
	if (rel != distance) {
		pr_info("hook patch: module too far from kernel\n");
		return -EOPNOTSUPP;
	}
	memcpy(call + 4, &rel, sizeof(rel));

	r3_store = p;
	return r3_poke_text(p, r3_store_old, call);
}

static void r3_patch_remove(void)
{
	u8 call[R3_STORE_LEN];
	int ret;

	/* The module is about to vanish: short of memory means trying again. */
	memcpy(call, r3_store, R3_STORE_LEN);
	do {
		ret = r3_poke_text(r3_store, call, r3_store_old);
		if (ret == -ENOMEM)
			msleep(100);
	} while (ret == -ENOMEM);
	WARN_ON(ret);
	/* Threads inside a call return to the byte behind the instruction. */
	while (atomic_read(&r3_patched_calls))
		msleep(20);
}

/* -- ftrace and tracepoint: both queue a task work -- */

struct r3_deferred {
	struct callback_head	work;
};

static void r3_deferred_call(struct callback_head *work)
{
	struct pt_regs *regs = current_pt_regs();

	kfree(container_of(work, struct r3_deferred, work));
	if (!(current->flags & PF_EXITING) && r3_is_ours(regs->orig_ax) &&
	    regs->ax == -ENOSYS)
		regs->ax = r3_call(regs);
	module_put(THIS_MODULE);
}

/* Interrupts or preemption are off. */
static void r3_defer_call(void)
{
	struct r3_deferred *d;

	if (!r3_module_get())
		return;
	d = kmalloc(sizeof(*d), GFP_ATOMIC);
	if (d) {
		init_task_work(&d->work, r3_deferred_call);
		if (!task_work_add(current, &d->work, TWA_RESUME))
			return;
		kfree(d);
	}
	module_put(THIS_MODULE);
}

static void notrace r3_on_return_to_user(unsigned long ip, unsigned long parent_ip,
					 struct ftrace_ops *ops,
					 struct ftrace_regs *fregs)
{
	struct pt_regs *regs = current_pt_regs();

	if (likely(!r3_is_ours(regs->orig_ax)) || regs->ax != -ENOSYS)
		return;
	if (in_ia32_syscall() || !user_64bit_mode(regs))
		return;
	if (current_thread_info()->syscall_work &
	    (SYSCALL_WORK_SECCOMP | SYSCALL_WORK_SYSCALL_EMU))
		return;
	r3_defer_call();
}

/* PERMANENT: the ftrace_enabled sysctl must not switch system calls off. */
static struct ftrace_ops r3_ftrace_ops = {
	.func	= r3_on_return_to_user,
	.flags	= FTRACE_OPS_FL_PERMANENT,
};

static int r3_ftrace_install(void)
{
	char *func = "exit_to_user_mode_prepare";
	int ret;

	ret = ftrace_set_filter(&r3_ftrace_ops, func, strlen(func), 1);
	if (!ret)
		ret = register_ftrace_function(&r3_ftrace_ops);
	if (ret) {
		pr_info("hook ftrace: cannot trace %s: error %d\n", func, -ret);
		ftrace_free_filter(&r3_ftrace_ops);
	}
	return ret;
}

static void r3_ftrace_remove(void)
{
	unregister_ftrace_function(&r3_ftrace_ops);
	ftrace_free_filter(&r3_ftrace_ops);
}

static struct tracepoint *r3_sys_enter;

static void r3_on_sys_enter(void *data, struct pt_regs *regs, long nr)
{
	if (unlikely(r3_is_ours(nr)) && !in_ia32_syscall())
		r3_defer_call();
}

static int r3_tracepoint_install(void)
{
	r3_sys_enter = r3_find_tracepoint("sys_enter");
	if (!r3_sys_enter) {
		pr_info("hook tracepoint: no tracepoint sys_enter\n");
		return -EOPNOTSUPP;
	}
	return tracepoint_probe_register(r3_sys_enter, r3_on_sys_enter, NULL);
}

static void r3_tracepoint_remove(void)
{
	tracepoint_probe_unregister(r3_sys_enter, r3_on_sys_enter, NULL);
	tracepoint_synchronize_unregister();
}

/* -- choice -- */

static const struct r3_hook r3_hooks[] = {
	{ "patch", r3_patch_install, r3_patch_remove },
	{ "ftrace", r3_ftrace_install, r3_ftrace_remove },
	{ "tracepoint", r3_tracepoint_install, r3_tracepoint_remove },
};

int r3_hook_init(void)
{
	bool any = !strcmp(hook, "auto");
	int i, ret = -EINVAL;

	for (i = 0; i < ARRAY_SIZE(r3_hooks); i++) {
		if (!any && strcmp(hook, r3_hooks[i].name))
			continue;
		ret = r3_hooks[i].install();
		if (!ret) {
			r3_hook_used = &r3_hooks[i];
			hook = (char *)r3_hook_used->name;
			pr_info("system calls %d..%d added by way of %s\n",
				R3_NR_FIRST, R3_NR_LAST, hook);
			return 0;
		}
	}
	pr_err("cannot add system calls (hook=%s): error %d\n", hook, -ret);
	return ret;
}

void r3_hook_exit(void)
{
	r3_hook_used->remove();
}
