#!/usr/bin/env bash
# What `make run` does after the build: run.sh BINDIR (default build). Makes a
# certificate if there is none, starts two demo model servers and the gateway
# with conf/quickstart.conf, waits until it is ready, shows a request and its
# answer, and ends all three, by process id, on Ctrl-C.
set -u
cd "$(dirname "$0")/.." || exit 1
bin=${1:-build}
certs=build/certs
url=https://localhost:8443
ready=http://127.0.0.1:9901/readyz
pids=()

fail() {
    echo "make run: $*" >&2
    exit 1
}

# Called by the trap only.
# shellcheck disable=SC2317
# SIGINT is the gateway's quick stop; what is left after 5 s is killed.
stop_all() {
    trap '' INT TERM
    trap - EXIT
    kill -INT "${pids[@]}" 2>/dev/null
    for ((i = 0; i < 50; i++)); do
        kill -0 "${pids[@]}" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "${pids[@]}" 2>/dev/null
    wait
}

# True where something accepts connections on 127.0.0.1:$1.
port_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

start() {
    "$@" &
    pids+=($!)
}

make_certificate() {
    mkdir -p "$certs"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$certs/quickstart.key.new" -out "$certs/quickstart.pem" \
        -days 365 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1' \
        2>"$certs/openssl.log" || {
        cat "$certs/openssl.log" >&2
        fail "no certificate could be made"
    }
    chmod 600 "$certs/quickstart.key.new"
    mv "$certs/quickstart.key.new" "$certs/quickstart.key"
    rm -f "$certs/openssl.log"
    echo "made a self-signed certificate: $certs/quickstart.pem"
}

for port in 8443 8080 9901 8500 8501; do
    if port_taken "$port"; then
        fail "port $port is taken: stop what listens there" \
            "(ss -ltnp 'sport = :$port' names it) or change" \
            "conf/quickstart.conf and demo/run.sh"
    fi
done
if [ ! -s "$certs/quickstart.pem" ] || [ ! -s "$certs/quickstart.key" ]; then
    make_certificate
fi

trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
start "$bin/demo-server" --listen 127.0.0.1:8500 --name demo-1
start "$bin/demo-server" --listen 127.0.0.1:8501 --name demo-2
start "$bin/daemun" -c conf/quickstart.conf
gateway=${pids[2]}

tries=0
until curl -fs -o /dev/null --max-time 2 "$ready"; do
    if ! kill -0 "$gateway" 2>/dev/null; then
        fail "the gateway did not start; its message is above"
    fi
    tries=$((tries + 1))
    if [ "$tries" -ge 100 ]; then
        fail "$ready did not answer within 10 s"
    fi
    sleep 0.1
done

request=(curl -ks "$url/v1/models/half_plus_two:predict"
    -d '{"instances":[1,2,5]}')
answer=$("${request[@]}") || fail "the gateway runs but did not answer"
cat <<TXT

Daemun runs (process $gateway) in front of two demo model servers.
  REST and gRPC   $url   (the same port; -k: the certificate is self-signed)
  plain HTTP      http://localhost:8080   (redirects to the former)
  to be seen      http://127.0.0.1:9901/metrics /config /healthz /readyz

Try it:
  curl -k $url/v1/models/half_plus_two:predict -d '{"instances":[1,2,5]}'
  $answer

Ctrl-C ends all three.
TXT
wait -n "${pids[@]}"
fail "a program ended by itself; stopping the others"
