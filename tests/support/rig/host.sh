#!/bin/bash
# One host: `host.sh NAME NUMBER`, run in the switch's namespaces, starts it and returns when it is up, without sshd.
# It has a network card, a host name, users, a boot id, a machine id, /etc, /run and /tmp of its own.
# Its home and its /var/tmp outlive it.
set -eu
name=$1 number=$2 net=10.77.0
cd "$RIG"
PATH=$PATH:/usr/sbin:/sbin

if [ "${3:-}" != inside ]; then
    spaces=(--mount --net --uts --ipc --pid --fork --kill-child --propagation private)
    up=
    read -r up < <(setsid unshare "${spaces[@]}" bash host.sh "$name" "$number" inside </dev/null 2>>"$name/boot.log") || :
    [ "$up" = up ] && exit
    cat "$name/boot.log" >&2
    exit 1
fi

mac() { printf '02:77:00:00:00:%02x' "$1"; }
read -r pid _ <outer/self/stat
hostname "$name"

# The cable: one end here, the other in the switch.
switch=$RIG/outer/$(cat switch.pid)/ns/net
ip link add eth0 address "$(mac "$number")" type veth peer name "v$number" netns "$switch"
nsenter --net="$switch" ip link set "v$number" master br0 up
# quickack: without it a login stands still twice for 40 ms. Fixed neighbours: a host that is gone is silent, as behind a router.
{
    echo addr add "$net.$number/24" dev eth0
    echo link set lo up
    echo link set eth0 up
    echo route change "$net.0/24" dev eth0 src "$net.$number" quickack 1
    while read -r address other; do
        case $address in
        127.* | "$net.$number") ;;
        *) echo neigh replace "$address" lladdr "$(mac "${address##*.}")" nud permanent dev eth0 ;;
        esac
    done <hosts
} | ip -batch -

mount -t proc proc /proc
echo 22 >/proc/sys/net/ipv4/ip_unprivileged_port_start
cat /proc/sys/kernel/random/uuid >"$name/boot_id"
mount --bind "$name/boot_id" /proc/sys/kernel/random/boot_id
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd /run/etc

# /etc: the system's, with files of our own before it.
mount --rbind /etc /run/etc
mount -t tmpfs -o mode=755 tmpfs /etc
for file in /run/etc/*; do
    [ -e "$name/etc/${file##*/}" ] || ln -s "$file" "/etc/${file##*/}"
done
for file in "$name"/etc/*; do
    if [ -d "$file" ]; then mkdir "/etc/${file##*/}"; else : >"/etc/${file##*/}"; fi
    mount --bind "$file" "/etc/${file##*/}"
done

user=$(cat "$name/user")
mount -t tmpfs -o mode=755 tmpfs /home
mkdir "/home/$user"
mount --bind "$(readlink "$name/home" || echo "$name/home")" "/home/$user"
mount --bind "$name/var-tmp" /var/tmp
mount -t tmpfs -o mode=755 tmpfs /usr/local/bin
if [ -e "$name/has-grid" ]; then
    : >/usr/local/bin/grid
    mount --bind bin/grid /usr/local/bin/grid
fi
log=$(readlink -f "$name/sshd.log")
: >/run/sshd.log
mount --bind "$log" /run/sshd.log
echo "$pid" >"$name/pid"
# Private and small. What lies in the real /tmp, the rig too, is out of sight from here on.
cd /
mount -t tmpfs -o size=16m,mode=1777 tmpfs /tmp
echo up
exec >/dev/null
# As pid 1: reaps whom others left.
while :; do
    sleep 100000 &
    wait $! || :
done
