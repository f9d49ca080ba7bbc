// SPDX-License-Identifier: GPL-2.0-only
/*
 * ring3_uintr: the uintr system calls for a stock Linux 6.1 kernel on a
 * processor with user interrupts.  docs/kernel-module.md describes the whole.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/rcupdate.h>

#include "kmod.h"

struct workqueue_struct *r3_wq;

/* Set at the end of a successful init: a failing one cannot wait for users. */
static bool r3_live;

/* Fails while the module comes or goes; the caller then answers -ENOSYS. */
bool r3_module_get(void)
{
	return READ_ONCE(r3_live) && try_module_get(THIS_MODULE);
}

static int __init r3_init(void)
{
	int ret;

	ret = r3_compat_check();
	if (ret)
		return ret;

	r3_wq = alloc_workqueue("ring3_uintr", WQ_UNBOUND, 0);
	if (!r3_wq)
		return -ENOMEM;
	ret = r3_receiver_init();
	if (ret)
		goto fail_receiver;
	r3_wait_init();
	ret = r3_switch_init();
	if (ret)
		goto fail_switch;
	ret = r3_task_init();
	if (ret)
		goto fail_task;
	ret = r3_trap_init();
	if (ret)
		goto fail_trap;
	ret = r3_hook_init();
	if (ret)
		goto fail_hook;
	WRITE_ONCE(r3_live, true);
	return 0;

fail_hook:
	r3_trap_exit();
fail_trap:
	r3_task_exit();
fail_task:
	r3_switch_exit();
fail_switch:
	r3_wait_exit();
	r3_receiver_exit();
fail_receiver:
	destroy_workqueue(r3_wq);
	return ret;
}

/*
 * Runs only when nothing holds a reference on the module any more.  What may
 * still execute is the end of functions that dropped the last ones.
 */
static void __exit r3_exit(void)
{
	WRITE_ONCE(r3_live, false);
	r3_hook_exit();
	r3_trap_exit();
	r3_task_exit();
	destroy_workqueue(r3_wq);

	/* threads and SRCU callbacks between module_put() and their return */
	synchronize_rcu_tasks();
	/* the same in interrupts */
	synchronize_rcu();

	r3_switch_exit();
	r3_wait_exit();
	r3_receiver_exit();
}

module_init(r3_init);
module_exit(r3_exit);

MODULE_DESCRIPTION("User interrupts (UINTR) for a stock kernel");
MODULE_AUTHOR("The Ring3 project");
MODULE_LICENSE("GPL");
#ifdef R3_TEST_NO_HW
MODULE_INFO(ring3_test_double, "Y");
#endif
