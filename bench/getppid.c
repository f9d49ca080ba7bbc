// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: the way into the kernel and back: SYSCALL, hardly any work, SYSRET.
// Amount: thousand calls.
#include "bench.h"
#include <sys/syscall.h>

int main(int argc, char **argv)
{
	uint64_t calls = bench_amount(argc, argv) * 1000;
	uint64_t checksum = 0, parent = getppid();

	bench_begin();
	for (; calls; calls--)
		checksum = bench_mix(checksum, (uint64_t)syscall(SYS_getppid) == parent);
	bench_end(checksum);
}
