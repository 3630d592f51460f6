#!/usr/bin/env bash
# h2spec, strict, through the gateway: over TLS and with prior knowledge, each
# in front of an HTTP/1.1 and of an h2c backend. 146 cases each.
# shellcheck source=tests/conform/lib.sh
. "$(dirname "$0")/lib.sh"
n_cases=146

make_certificate
read -r tls_h1 tls_h2 plain_h1 plain_h2 backend <<<"$(free_ports 5)"
cat >"$work/daemun.conf" <<TXT
admin = { address = "off"; };
log = { access = "off"; };
listeners = (
  { name = "tls_h1"; address = "127.0.0.1:$tls_h1";
    tls = { certificates = ( { chain = "cert.pem"; key = "key.pem"; } ); }; },
  { name = "tls_h2"; address = "127.0.0.1:$tls_h2";
    tls = { certificates = ( { chain = "cert.pem"; key = "key.pem"; } ); }; },
  { name = "plain_h1"; address = "127.0.0.1:$plain_h1"; },
  { name = "plain_h2"; address = "127.0.0.1:$plain_h2"; }
);
upstreams = {
  h1 = { endpoints = ( { address = "127.0.0.1:$backend"; } ); };
  h2 = { protocol = "h2c"; endpoints = ( { address = "127.0.0.1:$backend"; } ); };
};
routes = (
  { path_prefix = "/"; listeners = [ "tls_h1", "plain_h1" ]; upstream = "h1"; },
  { path_prefix = "/"; listeners = [ "tls_h2", "plain_h2" ]; upstream = "h2"; }
);
TXT

start "$work/demo.log" "$demo" --listen "127.0.0.1:$backend" --name demo
wait_port "$backend"
start "$work/daemun.log" "$daemun" -c "$work/daemun.conf"
wait_port "$plain_h2"

# failing_cases XML: one line for each case with an <error>.
failing_cases() {
    python3 -c '
import sys, xml.etree.ElementTree as tree
for case in tree.parse(sys.argv[1]).iter("testcase"):
    if case.find("error") is not None or case.find("failure") is not None:
        error = case.find("error")
        text = " ".join("".join(error.itertext()).split()) if error is not None else ""
        print(case.get("package"), case.get("classname") + ":", text)' "$1"
}

# spec NAME PORT KNOWN FLAG...: KNOWN is the one case that must fail, or "".
spec() {
    local name=$1 port=$2 known=$3 n line
    shift 3
    # /echo: an answer with a body, made by the backend.
    timeout 300 "$tools/h2spec" -h 127.0.0.1 -p "$port" -P /echo -S \
        -j "$work/$name.xml" "$@" >"$work/$name.out" 2>&1
    n=$(sed -nE 's/^[0-9]+ tests, ([0-9]+) passed.*/\1/p' "$work/$name.out")
    failing_cases "$work/$name.xml" >"$work/$name.failing" 2>/dev/null ||
        tail -5 "$work/$name.out" >"$work/$name.failing"
    if [ -n "$known" ] && grep -qF "$known" "$work/$name.failing"; then
        n=$((n + 1))
        grep -vF "$known" "$work/$name.failing" >"$work/$name.rest"
        mv "$work/$name.rest" "$work/$name.failing"
    elif [ -n "$known" ]; then
        echo "$known passes now: no exception any more" >>"$work/$name.failing"
        n=$((n - 1))
    fi
    passed=$((passed + ${n:-0}))
    failed=$((failed + n_cases - ${n:-0}))
    while read -r line; do
        echo "FAIL  h2spec $name: $line"
    done <"$work/$name.failing"
}

# A plain listener speaks HTTP/1.1 too, and answers what is no HTTP/2 with 400:
# see README.md.
preface="http2/3.5 Sends invalid connection preface"
spec tls-h1 "$tls_h1" "" -t -k
spec tls-h2c "$tls_h2" "" -t -k
spec plain-h1 "$plain_h1" "$preface"
spec plain-h2c "$plain_h2" "$preface"
summary h2spec
