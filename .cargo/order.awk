# Names of functions without what differs from build to build: hashes of crates and types, numbers that depend on their length, and
# the parts into which the compiler splits a crate.
# `awk -f order.awk NAMES` prints the names so. `awk -v order=.cargo/order -v share=FILE -f order.awk NAMES` prints those names that the
# list has, in its order, and writes to FILE how many of the list's names were found, in percent.
function bare(name) {
    sub(/\.llvm\.[0-9]+$/, "", name)
    gsub(/Cs[0-9A-Za-z]+_/, "C_", name)
    gsub(/B[0-9A-Za-z]*_/, "B_", name)
    sub(/17h[0-9a-f]+E$/, "E", name)
    return name
}
BEGIN {
    if (order != "") {
        while ((getline name < order) > 0)
            if (name !~ /^#/) place[name] = ++listed
    }
}
{ name = bare($1) }
order == "" { print name; next }
name in place { found[place[name]] = found[place[name]] $1 "\n" }
END {
    if (order == "") exit
    for (at = 1; at <= listed; at++)
        if (at in found) { printf "%s", found[at]; matched++ }
    printf "%d\n", listed ? 100 * matched / listed : 0 > share
}
