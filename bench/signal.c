// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: two processes that wake each other with a signal and a handler: kill, the frame on the user's stack,
// rt_sigreturn, sigsuspend. On one processor, or with a second argument of 2 on two.
// Amount: thousand rounds, there and back.
#include "bench.h"
#include <signal.h>
#include <sys/wait.h>

static volatile sig_atomic_t received;

static void handler(int number)
{
	(void)number;
	received++;
}

// Waits until `count` signals have come in all.
static void await(sig_atomic_t count, const sigset_t *open)
{
	while (received != count)
		sigsuspend(open);
}

int main(int argc, char **argv)
{
	uint64_t rounds = bench_amount(argc, argv) * 1000;
	struct sigaction action = { .sa_handler = handler };
	sigset_t closed, open;
	pid_t partner, parent = getpid();

	sigemptyset(&closed);
	sigaddset(&closed, SIGUSR1);
	sigprocmask(SIG_BLOCK, &closed, &open);
	sigaction(SIGUSR1, &action, NULL);
	partner = fork();
	if (partner < 0)
		bench_fail("fork");
	bench_pin(partner ? 0 : bench_partner_cpu(argc, argv));
	if (!partner) {
		for (uint64_t round = 1; round <= rounds; round++) {
			await(round, &open);
			kill(parent, SIGUSR1);
		}
		_exit(0);
	}
	bench_begin();
	for (uint64_t round = 1; round <= rounds; round++) {
		kill(partner, SIGUSR1);
		await(round, &open);
	}
	bench_end(received);
	waitpid(partner, NULL, 0);
}
