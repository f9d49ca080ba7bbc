// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocked receivers: uintr_wait(), and the WAITING flags of register_handler,
 * with which a user interrupt ends any interruptible system call.
 *
 * When such a thread blocks, its UPID's vector becomes R3_VECTOR_WAKEUP and SN
 * is cleared, so that a sender's notification reaches the kernel on the CPU
 * where the thread went to sleep.  Each CPU has a list of the threads that
 * sleep so; the vector's hook wakes those whose UPID has been posted to.  What
 * was posted before SN was cleared is looked for afterwards (lost wake-up).
 *
 * A woken thread gets TIF_NOTIFY_SIGNAL, as if by task_work: its system call
 * returns as for a signal.  Where it would be restarted, the hook on
 * arch_do_signal_or_restart() makes that -EINTR, provided a user interrupt is
 * pending and no signal is.
 *
 * Both flags are treated alike.  WAITING_SENDER would have the sender trap in
 * SENDUIPI instead; that saves the list and needs a hook on #GP.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ftrace.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include <asm/irq.h>
#include <asm/ptrace.h>

#include "hw.h"

struct r3_sleepers {
	raw_spinlock_t		lock;
	struct list_head	list;
};

static DEFINE_PER_CPU(struct r3_sleepers, r3_sleepers);

#define R3_WAIT_MAX_USEC	1000000000ULL

static bool r3_waiting_set_up;
static bool r3_waiting_works;		/* and not taken over by kvm_intel */

/* Only where t cannot have started another, uninterruptible, sleep. */
static void r3_wake(struct r3_task *t)
{
	set_tsk_thread_flag(t->task, TIF_NOTIFY_SIGNAL);
	if (READ_ONCE(t->task->__state) & TASK_INTERRUPTIBLE)
		wake_up_process(t->task);
}

static void r3_wake_put(struct r3_task *t)
{
	struct task_struct *task = t->task;

	r3_wake(t);
	r3_task_put(t);
	put_task_struct(task);
}

static void r3_wake_later_fn(struct irq_work *work)
{
	r3_wake_put(container_of(work, struct r3_task, wake));
}

static void r3_hold(struct r3_task *t)
{
	get_task_struct(t->task);
	refcount_inc(&t->ref);
}

/* Wake the current thread, which is being switched out. */
static void r3_wake_later(struct r3_task *t)
{
	r3_hold(t);
	if (!irq_work_queue(&t->wake)) {
		/* still queued from before: that one will do */
		refcount_dec(&t->ref);
		put_task_struct(t->task);
	}
}

/* t is on its CPU's list, which is locked. Suppressed again afterwards. */
static void r3_unlist(struct r3_task *t)
{
	list_del_init(&t->wait_node);
	WRITE_ONCE(t->wait_cpu, -1);
	r3_suppress(t->receiver);
	WRITE_ONCE(t->receiver->upid.nv, R3_VECTOR_NOTIFY);
}

/*
 * At switch-out of a running thread with a WAITING flag: is it going to sleep
 * in a way that a signal would end?  SN is set; interrupts are off and the
 * run-queue lock is held, so nothing can be woken from here.
 */
void r3_wait_begin(struct r3_task *t)
{
	struct r3_upid *upid = &t->receiver->upid;
	struct r3_sleepers *s;

	/* No delivery while UIF is clear, so no reason to wake either. */
	if (current->on_rq || !t->uif ||
	    !(READ_ONCE(current->__state) & TASK_INTERRUPTIBLE))
		return;

	if (t->reg[R3_RR] | READ_ONCE(upid->pir)) {
		r3_wake_later(t);
		return;
	}

	s = this_cpu_ptr(&r3_sleepers);
	raw_spin_lock(&s->lock);
	list_add(&t->wait_node, &s->list);
	WRITE_ONCE(t->wait_cpu, smp_processor_id());
	WRITE_ONCE(upid->nv, R3_VECTOR_WAKEUP);
	clear_bit(R3_UPID_SN, (unsigned long *)upid);
	raw_spin_unlock(&s->lock);

	smp_mb__after_atomic();		/* as in r3_arm() */
	if (READ_ONCE(upid->pir))
		r3_wake_later(t);
}

