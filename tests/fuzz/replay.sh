#!/usr/bin/env bash
# Runs fuzz targets over their corpora and old findings: replay.sh DIR NAME...
# DIR holds the programs. One line per target, the output of those that failed,
# and last the line `fuzz: N passed, N failed` that counts inputs. What comes
# after an input that ended the process is run too.
set -u
dir=$1
shift
here=tests/fuzz
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for name in "$@"; do
    mapfile -t inputs < <(find "$here/corpus/$name" "$here/findings/$name" \
        -type f 2>/dev/null | sort)
    ok=0
    bad=0
    if [ "${#inputs[@]}" -eq 0 ]; then
        echo "FAIL  $name: has no corpus"
        failed=$((failed + 1))
        continue
    fi
    at=0
    while [ "$at" -lt "${#inputs[@]}" ]; do
        if "$dir/$name" "${inputs[@]:at}" >"$log" 2>&1; then
            ok=$((ok + ${#inputs[@]} - at))
            break
        fi
        n=$(grep -c '^run ' "$log")
        if [ "$n" -eq 0 ] || grep -q '^ran ' "$log"; then
            n=$((${#inputs[@]} - at + 1)) # all ran: a leak, found at the end
        fi
        ok=$((ok + n - 1))
        bad=$((bad + 1))
        echo "FAIL  $name: $(grep '^run ' "$log" | tail -n 1)"
        grep -v '^run ' "$log" | sed 's/^/      /'
        at=$((at + n))
    done
    if [ "$bad" -eq 0 ]; then
        printf 'ok    %-28s %4d passed\n' "$name" "$ok"
    else
        printf 'FAIL  %-28s %4d passed, %d failed\n' "$name" "$ok" "$bad"
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
done
printf 'fuzz: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
