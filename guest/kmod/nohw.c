// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test double for the processor (TEST_NO_HW=1 only): registers in memory, the
 * five instructions carried out in the #UD handler, notifications as
 * inter-processor calls, delivery on the return to user mode.  Lets the rest of
 * the module, and whole programs, run on machines without user interrupts.
 *
 * Follows the SDM where programs and the module can tell; slow, without
 * flexible UIRET, shadow stacks and transactions.  What it cannot show: that
 * real MSR, CR4 and instruction sequences are right (hw.h), and anything about
 * time.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/pagemap.h>
#include <linux/percpu.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/task_work.h>
#include <linux/uaccess.h>
#include <linux/user-return-notifier.h>

#include <asm/apic.h>
#include <asm/ptrace.h>
#include <asm/smp.h>

#include "hw.h"

struct r3_nohw_cpu {
	u64				reg[R3_NR_REGS];
	bool				on;		/* CR4.UINTR */
	bool				uif;
	unsigned long			irr;		/* bit 0: notification sent */
	call_single_data_t		csd;
	struct user_return_notifier	urn;
};

static DEFINE_PER_CPU(struct r3_nohw_cpu, r3_nohw_cpus);

bool r3_hw_present(void)
{
	return true;
}

void r3_hw_enable(void)
{
	lockdep_assert_irqs_disabled();
	this_cpu_write(r3_nohw_cpus.on, true);
}

void r3_hw_disable(void)
{
	lockdep_assert_irqs_disabled();
	this_cpu_write(r3_nohw_cpus.on, false);
}

u64 r3_hw_read(enum r3_reg reg)
{
	lockdep_assert_irqs_disabled();
	return this_cpu_ptr(&r3_nohw_cpus)->reg[reg];
}

/* A value WRMSR would refuse is a bug of the module. */
void r3_hw_write(enum r3_reg reg, u64 val)
{
	static const u64 reserved[R3_NR_REGS] = {
		[R3_MISC] = GENMASK_ULL(63, 40),
		[R3_PD] = GENMASK_ULL(5, 0),
		[R3_TT] = GENMASK_ULL(3, 1),
	};

	lockdep_assert_irqs_disabled();
	WARN_ON_ONCE(val & reserved[reg]);
	WARN_ON_ONCE(reg != R3_RR && reg != R3_MISC &&
		     !__is_canonical_address(val, boot_cpu_data.x86_virt_bits));
	this_cpu_ptr(&r3_nohw_cpus)->reg[reg] = val;
}

/* STUI, CLUI and TESTUI need CR4.UINTR even in the kernel. */
bool r3_hw_testui(void)
{
	lockdep_assert_irqs_disabled();
	WARN_ON(!this_cpu_read(r3_nohw_cpus.on));
	return this_cpu_read(r3_nohw_cpus.uif);
}

void r3_hw_set_uif(bool uif)
{
	lockdep_assert_irqs_disabled();
	WARN_ON(!this_cpu_read(r3_nohw_cpus.on));
	this_cpu_write(r3_nohw_cpus.uif, uif);
}

/* The notification vector arrives: identification and processing. */
static void r3_nohw_notified(void *unused)
{
	struct r3_nohw_cpu *c = this_cpu_ptr(&r3_nohw_cpus);
	struct r3_upid *upid;

	clear_bit(0, &c->irr);
	smp_mb__after_atomic();	/* before looking at what was announced */
	if (!c->on ||
	    ((c->reg[R3_MISC] >> R3_MISC_UINV_SHIFT) & 0xff) != R3_VECTOR_NOTIFY)
		return;		/* would have gone through the IDT */
	upid = (struct r3_upid *)c->reg[R3_PD];
	clear_bit(R3_UPID_ON, (unsigned long *)upid);
	c->reg[R3_RR] |= xchg(&upid->pir, 0);
}

static void r3_nohw_notify(int cpu)
{
	struct r3_nohw_cpu *c = per_cpu_ptr(&r3_nohw_cpus, cpu);

	if (!test_and_set_bit(0, &c->irr))
		WARN_ON(smp_call_function_single_async(cpu, &c->csd));
}

