/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The objects of the module and who may call what.
 *
 *   r3_task      one per thread that ever used a UINTR instruction or call;
 *                found through the thread's own preempt notifiers, touched by
 *                that thread only
 *   r3_receiver  a UPID; referenced by its thread, by uvec fds, by UITT entries
 *   r3_uitt      a target table; referenced by address spaces, by the threads
 *                that have it loaded, by uipi fds
 *
 * References point in one direction only (task, fd, mm -> uitt -> receiver), so
 * there are no cycles.  Each task, mm entry, file and queued call holds a
 * reference on the module.
 */
#ifndef RING3_KMOD_H
#define RING3_KMOD_H

#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "arch.h"

/*
 * Vectors a stock kernel already has in its IDT for posted interrupts of
 * virtual machines.  Its handlers only acknowledge and count; the second also
 * calls a hook.  See docs/kernel-module.md.
 */
#define R3_VECTOR_NOTIFY	0xf2
#define R3_VECTOR_WAKEUP	0xf1

/* register_handler flags, as in Intel's uapi header */
#define R3_WAITING_RECEIVER	0x1000
#define R3_WAITING_SENDER	0x2000
#define R3_WAITING_ANY		(R3_WAITING_RECEIVER | R3_WAITING_SENDER)

struct r3_receiver {
	struct r3_upid		upid;
	/* SENDUIPI writes the line above; keep what the kernel reads away */
	refcount_t		ref ____cacheline_aligned;
	bool			gone;		/* thread exited or exec'ed */
	struct pid		*pid;
};

struct r3_uitt {
	struct r3_uitte		*table;
	refcount_t		ref;
	struct mutex		lock;		/* everything below */
	DECLARE_BITMAP(used, R3_UITT_ENTRIES);
	struct r3_receiver	*target[R3_UITT_ENTRIES];
};

struct r3_task {
	struct preempt_notifier	notifier;
	struct task_struct	*task;
	struct r3_receiver	*receiver;	/* kept from first registration to exit */
	struct r3_uitt		*uitt;		/* in TT, or NULL */
	bool			armed;		/* has a handler */
	bool			waiting;	/* a UI ends blocking calls */

	/* the thread's register file; current in the CPU while it runs */
	u64			reg[R3_NR_REGS];
	bool			uif;
	int			cpu;		/* whose MSRs held it last, or -1 */

	/* wait.c; list and wait_cpu under the lock of that CPU's list */
	struct list_head	wait_node;
	int			wait_cpu;	/* or -1 */
	struct irq_work		wake;
	refcount_t		ref;		/* the thread, and a queued wake */
	struct rcu_head		rcu;
};

/* main.c */
extern struct workqueue_struct *r3_wq;
bool r3_module_get(void);

/* task.c: all on the current thread */
struct r3_task *r3_task_current(void);
struct r3_task *r3_task_attach(gfp_t gfp);
void r3_task_put(struct r3_task *t);
int r3_task_init(void);
void r3_task_exit(void);

/* switch.c */
void r3_switch_attach(struct r3_task *t);
void r3_switch_detach(struct r3_task *t);
void r3_set_reg(struct r3_task *t, enum r3_reg reg, u64 val);
void r3_set_misc(struct r3_task *t);
void r3_arm(struct r3_task *t);
bool r3_pending(struct r3_task *t);
void r3_load_uitt(struct r3_task *t);
void r3_sync_uitt(struct r3_uitt *u);
int r3_switch_init(void);
void r3_switch_exit(void);

static inline void r3_suppress(struct r3_receiver *r)
{
	set_bit(R3_UPID_SN, (unsigned long *)&r->upid);
}

/* receiver.c */
void r3_receiver_put(struct r3_receiver *r);
static inline void r3_receiver_get(struct r3_receiver *r)
{
	refcount_inc(&r->ref);
}
int r3_register_handler(u64 handler, unsigned int flags);
int r3_unregister_handler(void);
void r3_stop_waiting(struct r3_task *t);
int r3_alt_stack(u64 sp);
int r3_receiver_init(void);
void r3_receiver_exit(void);

/* sender.c */
int r3_register_sender(struct r3_receiver *r, unsigned int vector);
int r3_unregister_sender(int index);
struct r3_uitt *r3_uitt_get_current(gfp_t gfp);
struct r3_uitt *r3_uitt_find_current(void);
void r3_uitt_put(struct r3_uitt *u);
int r3_uitt_adopt(struct r3_uitt *u);
void r3_uitt_load(struct r3_task *t, struct r3_uitt *u);
void r3_uitt_inherit(struct mm_struct *from, struct mm_struct *to);

/* fds.c */
int r3_vector_fd(u64 vector);
int r3_ipi_fd(void);
int r3_register_sender_fd(int fd);
int r3_register_self(u64 vector);

/* calls.c */
#define R3_NR_FIRST		471
#define R3_NR_LAST		479

static inline bool r3_is_ours(int nr)
{
	return nr >= R3_NR_FIRST && nr <= R3_NR_LAST;
}

long r3_call(struct pt_regs *regs);

/* hook.c */
void r3_hook_stub(void);			/* stub.S */
void r3_hook_patched(struct pt_regs *regs);
int r3_hook_init(void);
void r3_hook_exit(void);

/* trap.c */
enum r3_insn_kind {
	R3_INSN_OTHER, R3_INSN_UIRET, R3_INSN_TESTUI, R3_INSN_CLUI,
	R3_INSN_STUI, R3_INSN_SENDUIPI
};

struct r3_insn {
	enum r3_insn_kind	kind;
	unsigned int		len;
	unsigned int		operand;	/* register number, SENDUIPI only */
};

int r3_trap_init(void);
void r3_trap_exit(void);

/* wait.c */
void r3_wait_begin(struct r3_task *t);
void r3_wait_end(struct r3_task *t);
void r3_wait_release_cpu(void);
bool r3_wait_acquire(void);
void r3_wait_release(void);
int r3_wait(u64 usec);
void r3_wait_task_init(struct r3_task *t);
void r3_wait_init(void);
void r3_wait_exit(void);

/* compat.c */
int r3_compat_check(void);
void *r3_lookup_symbol(const char *name);
struct tracepoint;
struct tracepoint *r3_find_tracepoint(const char *name);

#endif
