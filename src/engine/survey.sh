{
LC_ALL=C
export LC_ALL
say() { printf '@NONCE@ %s %s\n' "$1" "$2"; }
say system "$(uname -s)"
say arch "$(uname -m)"
say hostname "$(uname -n)"
say machine "$(cat /etc/machine-id 2>/dev/null)"
say time "$(date +%s)"
say shell "${SHELL:-}"
say cpus "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null)"
[ -r /proc/meminfo ] && while read -r key value unit; do
    case $key in MemTotal:) say memory "$value" ;; esac
done </proc/meminfo
dir=@DIR@
case $dir in
'') dir=${HOME:-}/.cache/grid ;;
/*) ;;
*) dir=${HOME:-}/$dir ;;
esac
say dir "$dir"
while [ -n "$dir" ] && ! [ -e "$dir" ]; do dir=${dir%/*}; done
dir=${dir:-/}
say nearest "$dir"
[ -d "$dir" ] && [ -w "$dir" ] && say writable "$dir"
df -Pk "$dir" 2>/dev/null | while read -r device blocks used free percent point; do
    case $free in '' | *[!0-9]*) continue ;; esac
    say free "$free"
    [ -r /proc/mounts ] && while read -r dev at type options rest; do
        [ "$at" = "$point" ] && say mount "$type $options"
    done </proc/mounts
done
[ -d /run/systemd/system ] && say systemd yes
say kills "$(cat /usr/lib/systemd/logind.conf.d/*.conf /etc/systemd/logind.conf /etc/systemd/logind.conf.d/*.conf 2>/dev/null | grep '^KillUserProcesses=' | tail -n 1)"
user=${USER:-$(id -un)}
[ -e "/var/lib/systemd/linger/$user" ] || [ "$(id -u)" = 0 ] && say lingers yes
say end yes
exit 0
}
