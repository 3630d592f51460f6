#!/usr/bin/env bash
# Runs the conformance suites through the gateway, one after another, and
# prints last `conform: N passed, N failed`. Names of suites choose some of
# them: run.sh h2spec grpc connect. DAEMUN_BIN and DEMO_BIN name the programs
# (default build/daemun and build/demo-server). What they try, and what is
# known to differ: README.md.
set -u
cd "$(dirname "$0")" || exit 1
suites=("$@")
[ "$#" -gt 0 ] || suites=(h2spec grpc connect)
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

./tools.sh || exit 1
for suite in "${suites[@]}"; do
    "./$suite.sh" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    if [[ $(tail -1 "$log") =~ ^$suite:\ ([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
    else
        echo "FAIL  $suite did not run to its end, status $status"
        failed=$((failed + 1))
    fi
done
echo "conform: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
