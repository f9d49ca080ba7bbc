#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs the selftests in QEMU, which has no user interrupts, on the test double of
# the module (TEST_NO_HW=1), in a minimal guest: kernel, busybox, nothing else.
#
#	KERNEL=/boot/vmlinuz-6.1.0-56-cloud-amd64 \
#	KDIR=/usr/src/linux-headers-6.1.0-56-cloud-amd64 qemu/run.sh [cpus]
#
# HOOK=patch|ftrace|tracepoint	force a way of adding the system calls
# CMDLINE="preempt=full ..."	more kernel parameters
# QEMU_ARGS="-M q35 ..."	other machine (default -M pc)
# MODULE_TEST=1			load/unload tests instead of the others
# TESTS="calls waiting"		only these programs
# EXAMPLES=1			run ../../examples instead
# KVM_MODULES="irqbypass.ko kvm.ko kvm-intel.ko"	(full paths) with
#				MODULE_TEST: who gets the wake-up vector
# SECONDS_MAX=600		stop after that many seconds
#
# Fails on a failed test, and on a warning, oops or lock report of the kernel.
here=$(cd "$(dirname "$0")/.." && pwd)
cpus=${1:-2}
: "${KERNEL:=/boot/vmlinuz-$(uname -r)}" "${KDIR:=/lib/modules/$(uname -r)/build}"
bad="cut here|BUG:|WARNING:|Oops|INFO: (task|rcu|lockdep)|possible (circular|recursive|irq)|KASAN|unreferenced object"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make -s -C "$here" || exit 1
make -s -C "$here/../kmod" KDIR="$KDIR" TEST_NO_HW=1 >"$work/build" 2>&1 ||
	{ cat "$work/build"; exit 1; }

root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/test"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$here/../kmod/ring3_uintr_nohw.ko" "$root/test"
if [ -n "$EXAMPLES" ]; then
	# relinked statically in a copy, so as not to disturb the user's
	cp -r "$here/../../examples" "$here/../../include" "$work"
	make -s -C "$work/examples" clean
	make -s -C "$work/examples" STATIC=1 || exit 1
	find "$work/examples" -type f -perm -1 -exec cp {} "$root/test" \;
else
	for f in calls delivery process waiting hooks stress holder run.sh module.sh; do
		cp "$here/$f" "$root/test"
	done
fi

for f in $KVM_MODULES; do
	cp "$f" "$root/test"
done

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
cd /test
. ./environment
if [ -n "$MODULE_TEST" ]; then
	sh ./module.sh ./ring3_uintr_nohw.ko
elif insmod ./ring3_uintr_nohw.ko hook=${HOOK:-auto}; then
	if [ -n "$EXAMPLES" ]; then
		for e in uipi_sample uipi_sample_syscall two_processes priorities \
			 preempt "pingpong 300"; do
			echo "# $e"
			./$e || echo "not ok - $e"
		done
	else
		sh ./run.sh
	fi
	for i in 1 2 3 4 5 6 7 8 9 10; do
		rmmod ring3_uintr_nohw 2>/dev/null && break
		sleep 1
	done
	[ -d /sys/module/ring3_uintr_nohw ] && echo "not ok - the module can be unloaded"
fi
echo "# kernel log"
dmesg | grep -E "ring3_uintr|$BAD"
echo "# end of guest"
poweroff -f
INIT
chmod +x "$root/init"
cat >"$root/test/environment" <<ENV
export BAD="$bad"
export HOOK=$HOOK MODULE_TEST=$MODULE_TEST EXAMPLES=$EXAMPLES
export STRESS_ROUNDS=${STRESS_ROUNDS:-300} TEST_SECONDS=${TEST_SECONDS:-120} TEST_ONLY=$TEST_ONLY
export TESTS="$TESTS"
ENV
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initramfs"

# shellcheck disable=SC2086
timeout "${SECONDS_MAX:-600}" qemu-system-x86_64 ${QEMU_ARGS:--M pc} -cpu max \
	-smp "$cpus" -m 2048 -display none -serial stdio -no-reboot \
	-kernel "$KERNEL" -initrd "$work/initramfs" \
	-append "console=ttyS0 panic=-1 quiet $CMDLINE" </dev/null | tee "$work/log"

grep -q "^# end of guest" "$work/log" || { echo "# the guest did not finish"; exit 1; }
! grep -qE "^not ok|$bad" "$work/log"
