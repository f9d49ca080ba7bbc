#!/bin/sh
# usage: run.sh KERNEL MODULES BUSYBOX QEMU [KERNEL-ARGUMENT...]
# See README.md. KERNEL is a bzImage, MODULES the directory lib/modules/VERSION that belongs to it,
# BUSYBOX a static busybox, QEMU a command that runs QEMU 10.1 or newer (quoted if it has spaces).
set -eu
kernel=$1 modules=$2 busybox=$3 qemu=$4
shift 4
here=$(dirname "$0")
work=${WORK:-$(mktemp -d)}
mkdir -p "$work/root/bin" "$work/root/modules" "$work/root/proc" "$work/root/sys" "$work/root/dev"
cargo build --quiet --manifest-path "$here/Cargo.toml"
cp "$busybox" "$work/root/bin/busybox"
install -m 755 "$here/init" "$work/root/init"
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci \
	virtio_console virtio_blk rng-core virtio-rng failover net_failover virtio_net; do
	# Some kernels have some of them built in.
	find "$modules" -name $module.ko -exec cp {} "$work/root/modules/" \;
done
(cd "$work/root" && find . | cpio --quiet -o -H newc) > "$work/initrd"
cp "$kernel" "$work/kernel"

devices="" servers=""
for kind in console disk scratch slow rng net; do
	rm -f "$work/$kind.socket"
	"$here/target/debug/virtio-linux" $kind "$work/$kind.socket" > "$work/$kind.log" 2>&1 &
	servers="$servers $!"
	socket="{\"type\":\"unix\",\"path\":\"$work/$kind.socket\"}"
	devices="$devices -device {\"driver\":\"vfio-user-pci\",\"socket\":$socket}"
done
sleep 1
# shellcheck disable=SC2086 # the lists are meant to be split
timeout ${LIMIT:-300} $qemu -machine pc,memory-backend=ram -accel tcg -m 512 -nodefaults -display none \
	-object memory-backend-memfd,id=ram,size=512M,share=on -serial stdio -no-reboot \
	-kernel "$work/kernel" -initrd "$work/initrd" \
	-append "console=ttyS0 panic=-1 quiet $*" $devices > "$work/serial.log" 2>&1 || true
for server in $servers; do
	kill "$server" 2> /dev/null || true
done
tr -d '\r' < "$work/serial.log" | grep -a '^RESULT' > "$work/results" || true
python3 "$here/expected.py" > "$work/expected"
grep -a '^INTERRUPTS' "$work/serial.log" || true
diff "$work/expected" "$work/results" && echo "all as expected; logs in $work"
