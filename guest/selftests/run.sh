#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs all test programs here and now; the module must be loaded.  TAP for each,
# a line at the end.  STRESS_ROUNDS, TEST_SECONDS, TEST_ONLY as in the programs.
case $0 in */*) cd "${0%/*}" || exit 1 ;; esac
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
