// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: two processors that pass a word of shared memory to and fro without ever asking the kernel: each waits
// with PAUSE. How often an emulator switches between processors decides everything here.
// Amount: thousand rounds, there and back.
#include "bench.h"
#include <pthread.h>
#include <stdatomic.h>

static _Atomic uint64_t word __attribute__((aligned(64)));
static _Atomic int ready;
static uint64_t rounds;

static void await(uint64_t wanted)
{
	while (atomic_load_explicit(&word, memory_order_acquire) != wanted)
		__builtin_ia32_pause();
}

static void *partner(void *unused)
{
	bench_pin(1);
	// Not to run before the work begins: this would be waiting, too.
	while (!atomic_load(&ready))
		usleep(1000);
	for (uint64_t round = 0; round < rounds; round++) {
		await(2 * round + 1);
		atomic_store_explicit(&word, 2 * round + 2, memory_order_release);
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	rounds = bench_amount(argc, argv) * 1000;
	bench_pin(0);
	if (pthread_create(&thread, NULL, partner, NULL))
		bench_fail("pthread_create");
	bench_begin();
	atomic_store(&ready, 1);
	for (uint64_t round = 0; round < rounds; round++) {
		atomic_store_explicit(&word, 2 * round + 1, memory_order_release);
		await(2 * round + 2);
	}
	bench_end(word);
	pthread_join(thread, NULL);
}
