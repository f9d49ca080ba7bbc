#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs all test programs here and now; the module must be loaded.  TAP for each,
# a line at the end.  STRESS_ROUNDS, TEST_SECONDS, TEST_ONLY as in the programs.
cd "$(dirname "$0")" || exit 1
failed=""
for test in ${TESTS:-calls delivery process waiting hooks stress}; do
	echo "# $test"
	./"$test" || failed="$failed $test"
done
if [ -n "$failed" ]; then
	echo "# FAILED:$failed"
	exit 1
fi
echo "# all passed"
