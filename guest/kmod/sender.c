// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sending side: target tables (UITTs) and the address spaces they belong
 * to.
 *
 * A table belongs to an address space: an index is valid in all threads of the
 * process, and fork() hands the same table, by reference, to the child.  A
 * thread gets the table into its CPU when it registers a sender, or at its
 * first SENDUIPI, which raises #UD until then (trap.c).
 *
 * The kernel gives a module no field in mm_struct, so address spaces are found
 * in a hash table; an mmu notifier says when one ends.  Setting that notifier
 * up sleeps and refuses threads with a pending signal, while fork() must not
 * sleep: therefore it is done by a worker, which keeps the address space alive
 * until it has succeeded.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "hw.h"

struct r3_mm {
	struct hlist_node	node;
	struct mm_struct	*mm;
	struct r3_uitt		*uitt;
	struct mmu_notifier	notifier;
	struct delayed_work	watch;
	struct rcu_head		rcu;
};

#define R3_MM_HASH_BITS		6

/* Readers hold RCU. */
static DEFINE_HASHTABLE(r3_mms, R3_MM_HASH_BITS);
static DEFINE_SPINLOCK(r3_mms_lock);
static atomic_t r3_mms_count = ATOMIC_INIT(0);

/* -- tables -- */

static struct r3_uitt *r3_uitt_new(void)
{
	struct r3_uitt *u = kzalloc(sizeof(*u), GFP_KERNEL_ACCOUNT);

	if (!u)
		return NULL;
	BUILD_BUG_ON(R3_UITT_ENTRIES * sizeof(struct r3_uitte) > PAGE_SIZE);
	u->table = (struct r3_uitte *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!u->table) {
		kfree(u);
		return NULL;
	}
	refcount_set(&u->ref, 1);
	mutex_init(&u->lock);
	return u;
}

/*
 * May be called from atomic context.  No CPU can be inside a SENDUIPI that uses
 * this table: a thread drops its reference after its CPU has let go of it.
 */
void r3_uitt_put(struct r3_uitt *u)
{
	unsigned int i;

	if (!refcount_dec_and_test(&u->ref))
		return;
	for_each_set_bit(i, u->used, R3_UITT_ENTRIES)
		r3_receiver_put(u->target[i]);
	free_page((unsigned long)u->table);
	mutex_destroy(&u->lock);
	kfree(u);
}

/* -- address spaces -- */

static struct r3_mm *r3_mm_find(struct mm_struct *mm)
{
	struct r3_mm *e;

	hash_for_each_possible_rcu(r3_mms, e, node, (unsigned long)mm,
				   lockdep_is_held(&r3_mms_lock))
		if (e->mm == mm)
			return e;
	return NULL;
}

/* The caller lives in mm, so its entry cannot go away meanwhile. */
static struct r3_uitt *r3_uitt_find(struct mm_struct *mm)
{
	struct r3_uitt *u = NULL;
	struct r3_mm *e;

	if (!atomic_read(&r3_mms_count))
		return NULL;
	rcu_read_lock();
	e = r3_mm_find(mm);
	if (e) {
		u = e->uitt;
		refcount_inc(&u->ref);
	}
	rcu_read_unlock();
	return u;
}

/* The current process's table with a reference, or NULL. Any context. */
struct r3_uitt *r3_uitt_find_current(void)
{
	return r3_uitt_find(current->mm);
}

static void r3_mm_unhash(struct r3_mm *e)
{
	spin_lock(&r3_mms_lock);
	hash_del_rcu(&e->node);
	spin_unlock(&r3_mms_lock);
	atomic_dec(&r3_mms_count);
	r3_uitt_put(e->uitt);
}

static void r3_mm_free(struct mmu_notifier *n)
{
	struct r3_mm *e = container_of(n, struct r3_mm, notifier);

	kfree_rcu(e, rcu);
	module_put(THIS_MODULE);
}

static void r3_mm_release(struct mmu_notifier *n, struct mm_struct *mm)
{
	struct r3_mm *e = container_of(n, struct r3_mm, notifier);

	r3_mm_unhash(e);
	mmu_notifier_put(n);
}

static const struct mmu_notifier_ops r3_mmu_notifier_ops = {
	.release	= r3_mm_release,
	.free_notifier	= r3_mm_free,
};

static void r3_mm_watch(struct work_struct *work)
{
	struct r3_mm *e = container_of(to_delayed_work(work), struct r3_mm, watch);
	struct mm_struct *mm = e->mm;

	if (mmu_notifier_register(&e->notifier, mm)) {
		/* Out of memory.  Try again unless only we still use it. */
		if (atomic_read(&mm->mm_users) > 1) {
			queue_delayed_work(r3_wq, &e->watch, HZ / 10);
			return;
		}
		r3_mm_unhash(e);
		r3_mm_free(&e->notifier);
	}
	mmput(mm);
}

