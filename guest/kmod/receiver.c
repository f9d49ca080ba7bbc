// SPDX-License-Identifier: GPL-2.0-only
/*
 * The receiving side: a thread's UPID and the registers that make the thread a
 * receiver.
 *
 * A thread keeps its UPID from its first registration until it exits or execs,
 * so that fds and target-table entries made before an unregister_handler work
 * again after the next register_handler.
 */
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/slab.h>

#include "hw.h"

static struct kmem_cache *r3_receiver_cache;

static struct r3_receiver *r3_receiver_new(void)
{
	struct r3_receiver *r = kmem_cache_zalloc(r3_receiver_cache, GFP_KERNEL);

	if (!r)
		return NULL;
	refcount_set(&r->ref, 1);
	r->pid = get_task_pid(current, PIDTYPE_PID);
	r3_suppress(r);
	return r;
}

/*
 * May be called from any context but NMI.  The holder of a target-table entry
 * has made sure that no SENDUIPI through it is under way (sender.c).
 */
void r3_receiver_put(struct r3_receiver *r)
{
	if (!refcount_dec_and_test(&r->ref))
		return;
	put_pid(r->pid);
	kmem_cache_free(r3_receiver_cache, r);
}

/* t no longer is a receiver. */
void r3_stop_waiting(struct r3_task *t)
{
	if (t->waiting)
		r3_wait_release();
	t->waiting = false;
}

static int r3_do_register_handler(u64 handler, bool waiting)
{
	struct r3_task *t;

	/* Also keeps a non-canonical address out of the MSR */
	if (!handler || handler >= TASK_SIZE_MAX)
		return -EFAULT;

	t = r3_task_attach(GFP_KERNEL);
	if (IS_ERR(t))
		return PTR_ERR(t);
	if (t->armed)
		return -EBUSY;
	if (!t->receiver) {
		t->receiver = r3_receiver_new();
		if (!t->receiver)
			return -ENOMEM;
	}

	local_irq_disable();
	r3_set_reg(t, R3_RR, 0);
	r3_set_reg(t, R3_HANDLER, handler);
	r3_set_reg(t, R3_STACKADJUST, R3_STACKADJUST_REDZONE);
	r3_set_reg(t, R3_PD, (u64)&t->receiver->upid);
	t->armed = true;
	t->waiting = waiting;
	r3_set_misc(t);
	r3_arm(t);
	local_irq_enable();
	return 0;
}

int r3_register_handler(u64 handler, unsigned int flags)
{
	int ret;

	if (flags & ~R3_WAITING_ANY)
		return -EINVAL;
	if (!flags)
		return r3_do_register_handler(handler, false);

	if (!r3_wait_acquire())
		return -EINVAL;
	ret = r3_do_register_handler(handler, true);
	if (ret)
		r3_wait_release();
	return ret;
}

int r3_unregister_handler(void)
{
	struct r3_task *t = r3_task_current();

	if (!t || !t->armed)
		return -EINVAL;

	local_irq_disable();
	r3_suppress(t->receiver);
	t->armed = false;
	r3_set_misc(t);
	r3_set_reg(t, R3_PD, 0);
	r3_set_reg(t, R3_RR, 0);
	r3_set_reg(t, R3_STACKADJUST, 0);
	r3_set_reg(t, R3_HANDLER, 0);
	local_irq_enable();
	r3_stop_waiting(t);
	return 0;
}

/* sp is the address below which the handler's frame is pushed; 0: none. */
int r3_alt_stack(u64 sp)
{
	struct r3_task *t = r3_task_current();

	if (!t || !t->armed)
		return -EOPNOTSUPP;
	if (sp > TASK_SIZE_MAX)
		return -EFAULT;

	local_irq_disable();
	r3_set_reg(t, R3_STACKADJUST,
		   sp ? sp | R3_STACKADJUST_ABSOLUTE : R3_STACKADJUST_REDZONE);
	local_irq_enable();
	return 0;
}

int r3_receiver_init(void)
{
	/* one cache line for the hardware, and none of it shared */
	BUILD_BUG_ON(sizeof(struct r3_upid) != 16);
	BUILD_BUG_ON(offsetof(struct r3_receiver, upid) != 0);
	BUILD_BUG_ON(offsetof(struct r3_receiver, ref) < 64);

	r3_receiver_cache = kmem_cache_create("ring3_uintr_upid",
					      sizeof(struct r3_receiver), 64,
					      SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT, NULL);
	return r3_receiver_cache ? 0 : -ENOMEM;
}

void r3_receiver_exit(void)
{
	kmem_cache_destroy(r3_receiver_cache);
}
