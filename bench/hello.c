// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The shortest program: how long it takes from `ring3 run` to its end is what starting costs.
#include <stdio.h>

int main(void)
{
	puts("hello");
}
