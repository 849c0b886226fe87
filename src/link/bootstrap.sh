{
umask 077
LC_ALL=C
export LC_ALL
say() { printf '@NONCE@ %s\n' "$1"; }
fail() {
    said=$(printf '%s' "$3" | tr '\n\t' '  ')
    printf '@NONCE@ fail %s %s\t%s\n' "$1" "$2" "${said##*: }"
    exit 1
}
arch=$(uname -m)
case $arch in
@ARCHS@
*) fail arch "$arch" '' ;;
esac
dir=@DIR@
case $dir in
'') dir=${HOME:-}/.cache/grid ;;
/*) ;;
*) dir=${HOME:-}/$dir ;;
esac
bin=$dir/bin/$name
file=$bin/grid
if ! [ -x "$file" ] || [ "$(wc -c <"$file")" -ne "$size" ]; then
    err=$(mkdir -p "$bin" 2>&1) || fail place "$bin" "$err"
    new=$file.@NONCE@
    find "$bin" -name 'grid.grid-*' -mmin +60 -exec rm -f {} + 2>/dev/null
    err=$( { true >"$new"; } 2>&1 ) || fail place "$bin" "$err"
    say "send $arch"
    err=$(head -c "$size" 2>&1 >"$new") || { rm -f "$new"; fail place "$bin" "$err"; }
    [ "$(wc -c <"$new")" -eq "$size" ] || { rm -f "$new"; fail damaged "$file" ''; }
    if command -v sha256sum >/dev/null 2>&1; then
        got=$(sha256sum <"$new")
        [ "${got%% *}" = "$sum" ] || { rm -f "$new"; fail damaged "$file" ''; }
    fi
    err=$(chmod 700 "$new" 2>&1) || { rm -f "$new"; fail place "$bin" "$err"; }
    err=$("$new" --version 2>&1 </dev/null) || { rm -f "$new"; fail exec "$file" "$err"; }
    err=$(mv -f "$new" "$file" 2>&1) || { rm -f "$new"; fail place "$bin" "$err"; }
fi
say agent
cd /
exec "$file" agent --link @KEY@ @DIROPTION@
}
