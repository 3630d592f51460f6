#!/usr/bin/env bash
# Installs the Debian packages that are missing: packages.sh SECTION...
# The sections are those of packages.txt. Prints what it installs, and nothing
# when nothing is missing.
set -u
cd "$(dirname "$0")/.." || exit 1

mapfile -t wanted < <(awk -v sections=" $* " '
    /^\[/ { name = substr($0, 2, length($0) - 2)
            on = index(sections, " " name " ") > 0; next }
    on && NF && !/^#/ { print $1 }' packages.txt | sort -u)

if ! command -v dpkg-query >/dev/null; then
    echo "packages.sh: this is no Debian system, so nothing was installed." \
        "Needed, by their Debian names:" "${wanted[*]}" >&2
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)
    if [ "$state" != installed ]; then
        missing+=("$package")
    fi
done
if [ "${#missing[@]}" -eq 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "packages.sh: these packages are missing and only root can" \
            "install them: ${missing[*]}" >&2
        echo "packages.sh: run this as root: apt-get install" \
            "--no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "installing Debian packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${as_root[@]}" apt-get -q update >"$log" 2>&1; then
    cat "$log" >&2
    echo "packages.sh: apt-get update failed" >&2
    exit 1
fi
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
    -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" \
    >"$log" 2>&1; then
    cat "$log" >&2
    echo "packages.sh: apt-get install failed" >&2
    exit 1
fi
