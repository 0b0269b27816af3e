#!/bin/sh
# A machine's first process: mounts what the machine sees, then becomes the program that holds its namespaces.
#
#   init.sh NAME DIRECTORY PROGRAMS HOLDER HIERARCHY...     HIERARCHY is PATH:OPTIONS
#
# /usr, /bin and /lib are this host's; /usr/local/bin is PROGRAMS; /run and /tmp are empty at each boot. /var, /opt and
# the machine's changes to /etc lie in DIRECTORY and last as long as it does. /var is no overlay: containerd makes
# overlays in there, and those want a plain file system below them.
set -eu
name=$1 directory=$2 programs=$3 holder=$4
shift 4

mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
for hierarchy in "$@"; do
  mkdir -p "${hierarchy%%:*}"
  mount -t cgroup -o "${hierarchy#*:}" cgroup "${hierarchy%%:*}"
done

# The directory may itself lie below a place that is hidden next: all is tied together first, then put in place.
mount -t tmpfs -o mode=755 machine /mnt
mkdir -p /mnt/bin /mnt/opt /mnt/var "$directory/opt" "$directory/var/log" "$directory/var/tmp" "$directory/etc" \
  "$directory/etc.work"
cp "$holder" /mnt/holder
ln -sfn /run "$directory/var/run"
mount --bind "$programs" /mnt/bin
mount --bind "$directory/opt" /mnt/opt
mount --bind "$directory/var" /mnt/var
mount -t overlay -o "lowerdir=/etc,upperdir=$directory/etc,workdir=$directory/etc.work" etc /etc
if [ ! -e /etc/weft-e2e ]; then
  rm -rf /etc/cni /etc/kubernetes /etc/containerd /etc/weft /etc/resolv.conf
  : > /etc/resolv.conf
  : > /etc/weft-e2e
fi
hostname "$name"
echo "$name" > /etc/hostname

mount --bind /mnt/bin /usr/local/bin
mount --bind /mnt/opt /opt
mount --bind /mnt/var /var
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm
mkdir -p /run/lock /run/netns
cp /mnt/holder /run/holder
umount -l /mnt

# Settings of the one kernel below all machines, which kubelet insists on: it gets files of its own to write to. And
# each boot has an id of its own.
mkdir /run/sysctl
boot=$(cat /proc/sys/kernel/random/uuid)
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000 "kernel/random/boot_id=$boot"; do
  path=${setting%%=*}
  file=/run/sysctl/$(echo "$path" | tr / .)
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/$path"
done

ip link set lo up
mount --make-rshared /
touch /run/machine-is-up
exec /run/holder
