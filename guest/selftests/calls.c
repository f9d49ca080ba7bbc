// SPDX-License-Identifier: GPL-2.0-only
/* Every call, every errno it can give. */
#include "uintr_test.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define ALL_FLAG_BITS 32

static void register_self_or_die(unsigned int flags)
{
	NEED(uintr_register_handler((void *)ui_handler, flags) == 0);
}

/* ---- register_handler ---- */

TEST(register_handler_works_once)
{
	CHECK_EQ(uintr_register_handler((void *)ui_handler, 0), 0);
	CHECK_ERRNO(uintr_register_handler((void *)ui_handler, 0), EBUSY);
	CHECK_EQ(uintr_unregister_handler(0), 0);
	CHECK_EQ(uintr_register_handler((void *)ui_handler, 0), 0);
}

TEST(register_handler_checks_the_address)
{
	CHECK_ERRNO(uintr_register_handler(NULL, 0), EFAULT);
	CHECK_ERRNO(uintr_register_handler((void *)0x0100000000000000, 0), EFAULT);
	CHECK_ERRNO(uintr_register_handler((void *)0xffff800000000000, 0), EFAULT);
	CHECK_ERRNO(uintr_register_handler((void *)-1L, 0), EFAULT);
	CHECK_ERRNO(uintr_register_handler((void *)0xffffffff81000000, 0), EFAULT);
}

TEST(register_handler_checks_flags_first)
{
	unsigned int bit;

	for (bit = 0; bit < ALL_FLAG_BITS; bit++) {
		unsigned int flag = 1u << bit;

		if (flag & UINTR_HANDLER_FLAG_WAITING_ANY)
			continue;
		CHECK_ERRNO(uintr_register_handler((void *)ui_handler, flag), EINVAL);
		CHECK_ERRNO(uintr_register_handler(NULL, flag), EINVAL);
	}
	register_self_or_die(0);
	CHECK_ERRNO(uintr_register_handler((void *)ui_handler, 1), EINVAL);
}

/* ---- unregister_handler ---- */

TEST(unregister_handler_needs_one)
{
	CHECK_ERRNO(uintr_unregister_handler(0), EINVAL);
	register_self_or_die(0);
	CHECK_ERRNO(uintr_unregister_handler(1), EINVAL);
	CHECK_ERRNO(uintr_unregister_handler(0x80000000), EINVAL);
	CHECK_EQ(uintr_unregister_handler(0), 0);
	CHECK_ERRNO(uintr_unregister_handler(0), EINVAL);
}

/* ---- vector_fd ---- */

TEST(vector_fd_needs_a_handler)
{
	CHECK_ERRNO(uintr_vector_fd(0, 0), EINVAL);
	register_self_or_die(0);
	CHECK_EQ(uintr_unregister_handler(0), 0);
	CHECK_ERRNO(uintr_vector_fd(0, 0), EINVAL);
}

TEST(vector_fd_takes_vectors_0_to_63)
{
	int v, fd;

	register_self_or_die(0);
	for (v = 0; v < 64; v++) {
		fd = uintr_vector_fd(v, 0);
		CHECK(fd >= 0);
		close(fd);
	}
	CHECK_ERRNO(uintr_vector_fd(64, 0), ENOSPC);
	CHECK_ERRNO(uintr_vector_fd(100, 0), ENOSPC);
	CHECK_ERRNO(uintr_vector_fd(-1, 0), ENOSPC);
	CHECK_ERRNO(uintr_vector_fd(1ULL << 32, 0), ENOSPC);
}

TEST(vector_fd_may_be_taken_twice)
{
	int a, b;

	register_self_or_die(0);
	a = uintr_vector_fd(3, 0);
	b = uintr_create_fd(3, 0);
	CHECK(a >= 0 && b >= 0 && a != b);
}

TEST(vector_fd_checks_flags_first)
{
	unsigned int bit;

	for (bit = 0; bit < ALL_FLAG_BITS; bit++)
		CHECK_ERRNO(uintr_vector_fd(0, 1u << bit), EINVAL);
	register_self_or_die(0);
	for (bit = 0; bit < ALL_FLAG_BITS; bit++)
		CHECK_ERRNO(uintr_vector_fd(99, 1u << bit), EINVAL);
}