void r3_hw_notify_self(void)
{
	r3_nohw_notify(smp_processor_id());
}

/* SENDUIPI's interprocessor interrupt */
static void r3_nohw_send_ipi(u8 vector, u32 ndst)
{
	u32 apicid = x2apic_mode ? ndst : (ndst >> 8) & 0xff;
	int cpu;

	for_each_online_cpu(cpu) {
		if (per_cpu(x86_cpu_to_apicid, cpu) != apicid)
			continue;
		if (vector == R3_VECTOR_NOTIFY)
			r3_nohw_notify(cpu);
		else
			apic->send_IPI(cpu, vector);
		return;
	}
	WARN_ONCE(1, "notification for APIC id %u, which no CPU has\n", apicid);
}

/* Touch user memory the double could not access, before the next return. */
struct r3_nohw_touch {
	struct callback_head	work;
	unsigned long		addr;
};

static void r3_nohw_touch_fn(struct callback_head *work)
{
	struct r3_nohw_touch *touch = container_of(work, struct r3_nohw_touch, work);

	if (fault_in_writeable((char __user *)touch->addr, 32) &&
	    !(current->flags & PF_EXITING))
		force_sig(SIGSEGV);
	kfree(touch);
}

static void r3_nohw_touch(unsigned long addr)
{
	struct r3_nohw_touch *touch = kmalloc(sizeof(*touch), GFP_ATOMIC);

	if (!touch)
		return;
	touch->addr = addr;
	init_task_work(&touch->work, r3_nohw_touch_fn);
	if (task_work_add(current, &touch->work, TWA_RESUME))
		kfree(touch);
}

/* Recognition and delivery, as the very last thing before user mode. */
static void r3_nohw_return(struct user_return_notifier *urn)
{
	struct r3_nohw_cpu *c = container_of(urn, struct r3_nohw_cpu, urn);
	struct pt_regs *regs = task_pt_regs(current);
	u64 frame[4], adjust, rsp;
	int vector;

	if (!c->on || !c->uif || !c->reg[R3_RR] || !user_64bit_mode(regs))
		return;

	vector = __fls(c->reg[R3_RR]);
	adjust = c->reg[R3_STACKADJUST];
	rsp = adjust & R3_STACKADJUST_ABSOLUTE ? adjust : regs->sp - adjust;
	rsp = (rsp & ~15ULL) - sizeof(frame);
	frame[0] = vector;
	frame[1] = regs->ip;
	frame[2] = regs->flags;
	frame[3] = regs->sp;
	if (copy_to_user_nofault((void __user *)rsp, frame, sizeof(frame))) {
		r3_nohw_touch(rsp);
		return;
	}
	c->reg[R3_RR] &= ~BIT_ULL(vector);
	c->uif = false;
	regs->flags &= ~(X86_EFLAGS_TF | X86_EFLAGS_RF);
	regs->sp = rsp;
	regs->ip = c->reg[R3_HANDLER];
}

static const unsigned int r3_nohw_gpr[16] = {
	offsetof(struct pt_regs, ax), offsetof(struct pt_regs, cx),
	offsetof(struct pt_regs, dx), offsetof(struct pt_regs, bx),
	offsetof(struct pt_regs, sp), offsetof(struct pt_regs, bp),
	offsetof(struct pt_regs, si), offsetof(struct pt_regs, di),
	offsetof(struct pt_regs, r8), offsetof(struct pt_regs, r9),
	offsetof(struct pt_regs, r10), offsetof(struct pt_regs, r11),
	offsetof(struct pt_regs, r12), offsetof(struct pt_regs, r13),
	offsetof(struct pt_regs, r14), offsetof(struct pt_regs, r15),
};

