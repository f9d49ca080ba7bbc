// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: much code: 1024 different functions one after the other, about ten thousand instructions, as a kernel's
// path through a system call or a large program has. An interpreter whose jumps the host can no longer predict, and a
// translator whose lookups no longer hit, show it here and not in a small loop.
// Amount: thousand rounds through all of them.
#include "bench.h"

static uint64_t table[64];

// Nine kinds of body, with constants of their own.
#define BODY(n)                                                                                                       \
	switch ((n) % 9) {                                                                                            \
	case 0:                                                                                                       \
		a += table[(n) % 61] ^ (n);                                                                           \
		break;                                                                                                \
	case 1:                                                                                                       \
		a ^= a >> ((n) % 31 + 1);                                                                             \
		break;                                                                                                \
	case 2:                                                                                                       \
		a = a * (2 * (n) + 1) + 3;                                                                            \
		break;                                                                                                \
	case 3:                                                                                                       \
		table[(n) % 59] = a;                                                                                  \
		break;                                                                                                \
	case 4:                                                                                                       \
		a = a << ((n) % 29 + 1) | a >> (63 - (n) % 29);                                                       \
		break;                                                                                                \
	case 5:                                                                                                       \
		if (a & 1)                                                                                            \
			a -= (n) * 77;                                                                                \
		break;                                                                                                \
	case 6:                                                                                                       \
		a += (uint8_t)table[(n) % 53];                                                                        \
		break;                                                                                                \
	case 7:                                                                                                       \
		a = a > table[(n) % 47] ? a - (n) : a + (n);                                                          \
		break;                                                                                                \
	case 8:                                                                                                       \
		table[(n) % 43] += a & 0xffff;                                                                        \
		break;                                                                                                \
	}

#define FUNCTION(n)                                                                                                   \
	static __attribute__((noinline)) uint64_t f##n(uint64_t a)                                                    \
	{                                                                                                             \
		BODY(0x##n)                                                                                           \
		BODY(0x##n + 5)                                                                                       \
		BODY(3 * 0x##n)                                                                                       \
		return a;                                                                                             \
	}
#define CALL(n) a = f##n(a);

// Does `what` with the hexadecimal numbers 000 to 3ff.
#define EACH1(what, n)                                                                                                \
	what(n##0) what(n##1) what(n##2) what(n##3) what(n##4) what(n##5) what(n##6) what(n##7) what(n##8) what(n##9) \
		what(n##a) what(n##b) what(n##c) what(n##d) what(n##e) what(n##f)
#define EACH2(what, n)                                                                                                \
	EACH1(what, n##0) EACH1(what, n##1) EACH1(what, n##2) EACH1(what, n##3) EACH1(what, n##4) EACH1(what, n##5)   \
	EACH1(what, n##6) EACH1(what, n##7) EACH1(what, n##8) EACH1(what, n##9) EACH1(what, n##a) EACH1(what, n##b)   \
	EACH1(what, n##c) EACH1(what, n##d) EACH1(what, n##e) EACH1(what, n##f)
#define EACH(what) EACH2(what, 0) EACH2(what, 1) EACH2(what, 2) EACH2(what, 3)

EACH(FUNCTION)

int main(int argc, char **argv)
{
	uint64_t rounds = bench_amount(argc, argv) * 1000;
	uint64_t a = 1;

	for (unsigned i = 0; i < 64; i++)
		table[i] = bench_mix(a, i);
	bench_begin();
	for (; rounds; rounds--) {
		EACH(CALL)
	}
	bench_end(a);
}
