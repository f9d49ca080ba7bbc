// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: the integer side of ordinary programs: a small interpreter for a stack machine (an indirect jump per
// operation, branches that depend on data), sorting, multiplication, division and bit counting.
// Amount: thousand rounds.
#include "bench.h"
#include <string.h>

#define COUNT 256

enum operation { PUSH, ADD, MULTIPLY, XOR, ROTATE, DUPLICATE, DROP, JUMP_IF_ODD, END };

static const unsigned char program[] = {
	PUSH, 7, DUPLICATE, MULTIPLY, PUSH, 91, XOR, DUPLICATE, JUMP_IF_ODD, 3, PUSH, 5, ADD,
	ROTATE, DUPLICATE, JUMP_IF_ODD, 4, PUSH, 17, ADD, ROTATE, PUSH, 3, MULTIPLY, ADD, END,
};

static uint64_t interpret(uint64_t start)
{
	uint64_t stack[16] = { start, start };
	unsigned top = 1;

	for (const unsigned char *at = program;;) {
		switch ((enum operation)*at++) {
		case PUSH:
			stack[++top & 15] = *at++;
			break;
		case ADD:
			top--;
			stack[top & 15] += stack[(top + 1) & 15];
			break;
		case MULTIPLY:
			top--;
			stack[top & 15] *= stack[(top + 1) & 15] | 1;
			break;
		case XOR:
			top--;
			stack[top & 15] ^= stack[(top + 1) & 15];
			break;
		case ROTATE:
			stack[top & 15] = stack[top & 15] << 13 | stack[top & 15] >> 51;
			break;
		case DUPLICATE:
			top++;
			stack[top & 15] = stack[(top - 1) & 15];
			break;
		case DROP:
			top--;
			break;
		case JUMP_IF_ODD:
			if (stack[top-- & 15] & 1)
				at += *at;
			else
				at++;
			break;
		case END:
			return stack[top & 15];
		}
	}
}

static void sort(uint32_t *numbers, unsigned count)
{
	// Shell's sort with Ciura's gaps.
	static const unsigned gaps[] = { 132, 57, 23, 10, 4, 1 };

	for (unsigned g = 0; g < sizeof(gaps) / sizeof(*gaps); g++)
		for (unsigned i = gaps[g]; i < count; i++) {
			uint32_t moving = numbers[i];
			unsigned at = i;

			for (; at >= gaps[g] && numbers[at - gaps[g]] > moving; at -= gaps[g])
				numbers[at] = numbers[at - gaps[g]];
			numbers[at] = moving;
		}
}

int main(int argc, char **argv)
{
	uint64_t rounds = bench_amount(argc, argv) * 1000;
	uint64_t seed = 88172645463325252, checksum = 0;
	uint32_t numbers[COUNT];

	bench_begin();
	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t dividend = bench_random(&seed);

		for (unsigned i = 0; i < 8; i++)
			checksum = bench_mix(checksum, interpret(dividend + i));
		checksum += dividend / (round + 3) + __builtin_popcountll(dividend);
		if (round % 16 == 0) {
			for (unsigned i = 0; i < COUNT; i++)
				numbers[i] = bench_random(&seed);
			sort(numbers, COUNT);
			checksum = bench_mix(checksum, numbers[round % COUNT]);
		}
	}
	bench_end(checksum);
}
