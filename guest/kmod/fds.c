// SPDX-License-Identifier: GPL-2.0-only
/*
 * File descriptors that carry the right to send: a uvec fd stands for one
 * vector of one receiver, a uipi fd for a whole target table.  They have no
 * read, write or poll; the usual ways of passing fds around apply.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "kmod.h"

#define R3_FD_FLAGS		(O_RDONLY | O_CLOEXEC | O_NONBLOCK)
#define R3_UIPI_SET_TARGET_TABLE	_IO('u', 0)

struct r3_uvec {
	struct r3_receiver	*receiver;
	unsigned int		vector;
};

static int r3_uvec_release(struct inode *inode, struct file *file)
{
	struct r3_uvec *v = file->private_data;

	r3_receiver_put(v->receiver);
	kfree(v);
	return 0;
}

static void r3_uvec_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct r3_uvec *v = file->private_data;

	seq_printf(m, "uintr: receiver: %d vector:%u\n",
		   pid_vnr(v->receiver->pid), v->vector);
}

static const struct file_operations r3_uvec_fops = {
	.owner		= THIS_MODULE,
	.release	= r3_uvec_release,
	.show_fdinfo	= r3_uvec_show_fdinfo,
	.llseek		= noop_llseek,
};

/* The current thread as a receiver of this vector, or an error pointer. */
static struct r3_receiver *r3_own_receiver(u64 vector)
{
	struct r3_task *t = r3_task_current();

	if (!t || !t->armed)
		return ERR_PTR(-EINVAL);
	if (vector >= R3_NR_VECTORS)
		return ERR_PTR(-ENOSPC);
	return t->receiver;
}

int r3_vector_fd(u64 vector)
{
	struct r3_receiver *r = r3_own_receiver(vector);
	struct r3_uvec *v;
	int fd;

	if (IS_ERR(r))
		return PTR_ERR(r);
	v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
	if (!v)
		return -ENOMEM;
	r3_receiver_get(r);
	v->receiver = r;
	v->vector = vector;

	fd = anon_inode_getfd("[uvecfd]", &r3_uvec_fops, v, R3_FD_FLAGS);
	if (fd < 0) {
		r3_receiver_put(r);
		kfree(v);
	}
	return fd;
}

int r3_register_sender_fd(int fd)
{
	struct file *file = fget(fd);
	struct r3_uvec *v;
	int ret;

	if (!file)
		return -EBADF;
	if (file->f_op == &r3_uvec_fops) {
		v = file->private_data;
		ret = r3_register_sender(v->receiver, v->vector);
	} else {
		ret = -EOPNOTSUPP;
	}
	fput(file);
	return ret;
}

int r3_register_self(u64 vector)
{
	struct r3_receiver *r = r3_own_receiver(vector);

	if (IS_ERR(r))
		return PTR_ERR(r);
	return r3_register_sender(r, vector);
}

static int r3_uipi_release(struct inode *inode, struct file *file)
{
	r3_uitt_put(file->private_data);
	return 0;
}

static long r3_uipi_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd != R3_UIPI_SET_TARGET_TABLE)
		return -EINVAL;
	return r3_uitt_adopt(file->private_data);
}

static const struct file_operations r3_uipi_fops = {
	.owner		= THIS_MODULE,
	.release	= r3_uipi_release,
	.unlocked_ioctl	= r3_uipi_ioctl,
	.llseek		= noop_llseek,
};

int r3_ipi_fd(void)
{
	struct r3_uitt *u = r3_uitt_get_current(GFP_KERNEL);
	int fd;

	if (IS_ERR(u))
		return PTR_ERR(u);
	fd = anon_inode_getfd("[uipi_fd]", &r3_uipi_fops, u, R3_FD_FLAGS);
	if (fd < 0)
		r3_uitt_put(u);
	return fd;
}
