// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Stresses: doubles in SSE registers: gravitation between six bodies, with a division and a square root per pair.
// The checksum is the bits of the final positions, so both emulators must round alike.
// Amount: thousand steps.
#include "bench.h"
#include <math.h>
#include <string.h>

#define BODIES 6

static struct body {
	double place[3], speed[3], mass;
} bodies[BODIES];

static void step(double time)
{
	for (int i = 0; i < BODIES; i++)
		for (int j = i + 1; j < BODIES; j++) {
			double apart[3], square = 0.01, pull;

			for (int k = 0; k < 3; k++) {
				apart[k] = bodies[j].place[k] - bodies[i].place[k];
				square += apart[k] * apart[k];
			}
			pull = time / (square * __builtin_sqrt(square));
			for (int k = 0; k < 3; k++) {
				bodies[i].speed[k] += apart[k] * bodies[j].mass * pull;
				bodies[j].speed[k] -= apart[k] * bodies[i].mass * pull;
			}
		}
	for (int i = 0; i < BODIES; i++)
		for (int k = 0; k < 3; k++)
			bodies[i].place[k] += time * bodies[i].speed[k];
}

int main(int argc, char **argv)
{
	uint64_t steps = bench_amount(argc, argv) * 1000;
	uint64_t seed = 88172645463325252, checksum = 0;

	for (int i = 0; i < BODIES; i++) {
		for (int k = 0; k < 3; k++) {
			bodies[i].place[k] = (double)(bench_random(&seed) % 2000) / 100 - 10;
			bodies[i].speed[k] = (double)(bench_random(&seed) % 200) / 100 - 1;
		}
		bodies[i].mass = 1 + (double)(bench_random(&seed) % 100) / 10;
	}
	bench_begin();
	for (; steps; steps--)
		step(0.001);
	for (int i = 0; i < BODIES; i++)
		for (int k = 0; k < 3; k++) {
			uint64_t bits;

			memcpy(&bits, &bodies[i].place[k], 8);
			checksum = bench_mix(checksum, bits);
		}
	bench_end(checksum);
}
