// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: two threads that wake each other with futexes, without a switch of address space. On one processor, or
// with a second argument of 2 on two.
// Amount: thousand rounds, there and back.
#include "bench.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static _Atomic uint32_t turn;
static uint64_t rounds;
static int partner_cpu;

static void await(uint32_t wanted)
{
	uint32_t seen;

	while ((seen = atomic_load(&turn)) != wanted)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void pass_to(uint32_t next)
{
	atomic_store(&turn, next);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *partner(void *unused)
{
	bench_pin(partner_cpu);
	for (uint64_t round = 0; round < rounds; round++) {
		await(1);
		pass_to(0);
	}
	return unused;
}

int main(int argc, char **argv)
{
	uint64_t checksum = 0;
	pthread_t thread;

	rounds = bench_amount(argc, argv) * 1000;
	partner_cpu = bench_partner_cpu(argc, argv);
	bench_pin(0);
	if (pthread_create(&thread, NULL, partner, NULL))
		bench_fail("pthread_create");
	bench_begin();
	for (uint64_t round = 0; round < rounds; round++) {
		pass_to(1);
		await(0);
		checksum = bench_mix(checksum, round);
	}
	bench_end(checksum);
	pthread_join(thread, NULL);
}
