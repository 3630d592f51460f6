#!/usr/bin/env bash
# h2spec, strict, through the gateway: over TLS and with prior knowledge, each
# in front of an HTTP/1.1 and of an h2c backend. 146 cases each, twenty times in a
# row, then again while the configuration reloads five times a second.
# shellcheck source=tests/conform/lib.sh
. "$(dirname "$0")/lib.sh"
n_cases=146
n_runs=20
n_runs_reloading=5

make_certificate
read -r tls_h1 tls_h2 plain_h1 plain_h2 backend admin <<<"$(free_ports 6)"
cat >"$work/daemun.conf" <<TXT
admin = { address = "127.0.0.1:$admin"; };
watch_files = false;
log = { access = "off"; };
listeners = (
  { name = "tls_h1"; address = "127.0.0.1:$tls_h1"; /*listener*/
    tls = { certificates = ( { chain = "cert.pem"; key = "key.pem"; } ); }; },
  { name = "tls_h2"; address = "127.0.0.1:$tls_h2"; /*listener*/
    tls = { certificates = ( { chain = "cert.pem"; key = "key.pem"; } ); }; },
  { name = "plain_h1"; address = "127.0.0.1:$plain_h1"; /*listener*/
    protocols = [ "h2" ]; },
  { name = "plain_h2"; address = "127.0.0.1:$plain_h2"; /*listener*/
    protocols = [ "h2" ]; }
);
upstreams = {
  h1 = { /*upstream*/ endpoints = ( { address = "127.0.0.1:$backend"; } ); };
  h2 = { /*upstream*/ protocol = "h2c";
         endpoints = ( { address = "127.0.0.1:$backend"; } ); };
};
routes = (
  /*route*/
  { path_prefix = "/"; listeners = [ "tls_h1", "plain_h1" ]; upstream = "h1"; },
  { path_prefix = "/"; listeners = [ "tls_h2", "plain_h2" ]; upstream = "h2"; }
);
TXT

start "$work/demo.log" "$demo" --listen "127.0.0.1:$backend" --name demo
wait_port "$backend"
start "$work/daemun.log" "$daemun" -c "$work/daemun.conf"
gateway=$!
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

# spec NAME PORT FLAG...
spec() {
    local name=$1 port=$2 n line
    shift 2
    # /echo: an answer with a body, made by the backend.
    timeout 300 "$tools/h2spec" -h 127.0.0.1 -p "$port" -P /echo -S \
        -j "$work/spec.xml" "$@" >"$work/spec.out" 2>&1
    n=$(sed -nE 's/^[0-9]+ tests, ([0-9]+) passed.*/\1/p' "$work/spec.out")
    passed=$((passed + ${n:-0}))
    failed=$((failed + n_cases - ${n:-0}))
    if [ "${n:-0}" -ne "$n_cases" ]; then
        failing_cases "$work/spec.xml" >"$work/spec.failing" 2>/dev/null ||
            tail -5 "$work/spec.out" >"$work/spec.failing"
        while read -r line; do
            echo "FAIL  h2spec $name: $line"
        done <"$work/spec.failing"
    fi
    rm -f "$work/spec.xml"
}

# spec_all N WHEN: N runs in a row on each listener.
spec_all() {
    local n=$1 when=$2 run
    for ((run = 1; run <= n; run++)); do
        spec "tls-h1$when, run $run" "$tls_h1" -t -k
        spec "tls-h2c$when, run $run" "$tls_h2" -t -k
        spec "plain-h1$when, run $run" "$plain_h1"
        spec "plain-h2c$when, run $run" "$plain_h2"
    done
}

spec_all "$n_runs" ""
reload_begin
spec_all "$n_runs_reloading" " under reloads"
reload_end h2spec
summary h2spec
