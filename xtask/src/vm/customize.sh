#!/bin/sh
# Makes the installed Debian the stock machine of `cargo xtask vm`. Started by mmdebstrap with the machine's root directory, after a
# directory of the host that has `key.pub`, an empty directory `root` and the files to be filled: `kernel`, `initrd`, `disk`. It runs as root, or as root of a user namespace.
set -eu
host=$1
root=$2

# An ordinary user, with what Debian gives each: a range of subordinate ids. His user manager runs from the boot on.
chroot "$root" useradd --create-home --shell /bin/bash fn
grep -q '^fn:' "$root/etc/subuid" || chroot "$root" usermod --add-subuids 100000-165535 fn
grep -q '^fn:' "$root/etc/subgid" || chroot "$root" usermod --add-subgids 100000-165535 fn
mkdir -p "$root/var/lib/systemd/linger"
touch "$root/var/lib/systemd/linger/fn"

for home in home/fn root; do
    mkdir -p "$root/$home/.ssh"
    cat "$host/key.pub" > "$root/$home/.ssh/authorized_keys"
done
chroot "$root" chown -R fn:fn /home/fn/.ssh
chmod -R go= "$root/home/fn/.ssh" "$root/root/.ssh"

# The programs under test lie on a disk of their own, read-only. A third disk is swap.
mkdir -p "$root/srv/fn"
printf '%s\n' \
    '/dev/vda / ext4 defaults 0 0' \
    '/dev/vdb /srv/fn ext4 ro 0 0' \
    '/dev/vdc none swap sw 0 0' > "$root/etc/fstab"

echo stock > "$root/etc/hostname"
printf '127.0.0.1 localhost stock\n::1 localhost\n' > "$root/etc/hosts"
printf '[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\n' > "$root/etc/systemd/network/wired.network"
chroot "$root" systemctl --quiet enable systemd-networkd
# Nothing else shall use the emulated processors.
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer

# The files are there already, made by whoever started this: their owner is not known in here.
cat "$root"/boot/vmlinuz-* > "$host/kernel"
cat "$root"/boot/initrd.img-* > "$host/initrd"
# What is mounted in the root directory now is no part of the machine: a bind mount shows what lies under it.
mount --bind "$root" "$host/root"
mkfs.ext4 -q -F -L stock -d "$host/root" "$host/disk"
umount "$host/root"
