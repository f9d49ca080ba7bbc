// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: straight-line integer code: 32-bit rotations, additions and logic in long blocks. FIPS 180-4, "SHA-256";
// the two tables are computed from primes, as the standard defines them.
// Amount: times a buffer of 64 KB is hashed.
#include "bench.h"
#include <string.h>

static uint32_t constants[64], initial[8];

// The first 32 bits of the fraction of a prime's root (2: square, 3: cube), found by bisection in integers.
static uint32_t fraction_of_root(unsigned prime, int degree)
{
	unsigned __int128 low = 0, high = (unsigned __int128)1 << 37;

	// The root, times 2^32, is the largest number whose power is at most prime * 2^(32 * degree).
	while (high - low > 1) {
		unsigned __int128 middle = (low + high) / 2;
		// Powers of up to 37 bits fit for the square; for the cube compare middle^2 with the quotient.
		int fits = degree == 2 ? middle * middle <= (unsigned __int128)prime << 64
				       : middle * middle <= ((unsigned __int128)prime << 96) / middle;

		if (fits)
			low = middle;
		else
			high = middle;
	}
	return (uint32_t)low;
}

static void make_tables(void)
{
	unsigned found = 0;

	for (unsigned candidate = 2; found < 64; candidate++) {
		int prime = 1;

		for (unsigned divisor = 2; divisor * divisor <= candidate; divisor++)
			prime &= candidate % divisor != 0;
		if (!prime)
			continue;
		constants[found] = fraction_of_root(candidate, 3);
		if (found < 8)
			initial[found] = fraction_of_root(candidate, 2);
		found++;
	}
}

static inline uint32_t rotate(uint32_t x, unsigned by)
{
	return x >> by | x << (32 - by);
}

static void compress(uint32_t state[8], const unsigned char *block)
{
	uint32_t w[64], s[8];

	for (unsigned t = 0; t < 16; t++) {
		uint32_t word;

		memcpy(&word, block + 4 * t, 4);
		w[t] = __builtin_bswap32(word);
	}
	for (unsigned t = 16; t < 64; t++) {
		uint32_t a = w[t - 15], b = w[t - 2];

		w[t] = w[t - 16] + w[t - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
		       (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	memcpy(s, state, sizeof(s));
	for (unsigned t = 0; t < 64; t++) {
		uint32_t sum1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
		uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
		uint32_t t1 = s[7] + sum1 + choice + constants[t] + w[t];
		uint32_t sum0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
		uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);

		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += t1;
		s[0] = t1 + sum0 + majority;
	}
	for (unsigned i = 0; i < 8; i++)
		state[i] += s[i];
}

static void sha256(const unsigned char *bytes, size_t length, uint32_t digest[8])
{
	unsigned char last[128] = { 0 };
	size_t whole = length & ~(size_t)63, rest = length & 63;
	size_t padded = rest < 56 ? 64 : 128;
	uint64_t bits = __builtin_bswap64(8 * (uint64_t)length);

	memcpy(digest, initial, sizeof(initial));
	for (size_t at = 0; at < whole; at += 64)
		compress(digest, bytes + at);
	memcpy(last, bytes + whole, rest);
	last[rest] = 0x80;
	memcpy(last + padded - 8, &bits, 8);
	for (size_t at = 0; at < padded; at += 64)
		compress(digest, last + at);
}

int main(int argc, char **argv)
{
	unsigned long rounds = bench_amount(argc, argv);
	static unsigned char buffer[64 << 10];
	uint32_t digest[8];

	make_tables();
	// The standard's own example: SHA-256 of "abc" begins with ba7816bf.
	sha256((const unsigned char *)"abc", 3, digest);
	if (digest[0] != 0xba7816bf || digest[7] != 0xf20015ad) {
		fprintf(stderr, "sha256 is wrong\n");
		return 1;
	}
	bench_begin();
	for (unsigned long round = 0; round < rounds; round++) {
		sha256(buffer, sizeof(buffer), digest);
		memcpy(buffer + (round * 32) % sizeof(buffer), digest, sizeof(digest));
	}
	bench_end((uint64_t)digest[0] << 32 | digest[1]);
}
