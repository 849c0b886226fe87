#!/bin/bash
# The switch: pid 1 of namespaces of its own, in which the hosts' cables end. Without an address, without a way out.
# It lives as long as its stdin is open, so it ends with the test that holds the other end, and all hosts end with it.
set -eu
cd "$RIG"
PATH=$PATH:/usr/sbin:/sbin
# Process numbers as the test sees them: from here on /proc counts anew.
mkdir outer
mount --rbind /proc outer
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
ip link add br0 address 02:77:00:00:01:00 type bridge
ip link set br0 up
read -r pid _ <outer/self/stat
echo "$pid" >switch.pid
echo up
exec >/dev/null
cat
