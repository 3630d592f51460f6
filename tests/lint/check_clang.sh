#!/usr/bin/env bash
# Everything compiles under clang without a warning.
set -o pipefail
make -s -k --no-print-directory -j"$(nproc)" CC=clang VARIANT=lint-clang \
    WERROR=1 objects 2>&1 | grep -vE '^(make|  (CC|MOD|TEST|LINK|AR|PROTO) )'
exit "${PIPESTATUS[0]}"
