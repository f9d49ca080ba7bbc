// SPDX-License-Identifier: GPL-2.0-only
/* fork, exec, exit, and rights that travel between processes. */
#include "uintr_test.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static void become_receiver(void)
{
	NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
}

static void make_pair(int sv[2])
{
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
}

/* ---- fork ---- */

TEST(a_child_inherits_the_senders)
{
	int index;
	pid_t pid;

	become_receiver();
	index = uintr_register_self(5, 0);
	_stui();
	pid = fork();
	if (!pid) {
		CHECK_EQ(try_senduipi(index), 0);
		tap_child_exit();
	}
	CHECK(wait_until_at_least(&ui_seen[5], 1));
	CHECK_CHILD(pid);
}

TEST(a_child_is_no_receiver)
{
	pid_t pid;

	become_receiver();
	_stui();
	pid = fork();
	if (!pid) {
		CHECK_EQ(_testui(), 0);
		CHECK_ERRNO(uintr_unregister_handler(0), EINVAL);
		CHECK_ERRNO(uintr_vector_fd(0, 0), EINVAL);
		CHECK_EQ(uintr_register_handler((void *)ui_handler, 0), 0);
		tap_child_exit();
	}
	CHECK_CHILD(pid);
	CHECK_EQ(_testui(), 1);
}

TEST(the_table_is_shared_not_copied)
{
	int sv[2], index;
	pid_t pid;

	make_pair(sv);
	become_receiver();
	index = uintr_register_self(5, 0);
	_stui();
	pid = fork();
	if (!pid) {
		/* added by the parent after the fork */
		hear(sv[1]);
		CHECK_EQ(try_senduipi(index + 1), 0);
		/* removed by the parent */
		tell(sv[1]);
		hear(sv[1]);
		CHECK_EQ(try_senduipi(index + 1), SIGSEGV);
		/* and the other way round */
		CHECK_EQ(uintr_unregister_sender(index, 0), 0);
		tell(sv[1]);
		tap_child_exit();
	}
	CHECK_EQ(uintr_register_self(6, 0), index + 1);
	tell(sv[0]);
	CHECK(wait_until_at_least(&ui_seen[6], 1));
	hear(sv[0]);
	CHECK_EQ(uintr_unregister_sender(index + 1, 0), 0);
	tell(sv[0]);
	hear(sv[0]);
	CHECK_EQ(try_senduipi(index), SIGSEGV);
	CHECK_CHILD(pid);
}

TEST(a_table_made_after_the_fork_is_not_shared)
{
	int sv[2];
	pid_t pid;

	make_pair(sv);
	pid = fork();
	if (!pid) {
		hear(sv[1]);
		CHECK_EQ(try_senduipi(0), SIGILL);
		become_receiver();
		CHECK_EQ(uintr_register_self(5, 0), 0);
		tap_child_exit();
	}
	become_receiver();
	CHECK_EQ(uintr_register_self(5, 0), 0);
	tell(sv[0]);
	CHECK_CHILD(pid);
}

TEST(grandchildren_inherit_too)
{
	int index;
	pid_t pid, pid2;

	become_receiver();
	index = uintr_register_self(5, 0);
	_stui();
	pid = fork();
	if (!pid) {
		pid2 = fork();
		if (!pid2) {
			CHECK_EQ(try_senduipi(index), 0);
			tap_child_exit();
		}
		CHECK_CHILD(pid2);
		tap_child_exit();
	}
	CHECK(wait_until_at_least(&ui_seen[5], 1));
	CHECK_CHILD(pid);
}

static void *send_in_thread(void *arg)
{
	CHECK_EQ(try_senduipi(*(int *)arg), 0);
	return NULL;
}

TEST(threads_of_a_child_inherit_too)
{
	pthread_t thread;
	int index;
	pid_t pid;

	become_receiver();
	index = uintr_register_self(5, 0);
	_stui();
	pid = fork();
	if (!pid) {
		NEED(!pthread_create(&thread, NULL, send_in_thread, &index));
		pthread_join(thread, NULL);
		tap_child_exit();
	}
	CHECK(wait_until_at_least(&ui_seen[5], 1));
	CHECK_CHILD(pid);
}

TEST(a_vforked_child_has_the_same_table)
{
	static volatile int status = -1;
	int index;

	become_receiver();
	index = uintr_register_self(5, 0);
	_stui();
	if (!vfork()) {
		status = uintr_unregister_sender(index, 0);
		_exit(0);
	}
	wait(NULL);
	CHECK_EQ(status, 0);
	CHECK_EQ(try_senduipi(index), SIGSEGV);
}