/* Give mm the table u, and take over the caller's reference if that works. */
static int r3_mm_add(struct mm_struct *mm, struct r3_uitt *u, gfp_t gfp)
{
	struct r3_mm *e;

	if (!r3_module_get())
		return -ENOSYS;
	e = kzalloc(sizeof(*e), gfp | __GFP_ACCOUNT);
	if (!e) {
		module_put(THIS_MODULE);
		return -ENOMEM;
	}
	e->mm = mm;
	e->uitt = u;
	e->notifier.ops = &r3_mmu_notifier_ops;
	INIT_DELAYED_WORK(&e->watch, r3_mm_watch);

	spin_lock(&r3_mms_lock);
	if (r3_mm_find(mm)) {
		spin_unlock(&r3_mms_lock);
		kfree(e);
		module_put(THIS_MODULE);
		return -EBUSY;
	}
	mmget(mm);
	hash_add_rcu(r3_mms, &e->node, (unsigned long)mm);
	atomic_inc(&r3_mms_count);
	spin_unlock(&r3_mms_lock);

	queue_delayed_work(r3_wq, &e->watch, 0);
	return 0;
}

/* The current process's table with a reference; makes one if need be. */
struct r3_uitt *r3_uitt_get_current(gfp_t gfp)
{
	struct r3_uitt *u;
	int ret;

	for (;;) {
		u = r3_uitt_find_current();
		if (u)
			return u;
		u = r3_uitt_new();
		if (!u)
			return ERR_PTR(-ENOMEM);
		refcount_inc(&u->ref);		/* one for the mm, one to return */
		ret = r3_mm_add(current->mm, u, gfp);
		if (!ret)
			return u;
		r3_uitt_put(u);
		r3_uitt_put(u);
		if (ret != -EBUSY)		/* else another thread was faster */
			return ERR_PTR(ret);
	}
}

/* fork(): in the parent's context, preemption off. */
void r3_uitt_inherit(struct mm_struct *from, struct mm_struct *to)
{
	struct r3_uitt *u = r3_uitt_find(from);
	int ret;

	if (!u)
		return;
	ret = r3_mm_add(to, u, GFP_ATOMIC);
	if (ret) {
		r3_uitt_put(u);
		pr_warn_ratelimited("child of pid %d does not inherit its senders: error %d\n",
				    current->tgid, -ret);
	}
}

/* uipi fd: the current process takes over another's table. */
int r3_uitt_adopt(struct r3_uitt *u)
{
	struct r3_task *t = r3_task_attach(GFP_KERNEL);
	int ret;

	if (IS_ERR(t))
		return PTR_ERR(t);
	refcount_inc(&u->ref);
	ret = r3_mm_add(current->mm, u, GFP_KERNEL);
	if (ret) {
		r3_uitt_put(u);
		return ret;
	}
	refcount_inc(&u->ref);
	r3_uitt_load(t, u);
	return 0;
}

/*
 * Put the table into the current thread's registers.  Takes over a reference.
 * The table of an address space never changes, so there is nothing to do if the
 * thread has one.
 */
void r3_uitt_load(struct r3_task *t, struct r3_uitt *u)
{
	unsigned long flags;

	if (t->uitt) {
		WARN_ON_ONCE(t->uitt != u);
		r3_uitt_put(u);
		return;
	}
	local_irq_save(flags);
	t->uitt = u;
	r3_load_uitt(t);
	local_irq_restore(flags);
}

/* -- entries -- */

/* Returns the new index. */
int r3_register_sender(struct r3_receiver *r, unsigned int vector)
{
	struct r3_uitte *entry;
	struct r3_uitt *u;
	struct r3_task *t;
	unsigned int i;

	if (READ_ONCE(r->gone))
		return -ESHUTDOWN;
	t = r3_task_attach(GFP_KERNEL);
	if (IS_ERR(t))
		return PTR_ERR(t);
	u = r3_uitt_get_current(GFP_KERNEL);
	if (IS_ERR(u))
		return PTR_ERR(u);

	mutex_lock(&u->lock);
	i = find_first_zero_bit(u->used, R3_UITT_ENTRIES);
	if (i == R3_UITT_ENTRIES) {
		mutex_unlock(&u->lock);
		r3_uitt_put(u);
		return -ENOSPC;
	}
	__set_bit(i, u->used);
	r3_receiver_get(r);
	u->target[i] = r;
	entry = &u->table[i];
	WRITE_ONCE(entry->upid, (u64)&r->upid);
	/* another CPU may be looking: the valid bit comes last */
	smp_store_release(&entry->word, (u64)vector << R3_UITTE_VECTOR_SHIFT |
			  R3_UITTE_VALID);
	mutex_unlock(&u->lock);

	r3_uitt_load(t, u);
	return i;
}

int r3_unregister_sender(int index)
{
	struct r3_receiver *r = NULL;
	struct r3_uitt *u;

	u = r3_uitt_find_current();
	if (!u)
		return -EINVAL;

	mutex_lock(&u->lock);
	if (index >= 0 && index < R3_UITT_ENTRIES && test_bit(index, u->used)) {
		index = array_index_nospec(index, R3_UITT_ENTRIES);
		r = u->target[index];
		WRITE_ONCE(u->table[index].word, 0);
		/* before the UPID may go away and the entry be used again */
		r3_sync_uitt(u);
		u->target[index] = NULL;
		__clear_bit(index, u->used);
	}
	mutex_unlock(&u->lock);

	if (r)
		r3_receiver_put(r);
	r3_uitt_put(u);
	return r ? 0 : -EINVAL;
}