TEST(vector_fd_obeys_the_fd_limit)
{
	struct rlimit limit = { 3, 3 };

	register_self_or_die(0);
	NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	CHECK_ERRNO(uintr_vector_fd(0, 0), EMFILE);
	CHECK_ERRNO(uintr_ipi_fd(0), EMFILE);
}

TEST(vector_fd_is_what_it_should_be)
{
	char path[64], link[64] = "", line[256], want[64];
	int fd, found = 0;
	FILE *f;

	register_self_or_die(0);
	fd = uintr_vector_fd(41, 0);
	NEED(fd >= 0);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(readlink(path, link, sizeof(link) - 1) > 0);
	CHECK_EQ(strcmp(link, "anon_inode:[uvecfd]"), 0);

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	snprintf(want, sizeof(want), "uintr: receiver: %d vector:41\n", getpid());
	f = fopen(path, "r");
	NEED(f);
	while (fgets(line, sizeof(line), f))
		found |= !strcmp(line, want);
	fclose(f);
	CHECK(found);

	CHECK_ERRNO(read(fd, line, 1), EINVAL);
	CHECK_ERRNO(write(fd, line, 1), EBADF);
	CHECK_ERRNO(ioctl(fd, _IO('U', 0)), ENOTTY);
	CHECK_EQ(lseek(fd, 5, SEEK_SET), 0);
}

/* ---- register_sender ---- */

TEST(register_sender_wants_a_uvec_fd)
{
	int fd;

	CHECK_ERRNO(uintr_register_sender(-1, 0), EBADF);
	CHECK_ERRNO(uintr_register_sender(999, 0), EBADF);
	fd = eventfd(0, 0);
	CHECK_ERRNO(uintr_register_sender(fd, 0), EOPNOTSUPP);
	CHECK_ERRNO(uintr_register_sender(0, 0), EOPNOTSUPP);
	fd = open("/", O_PATH);
	CHECK_ERRNO(uintr_register_sender(fd, 0), EBADF);
	fd = uintr_ipi_fd(0);
	CHECK(fd >= 0);
	CHECK_ERRNO(uintr_register_sender(fd, 0), EOPNOTSUPP);
}

TEST(register_sender_checks_flags_first)
{
	unsigned int bit;

	for (bit = 0; bit < ALL_FLAG_BITS; bit++)
		CHECK_ERRNO(uintr_register_sender(-1, 1u << bit), EINVAL);
}

TEST(register_sender_gives_the_lowest_free_index)
{
	int fd;

	register_self_or_die(0);
	fd = uintr_vector_fd(0, 0);
	CHECK_EQ(uintr_register_sender(fd, 0), 0);
	CHECK_EQ(uintr_register_sender(fd, 0), 1);
	CHECK_EQ(uintr_register_sender(fd, 0), 2);
	CHECK_EQ(uintr_unregister_sender(1, 0), 0);
	CHECK_EQ(uintr_unregister_sender(0, 0), 0);
	CHECK_EQ(uintr_register_sender(fd, 0), 0);
	CHECK_EQ(uintr_register_self(7, 0), 1);
	CHECK_EQ(uintr_register_sender(fd, 0), 3);
}

TEST(register_sender_ends_at_256)
{
	int fd, i;

	register_self_or_die(0);
	fd = uintr_vector_fd(0, 0);
	for (i = 0; i < 256; i++)
		CHECK_EQ(uintr_register_sender(fd, 0), i);
	CHECK_ERRNO(uintr_register_sender(fd, 0), ENOSPC);
	CHECK_ERRNO(uintr_register_self(1, 0), ENOSPC);
	CHECK_EQ(uintr_unregister_sender(200, 0), 0);
	CHECK_EQ(uintr_register_self(1, 0), 200);
}

static void *make_fd_and_exit(void *arg)
{
	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	*(int *)arg = uintr_vector_fd(5, 0);
	return NULL;
}

