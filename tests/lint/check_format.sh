#!/usr/bin/env bash
# clang-format would change nothing. `make fmt` mends what this finds.
set -u
mapfile -t files < <(find src include modules demo tests -name '*.[ch]' | sort)
if ! clang-format --dry-run -Werror "${files[@]}" 2>/tmp/$$.fmt; then
    grep -E 'error:' /tmp/$$.fmt | cut -d: -f1 | sort | uniq -c |
        awk '{ printf "%s: %d places: run make fmt\n", $2, $1 }'
    rm -f /tmp/$$.fmt
    exit 1
fi
rm -f /tmp/$$.fmt
