#!/usr/bin/env bash
# Connect's conformance suite (Connect, gRPC and gRPC-Web; HTTP/1.1 and HTTP/2;
# plain and TLS) with the gateway between its reference client and its
# reference server: once with a backend of the client's HTTP version, once with
# HTTP/1.1 clients in front of HTTP/2 backends.
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

suite same ""
suite h1-to-h2 2 --run '**/HTTPVersion:1/**'
summary connect
