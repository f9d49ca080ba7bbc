// SPDX-License-Identifier: MIT OR Apache-2.0
// The header in C++: handlers are passed as they are, and as void *.
#include <cerrno>
#include <cstdio>

#include "ring3.h"
#include "uintr.h"

static void __attribute__((interrupt))
handler(struct __uintr_frame *, unsigned long long)
{
}

static void __attribute__((interrupt))
noexcept_handler(struct __uintr_frame *, unsigned long long) noexcept
{
}

int main()
{
	ring3_roi_begin();
	if (uintr_register_handler(handler, 0) && errno != ENOSYS)
		std::perror("uintr_register_handler");
	uintr_unregister_handler(0);
	uintr_register_handler(noexcept_handler, UINTR_HANDLER_FLAG_WAITING_NONE);
	uintr_register_handler(reinterpret_cast<void *>(handler), 0);
	uintr_register_sender(uintr_vector_fd(1, 0), 0);
	ring3_roi_end();
	return 0;
}
