// SPDX-License-Identifier: GPL-2.0-only
/*
 * The register file of user interrupts and who owns it: context switch, CPU
 * hotplug, resume from suspend.
 *
 * A thread's registers are loaded when it is switched in and stay in the CPU
 * after it is switched out; only CR4.UINTR goes off then, which makes them
 * inert.  They are written again only if the thread comes back on another CPU
 * or another thread of ours ran here in between (the scheme the kernel uses
 * for FPU registers).
 *
 * No notification is lost across a switch because of three facts:
 *  - SN is set before the thread leaves, so whoever sends later only posts;
 *  - a notification still in flight then finds CR4.UINTR off (the IDT handler
 *    counts it) or another receiver (which processes its own UPID once too
 *    often); what it announced stays in PIR, because only processing empties
 *    PIR;
 *  - on the way in PIR is collected, then SN is cleared, then PIR is looked at
 *    again: a request posted in between without notification is found there.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpuhotplug.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <linux/syscore_ops.h>

#include <asm/apic.h>
#include <asm/smp.h>

#include "hw.h"

/* Whose registers the MSRs of this CPU hold, provided its ->cpu agrees. */
static DEFINE_PER_CPU(struct r3_task *, r3_owner);

/* The table in this CPU's TT; compared, never followed. */
static DEFINE_PER_CPU(struct r3_uitt *, r3_loaded_uitt);

static int r3_cpuhp_state;

static u32 r3_ndst(int cpu)
{
	u32 apicid = per_cpu(x86_cpu_to_apicid, cpu);

	/* xAPIC mode takes the destination from bits 15:8 of the field */
	return x2apic_mode ? apicid : (apicid & 0xff) << 8;
}

static void r3_load(struct r3_task *t)
{
	int cpu = smp_processor_id();

	if (this_cpu_read(r3_owner) == t && t->cpu == cpu)
		return;

	/* UINV goes last: nothing may be merged into a UIRR yet to be loaded */
	r3_hw_write(R3_MISC, 0);
	r3_hw_write(R3_HANDLER, t->reg[R3_HANDLER]);
	r3_hw_write(R3_STACKADJUST, t->reg[R3_STACKADJUST]);
	r3_hw_write(R3_PD, t->reg[R3_PD]);
	this_cpu_write(r3_loaded_uitt, t->uitt);
	r3_hw_write(R3_TT, t->reg[R3_TT]);
	r3_hw_write(R3_RR, t->reg[R3_RR]);
	r3_hw_write(R3_MISC, t->reg[R3_MISC]);
	r3_hw_set_uif(t->uif);

	t->cpu = cpu;
	this_cpu_write(r3_owner, t);
}

/*
 * Give the running thread's UPID to this CPU.  On entry SN is set, UINV armed,
 * interrupts off, so no notification is processed meanwhile.
 */
void r3_arm(struct r3_task *t)
{
	struct r3_upid *upid = &t->receiver->upid;
	u64 posted;

	WRITE_ONCE(upid->nv, R3_VECTOR_NOTIFY);
	WRITE_ONCE(upid->ndst, r3_ndst(smp_processor_id()));

	/* What notification processing does, in its order: ON, then PIR */
	clear_bit(R3_UPID_ON, (unsigned long *)upid);
	posted = xchg(&upid->pir, 0);
	if (posted)
		r3_set_reg(t, R3_RR, t->reg[R3_RR] | posted);

	clear_bit(R3_UPID_SN, (unsigned long *)upid);
	smp_mb__after_atomic();		/* a sender: PIR, then SN; we: SN, then PIR */
	if (READ_ONCE(upid->pir))
		r3_hw_notify_self();
}

/* Is a user interrupt waiting for the running thread? Interrupts off. */
bool r3_pending(struct r3_task *t)
{
	return r3_hw_read(R3_RR) | READ_ONCE(t->receiver->upid.pir);
}

/* For the running thread: change a register in the CPU and in its image. */
void r3_set_reg(struct r3_task *t, enum r3_reg reg, u64 val)
{
	t->reg[reg] = val;
	r3_hw_write(reg, val);
}

void r3_set_misc(struct r3_task *t)
{
	u64 misc = 0;

	if (t->uitt)
		misc |= R3_UITT_ENTRIES - 1;
	if (t->armed)
		misc |= (u64)R3_VECTOR_NOTIFY << R3_MISC_UINV_SHIFT;
	r3_set_reg(t, R3_MISC, misc);
}

/* For the running thread: let it send by t->uitt. Interrupts off. */
void r3_load_uitt(struct r3_task *t)
{
	this_cpu_write(r3_loaded_uitt, t->uitt);
	r3_set_reg(t, R3_TT, (u64)t->uitt->table | R3_TT_ENABLE);
	r3_set_misc(t);
}

static bool r3_has_uitt(int cpu, void *uitt)
{
	return per_cpu(r3_loaded_uitt, cpu) == uitt;
}

static void r3_nothing(void *unused)
{
}