/* Returns false where the processor would raise #GP. */
static bool r3_nohw_senduipi(struct r3_nohw_cpu *c, u64 index)
{
	struct r3_uitte *entry;
	struct r3_upid *upid;
	union {
		struct { u64 low, pir; };
		struct r3_upid upid;
	} old, new;
	unsigned int vector;
	bool notify;

	if (index > (u32)c->reg[R3_MISC])
		return false;
	entry = (struct r3_uitte *)(c->reg[R3_TT] & ~15ULL) + index;
	if (!(entry->word & R3_UITTE_VALID) || entry->word & ~0x3f01ULL ||
	    entry->upid & 63)
		return false;
	vector = entry->word >> R3_UITTE_VECTOR_SHIFT;
	upid = (struct r3_upid *)entry->upid;

	do {
		old.low = READ_ONCE(*(u64 *)upid);
		old.pir = READ_ONCE(upid->pir);
		if (old.low & 0xff00fffcULL)
			return false;
		new = old;
		new.pir |= BIT_ULL(vector);
		notify = !(old.low & (BIT(R3_UPID_ON) | BIT(R3_UPID_SN)));
		if (notify)
			new.low |= BIT(R3_UPID_ON);
	} while (!cmpxchg_double((u64 *)upid, &upid->pir, old.low, old.pir,
				 new.low, new.pir));

	if (notify)
		r3_nohw_send_ipi(new.upid.nv, new.upid.ndst);
	return true;
}

/* RIP is changed by the caller only if this returns true. */
static bool r3_nohw_uiret(struct r3_nohw_cpu *c, struct pt_regs *regs)
{
	const u64 restored = 0x254dd5;
	u64 frame[3];

	if (copy_from_user_nofault(frame, (void __user *)regs->sp, sizeof(frame))) {
		r3_nohw_touch(regs->sp);	/* and try again */
		return true;
	}
	if (frame[0] >= TASK_SIZE_MAX)
		return false;
	regs->ip = frame[0];
	regs->flags = (regs->flags & ~restored) | (frame[1] & restored);
	regs->sp = frame[2];
	c->uif = true;
	return true;
}

/* In the #UD handler of a thread that has user interrupts switched on. */
enum r3_nohw_result r3_nohw_execute(struct pt_regs *regs, const struct r3_insn *insn)
{
	struct r3_nohw_cpu *c = this_cpu_ptr(&r3_nohw_cpus);
	u64 operand;
	bool ok = true;

	WARN_ON(!c->on);
	switch (insn->kind) {
	case R3_INSN_STUI:
	case R3_INSN_CLUI:
		c->uif = insn->kind == R3_INSN_STUI;
		break;
	case R3_INSN_TESTUI:
		regs->flags &= ~(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF |
				 X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_OF);
		regs->flags |= c->uif ? X86_EFLAGS_CF : 0;
		break;
	case R3_INSN_UIRET:
		if (!r3_nohw_uiret(c, regs))
			force_sig(SIGSEGV);
		return R3_NOHW_DONE;
	case R3_INSN_SENDUIPI:
		if (!(c->reg[R3_TT] & R3_TT_ENABLE))
			return R3_NOHW_UD;
		operand = *(u64 *)((void *)regs + r3_nohw_gpr[insn->operand]);
		ok = r3_nohw_senduipi(c, operand);
		break;
	default:
		return R3_NOHW_UD;
	}
	if (ok)
		regs->ip += insn->len;
	else
		force_sig(SIGSEGV);
	return R3_NOHW_DONE;
}

void r3_nohw_cpu_online(void)
{
	struct r3_nohw_cpu *c = this_cpu_ptr(&r3_nohw_cpus);

	INIT_CSD(&c->csd, r3_nohw_notified, NULL);
	c->irr = 0;
	c->urn.on_user_return = r3_nohw_return;
	user_return_notifier_register(&c->urn);
}

void r3_nohw_cpu_offline(void)
{
	unsigned long flags;

	local_irq_save(flags);
	user_return_notifier_unregister(this_cpu_ptr(&r3_nohw_cpus.urn));
	local_irq_restore(flags);
}
