/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What current compilers make of loops: sums, sorts, hashes and products of
 * matrices, compiled for x86-64-v3.  It prints only results, which are the same
 * on any processor that has AVX2, FMA, BMI1, BMI2 and F16C.
 *
 *	ring3 run --cpu x86-64-v3 vectors.c
 *
 *	gcc -O3 -march=x86-64-v3 vectors.c -lm -o vectors
 *	./vectors > here && ring3 run --cpu x86-64-v3 ./vectors | diff here -
 */
#pragma GCC target("arch=x86-64-v3")
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 4096
#define M 96

static uint64_t state = 0x9e3779b97f4a7c15;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* A digest of bytes, so that a difference in any bit shows. */
static uint64_t digest(const void *data, size_t length)
{
	const unsigned char *bytes = data;
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	return hash;
}

static void show(const char *name, const void *data, size_t length)
{
	printf("%-24s %016llx\n", name,
	       (unsigned long long)digest(data, length));
}

static int8_t bytes[N], bytes2[N];
static int16_t words[N];
static int32_t ints[N], ints2[N], ints3[N];
static int64_t longs[N];
static float floats[N], floats2[N], floats3[N];
static double doubles[N], doubles2[N], doubles3[N];

static void fill(void)
{
	for (int i = 0; i < N; i++) {
		bytes[i] = (int8_t)next();
		bytes2[i] = (int8_t)next();
		words[i] = (int16_t)next();
		ints[i] = (int32_t)next();
		ints2[i] = (int32_t)(next() % 40);
		longs[i] = (int64_t)next();
		floats[i] = (float)((int64_t)(next() % 2000001) - 1000000) / 1024;
		floats2[i] = (float)(next() % 65521 + 1) / 97;
		doubles[i] = (double)((int64_t)(next() % 2000000001) - 1000000000) / 65536;
		doubles2[i] = (double)(next() % 999983 + 1) / 131;
	}
}

static void sums(void)
{
	int32_t s8 = 0, s16 = 0, products = 0;
	uint32_t differences = 0;
	int64_t s32 = 0, s64 = 0;
	int32_t least = INT32_MAX, greatest = INT32_MIN;
	int zeros = 0, saturated = 0;

	for (int i = 0; i < N; i++) {
		s8 += bytes[i];
		s16 += words[i];
		s32 += ints[i];
		s64 += longs[i] >> 3;
		products += bytes[i] * bytes2[i];
		differences += (uint32_t)abs(bytes[i] - bytes2[i]);
		least = ints[i] < least ? ints[i] : least;
		greatest = ints[i] > greatest ? ints[i] : greatest;
		zeros += bytes[i] == 0;
		saturated += bytes[i] > 100 ? 100 : bytes[i];
	}
	printf("sums %d %d %lld %lld %d %u %d %d %d %d\n", s8, s16,
	       (long long)s32, (long long)s64, products, differences, least,
	       greatest, zeros, saturated);
}

static void elements(void)
{
	for (int i = 0; i < N; i++)
		ints3[i] = ints[i] << (ints2[i] & 31);
	show("shift left by element", ints3, sizeof(ints3));
	for (int i = 0; i < N; i++)
		ints3[i] = ints[i] >> (ints2[i] & 31);
	show("shift right by element", ints3, sizeof(ints3));
	for (int i = 0; i < N; i++)
		ints3[i] = ints[i] > 0 ? ints2[i] : ~ints[i];
	show("blend", ints3, sizeof(ints3));
	for (int i = 0; i < N; i++)
		ints3[i] = (int32_t)floats[i];
	show("truncate", ints3, sizeof(ints3));
	for (int i = 0; i < N; i++)
		floats3[i] = floats[i] * floats2[i] - floats[N - 1 - i];
	show("float multiply-subtract", floats3, sizeof(floats3));
	for (int i = 0; i < N; i++)
		floats3[i] = sqrtf(floats2[i]) / (floats[i] + 2000.0f);
	show("float root and quotient", floats3, sizeof(floats3));
	for (int i = 0; i < N; i++)
		floats3[i] = floorf(floats[i]) + ceilf(floats2[i]);
	show("float floor and ceiling", floats3, sizeof(floats3));
	for (int i = 0; i < N; i++)
		doubles3[i] = doubles[i] * doubles2[i] + doubles3[i];
	show("double multiply-add", doubles3, sizeof(doubles3));
	for (int i = 0; i < N; i++)
		doubles3[i] = sqrt(doubles2[i]) / (double)(longs[i] | 1);
	show("double root and quotient", doubles3, sizeof(doubles3));
	for (int i = 0; i < N; i++)
		floats3[i] = (float)doubles[i];
	show("double to float", floats3, sizeof(floats3));
	for (int i = 0; i < N; i++)
		doubles3[i] = fmax(fmin(doubles[i], 5000.0), -5000.0);
	show("clamp", doubles3, sizeof(doubles3));
	for (int i = 0; i < N; i += 8) {
		__m256 wide = _mm256_loadu_ps(&floats[i]);
		__m128i half = _mm256_cvtps_ph(wide, _MM_FROUND_TO_NEAREST_INT);

		_mm256_storeu_ps(&floats3[i], _mm256_cvtph_ps(half));
	}
	show("to half and back", floats3, sizeof(floats3));
	for (int i = 0; i < N; i += 8) {
		__m256i index = _mm256_loadu_si256((void *)&ints2[i]);
		__m256i mask = _mm256_loadu_si256((void *)&ints[i]);
		__m256i got = _mm256_mask_i32gather_epi32(index, ints, index,
							  mask, 4);

		_mm256_maskstore_epi32(&ints3[i], index, got);
		_mm256_maskstore_epi32(&ints3[i], mask, got);
	}
	show("gather and masked store", ints3, sizeof(ints3));
}

