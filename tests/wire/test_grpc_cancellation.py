"""A call that one side gives up ends on the other side, and an error that the
gateway makes reaches a gRPC client as a gRPC status."""
import signal
import threading

import grpc
import pytest

from lib import frames
from lib.client import Grpc, H2Client, RawH2, connect
from lib.gateway import simple
from lib.ports import free_port
from lib.server import reply
from lib.wait import wait_until

UP = 'protocol = "h2c";'
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


def test_client_cancel_reaches_the_backend(gateway, rpc_server, gate):
    def drip(_, context):
        context.add_callback(gate.set)
        yield b"one"
        gate.wait(15)
        yield b"two"
    s = rpc_server({"/t.S/Drip": ("server", drip)})
    g = gateway(simple(s, upstream=UP))
    with Grpc(g.port()) as c:
        call = c.server_stream("/t.S/Drip")
        assert next(call) == b"one"
        call.cancel()
        s.wait_idle()
        assert gate.is_set() and not s.calls[0].is_active()
        line = g.access_log(path="/t.S/Drip")
        assert line["fault"] == "reset_by_client"
        # The connection to the backend is still good.
        assert next(c.server_stream("/t.S/Drip")) == b"one"


def test_cancel_while_it_uploads(gateway, rpc_server, gate):
    def join(messages, context):
        context.add_callback(gate.set)
        return b"".join(messages)
    s = rpc_server({"/t.S/Join": ("client", join)})
    g = gateway(simple(s, upstream=UP))

    def endless():
        yield b"x"
        gate.wait(15)
    with Grpc(g.port()) as c:
        call = c.channel.stream_unary("/t.S/Join").future(endless())
        s.wait_calls(1)
        call.cancel()
        s.wait_idle()


def test_client_that_vanishes(gateway, rpc_server, gate):
    def wait(_, context):
        context.add_callback(gate.set)
        gate.wait(15)
        return b""
    s = rpc_server({"/t.S/Wait": ("unary", wait)})
    g = gateway(simple(s, upstream=UP))
    c = H2Client.open(g.port())
    c.request("/t.S/Wait", "POST", fields=GRPC, body=b"\0\0\0\0\0")
    s.wait_calls(1)
    c.stream.reset()
    s.wait_idle()
    assert g.access_log(path="/t.S/Wait")["fault"] in (
        "client_gone", "reset_by_client")


def test_backend_abort_reaches_the_client(gateway, rpc_server):
    def refuse(messages, context):
        next(messages)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
    s = rpc_server({"/t.S/Refuse": ("client", refuse)})
    g = gateway(simple(s, upstream=UP))
    release = threading.Event()

    def endless():
        yield b"x"
        release.wait(15)
    with Grpc(g.port()) as c:
        with pytest.raises(grpc.RpcError) as caught:
            c.client_stream("/t.S/Refuse", endless())
        release.set()
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "enough"


def error_of(port, path="/t.S/M"):
    """(code, details) of a call that must fail."""
    with Grpc(port) as c:
        with pytest.raises(grpc.RpcError) as caught:
            c.unary(path)
    return caught.value.code(), caught.value.details()


def raw_error(port, path="/t.S/M"):
    """A call's answer as it comes: trailers only, HTTP status 200."""
    with H2Client.open(port) as c:
        got = c.ask(path, "POST", fields=GRPC, body=b"\0\0\0\0\0")
    assert got.status == 200 and got.body == b"" and not got.trailers
    assert got.headers["content-type"].startswith("application/grpc")
    return got.headers["grpc-status"]


def test_no_route_is_unimplemented(gateway, backend):
    conf = simple(backend(protocol="h2"), upstream=UP).replace(
        'path_prefix = "/"', 'path_prefix = "/other"')
    g = gateway(conf)
    code, details = error_of(g.port())
    assert code == grpc.StatusCode.UNIMPLEMENTED
    assert "route" in details
    assert raw_error(g.port()) == "12"


def test_no_endpoint_is_unavailable(gateway):
    conf = simple("x", upstream=UP).replace('{ address = "x"; }', "")
    g = gateway(conf)
    assert error_of(g.port())[0] == grpc.StatusCode.UNAVAILABLE
    assert raw_error(g.port()) == "14"


def test_connect_failed_is_unavailable(gateway):
    g = gateway(simple(f"127.0.0.1:{free_port()}", upstream=UP))
    assert error_of(g.port())[0] == grpc.StatusCode.UNAVAILABLE
    assert raw_error(g.port()) == "14"


def test_backend_that_breaks_off_is_unavailable(gateway, server):
    def script(conn):
        conn.recv_some()
        conn.reset()
    g = gateway(simple(server(script), upstream=UP))
    assert raw_error(g.port()) == "14"


def test_plain_error_of_a_backend(gateway, backend):
    """An HTTP error without grpc-status is the backend's; it passes, and
    grpcio makes a status of it."""
    b = backend(lambda r: reply(503, b"busy", [("content-type", "text/plain")]),
                protocol="h2")
    g = gateway(simple(b, upstream=UP))
    assert error_of(g.port())[0] == grpc.StatusCode.UNAVAILABLE


def test_draining(gateway, rpc_server, gate):
    """A running call ends in peace while the gateway drains; the connection
    ends with GOAWAY, and a new call fails with status 14."""
    def wait(_, context):
        gate.wait(15)
        return b"done"
    s = rpc_server({"/t.S/Wait": ("unary", wait),
                    "/t.S/Now": ("unary", lambda _, context: b"now")})
    g = gateway(simple(s, upstream=UP))

    def code_of_new_call(c):
        try:
            c.unary("/t.S/Now")
        except grpc.RpcError as error:
            return error.code()
        return None  # it came before the last GOAWAY: still welcome
    with Grpc(g.port()) as c, RawH2(connect(g.port())) as raw:
        running = c.channel.unary_unary("/t.S/Wait").future(b"")
        s.wait_calls(1)
        g.signal(signal.SIGTERM)
        goaway = raw.wait_frame(frames.GOAWAY)
        assert int.from_bytes(goaway[3][4:8], "big") == frames.NO_ERROR
        wait_until(lambda: g.admin_get("/readyz")[0] == 503, "not ready")
        code = wait_until(lambda: code_of_new_call(c), "no call is refused")
        assert code == grpc.StatusCode.UNAVAILABLE
        gate.set()
        assert running.result(15) == b"done"
    g.wait_exit()
    g.check_end(0)