/* ---- rights by fd ---- */

TEST(process_to_process_by_scm_rights)
{
	int sv[2], fd, index, i;
	pid_t pid;

	make_pair(sv);
	pid = fork();
	if (!pid) {
		fd = recv_fd(sv[1]);
		NEED(fd >= 0);
		index = uintr_register_sender(fd, 0);
		NEED(index == 0);
		close(fd);		/* the sender stays */
		for (i = 0; i < 100; i++) {
			_senduipi(index);
			hear(sv[1]);
		}
		tap_child_exit();
	}
	become_receiver();
	fd = uintr_vector_fd(33, 0);
	_stui();
	send_fd(sv[0], fd);
	close(fd);
	for (i = 1; i <= 100; i++) {
		CHECK(wait_until_at_least(&ui_seen[33], i));
		tell(sv[0]);
	}
	CHECK_CHILD(pid);
	CHECK_EQ(ui_count, 100);
}

TEST(both_ways_between_processes)
{
	int sv[2], fd, index, i;
	pid_t pid;

	make_pair(sv);
	pid = fork();
	become_receiver();
	fd = uintr_vector_fd(pid ? 1 : 2, 0);
	NEED(fd >= 0);
	_stui();
	send_fd(sv[!pid], fd);
	index = uintr_register_sender(recv_fd(sv[!pid]), 0);
	NEED(index >= 0);
	for (i = 1; i <= 100; i++) {
		if (pid)
			_senduipi(index);
		CHECK(wait_until_at_least(&ui_count, i));
		if (!pid)
			_senduipi(index);
	}
	CHECK_EQ(ui_seen[pid ? 1 : 2], 100);
	if (!pid)
		tap_child_exit();
	CHECK_CHILD(pid);
}

TEST(an_inherited_fd_names_the_parent)
{
	int fd, index;
	pid_t pid;

	become_receiver();
	fd = uintr_vector_fd(8, 0);
	_stui();
	pid = fork();
	if (!pid) {
		index = uintr_register_sender(fd, 0);
		CHECK(index >= 0);
		CHECK_EQ(try_senduipi(index), 0);
		tap_child_exit();
	}
	CHECK(wait_until_at_least(&ui_seen[8], 1));
	CHECK_CHILD(pid);
}

/* ---- exit ---- */

TEST(sending_to_a_dead_process_is_harmless)
{
	int sv[2], fd, index, i;
	pid_t pid;

	make_pair(sv);
	pid = fork();
	if (!pid) {
		become_receiver();
		_stui();
		fd = uintr_vector_fd(1, 0);
		send_fd(sv[1], fd);
		hear(sv[1]);
		_exit(0);
	}
	fd = recv_fd(sv[0]);
	index = uintr_register_sender(fd, 0);
	NEED(index >= 0);
	_senduipi(index);
	tell(sv[0]);
	for (i = 0; i < 100; i++) {
		CHECK_EQ(try_senduipi(index), 0);
		usleep(200);
	}
	CHECK_CHILD(pid);
	CHECK_EQ(try_senduipi(index), 0);
	CHECK_ERRNO(uintr_register_sender(fd, 0), ESHUTDOWN);
	CHECK_EQ(uintr_unregister_sender(index, 0), 0);
}

