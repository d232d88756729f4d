#!/bin/busybox sh
# First process of the virtual machine: loads modules, makes a root of which the machine's own is the lower half, goes on in it.
/bin/busybox --install -s /bin
export PATH=/bin
fail() {
    echo "vm: $*"
    poweroff -f
}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules/order); do
    insmod "/modules/$module.ko" || fail "cannot load module $module"
done
# The host lets nothing be written there, either.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /lower || fail "cannot mount the machine's root"
mount -t tmpfs tmpfs /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /sysroot || fail "cannot mount an overlay on it"
for place in /proc /sys /dev; do
    mount -o move "$place" "/sysroot$place"
done
for place in /run /tmp /dev/shm; do
    mkdir -p "/sysroot$place"
    mount -t tmpfs tmpfs "/sysroot$place"
done
mkdir -p /sysroot/dev/pts
mount -t devpts devpts /sysroot/dev/pts
mount -t bpf bpf /sysroot/sys/fs/bpf
mkdir /sysroot/run/results /sysroot/run/vm
mount -t 9p -o rw,trans=virtio,version=9p2000.L,msize=512000 results /sysroot/run/results || fail "cannot mount the results"
cp /bin/busybox /session /sysroot/run/vm
exec switch_root /sysroot /run/vm/busybox sh /run/vm/session