static void multiply(void)
{
	static double a[M][M], b[M][M], c[M][M];
	static float x[M][M], y[M][M], z[M][M];

	for (int i = 0; i < M; i++)
		for (int j = 0; j < M; j++) {
			a[i][j] = doubles[(i * M + j) % N];
			b[i][j] = doubles2[(i * M + j) % N];
			x[i][j] = floats[(i * M + j) % N];
			y[i][j] = floats2[(i * M + j) % N];
		}
	for (int i = 0; i < M; i++)
		for (int k = 0; k < M; k++)
			for (int j = 0; j < M; j++) {
				c[i][j] += a[i][k] * b[k][j];
				z[i][j] += x[i][k] * y[k][j];
			}
	show("matrices of doubles", c, sizeof(c));
	show("matrices of floats", z, sizeof(z));
	printf("corners %.17g %.9g\n", c[M - 1][M - 1], z[M - 1][M - 1]);
}

static int compare(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

/* Batcher's network: comparisons that do not depend on the data. */
static void network(int32_t *v, int n)
{
	for (int p = 1; p < n; p *= 2)
		for (int k = p; k >= 1; k /= 2)
			for (int j = k % p; j + k < n; j += 2 * k)
				for (int i = 0; i < k && i + j + k < n; i++)
					if ((i + j) / (2 * p) == (i + j + k) / (2 * p)) {
						int32_t x = v[i + j], y = v[i + j + k];

						v[i + j] = x < y ? x : y;
						v[i + j + k] = x < y ? y : x;
					}
}

static void sort(void)
{
	memcpy(ints3, ints, sizeof(ints));
	qsort(ints3, N, sizeof(*ints3), compare);
	show("qsort", ints3, sizeof(ints3));
	memcpy(ints3, ints, sizeof(ints));
	network(ints3, N);
	show("sorting network", ints3, sizeof(ints3));
}

static void hashes(void)
{
	uint64_t mixed = 1, bits = 0, spread = 0, high = 0;
	uint32_t crc = ~0u, a = 1, b = 0;

	for (int i = 0; i < N; i++) {
		uint64_t x = (uint64_t)longs[i];

		mixed = (mixed ^ x) * 0x9fb21c651e98df25;
		mixed = (mixed >> 47 | mixed << 17) ^ mixed >> 29;
		high ^= (uint64_t)(((unsigned __int128)x * mixed) >> 64);
		bits += (uint64_t)(__builtin_popcountll(x) +
				   __builtin_ctzll(x | 1) + __builtin_clzll(x | 1));
		spread ^= _pext_u64(mixed, x) + _pdep_u64(x, mixed);
		spread += _bzhi_u64(x, (unsigned int)i & 63) ^ (x & (x - 1)) ^ (~x & mixed);
		crc = (uint32_t)_mm_crc32_u64(crc, x);
		a = (a + (uint8_t)bytes[i]) % 65521;
		b = (b + a) % 65521;
	}
	printf("hashes %016llx %016llx %llu %016llx %08x %08x\n",
	       (unsigned long long)mixed, (unsigned long long)high,
	       (unsigned long long)bits, (unsigned long long)spread, crc,
	       b << 16 | a);
}

/* The C library picks its own functions for this processor. */
static void library(void)
{
	static char text[3 * N], copy[3 * N];
	size_t sum = 0;

	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('!' + next() % 90);
	for (int i = 0; i < 200; i++) {
		size_t from = next() % N, length = next() % N;
		char *found;

		memmove(copy + next() % N, text + from, length);
		memset(copy + next() % N, (int)(next() & 0xff), length / 7);
		copy[sizeof(copy) - 1] = 0;
		sum += strlen(copy + from) + strnlen(copy, length);
		sum += (size_t)(memcmp(copy + from, text + from, length) > 0);
		found = memchr(text, copy[from] | 1, sizeof(text));
		sum += found ? (size_t)(found - text) : 7;
		sum += strspn(text + from, "abcdefghijklm") + strcspn(text, "z");
	}
	printf("library %zu\n", sum);
	show("copy", copy, sizeof(copy));
	printf("functions %.17g %.17g %.17g %.9g\n", sin(1.25), exp(-3.5),
	       pow(1.5, 12.25), (double)logf(17.0f));
}

int main(void)
{
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
		fputs("this processor is no x86-64-v3: ring3 run --cpu x86-64-v3\n",
		      stderr);
		return 77;
	}
	fill();
	sums();
	elements();
	multiply();
	sort();
	hashes();
	library();
	return 0;
}
