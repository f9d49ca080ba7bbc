// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: page faults: maps 1 MB of fresh memory, touches each page, gives it back. An exception, the kernel's
// handling of it with a cleared page, IRET, and the translations' end.
// Amount: times that is done (256 faults each).
#include "bench.h"
#include <sys/mman.h>

#define SIZE (1 << 20)

int main(int argc, char **argv)
{
	uint64_t rounds = bench_amount(argc, argv), checksum = 0;

	bench_pin(0);
	bench_begin();
	for (uint64_t round = 0; round < rounds; round++) {
		char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			bench_fail("mmap");
		// Small pages, whatever the kernel would like.
		madvise(memory, SIZE, MADV_NOHUGEPAGE);
		for (unsigned at = 0; at < SIZE; at += 4096) {
			memory[at] = (char)(round + at);
			checksum = bench_mix(checksum, memory[at]);
		}
		munmap(memory, SIZE);
	}
	bench_end(checksum);
}
