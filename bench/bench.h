// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What every program here begins and ends with.
//
// A program does a given amount of work and prints a checksum of it, so that two emulators' results can be
// compared. It can be run by hand:
//
//     ring3 run --cflags '-O2' bench/nbody.c 1000
//
// When `cargo xtask bench` runs it, BENCH is set in the environment. Then it waits for a line on standard
// input before the work and after it, so that whoever measures can look at the emulator's clock while nothing
// happens.
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// The amount of work: the program's first argument, or a small default.
static inline unsigned long bench_amount(int argc, char **argv)
{
	unsigned long amount = argc > 1 ? strtoul(argv[1], NULL, 0) : 0;

	return amount ? amount : 1;
}

static inline void bench_wait(const char *marker)
{
	int c;

	if (!getenv("BENCH"))
		return;
	printf("%s\n", marker);
	fflush(stdout);
	do
		c = getchar();
	while (c != '\n' && c != EOF);
}

// Preparations are over, the work begins.
static inline void bench_begin(void)
{
	bench_wait("@begin");
}

// The work is done, with this result.
static inline void bench_end(uint64_t checksum)
{
	bench_wait("@end");
	printf("checksum %016llx\n", (unsigned long long)checksum);
}

// Something that the program cannot do without has failed.
static inline void bench_fail(const char *what)
{
	perror(what);
	exit(1);
}

// From now on the calling thread runs on this processor alone. A machine with fewer has the last one for all.
static inline void bench_pin(int cpu)
{
	cpu_set_t set;
	long last = sysconf(_SC_NPROCESSORS_ONLN) - 1;

	CPU_ZERO(&set);
	CPU_SET(cpu < last ? cpu : last, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bench_fail("sched_setaffinity");
}

// The partner's processor in a game of two: the second argument "2" puts the players on two processors;
// otherwise they share one.
static inline int bench_partner_cpu(int argc, char **argv)
{
	return argc > 2 && argv[2][0] == '2';
}

// One step of a checksum (the multiplier of the 64-bit FNV hash).
static inline uint64_t bench_mix(uint64_t checksum, uint64_t value)
{
	return (checksum ^ value) * 0x100000001b3;
}

// A reproducible sequence of numbers (xorshift).
static inline uint64_t bench_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
