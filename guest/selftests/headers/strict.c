/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* All functions used, in strict ISO C: no syscall(2) in sight. */
#include "ring3.h"
#include "uintr.h"

static void *address_of(void (*handler)(struct __uintr_frame *, unsigned long long))
{
	union {
		void (*function)(struct __uintr_frame *, unsigned long long);
		void *object;
	} pun;

	pun.function = handler;
	return pun.object;
}

static void __attribute__((interrupt))
handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	(void)vector;
}

int main(void)
{
	int index;

	ring3_roi_begin();
	if (uintr_register_handler(address_of(handler), UINTR_HANDLER_FLAG_WAITING_RECEIVER))
		return errno != ENOSYS && errno != EINVAL;
	index = uintr_register_sender(uintr_vector_fd(1, 0), 0);
	uintr_unregister_sender(index, 0);
	index = uintr_register_self(1, 0);
	uintr_alt_stack(NULL, 0, 0);
	uintr_wait(0, 0);
	uintr_ipi_fd(0);
	uintr_create_fd(1, 0);
	_stui();
	if (_testui())
		_senduipi((unsigned long long)index);
	_clui();
	ring3_roi_end();
	return uintr_unregister_handler(0);
}
