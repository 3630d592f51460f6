#!/usr/bin/env bash
# Brings what fuzzing reached into the tree: merge.sh DIR NAME... writes to
# tests/fuzz/corpus/NAME the fewest and smallest inputs, of the old ones and of
# build/fuzz/corpus/NAME, that reach all that was reached. Inputs whose name has
# no 40 digits were written by hand and stay.
set -u
dir=$1
shift
here=tests/fuzz
for name in "$@"; do
    fresh=build/fuzz/merged/$name
    old=$here/corpus/$name
    rm -rf "$fresh"
    mkdir -p "$fresh" "$old" "build/fuzz/corpus/$name"
    mkdir -p "build/fuzz/by-hand/$name"
    find "$old" -type f | grep -vE '/[0-9a-f]{40}$' |
        xargs -r cp -t "build/fuzz/by-hand/$name"
    "$dir/$name" -merge=1 -timeout=10 -max_len=4096 "$fresh" \
        "build/fuzz/by-hand/$name" "$old" "build/fuzz/corpus/$name" \
        >"build/fuzz/log/$name.merge.log" 2>&1 || {
        echo "FAIL  $name: see build/fuzz/log/$name.merge.log"
        exit 1
    }
    find "$old" -type f | grep -E '/[0-9a-f]{40}$' | xargs -r rm
    for input in "$fresh"/*; do
        cmp -s "$input" "$old/$(basename "$input")" ||
            cp "$input" "$old/"
    done
    # What was written by hand has its own name already.
    for input in "build/fuzz/by-hand/$name"/*; do
        [ -f "$input" ] || continue
        rm -f "$old/$(sha1sum "$input" | cut -c1-40)"
    done
    printf '%-16s %5d inputs, %7d bytes\n' "$name" \
        "$(find "$old" -type f | wc -l)" \
        "$(find "$old" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }')"
done
