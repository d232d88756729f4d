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
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root || fail "cannot mount an overlay on it"
for place in /proc /sys /dev; do
    mount -o move "$place" "/root$place"
done
for place in /run /tmp /dev/shm; do
    mkdir -p "/root$place"
    mount -t tmpfs tmpfs "/root$place"
done
mkdir -p /root/dev/pts
mount -t devpts devpts /root/dev/pts
mount -t bpf bpf /root/sys/fs/bpf
mkdir /root/run/results /root/run/vm
mount -t 9p -o rw,trans=virtio,version=9p2000.L,msize=512000 results /root/run/results || fail "cannot mount the results"
cp /bin/busybox /session /root/run/vm
exec switch_root /root /run/vm/busybox sh /run/vm/session
