// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: two processes that wake each other through pipes: a switch of address space per message on one
// processor; with a second argument of 2 they sit on two processors, which sleep and are woken by an IPI.
// Amount: thousand rounds, there and back.
#include "bench.h"
#include <sys/wait.h>

int main(int argc, char **argv)
{
	uint64_t rounds = bench_amount(argc, argv) * 1000, left = rounds;
	uint64_t message = 1, checksum = 0;
	int there[2], back[2];
	pid_t partner;

	if (pipe(there) || pipe(back))
		bench_fail("pipe");
	partner = fork();
	if (partner < 0)
		bench_fail("fork");
	if (!partner) {
		close(there[1]);
		bench_pin(bench_partner_cpu(argc, argv));
		while (read(there[0], &message, 8) == 8) {
			message = bench_mix(message, 7);
			if (write(back[1], &message, 8) != 8)
				_exit(1);
		}
		_exit(0);
	}
	bench_pin(0);
	bench_begin();
	for (; left; left--) {
		if (write(there[1], &message, 8) != 8 || read(back[0], &message, 8) != 8)
			bench_fail("pipe");
		checksum = bench_mix(checksum, message);
	}
	bench_end(checksum);
	close(there[1]);
	waitpid(partner, NULL, 0);
}
