#!/usr/bin/env bash
# Runs the test programs of one kind and build: run_unit.sh KIND DIR NAME...
# One line per program, the figures it measured, the output of those that
# failed, and last the line `KIND: N passed, N failed` that counts single tests.
# A program that crashes, hangs (60 s; laws are long, 300 s) or counts nothing is one failed test of
# its own.
set -u
kind=$1
dir=$2
shift 2
limit=60
[ "$kind" = law ] && limit=300
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for name in "$@"; do
    CMOCKA_MESSAGE_OUTPUT=STDOUT timeout "$limit" "$dir/$name" >"$log" 2>&1
    status=$?
    ok=$(grep -cE '^\[ +OK +\]' "$log")
    bad=$(grep -E '^\[ +(FAILED|ERROR) +\] [a-z]' "$log" |
        sed -E 's/^\[ *[A-Z]+ *\] *//' | sort -u | grep -c .)
    note=
    if [ "$status" -eq 124 ]; then
        note=' (hangs: stopped after '"$limit"' s)'
    elif [ "$status" -gt 128 ]; then
        note=" (killed by signal $((status - 128)))"
    elif [ "$ok" -eq 0 ] && [ "$bad" -eq 0 ]; then
        note=' (ran no test)'
        status=1
    fi
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    if [ "$status" -eq 0 ]; then
        printf 'ok    %-28s %3d passed\n' "$name" "$ok"
        sed -n 's/^measured: /      /p' "$log"
    else
        printf 'FAIL  %-28s %3d passed, %d failed%s\n' "$name" "$ok" "$bad" \
            "$note"
        sed 's/^/      /' "$log"
    fi
done
printf '%s: %d passed, %d failed\n' "$kind" "$passed" "$failed"
[ "$failed" -eq 0 ]
