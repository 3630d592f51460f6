"""The "server under test" of connectconformance: the suite's own reference
server with the gateway in front of it.

The suite writes a ServerCompatRequest (4 bytes of length, then protobuf) to
our stdin and wants a ServerCompatResponse back that says where to connect; we
serve until SIGTERM. The reference server behind never speaks TLS: that is the
gateway's work. It speaks the HTTP version that the request names, or the one
in CONFORM_BACKEND ("1" or "2"). Only the few fields that matter are decoded,
by hand, so nothing but Python itself is needed.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from reload import Reloader

PROTOCOL, HTTP_VERSION, USE_TLS, CLIENT_CERT, RECEIVE_LIMIT, CREDS = 1, 2, 4, 5, 6, 7
CREDS_CERT, CREDS_KEY = 1, 2
RESPONSE_HOST, RESPONSE_PORT, RESPONSE_CERT = 1, 2, 3


def read_message(stream):
    head = stream.read(4)
    return stream.read(struct.unpack(">I", head)[0])


def write_message(stream, body):
    stream.write(struct.pack(">I", len(body)) + body)
    stream.flush()


def varint_decode(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def varint_encode(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def message_decode(data):
    """Field number -> value; varints and bytes are all there is."""
    fields, at = {}, 0
    while at < len(data):
        key, at = varint_decode(data, at)
        value, at = varint_decode(data, at)
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        fields[key >> 3] = value
    return fields


def message_encode(fields):
    out = b""
    for number, value in fields:
        if isinstance(value, bytes):
            out += varint_encode(number << 3 | 2) + varint_encode(len(value)) + value
        elif value:
            out += varint_encode(number << 3) + varint_encode(value)
    return out


def start_backend(request, version):
    """The reference server, told what the suite told us but for TLS."""
    backend = subprocess.Popen(
        [os.environ["REFERENCE_SERVER"], "-bind", "127.0.0.1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    fields = [(PROTOCOL, request[PROTOCOL]), (HTTP_VERSION, version)]
    fields.append((RECEIVE_LIMIT, request.get(RECEIVE_LIMIT, 0)))
    write_message(backend.stdin, message_encode(fields))
    answer = message_decode(read_message(backend.stdout))
    return backend, answer[RESPONSE_PORT]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def write_conf(folder, port, admin_port, backend_port, version, request):
    def put(name, data):
        path = os.path.join(folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    tls = ""
    if request.get(USE_TLS):
        creds = message_decode(request[CREDS])
        put("cert.pem", creds[CREDS_CERT])
        put("key.pem", creds[CREDS_KEY])
        tls = 'certificates = ( { chain = "cert.pem"; key = "key.pem"; } );'
        if request.get(CLIENT_CERT):
            put("client.pem", request[CLIENT_CERT])
            tls += ' client_auth = "required"; client_ca = "client.pem";'
        tls = "tls = { " + tls + " };"
    protocol = "h2c" if version == 2 else "http1"
    text = f"""
admin = {{ address = "127.0.0.1:{admin_port}"; }};
watch_files = false;
log = {{ access = "{os.environ.get("CONFORM_ACCESS_LOG", "off")}"; }};
workers = 1;
listeners = ( {{ name = "front"; address = "127.0.0.1:{port}"; /*listener*/
  {tls} }} );
upstreams = {{ reference = {{ /*upstream*/ protocol = "{protocol}";
  endpoints = ( {{ address = "127.0.0.1:{backend_port}"; }} ); }}; }};
routes = ( /*route*/ {{ path_prefix = "/"; upstream = "reference"; }} );
"""
    return put("daemun.conf", text.encode())


def wait_for(port):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the gateway does not listen")


def note_reloads(reloader):
    """A line for connect.sh in the file that CONFORM_RELOADS names."""
    n_live, seconds, why = 0, 0, "it does not answer any more"
    try:
        n_live, seconds, why = reloader.stop()
    finally:
        with open(os.environ["CONFORM_RELOADS"], "a") as f:
            f.write(f"{n_live} {seconds:.1f} {why}\n")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    request = message_decode(read_message(sys.stdin.buffer))
    version = int(os.environ.get("CONFORM_BACKEND") or request[HTTP_VERSION])
    started, reloader = [], None
    with tempfile.TemporaryDirectory() as folder:
        try:
            backend, backend_port = start_backend(request, version)
            started.append((backend, signal.SIGTERM))
            port, admin_port = free_port(), free_port()
            conf = write_conf(
                folder, port, admin_port, backend_port, version, request
            )
            gateway = subprocess.Popen(
                [os.environ["DAEMUN_BIN"], "-c", conf], stdout=sys.stderr
            )
            started.append((gateway, signal.SIGINT))
            wait_for(port)
            wait_for(admin_port)
            if os.environ.get("CONFORM_RELOADS"):
                reloader = Reloader(conf, gateway.pid, admin_port)
            cert = b""
            if request.get(USE_TLS):
                cert = message_decode(request[CREDS])[CREDS_CERT]
            answer = [(RESPONSE_HOST, b"127.0.0.1"), (RESPONSE_PORT, port)]
            answer.append((RESPONSE_CERT, cert))
            write_message(sys.stdout.buffer, message_encode(answer))
            gateway.wait()  # until SIGTERM, or the gateway ends by itself
            raise SystemExit("the gateway ended by itself")
        finally:
            if reloader:
                note_reloads(reloader)
            for process, how in reversed(started):
                process.send_signal(how)
            for process, _ in started:
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


if __name__ == "__main__":
    main()
