// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module needs of processor and kernel beyond exported functions, and
 * the refusal of what it does not know.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/tracepoint.h>
#include <linux/utsname.h>
#include <linux/version.h>

#include <asm/cpufeature.h>

#include "hw.h"

#if LINUX_VERSION_CODE >> 8 != KERNEL_VERSION(6, 1, 0) >> 8
#error "ring3_uintr knows Linux 6.1 only: see docs/kernel-module.md"
#endif

#if !defined(CONFIG_X86_64) || !defined(CONFIG_SMP) ||			\
	!defined(CONFIG_HAVE_KVM) || !defined(CONFIG_PREEMPT_NOTIFIERS) ||	\
	!defined(CONFIG_MMU_NOTIFIER) || !defined(CONFIG_TRACEPOINTS) ||	\
	!defined(CONFIG_DYNAMIC_FTRACE_WITH_REGS) || !defined(CONFIG_TASKS_RCU)
#error "ring3_uintr: the kernel lacks an option listed in docs/kernel-module.md"
#endif

int r3_compat_check(void)
{
	/* MODVERSIONS lets a module built for another 6.x through at times */
	if (strncmp(init_utsname()->release, "6.1.", 4)) {
		pr_err("made for Linux 6.1, this is %s: refusing\n",
		       init_utsname()->release);
		return -EOPNOTSUPP;
	}
	if (!r3_hw_present()) {
		pr_err("this processor has no user interrupts (CPUID.(7,0):EDX[5] = 0)\n");
		return -ENODEV;
	}
	/*
	 * SENDUIPI and notification processing read kernel memory while user
	 * code runs; with page-table isolation it is not mapped then.
	 */
	if (boot_cpu_has(X86_FEATURE_PTI)) {
		pr_err("page-table isolation is on; boot with \"nopti\" if you can afford it\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

/*
 * Address of a kernel symbol that is not exported, or NULL.
 * kallsyms_lookup_name() is not exported either, but a kprobe finds it.
 */
void *r3_lookup_symbol(const char *name)
{
	static unsigned long (*lookup)(const char *name);
	struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };

	if (!lookup) {
		if (register_kprobe(&kp))
			return NULL;
		lookup = (void *)kp.addr;
		unregister_kprobe(&kp);
	}
	return (void *)lookup(name);
}

struct r3_tp_search {
	const char		*name;
	struct tracepoint	*found;
};

static void r3_tp_match(struct tracepoint *tp, void *data)
{
	struct r3_tp_search *s = data;

	if (!strcmp(tp->name, s->name))
		s->found = tp;
}

struct tracepoint *r3_find_tracepoint(const char *name)
{
	struct r3_tp_search s = { .name = name };

	for_each_kernel_tracepoint(r3_tp_match, &s);
	return s.found;
}
