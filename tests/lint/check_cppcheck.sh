#!/usr/bin/env bash
# cppcheck's warnings: uses of what was freed, leaks of descriptors, impossible
# conditions. It keeps what it knows of unchanged files in build/. Its null
# pointer checks are off: they follow calls without knowing what a caller made
# sure of (a row of a table that is there), so they find only what cannot be.
set -u
mkdir -p build/lint-cppcheck
exec cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr \
    --cppcheck-build-dir=build/lint-cppcheck -j"$(nproc)" \
    --enable=warning,portability --suppress=missingIncludeSystem \
    --suppress=nullPointer --suppress=ctunullpointer \
    --suppress=syntaxError:src/*.def --suppress=normalCheckLevelMaxBranches \
    --template='{file}:{line}: {id}: {message}' -Isrc -Iinclude src modules