/* At switch-in: off the list, if still there.  Interrupts off. */
void r3_wait_end(struct r3_task *t)
{
	int cpu = READ_ONCE(t->wait_cpu);
	struct r3_sleepers *s;

	if (likely(cpu < 0))
		return;
	s = per_cpu_ptr(&r3_sleepers, cpu);
	raw_spin_lock(&s->lock);
	if (t->wait_cpu >= 0)
		r3_unlist(t);
	raw_spin_unlock(&s->lock);
}

/*
 * Take those off this CPU's list who have been posted to, or all, and wake
 * them.  Interrupts are off, so nobody is added meanwhile.  The waking is done
 * outside the lock, which nests inside run-queue locks.
 */
static void r3_wake_sleepers(bool all)
{
	struct r3_sleepers *s = this_cpu_ptr(&r3_sleepers);
	struct r3_task *t, *found;

	do {
		found = NULL;
		raw_spin_lock(&s->lock);
		list_for_each_entry(t, &s->list, wait_node) {
			if (!all && !READ_ONCE(t->receiver->upid.pir))
				continue;
			r3_unlist(t);
			r3_hold(t);
			found = t;
			break;
		}
		raw_spin_unlock(&s->lock);
		if (found)
			r3_wake_put(found);
	} while (found);
}

/* The hook of R3_VECTOR_WAKEUP. */
static void r3_on_wakeup_vector(void)
{
	r3_wake_sleepers(false);
}

/*
 * This CPU goes offline and its threads sleep on: their notifications would be
 * lost.  They are woken for nothing, which interruptible calls must bear.
 */
void r3_wait_release_cpu(void)
{
	unsigned long flags;

	local_irq_save(flags);
	r3_wake_sleepers(true);
	local_irq_restore(flags);
}

void r3_wait_task_init(struct r3_task *t)
{
	INIT_LIST_HEAD(&t->wait_node);
	t->wait_cpu = -1;
	t->wake = IRQ_WORK_INIT_HARD(r3_wake_later_fn);
}

int r3_wait(u64 usec)
{
	struct r3_task *t = r3_task_current();
	ktime_t timeout;

	if (usec > R3_WAIT_MAX_USEC)
		return -EINVAL;
	if (!usec)
		return 0;
	if (!t || !t->armed)
		return -EOPNOTSUPP;

	timeout = ns_to_ktime(usec * NSEC_PER_USEC);
	set_current_state(TASK_INTERRUPTIBLE);
	return schedule_hrtimeout(&timeout, HRTIMER_MODE_REL) ? -EINTR : 0;
}

/* -- -EINTR instead of a restart -- */

/*
 * Called at the start of arch_do_signal_or_restart().  -ERESTARTNOINTR is left
 * alone: calls that use it (fork) promise never to return EINTR.
 */
static void notrace r3_on_signal_or_restart(unsigned long ip, unsigned long parent_ip,
					    struct ftrace_ops *ops,
					    struct ftrace_regs *fregs)
{
	struct pt_regs *regs = current_pt_regs();
	struct r3_task *t = r3_task_current();
	unsigned long flags;

	if (!t || !t->armed || !t->waiting || test_thread_flag(TIF_SIGPENDING) ||
	    (long)regs->orig_ax < 0)
		return;

	switch ((long)regs->ax) {
	case -ERESTARTSYS:
	case -ERESTARTNOHAND:
	case -ERESTART_RESTARTBLOCK:
		local_irq_save(flags);
		if (r3_pending(t) && r3_hw_testui())
			regs->ax = -EINTR;
		local_irq_restore(flags);
	}
}

static struct ftrace_ops r3_signal_ops = {
	.func	= r3_on_signal_or_restart,
	.flags	= FTRACE_OPS_FL_PERMANENT,
};

/* -- sharing the wake-up vector with KVM -- */

/* Threads with a WAITING flag; they rely on the vector. */
static atomic_t r3_waiting_users = ATOMIC_INIT(0);