TEST(register_sender_to_a_dead_thread)
{
	pthread_t thread;
	int fd = -1, i;

	NEED(!pthread_create(&thread, NULL, make_fd_and_exit, &fd));
	pthread_join(thread, NULL);
	NEED(fd >= 0);
	/* join returns when the thread's stack is free, a little before it is gone */
	for (i = 0; i < 1000; i++) {
		int index = uintr_register_sender(fd, 0);

		if (index < 0)
			break;
		uintr_unregister_sender(index, 0);
		usleep(1000);
	}
	CHECK_ERRNO(uintr_register_sender(fd, 0), ESHUTDOWN);
}

TEST(register_sender_to_an_unregistered_thread_is_allowed)
{
	int fd, index;

	register_self_or_die(0);
	fd = uintr_vector_fd(5, 0);
	NEED(uintr_unregister_handler(0) == 0);
	index = uintr_register_sender(fd, 0);
	CHECK(index >= 0);
	CHECK_EQ(try_senduipi(index), 0);
}

/* ---- unregister_sender ---- */

TEST(unregister_sender_wants_a_used_index)
{
	int fd;

	CHECK_ERRNO(uintr_unregister_sender(0, 0), EINVAL);
	register_self_or_die(0);
	CHECK_ERRNO(uintr_unregister_sender(0, 0), EINVAL);
	fd = uintr_vector_fd(0, 0);
	CHECK_EQ(uintr_register_sender(fd, 0), 0);
	CHECK_ERRNO(uintr_unregister_sender(1, 0), EINVAL);
	CHECK_ERRNO(uintr_unregister_sender(-1, 0), EINVAL);
	CHECK_ERRNO(uintr_unregister_sender(256, 0), EINVAL);
	CHECK_ERRNO(uintr_unregister_sender(0x7fffffff, 0), EINVAL);
	CHECK_ERRNO(uintr_unregister_sender((int)0x80000000, 0), EINVAL);
	CHECK_ERRNO(uintr_unregister_sender(0, 1), EINVAL);
	CHECK_EQ(uintr_unregister_sender(0, 0), 0);
	CHECK_ERRNO(uintr_unregister_sender(0, 0), EINVAL);
}

/* ---- register_self ---- */

TEST(register_self_has_the_checks_of_both)
{
	unsigned int bit;

	CHECK_ERRNO(uintr_register_self(0, 0), EINVAL);
	register_self_or_die(0);
	for (bit = 0; bit < ALL_FLAG_BITS; bit++)
		CHECK_ERRNO(uintr_register_self(0, 1u << bit), EINVAL);
	CHECK_ERRNO(uintr_register_self(64, 0), ENOSPC);
	CHECK_ERRNO(uintr_register_self(-1, 0), ENOSPC);
	CHECK_EQ(uintr_register_self(63, 0), 0);
}

/* ---- wait ---- */

TEST(wait_checks_its_arguments)
{
	CHECK_EQ(uintr_wait(0, 0), 0);
	CHECK_ERRNO(uintr_wait(0, 1), EINVAL);
	CHECK_ERRNO(uintr_wait(1, 0x80000000), EINVAL);
	CHECK_ERRNO(uintr_wait(1000000001, 0), EINVAL);
	CHECK_ERRNO(uintr_wait(-1, 0), EINVAL);
	CHECK_ERRNO(uintr_wait(1, 0), EOPNOTSUPP);
	CHECK_ERRNO(uintr_wait(1000000000, 0), EOPNOTSUPP);
}

