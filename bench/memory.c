// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: the C library's memcpy and strlen as programs use them: many short ones, some of a few KB. The library
// chooses their implementation by what the processor says it has.
// Amount: thousand rounds.
#include "bench.h"
#include <string.h>

// Called through these, so that the compiler cannot do the work itself.
static void *(*volatile copy)(void *, const void *, size_t) = memcpy;
static size_t (*volatile length_of)(const char *) = strlen;

int main(int argc, char **argv)
{
	uint64_t rounds = bench_amount(argc, argv) * 1000;
	uint64_t seed = 88172645463325252, checksum = 0;
	static char from[8192], to[8192];

	for (unsigned i = 0; i < sizeof(from); i++)
		from[i] = 'a' + bench_random(&seed) % 26;
	bench_begin();
	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t random = bench_random(&seed);
		// Three of four are up to 128 bytes long, the rest up to 4 KB.
		size_t length = random % 4 ? random >> 8 & 127 : random >> 8 & 4095;
		char *place = to + (random >> 32 & 2047);

		copy(place, from + (random >> 48 & 2047), length);
		place[length] = 0;
		checksum = bench_mix(checksum, length_of(place) + place[length / 2]);
	}
	bench_end(checksum);
}
