# What the scripts here share; sourced by each of them. A script ends what it
# started, by process id, when it leaves. Needs: bash, python3, openssl.
# shellcheck shell=bash
# shellcheck disable=SC2034
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/daemun/conform
tools=$cache/bin
daemun=${DAEMUN_BIN:-$root/build/daemun}
demo=${DEMO_BIN:-$root/build/demo-server}
pids=()
passed=0
failed=0

# Called by the trap only. SIGINT is the gateway's quick stop; what a shell
# starts in the background may have it ignored, so SIGTERM follows.
# shellcheck disable=SC2317
stop_all() {
    if [ "${#pids[@]}" -gt 0 ]; then
        kill -INT "${pids[@]}" 2>/dev/null
        sleep 0.2
        kill -TERM "${pids[@]}" 2>/dev/null
        for ((i = 0; i < 30; i++)); do
            kill -0 "${pids[@]}" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "${pids[@]}" 2>/dev/null
        wait "${pids[@]}" 2>/dev/null
    fi
    rm -rf "$work"
}

work=$(mktemp -d)
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

die() {
    echo "conform: $*" >&2
    exit 1
}

[ -x "$daemun" ] || die "there is no $daemun: build it first"
[ -x "$demo" ] || die "there is no $demo: build it first"

# start LOG COMMAND...: in the background, its output in LOG.
start() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 &
    pids+=($!)
}

# N different ports that nothing listens on.
free_ports() {
    python3 -c '
import socket, sys
socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in socks))' "$1"
}

# Waits until 127.0.0.1:PORT accepts connections.
wait_port() {
    for ((i = 0; i < 100; i++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
            return 0
        fi
        sleep 0.1
    done
    cat "$work"/*.log >&2
    die "nothing listens on port $1 after 10 s"
}

# Makes $work/cert.pem and $work/key.pem, good for localhost.
make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 \
        -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
        2>"$work/openssl.log" || die "openssl made no certificate"
}

# reload_begin: reloads the gateway $gateway, whose admin port is $admin, until
# reload_end, which counts as one case.
reload_begin() {
    start "$work/reload.log" python3 "$here/reload.py" "$work/daemun.conf" \
        "$gateway" "$admin"
    reloader=$!
}

reload_end() {
    kill -TERM "$reloader" 2>/dev/null
    if wait "$reloader"; then
        pass
        echo "$1: $(tail -1 "$work/reload.log")"
    else
        fail "$1 reloads" "$(tr '\n' ' ' <"$work/reload.log")"
    fi
}

pass() {
    passed=$((passed + 1))
}

# fail NAME WHY
fail() {
    failed=$((failed + 1))
    echo "FAIL  $1: $2"
}

# The last line of each script, which run.sh adds up.
summary() {
    echo "$1: $passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
