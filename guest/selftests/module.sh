#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Loading and unloading the module, in TAP.  As root, in the directory of the
# test programs:
#
#	./module.sh path/to/ring3_uintr.ko
#
# The module must not be loaded; it is not loaded afterwards.
ko=$1
name=$(basename "$ko" .ko)
n=0
failed=0

result() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=1
	fi
}

works() {
	TEST_ONLY=thread_to_thread ./delivery >/dev/null
}

# What an address space or a dead thread held is given back a little later.
unload() {
	for i in 1 2 3 4 5 6 7 8 9 10; do
		rmmod "$name" 2>/dev/null && return 0
		sleep 1
	done
	return 1
}

! works
result $? "without the module nothing works"

for hook in auto patch ftrace tracepoint; do
	insmod "$ko" hook=$hook
	result $? "loads with hook=$hook"
	used=$(cat "/sys/module/$name/parameters/hook")
	[ "$hook" = auto ] || [ "$used" = "$hook" ]
	result $? "and uses it ($used)"
	works
	result $? "user interrupts work"
	unload
	result $? "unloads"
	! works
	result $? "nothing works afterwards"
done

! insmod "$ko" hook=nonsense 2>/dev/null
result $? "an unknown hook is refused"

insmod "$ko"
rm -f fifo
mkfifo fifo
for what in receiver fd sender ipi_fd instruction; do
	./holder $what <fifo >holder.out &
	pid=$!
	exec 9>fifo
	for i in 1 2 3 4 5 6 7 8 9 10; do
		grep -q holding holder.out && break
		sleep 1
	done
	grep -q holding holder.out && ! rmmod "$name" 2>/dev/null
	result $? "cannot be unloaded while somebody holds: $what"
	exec 9>&-
	wait $pid
	unload
	result $? "but can afterwards"
	insmod "$ko"
done
rm -f fifo holder.out
unload

# kvm_intel and we both want the wake-up vector.  (The test machine need not be
# able to run it: what matters is who is asked first.)
if [ -f ./kvm-intel.ko ]; then
	insmod ./irqbypass.ko
	insmod ./kvm.ko
	insmod "$ko"
	mkfifo fifo
	./holder waiting_receiver <fifo >holder.out &
	pid=$!
	exec 9>fifo
	sleep 2
	insmod ./kvm-intel.ko 2>&1 | grep -q "busy"
	result $? "kvm_intel is refused while a waiting receiver exists"
	exec 9>&-
	wait $pid
	! insmod ./kvm-intel.ko 2>&1 | grep -q "busy"
	result $? "but not afterwards"
	rmmod kvm_intel 2>/dev/null
	TEST_ONLY=nanosleep ./waiting | grep -v SKIP | grep -q "^ok"
	result $? "WAITING flags work when kvm_intel is gone again"
	unload
	result $? "unloads after kvm_intel came and went"
	rm -f fifo holder.out
fi

./holder hammer &
hammers=$!
./holder hammer &
hammers="$hammers $!"
bad=0
i=0
while [ $i -lt "${LOAD_ROUNDS:-15}" ]; do
	i=$((i + 1))
	insmod "$ko" || bad=1
	# refused while one of the short-lived processes holds something
	j=0
	while [ $j -lt 500 ] && ! rmmod "$name" 2>/dev/null; do
		j=$((j + 1))
	done
	[ -d "/sys/module/$name" ] && bad=1
done
kill $hammers
[ $bad -eq 0 ]
result $? "loads and unloads under fire"
unload

echo "1..$n"
exit $failed
