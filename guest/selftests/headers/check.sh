#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Compiles include/*.h the way programs do, warnings being errors, and looks at
# the bytes of the region marks.  Output in TAP.
cd "$(dirname "$0")" || exit 1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
n=0
failed=0

result() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		sed 's/^/# /' "$out/log"
		echo "not ok $n - $2"
		failed=1
	fi
}

compiles() {
	"$@" -I../../../include -o "$out/a.out" -lpthread >"$out/log" 2>&1
	result $? "$*"
}

W="-Wall -Wextra -Werror"
for opt in -O0 -O2; do
	# what the slides say; there write()'s result and main()'s arguments are not used
	compiles gcc -Wall $opt -muintr -mgeneral-regs-only slide_sample.c
	for std in gnu89 c99 gnu11 gnu17; do
		compiles gcc -std=$std $W $opt -muintr -mgeneral-regs-only strict.c
	done
	compiles gcc -std=c11 -pedantic $W $opt -muintr -mgeneral-regs-only strict.c
	compiles gcc -g -Wall -Werror $opt -muintr macros_after.c
	compiles gcc -g -Wall -Werror $opt -muintr macros_before.c
	compiles gcc -g -Wall -Werror -O3 -march=x86-64-v4 -muintr macros_after.c
	for std in c++11 c++17 gnu++20; do
		compiles g++ -std=$std $W $opt -muintr -mgeneral-regs-only cplusplus.cc
	done
done

gcc -O2 -muintr -mgeneral-regs-only -I../../../include -c -o "$out/strict.o" strict.c 2>"$out/log" &&
	objdump -d --no-show-raw-insn "$out/strict.o" >"$out/log" &&
	grep -q 'nopl *0x52330001(%rax,%rax,1)' "$out/log" &&
	grep -q 'nopl *0x52330002(%rax,%rax,1)' "$out/log"
result $? "region marks are NOPL with the agreed displacements"

gcc -Wall -O2 -muintr -mgeneral-regs-only -I../../../include -o "$out/a.out" strict.c 2>"$out/log" &&
	"$out/a.out" >>"$out/log" 2>&1
result $? "the strict program runs, with or without the module"

echo "1..$n"
exit $failed