TEST(a_killed_receiver_leaves_its_senders_whole)
{
	int sv[2], index;
	pid_t pid;

	make_pair(sv);
	pid = fork();
	if (!pid) {
		become_receiver();
		_stui();
		send_fd(sv[1], uintr_vector_fd(1, 0));
		for (;;)
			;
	}
	index = uintr_register_sender(recv_fd(sv[0]), 0);
	NEED(index >= 0);
	CHECK_EQ(try_senduipi(index), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK_EQ(try_senduipi(index), 0);
}

/* ---- exec ---- */

#define EXECED_FLAG "--execed"

/* The new image: everything must be gone. argv: the fd, the index it had. */
static int execed(int fd, int index)
{
	CHECK_EQ(_testui(), 0);
	CHECK_ERRNO(uintr_unregister_handler(0), EINVAL);
	CHECK_ERRNO(uintr_unregister_sender(index, 0), EINVAL);
	CHECK_EQ(try_senduipi(index), SIGILL);
	CHECK_EQ(fcntl(fd, F_GETFD), -1);
	CHECK_EQ(uintr_register_handler((void *)ui_handler, 0), 0);
	CHECK_EQ(uintr_register_self(0, 0), 0);
	_stui();
	_senduipi(0);
	CHECK(wait_until_at_least(&ui_count, 1));
	fflush(stdout);
	return tap_failures;
}

static void exec_self(int fd, int index)
{
	char fd_text[16], index_text[16];

	snprintf(fd_text, sizeof(fd_text), "%d", fd);
	snprintf(index_text, sizeof(index_text), "%d", index);
	execl("/proc/self/exe", "process", EXECED_FLAG, fd_text, index_text, NULL);
	perror("# execl");
	_exit(1);
}

TEST(exec_drops_everything)
{
	pid_t pid;

	pid = fork();
	if (!pid) {
		become_receiver();
		_stui();
		exec_self(uintr_vector_fd(1, 0), uintr_register_self(1, 0));
	}
	CHECK_CHILD(pid);
}

static void *exec_in_thread(void *arg)
{
	(void)arg;
	become_receiver();
	_stui();
	exec_self(uintr_vector_fd(1, 0), uintr_register_self(1, 0));
	return NULL;
}

TEST(exec_by_a_thread_drops_everything)
{
	pthread_t thread;
	pid_t pid;

	pid = fork();
	if (!pid) {
		become_receiver();
		_stui();
		pthread_create(&thread, NULL, exec_in_thread, NULL);
		for (;;)
			;
	}
	CHECK_CHILD(pid);
}

TEST(exec_tells_senders_that_the_receiver_is_gone)
{
	int sv[2], fd, index, i;
	pid_t pid;

	make_pair(sv);
	pid = fork();
	if (!pid) {
		become_receiver();
		_stui();
		fd = uintr_vector_fd(1, 0);
		send_fd(sv[1], fd);
		hear(sv[1]);
		exec_self(fd, 0);
	}
	fd = recv_fd(sv[0]);
	index = uintr_register_sender(fd, 0);
	NEED(index >= 0);
	tell(sv[0]);
	for (i = 0; i < 50; i++) {
		_senduipi(index);	/* may hit before, during and after exec */
		usleep(200);
	}
	CHECK_CHILD(pid);
	CHECK_ERRNO(uintr_register_sender(fd, 0), ESHUTDOWN);
}

TEST(exec_after_vfork_leaves_the_parent_alone)
{
	char self[] = "/proc/self/exe";
	int index;
	pid_t pid;

	become_receiver();
	index = uintr_register_self(5, 0);
	_stui();
	pid = vfork();
	if (!pid) {
		execl(self, "process", EXECED_FLAG, "99", "0", NULL);
		_exit(1);
	}
	CHECK_CHILD(pid);
	CHECK_EQ(_testui(), 1);
	_senduipi(index);
	CHECK(wait_until_at_least(&ui_seen[5], 1));
}

/* ---- uipi fd ---- */

TEST(ipi_fd_gives_the_whole_table)
{
	int sv[2], fd, a, b;
	pid_t pid;

	make_pair(sv);
	pid = fork();
	if (!pid) {
		fd = recv_fd(sv[1]);
		CHECK_EQ(try_senduipi(0), SIGILL);
		CHECK_EQ(ioctl(fd, RING3_UIPI_SET_TARGET_TABLE), 0);
		CHECK_ERRNO(ioctl(fd, RING3_UIPI_SET_TARGET_TABLE), EBUSY);
		close(fd);
		CHECK_EQ(try_senduipi(0), 0);
		CHECK_EQ(try_senduipi(1), 0);
		CHECK_EQ(try_senduipi(2), SIGSEGV);
		tap_child_exit();
	}
	become_receiver();
	a = uintr_register_self(5, 0);
	b = uintr_register_self(6, 0);
	CHECK_EQ(a, 0);
	CHECK_EQ(b, 1);
	_stui();
	fd = uintr_ipi_fd(0);
	send_fd(sv[0], fd);
	close(fd);
	CHECK(wait_until_at_least(&ui_seen[5], 1));
	CHECK(wait_until_at_least(&ui_seen[6], 1));
	CHECK_CHILD(pid);
}

TEST(ipi_fd_outlives_its_process)
{
	int sv[2], fd;
	pid_t pid;

	make_pair(sv);
	pid = fork();
	if (!pid) {
		become_receiver();
		uintr_register_self(5, 0);
		send_fd(sv[1], uintr_ipi_fd(0));
		_exit(0);
	}
	fd = recv_fd(sv[0]);
	CHECK_CHILD(pid);
	CHECK_EQ(ioctl(fd, RING3_UIPI_SET_TARGET_TABLE), 0);
	CHECK_EQ(try_senduipi(0), 0);
	CHECK_EQ(uintr_unregister_sender(0, 0), 0);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], EXECED_FLAG))
		return execed(atoi(argv[2]), atoi(argv[3])) != 0;
	return tap_main();
}
