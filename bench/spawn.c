// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: making processes: fork, exec (of this program, which then ends at once), wait. New address spaces, page
// faults, and code at addresses where other code stood before.
// Amount: processes.
#include "bench.h"
#include <string.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	uint64_t count = bench_amount(argc, argv), checksum = 0;

	if (argc > 2 && !strcmp(argv[2], "child"))
		return atoi(argv[1]) & 63;
	bench_pin(0);
	bench_begin();
	for (uint64_t n = 0; n < count; n++) {
		char number[24];
		int status;
		pid_t child = fork();

		if (child < 0)
			bench_fail("fork");
		if (!child) {
			snprintf(number, sizeof(number), "%llu", (unsigned long long)n + 1);
			execl("/proc/self/exe", argv[0], number, "child", NULL);
			_exit(255);
		}
		if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
			bench_fail("waitpid");
		checksum = bench_mix(checksum, WEXITSTATUS(status));
	}
	bench_end(checksum);
}
