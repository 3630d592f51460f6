#!/usr/bin/env bash
# Runs every check of this folder: run.sh [NAME...]. Prints one line per check,
# the findings of those that failed, and last `lint: N passed, N failed`.
set -u
cd "$(dirname "$0")/../.." || exit 1
names=("$@")
if [ "${#names[@]}" -eq 0 ]; then
    for file in tests/lint/check_*; do
        name=${file##*/check_}
        names+=("${name%.*}")
    done
fi
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for name in "${names[@]}"; do
    began=$SECONDS
    if bash -c 'exec "$0"' "$(echo tests/lint/check_"$name".*)" \
        >"$log" 2>&1; then
        passed=$((passed + 1))
        printf 'ok    %-10s %3d s\n' "$name" $((SECONDS - began))
    else
        failed=$((failed + 1))
        printf 'FAIL  %-10s %3d s\n' "$name" $((SECONDS - began))
        sed 's/^/      /' "$log"
    fi
done
printf 'lint: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
