#!/usr/bin/env bash
# Fuzzes: run.sh DIR SECONDS NAME... runs each program of DIR for SECONDS, J at
# a time. What it learns is kept in build/fuzz/corpus/NAME (merge.sh brings it
# into the tree). An input that ends a target is minimised and put into
# tests/fuzz/findings/NAME; the target goes on, until it has five of them.
set -u
dir=$1
seconds=$2
shift 2
here=tests/fuzz
work=build/fuzz
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=1:detect_leaks=1:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:abort_on_error=1}
mkdir -p "$work/log"

# A smaller input that still ends the target, within a minute.
keep_finding() {
    local name=$1 input=$2 small kept
    small=$work/found/$name/small
    rm -f "$small"
    "$dir/$name" -minimize_crash=1 -max_total_time=60 -timeout=10 \
        -exact_artifact_path="$small" "$input" >/dev/null 2>&1
    [ -s "$small" ] || cp "$input" "$small"
    kept=$here/findings/$name/$(sha1sum "$small" | cut -c1-16)
    mkdir -p "$here/findings/$name"
    mv "$small" "$kept"
    mv "$input" "$work/found/$name/old/"
    echo "found $name: $kept"
}

fuzz() {
    local name=$1 end=$((SECONDS + $2)) n=0 input options=()
    local log=$work/log/$name.log
    mkdir -p "$work/corpus/$name" "$work/found/$name/old" \
        "$here/corpus/$name"
    : >"$log"
    if [ -f "$here/dict/$name.dict" ]; then
        options+=("-dict=$here/dict/$name.dict")
    fi
    while [ "$SECONDS" -lt "$end" ] && [ "$n" -lt 5 ]; do
        "$dir/$name" -max_total_time=$((end - SECONDS)) -timeout=10 \
            -rss_limit_mb=2048 -print_final_stats=1 -max_len=8192 \
            -artifact_prefix="$work/found/$name/" "${options[@]}" \
            "$work/corpus/$name" "$here/corpus/$name" >>"$log" 2>&1 && break
        n=$((n + 1))
        for input in "$work/found/$name"/*-*; do
            [ -f "$input" ] && keep_finding "$name" "$input"
        done
    done
    printf '%-5s %-16s %s\n' "$([ "$n" -eq 0 ] && echo ok || echo FAIL)" \
        "$name" "$(grep -E 'cov: [0-9]+' "$log" | tail -n 1 |
            sed -E 's/^#([0-9]+)[^c]*/runs: \1 /; s/ lim:.*(exec)/ \1/')"
    [ "$n" -eq 0 ]
}
export -f fuzz keep_finding
export dir here work

printf '%s\n' "$@" | xargs -P "${J:-$(nproc)}" -I{} \
    bash -c 'fuzz {} '"$seconds"
