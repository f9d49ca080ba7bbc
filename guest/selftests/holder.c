// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helper of module.sh: gets hold of one kind of thing and keeps it until
 * standard input ends.  "hammer" makes calls all the time instead, whatever
 * they return.
 *
 *	holder receiver | waiting_receiver | fd | sender | ipi_fd | instruction | hammer
 */
#include "uintr_test.h"

/*
 * Calls without end that hold nothing, and now and then a short-lived child
 * that holds everything: so the module can be unloaded at times, but hardly at
 * a quiet one.
 */
static void hammer(void)
{
	unsigned long i;
	int index;

	for (i = 1; ; i++) {
		uintr_unregister_handler(0);
		uintr_register_handler(NULL, 0);
		uintr_register_sender(-1, 0);
		uintr_unregister_sender(0, 0);
		if (i % 5000)
			continue;
		if (!fork()) {
			uintr_register_handler((void *)ui_handler, 0);
			index = uintr_register_self(1, 0);
			close(uintr_vector_fd(2, 0));
			uintr_wait(100, 0);
			if (index >= 0 && !fork())
				_exit(0);
			_exit(0);
		}
		wait(NULL);
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int sv[2], fd = -1;
	char c;

	if (!strcmp(what, "hammer"))
		hammer();
	if (!strcmp(what, "instruction")) {
		_clui();
	} else if (!strcmp(what, "receiver")) {
		NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
	} else if (!strcmp(what, "waiting_receiver")) {
		NEED(uintr_register_handler((void *)ui_handler,
					    UINTR_HANDLER_FLAG_WAITING_RECEIVER) == 0);
	} else if (!strcmp(what, "ipi_fd") || !strcmp(what, "fd") || !strcmp(what, "sender")) {
		/* made by a child that does not live on */
		NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
		if (!fork()) {
			NEED(uintr_register_handler((void *)ui_handler, 0) == 0);
			fd = strcmp(what, "ipi_fd") ? uintr_vector_fd(1, 0) : uintr_ipi_fd(0);
			send_fd(sv[1], fd);
			hear(sv[1]);
			_exit(0);
		}
		fd = recv_fd(sv[0]);
		NEED(fd >= 0);
		if (!strcmp(what, "sender")) {
			NEED(uintr_register_sender(fd, 0) == 0);
			close(fd);
		}
		tell(sv[0]);
		wait(NULL);
	} else {
		return 2;
	}
	printf("holding\n");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