TEST(wait_sleeps_that_long)
{
	struct timespec start;

	register_self_or_die(0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	CHECK_EQ(uintr_wait(200000, 0), 0);
	CHECK(elapsed_ms(&start) >= 200);
	CHECK(elapsed_ms(&start) < 5000);
}

static void nothing(int number)
{
	(void)number;
}

TEST(wait_ends_with_a_signal)
{
	struct sigaction a = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	struct timespec start;

	register_self_or_die(0);
	NEED(sigaction(SIGUSR1, &a, NULL) == 0);
	if (!fork()) {
		usleep(200000);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	CHECK_ERRNO(uintr_wait(30000000, 0), EINTR);
	CHECK(elapsed_ms(&start) < 15000);
	wait(NULL);
}

/* ---- alt_stack ---- */

TEST(alt_stack_checks_its_arguments)
{
	static char stack[4096];

	CHECK_ERRNO(uintr_alt_stack(stack, sizeof(stack), 1), EINVAL);
	CHECK_ERRNO(uintr_alt_stack(stack, sizeof(stack), 0), EOPNOTSUPP);
	CHECK_ERRNO(uintr_alt_stack(NULL, 0, 0), EOPNOTSUPP);
	register_self_or_die(0);
	CHECK_ERRNO(uintr_alt_stack(stack, sizeof(stack), 0x80000000), EINVAL);
	CHECK_ERRNO(uintr_alt_stack((void *)-16L, 0, 0), EFAULT);
	CHECK_ERRNO(uintr_alt_stack((void *)0x0100000000000000, 0, 0), EFAULT);
	CHECK_EQ(uintr_alt_stack(stack + sizeof(stack), sizeof(stack), 0), 0);
	CHECK_EQ(uintr_alt_stack(NULL, 0, 0), 0);
}

/* ---- ipi_fd ---- */

TEST(ipi_fd_is_what_it_should_be)
{
	char path[64], link[64] = "";
	unsigned int bit;
	int fd;

	for (bit = 0; bit < ALL_FLAG_BITS; bit++)
		CHECK_ERRNO(uintr_ipi_fd(1u << bit), EINVAL);
	fd = uintr_ipi_fd(0);
	CHECK(fd >= 0);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(readlink(path, link, sizeof(link) - 1) > 0);
	CHECK_EQ(strcmp(link, "anon_inode:[uipi_fd]"), 0);
	CHECK_ERRNO(ioctl(fd, _IO('u', 1)), EINVAL);
	CHECK_ERRNO(ioctl(fd, RING3_UIPI_SET_TARGET_TABLE), EBUSY);
}

/* ---- around the calls ---- */

TEST(neighbouring_numbers_stay_unimplemented)
{
	CHECK_ERRNO(syscall(470), ENOSYS);
	CHECK_ERRNO(syscall(480), ENOSYS);
	CHECK_ERRNO(syscall(451), ENOSYS);
	CHECK_ERRNO(syscall(1000), ENOSYS);
	CHECK_ERRNO(syscall(0x7fffffff), ENOSYS);
	/* x32 numbers */
	CHECK_ERRNO(syscall(0x40000000 + 471), ENOSYS);
	/* and those before keep their meaning: 449 is futex_waitv */
	CHECK_ERRNO(syscall(449, NULL, 0, 0, NULL, 0), EINVAL);
}

TEST(only_eax_is_the_number)
{
	long ret;

	__asm__ volatile("syscall" : "=a" (ret)
			 : "a" (0xdead0000000001d8), "D" (0L) : "rcx", "r11", "memory");
	CHECK_EQ(ret, -EINVAL);
}

TEST(registers_survive_the_calls)
{
	unsigned long b = 0x1111, r8 = 8, r9 = 9, r10 = 10, r12 = 12, rbx, o8, o9, o10, o12;
	long ret;

	__asm__ volatile("mov %6, %%rbx\n mov %7, %%r8\n mov %8, %%r9\n"
			 "mov %9, %%r10\n mov %10, %%r12\n syscall\n"
			 "mov %%rbx, %1\n mov %%r8, %2\n mov %%r9, %3\n"
			 "mov %%r10, %4\n mov %%r12, %5\n"
			 : "=a" (ret), "=m" (rbx), "=m" (o8), "=m" (o9), "=m" (o10), "=m" (o12)
			 : "m" (b), "m" (r8), "m" (r9), "m" (r10), "m" (r12),
			   "a" (472), "D" (0L)
			 : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "memory");
	CHECK_EQ(ret, -EINVAL);
	CHECK_EQ(rbx, b);
	CHECK_EQ(o8, r8);
	CHECK_EQ(o9, r9);
	CHECK_EQ(o10, r10);
	CHECK_EQ(o12, r12);
}

int main(void)
{
	return tap_main();
}
