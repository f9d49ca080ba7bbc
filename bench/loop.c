// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: nothing but the shortest way from one instruction to the next: a loop of eight instructions on
// registers, without loads or stores.
// Amount: million rounds.
#include "bench.h"

int main(int argc, char **argv)
{
	uint64_t rounds = bench_amount(argc, argv) * 1000000;
	uint64_t a = 1, b = 0x9e3779b97f4a7c15;

	bench_begin();
	while (rounds) {
		// Written out, so that the compiler cannot find a shorter way.
		asm volatile("add %1, %0\n\t"
			     "xor %2, %1\n\t"
			     "lea 1(%0,%1,2), %0\n\t"
			     "shr $3, %1\n\t"
			     "sub %0, %1\n\t"
			     "and $-2, %0"
			     : "+r"(a), "+r"(b)
			     : "r"(rounds)
			     : "cc");
		rounds--;
	}
	bench_end(a ^ b);
}
