#!/usr/bin/env bash
# The module API is listed once more in abi.sym, by which the program exports
# it: every function that a header of include/ declares stands there, and
# nothing else does.
set -u
sym=include/daemun/abi.sym
if [ ! -e "$sym" ]; then
    echo "$sym is missing: list the functions of include/daemun in it"
    exit 1
fi
declared=$(sed -E 's://.*$::; s:/\*[^*]*\*/::g' include/daemun/*.h |
    grep -vE '^ \*|^#|^/\*|^static|typedef|\(\*' |
    grep -oE '\bdm_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
inline=$(grep -hoE '^static inline [^(]*\bdm_[a-z0-9_]+ *\(' \
    include/daemun/*.h | grep -oE '\bdm_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
listed=$(grep -oE '\bdm_[a-z0-9_]+' "$sym" | sort)
status=0
for name in $(comm -23 <(echo "$declared") <(echo "$listed")); do
    if ! grep -qx "$name" <<<"$inline"; then
        echo "$name is declared in include/daemun but not exported: add it to" \
            "$sym"
        status=1
    fi
done
for name in $(comm -13 <(echo "$declared") <(echo "$listed")); do
    echo "$name stands in $sym but no header declares it: remove it, which" \
        "breaks the ABI: raise its number"
    status=1
done
for name in $(uniq -d <<<"$listed"); do
    echo "$name stands twice in $sym"
    status=1
done
exit "$status"
