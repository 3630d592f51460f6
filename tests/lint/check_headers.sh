#!/usr/bin/env bash
# Each header is self-contained: compiled alone it lacks nothing, whatever was
# included before it. include/ is compiled without src/.
set -u
cc=${CC:-gcc}
status=0
check() {
    # $1: the header, the rest: where it may look.
    local header=$1
    shift
    if ! "$cc" -std=gnu11 -fsyntax-only -Wall -Wextra -Werror "$@" \
        -x c -include "$header" /dev/null; then
        echo "$header: not self-contained: include what it uses"
        return 1
    fi
}
while read -r header; do
    check "$header" -Isrc -Iinclude || status=1
done < <(find src -name '*.h' | sort)
while read -r header; do
    check "$header" -Iinclude || status=1
done < <(find include -name '*.h' | sort)
while read -r header; do
    guard=$(grep -m1 -E '^#ifndef [A-Z0-9_]+_H$' "$header" | cut -d' ' -f2)
    if [ -z "$guard" ] || ! grep -q "^#define $guard\$" "$header"; then
        echo "$header: no include guard: #ifndef DAEMUN_<FOLDER>_<NAME>_H"
        status=1
    fi
done < <(find src include -name '*.h' | sort)
exit "$status"
