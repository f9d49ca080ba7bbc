// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: dependent loads with bad locality: a random cycle through 4 MB, one pointer per cache line, and so
// 1024 pages, more than most translation caches hold.
// Amount: million steps.
#include "bench.h"

#define LINES (4 << 20 >> 6)

static struct line {
	struct line *next;
	uint64_t number, unused[6];
} lines[LINES] __attribute__((aligned(4096)));

int main(int argc, char **argv)
{
	uint64_t steps = bench_amount(argc, argv) * 1000000;
	uint64_t seed = 88172645463325252, checksum = 0;
	static unsigned order[LINES];
	struct line *at;

	for (unsigned i = 0; i < LINES; i++)
		order[i] = i;
	for (unsigned i = LINES - 1; i > 0; i--) {
		unsigned other = bench_random(&seed) % (i + 1), swapped = order[i];

		order[i] = order[other];
		order[other] = swapped;
	}
	for (unsigned i = 0; i < LINES; i++) {
		lines[order[i]].next = &lines[order[(i + 1) % LINES]];
		lines[order[i]].number = i;
	}
	at = lines;
	bench_begin();
	for (; steps; steps--) {
		checksum += at->number;
		at = at->next;
	}
	bench_end(checksum);
}