/*
 * After an entry of the table was made invalid: wait until no CPU is inside a
 * SENDUIPI that saw it valid.  An instruction is not interrupted half way, so
 * an interrupt taken is enough.  A CPU that loads the table after being looked
 * at here sees the entry invalid: WRMSR and the return to user mode order its
 * loads after its store to r3_loaded_uitt.
 */
void r3_sync_uitt(struct r3_uitt *u)
{
	smp_mb();		/* entry invalid before looking at the CPUs */
	on_each_cpu_cond(r3_has_uitt, r3_nothing, u, true);
}

/* On the CPU the thread leaves; interrupts off, run-queue lock held. */
static void r3_sched_out(struct preempt_notifier *notifier,
			 struct task_struct *next)
{
	struct r3_task *t = container_of(notifier, struct r3_task, notifier);

	t->uif = r3_hw_testui();
	if (t->armed) {
		r3_suppress(t->receiver);
		t->reg[R3_RR] = r3_hw_read(R3_RR);
		if (t->waiting)
			r3_wait_begin(t);
	}
	r3_hw_disable();
}

/* On the CPU the thread arrives at; interrupts on, preemption off. */
static void r3_sched_in(struct preempt_notifier *notifier, int cpu)
{
	struct r3_task *t = container_of(notifier, struct r3_task, notifier);
	unsigned long flags;

	local_irq_save(flags);
	r3_wait_end(t);
	r3_hw_enable();
	r3_load(t);
	if (t->armed)
		r3_arm(t);
	local_irq_restore(flags);
}

static struct preempt_ops r3_preempt_ops = {
	.sched_in	= r3_sched_in,
	.sched_out	= r3_sched_out,
};

struct r3_task *r3_task_current(void)
{
	struct preempt_notifier *n;

	hlist_for_each_entry(n, &current->preempt_notifiers, link)
		if (n->ops == &r3_preempt_ops)
			return container_of(n, struct r3_task, notifier);
	return NULL;
}

void r3_switch_attach(struct r3_task *t)
{
	unsigned long flags;

	t->cpu = -1;
	preempt_notifier_init(&t->notifier, &r3_preempt_ops);

	local_irq_save(flags);
	preempt_notifier_register(&t->notifier);
	r3_hw_enable();
	r3_load(t);
	local_irq_restore(flags);
}

void r3_switch_detach(struct r3_task *t)
{
	unsigned long flags;
	int i;

	local_irq_save(flags);
	if (t->armed)
		r3_suppress(t->receiver);
	r3_set_reg(t, R3_MISC, 0);
	for (i = 0; i < R3_NR_REGS; i++)
		r3_set_reg(t, i, 0);
	r3_hw_set_uif(false);
	r3_hw_disable();
	this_cpu_write(r3_owner, NULL);
	this_cpu_write(r3_loaded_uitt, NULL);
	preempt_notifier_unregister(&t->notifier);
	local_irq_restore(flags);
}

/*
 * Neither a previous kernel (kexec) nor INIT can be relied on to have left the
 * MSRs zero.  Runs on the CPU itself, before it may run user threads.
 */
static int r3_cpu_online(unsigned int cpu)
{
	unsigned long flags;
	int i;

	if (!r3_hw_present()) {
		pr_err("CPU %u has no user interrupts (CPUID), others do\n", cpu);
		return -ENODEV;
	}

	local_irq_save(flags);
	this_cpu_write(r3_owner, NULL);
	this_cpu_write(r3_loaded_uitt, NULL);
	r3_hw_write(R3_MISC, 0);
	for (i = 0; i < R3_NR_REGS; i++)
		r3_hw_write(i, 0);
	r3_hw_enable();
	r3_hw_set_uif(false);
	r3_hw_disable();
	r3_nohw_cpu_online();
	local_irq_restore(flags);
	return 0;
}

static int r3_cpu_offline(unsigned int cpu)
{
	this_cpu_write(r3_owner, NULL);
	r3_wait_release_cpu();
	r3_nohw_cpu_offline();
	return 0;
}

/* The boot CPU loses its MSRs in suspend without going through hotplug. */
static void r3_resume(void)
{
	struct r3_task *t = r3_task_current();

	this_cpu_write(r3_owner, NULL);
	if (t) {
		r3_hw_enable();
		r3_load(t);
	}
}

static struct syscore_ops r3_syscore_ops = {
	.resume	= r3_resume,
};

int r3_switch_init(void)
{
	int ret;

	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "ring3/uintr:online",
				r3_cpu_online, r3_cpu_offline);
	if (ret < 0)
		return ret;
	r3_cpuhp_state = ret;
	register_syscore_ops(&r3_syscore_ops);
	preempt_notifier_inc();
	return 0;
}

void r3_switch_exit(void)
{
	preempt_notifier_dec();
	unregister_syscore_ops(&r3_syscore_ops);
	cpuhp_remove_state(r3_cpuhp_state);
}
