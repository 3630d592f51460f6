#!/usr/bin/env bash
# Connect's conformance suite (Connect, gRPC and gRPC-Web; HTTP/1.1 and HTTP/2;
# plain and TLS) with the gateway between its reference client and its
# reference server: once with a backend of the client's HTTP version, once with
# HTTP/1.1 clients in front of HTTP/2 backends. Then all of it again while the
# configuration reloads five times a second.
# shellcheck source=tests/conform/lib.sh
. "$(dirname "$0")/lib.sh"
n_lines_max=500
export DAEMUN_BIN=$daemun REFERENCE_SERVER=$tools/referenceserver

# suite NAME BACKEND FLAG...
suite() {
    local name=$1 numbers
    export CONFORM_BACKEND=$2
    shift 2
    timeout 600 "$tools/connectconformance" --mode server \
        --conf "$here/connect.yaml" --max-servers 2 "$@" \
        -- python3 "$here/connect_server.py" \
        >"$work/$name.out" 2>"$work/$name.err"
    # "Total cases: 3800", then "3798 passed, 2 failed".
    numbers=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed.*/\1 \2/p' \
        "$work/$name.out" | tail -1)
    if [ -z "$numbers" ]; then
        fail "connect $name" "$(tail -5 "$work/$name.out" "$work/$name.err")"
        return
    fi
    passed=$((passed + ${numbers% *}))
    failed=$((failed + ${numbers#* }))
    if [ "${numbers#* }" -ne 0 ]; then
        grep -A4 '^FAILED: ' "$work/$name.out" |
            sed "s/^FAILED: /FAIL  connect $name: /" | head -"$n_lines_max"
    fi
}

# Each gateway of the suite left a line: reloads, seconds, what was wrong.
check_reloads() {
    local bad
    bad=$(awk '$3 != ""' "$CONFORM_RELOADS" | head -5 | tr '\n' ';')
    if [ ! -s "$CONFORM_RELOADS" ] || [ -n "$bad" ]; then
        fail "connect reloads" "${bad:-there were none}"
        return
    fi
    pass
    awk '{ n += $1; s += $2 }
        END { printf "connect: %d reloads in %.1f s of %d gateways\n", n, s, NR }' \
        "$CONFORM_RELOADS"
}

suite same ""
suite h1-to-h2 2 --run '**/HTTPVersion:1/**'
export CONFORM_RELOADS=$work/reloads
: >"$CONFORM_RELOADS"
suite same-under-reloads ""
suite h1-to-h2-under-reloads 2 --run '**/HTTPVersion:1/**'
check_reloads
summary connect
