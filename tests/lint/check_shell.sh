#!/usr/bin/env bash
# Every script passes shellcheck, whether it ends in .sh or not.
set -u
mapfile -t scripts < <(git ls-files -co --exclude-standard | while read -r f; do
    if [ -f "$f" ] && head -c 64 "$f" | head -n 1 |
        grep -qE '^#!.*\b(ba)?sh\b'; then
        echo "$f"
    fi
done | sort -u)
status=0
shellcheck -x "${scripts[@]}" || status=1
for script in "${scripts[@]}"; do
    if [ ! -x "$script" ]; then
        echo "$script: not executable: chmod +x"
        status=1
    fi
done
exit "$status"
