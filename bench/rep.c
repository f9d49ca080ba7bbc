// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: the string instructions: REP MOVSB of 64 bytes to 16 KB, and REP STOSQ of whole pages, as kernels clear
// and copy memory.
// Amount: thousand rounds.
#include "bench.h"

int main(int argc, char **argv)
{
	uint64_t rounds = bench_amount(argc, argv) * 1000;
	uint64_t seed = 88172645463325252, checksum = 0;
	static unsigned char from[32 << 10], to[32 << 10];
	static uint64_t pages[16][512] __attribute__((aligned(4096)));

	for (unsigned i = 0; i < sizeof(from); i++)
		from[i] = bench_random(&seed);
	for (unsigned i = 0; i < sizeof(to); i++)
		to[i] = 0;
	bench_begin();
	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t random = bench_random(&seed);
		size_t count = (size_t)64 << random % 9;
		unsigned char *source = from + (random >> 16 & 8191);
		unsigned char *destination = to + (random >> 32 & 8191);
		size_t left = count;

		asm volatile("rep movsb"
			     : "+S"(source), "+D"(destination), "+c"(left)
			     :
			     : "memory");
		checksum = bench_mix(checksum, destination[-1]);

		uint64_t *page = pages[round % 16];

		left = 512;
		asm volatile("rep stosq" : "+D"(page), "+c"(left) : "a"(random) : "memory");
		checksum = bench_mix(checksum, page[-1]);
	}
	bench_end(checksum);
}