/* Both sides: announce first, then look. */
bool r3_wait_acquire(void)
{
	atomic_inc(&r3_waiting_users);
	smp_mb__after_atomic();		/* pairs with r3_on_module() */
	if (READ_ONCE(r3_waiting_works))
		return true;
	r3_wait_release();
	return false;
}

void r3_wait_release(void)
{
	atomic_dec(&r3_waiting_users);
}

/* The kernel's variable for the hook, and what was in it before us. */
static void (**r3_wakeup_hook)(void);
static void (*r3_wakeup_hook_before)(void);

/* kvm_intel takes the vector's hook for itself, without asking. */
static int r3_on_module(struct notifier_block *nb, unsigned long event, void *data)
{
	struct module *mod = data;

	if (strcmp(mod->name, "kvm_intel"))
		return NOTIFY_DONE;

	if (event == MODULE_STATE_GOING) {
		/* unloaded, or could not be loaded: the hook is free again */
		kvm_set_posted_intr_wakeup_handler(r3_on_wakeup_vector);
		WRITE_ONCE(r3_waiting_works, true);
		return NOTIFY_OK;
	}
	if (event != MODULE_STATE_COMING)
		return NOTIFY_DONE;

	WRITE_ONCE(r3_waiting_works, false);
	smp_mb();			/* pairs with r3_wait_acquire() */
	if (atomic_read(&r3_waiting_users)) {
		WRITE_ONCE(r3_waiting_works, true);
		pr_warn("kvm_intel refused: blocked user-interrupt receivers need its wake-up vector\n");
		return notifier_from_errno(-EBUSY);
	}
	pr_info("kvm_intel takes the wake-up vector: no WAITING flags while it is loaded\n");
	return NOTIFY_OK;
}

static struct notifier_block r3_module_nb = {
	.notifier_call = r3_on_module,
};

static bool r3_wakeup_hook_is_free(void)
{
	char name[KSYM_NAME_LEN];

	r3_wakeup_hook = r3_lookup_symbol("kvm_posted_intr_wakeup_handler");
	if (!r3_wakeup_hook)
		return false;
	r3_wakeup_hook_before = *r3_wakeup_hook;
	snprintf(name, sizeof(name), "%ps", r3_wakeup_hook_before);
	return !strcmp(name, "dummy_handler");
}

/* The module does without WAITING flags if any of this is not to be had. */
void r3_wait_init(void)
{
	char *func = "arch_do_signal_or_restart";
	int cpu;

	for_each_possible_cpu(cpu) {
		raw_spin_lock_init(&per_cpu(r3_sleepers, cpu).lock);
		INIT_LIST_HEAD(&per_cpu(r3_sleepers, cpu).list);
	}

	if (!r3_wakeup_hook_is_free()) {
		pr_info("the wake-up vector is taken (KVM) or unknown: no WAITING flags\n");
		return;
	}
	if (ftrace_set_filter(&r3_signal_ops, func, strlen(func), 1) ||
	    register_ftrace_function(&r3_signal_ops)) {
		pr_info("cannot trace %s: no WAITING flags\n", func);
		goto fail_filter;
	}
	if (register_module_notifier(&r3_module_nb)) {
		unregister_ftrace_function(&r3_signal_ops);
		goto fail_filter;
	}
	kvm_set_posted_intr_wakeup_handler(r3_on_wakeup_vector);
	r3_waiting_set_up = true;
	WRITE_ONCE(r3_waiting_works, true);
	return;

fail_filter:
	ftrace_free_filter(&r3_signal_ops);
}

void r3_wait_exit(void)
{
	if (!r3_waiting_set_up)
		return;
	unregister_module_notifier(&r3_module_nb);
	/* ours unless kvm_intel has it now */
	if (cmpxchg(r3_wakeup_hook, r3_on_wakeup_vector, r3_wakeup_hook_before) ==
	    r3_on_wakeup_vector)
		synchronize_rcu();
	unregister_ftrace_function(&r3_signal_ops);
	ftrace_free_filter(&r3_signal_ops);
}
