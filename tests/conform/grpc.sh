#!/usr/bin/env bash
# grpc-go's interop client against its server, through the gateway, over TLS
# and with prior knowledge. Some cases pass against anything that answers, so
# the access log must show that the calls of each case came to the server and
# what it said.
# shellcheck source=tests/conform/lib.sh
. "$(dirname "$0")/lib.sh"
service=/grpc.testing.TestService
load_balancing='{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}'

# CASE STATUS METHOD...: the calls the server must have seen, and with which
# gRPC status the last of them ended ("-": it was taken back by the client).
# Two calls never come that far, see README.md: one leaves nothing to look for,
# of the other ("reset") the gateway must have seen request and reset.
cases="
empty_unary                 0  EmptyCall
large_unary                 0  UnaryCall
client_streaming            0  StreamingInputCall
server_streaming            0  StreamingOutputCall
ping_pong                   0  FullDuplexCall
empty_stream                0  FullDuplexCall
timeout_on_sleeping_server  -
cancel_after_begin          -  reset
cancel_after_first_response -  FullDuplexCall
status_code_and_message     2  UnaryCall FullDuplexCall
special_status_message      2  UnaryCall
custom_metadata             0  UnaryCall FullDuplexCall
unimplemented_method        12 UnimplementedCall
unimplemented_service       12 /grpc.testing.UnimplementedService/UnimplementedCall
orca_per_rpc                0  UnaryCall
orca_oob                    -  FullDuplexCall /xds.service.orca.v3.OpenRcaService/StreamCoreMetrics
rpc_soak                    0  UnaryCall
channel_soak                0  UnaryCall
"

make_certificate
read -r tls plain backend admin <<<"$(free_ports 4)"
cat >"$work/daemun.conf" <<TXT
admin = { address = "127.0.0.1:$admin"; };
watch_files = false;
log = { access = "$work/access.log";
        access_format = "\${path} \${grpc_status} \${endpoint} \${fault}"; };
listeners = (
  { name = "tls"; address = "127.0.0.1:$tls"; /*listener*/
    tls = { certificates = ( { chain = "cert.pem"; key = "key.pem"; } ); }; },
  { name = "plain"; address = "127.0.0.1:$plain"; protocols = [ "h2" ];
    /*listener*/ }
);
upstreams = { grpc = {
  /*upstream*/ protocol = "h2c"; endpoints = ( { address = "127.0.0.1:$backend"; } ); };
};
routes = ( /*route*/ { path_prefix = "/"; upstream = "grpc"; } );
TXT

start "$work/server.log" "$tools/interop-server" -port "$backend"
wait_port "$backend"
start "$work/daemun.log" "$daemun" -c "$work/daemun.conf"
gateway=$!
wait_port "$plain"
wait_port "$tls"

# run_case CASE FLAG...: the client; then nothing of it is left in the gateway.
run_case() {
    local case=$1
    shift
    : >"$work/access.log"
    timeout 60 "$tools/interop-client" -server_host localhost \
        -test_case "$case" "$@" >"$work/client.out" 2>&1
}

# arrived STATUS METHOD...: what is wrong with the access log, if anything. It
# is written a moment after the client has left.
arrived() {
    local status=$1 method why
    shift
    for ((i = 0; i < 20; i++)); do
        why=
        for method in "$@"; do
            [[ $method == /* ]] || method=$service/$method
            if [ "$method" = "$service/reset" ]; then
                grep -q ' reset_by_client$' "$work/access.log" ||
                    why="no reset came to the gateway"
            elif ! grep -q "^$method .* 127.0.0.1:$backend " \
                "$work/access.log"; then
                why="$method did not come to the server"
            elif [ "$status" != - ] && ! grep -q "^$method $status .* -$" \
                "$work/access.log"; then
                why="$method did not end with status $status"
            fi
        done
        [ -z "$why" ] && return
        sleep 0.1
    done
    echo "$why; access log: $(tr '\n' ';' <"$work/access.log")"
}

# run_cases NAME FLAG...
run_cases() {
    local name=$1 case status methods flags why
    shift
    while read -r case status methods; do
        [ -n "$case" ] || continue
        flags=("$@")
        [[ $case == orca_* ]] &&
            flags+=(-service_config_json "$load_balancing")
        # A call that is taken back at once may never leave the client.
        for ((try = 0; try < 10; try++)); do
            run_case "$case" "${flags[@]}" || {
                why="client failed: $(tail -1 "$work/client.out")"
                break
            }
            # shellcheck disable=SC2086
            why=$(arrived "$status" $methods)
            if [ -z "$why" ] || [ "$status" != - ]; then
                break
            fi
        done
        if [ -z "$why" ]; then
            pass
        else
            fail "grpc $name $case" "$why"
        fi
    done <<<"$cases"
}

run_both() {
    run_cases "tls$1" -server_port "$tls" -use_tls -use_test_ca \
        -ca_file "$work/cert.pem" -server_host_override localhost
    run_cases "plain$1" -server_port "$plain"
}

run_both ""
reload_begin
run_both " under reloads"
reload_end grpc
summary grpc
