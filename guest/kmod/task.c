// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a thread that uses user interrupts: attached at its first call or
 * instruction, detached when it execs or exits.  fork() passes the target table
 * on (sender.c); nothing else is inherited.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/binfmts.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>

#include "kmod.h"

/*
 * Make sure the current thread has an r3_task.  Returns an error pointer when
 * out of memory or while the module is being removed.
 */
struct r3_task *r3_task_attach(gfp_t gfp)
{
	struct r3_task *t = r3_task_current();

	if (t)
		return t;
	if (!r3_module_get())
		return ERR_PTR(-ENOSYS);
	t = kzalloc(sizeof(*t), gfp | __GFP_ACCOUNT);
	if (!t) {
		module_put(THIS_MODULE);
		return ERR_PTR(-ENOMEM);
	}
	t->task = current;
	refcount_set(&t->ref, 1);
	r3_wait_task_init(t);
	r3_switch_attach(t);
	return t;
}

void r3_task_put(struct r3_task *t)
{
	if (!refcount_dec_and_test(&t->ref))
		return;
	/* irq_work looks at t->wake once more after its function has returned */
	kfree_rcu(t, rcu);
	module_put(THIS_MODULE);
}

/* The thread runs on, or dies, without user interrupts.  May not sleep. */
static void r3_task_detach(struct r3_task *t)
{
	r3_switch_detach(t);
	r3_stop_waiting(t);
	if (t->receiver) {
		WRITE_ONCE(t->receiver->gone, true);
		r3_receiver_put(t->receiver);
	}
	if (t->uitt)
		r3_uitt_put(t->uitt);
	r3_task_put(t);
}

/* In the exiting thread. */
static void r3_on_exit(void *data, struct task_struct *p)
{
	struct r3_task *t = r3_task_current();

	if (t)
		r3_task_detach(t);
}

/* In the thread that execs, which has its new address space already. */
static void r3_on_exec(void *data, struct task_struct *p, pid_t old_pid,
		       struct linux_binprm *bprm)
{
	struct r3_task *t = r3_task_current();

	if (t)
		r3_task_detach(t);
}

/* In the parent, before the child runs for the first time. */
static void r3_on_fork(void *data, struct task_struct *parent,
		       struct task_struct *child)
{
	if (parent->mm && child->mm && child->mm != parent->mm)
		r3_uitt_inherit(parent->mm, child->mm);
}

static struct {
	const char		*name;
	void			*probe;
	struct tracepoint	*tp;		/* set while attached */
} r3_probes[] = {
	{ "sched_process_exit", r3_on_exit },
	{ "sched_process_exec", r3_on_exec },
	{ "sched_process_fork", r3_on_fork },
};

int r3_task_init(void)
{
	struct tracepoint *tp;
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(r3_probes); i++) {
		tp = r3_find_tracepoint(r3_probes[i].name);
		if (!tp) {
			pr_err("this kernel has no tracepoint %s\n", r3_probes[i].name);
			ret = -EOPNOTSUPP;
			goto fail;
		}
		ret = tracepoint_probe_register(tp, r3_probes[i].probe, NULL);
		if (ret)
			goto fail;
		r3_probes[i].tp = tp;
	}
	return 0;

fail:
	r3_task_exit();
	return ret;
}

void r3_task_exit(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(r3_probes); i++) {
		if (!r3_probes[i].tp)
			continue;
		tracepoint_probe_unregister(r3_probes[i].tp, r3_probes[i].probe, NULL);
		r3_probes[i].tp = NULL;
	}
	tracepoint_synchronize_unregister();
}
