"""The deadline of a call (grpc-timeout) is kept by the gateway, even when the
client forgets it, and the backend hears of it."""
import threading

import pytest

from lib import frames
from lib.client import H2Client
from lib.gateway import simple

UP = 'protocol = "h2c";'
UNIT_MS = {"H": 3600000, "M": 60000, "S": 1000, "m": 1, "u": 1e-3, "n": 1e-6}
MESSAGE = b"\0\0\0\0\x01x"


def fields_of(timeout):
    return [("content-type", "application/grpc"), ("te", "trailers"),
            ("grpc-timeout", timeout)]


@pytest.fixture
def stuck(rpc_server):
    """A server whose method runs until it is told or cancelled."""
    release = threading.Event()

    def wait(message, context):
        context.add_callback(release.set)
        release.wait(15)
        return b""

    def first(message, context):
        yield b"one"
        context.add_callback(release.set)
        release.wait(15)
    s = rpc_server({"/t.S/Wait": ("unary", wait),
                    "/t.S/First": ("server", first)})
    yield s
    release.set()


def test_client_that_only_waits(gateway, stuck):
    g = gateway(simple(stuck, upstream=UP))
    with H2Client.open(g.port()) as c:
        got = c.ask("/t.S/Wait", "POST", fields=fields_of("200m"),
                    body=MESSAGE)
    assert got.status == 200 and got.body == b"" and not got.trailers
    assert got.headers["grpc-status"] == "4"
    assert got.headers["content-type"].startswith("application/grpc")
    assert got.headers["grpc-message"]
    stuck.wait_idle()
    assert not stuck.calls[0].is_active()


def test_backend_sees_the_stream_cancelled(gateway, server):
    """Backends that do not know deadlines get an RST_STREAM."""
    seen = []

    def script(conn):
        conn.recv_until(frames.PREFACE)
        conn.send(frames.settings())
        raw = conn.buffer
        while True:
            found, raw = frames.split(raw)
            seen.extend(found)
            if any(f[0] == frames.RST_STREAM for f in found):
                return
            conn.buffer = b""
            raw += conn.recv_some()
    s = server(script)
    g = gateway(simple(s, upstream=UP))
    with H2Client.open(g.port()) as c:
        got = c.ask("/t.S/Wait", "POST", fields=fields_of("200m"),
                    body=MESSAGE)
    assert got.headers["grpc-status"] == "4"
    line = g.access_log(path="/t.S/Wait")
    assert line["fault"] == "deadline_exceeded"
    s.threads[0].join(15)
    rst = [f for f in seen if f[0] == frames.RST_STREAM]
    assert int.from_bytes(rst[0][3], "big") == frames.CANCEL


def test_deadline_after_the_first_message(gateway, stuck):
    """The head has gone: the status comes as trailers, or the stream is
    reset; it never looks complete."""
    g = gateway(simple(stuck, upstream=UP))
    with H2Client.open(g.port()) as c:
        got = c.ask("/t.S/First", "POST", fields=fields_of("500m"),
                    body=MESSAGE)
    assert got.status == 200 and got.body == b"\0\0\0\0\x03one"
    assert dict(got.trailers)["grpc-status"] == "4"
    stuck.wait_idle()


@pytest.mark.parametrize("sent", ["10S", "9999m", "1H", "2M", "8000000u",
                                  "99999999n", "30S"])
def test_backend_gets_a_deadline_that_is_not_larger(gateway, backend, sent):
    b = backend(protocol="h2")
    g = gateway(simple(b, upstream=UP))
    with H2Client.open(g.port()) as c:
        c.ask("/t.S/M", "POST", fields=fields_of(sent), body=MESSAGE)
    got = b.requests[0].headers["grpc-timeout"]
    assert len(got) <= 9
    got_ms = int(got[:-1]) * UNIT_MS[got[-1]]
    sent_ms = int(sent[:-1]) * UNIT_MS[sent[-1]]
    assert 0 < got_ms <= sent_ms
    assert got_ms > sent_ms - 15000


@pytest.mark.parametrize("bad", ["", "S", "1", "1x", "-1S", "123456789S",
                                 "1.5S", "1 S"])
def test_malformed_deadline(gateway, backend, bad):
    """It is refused or taken for none; it never ends the gateway, and never
    reaches the backend as something that the gateway did not read."""
    b = backend(protocol="h2")
    g = gateway(simple(b, upstream=UP))
    with H2Client.open(g.port(), validate=False) as c:
        got = c.ask("/t.S/M", "POST", fields=fields_of(bad), body=MESSAGE)
        assert got.status in (200, 400)
        if b.requests:
            assert b.requests[0].headers.get("grpc-timeout") in (None, bad)
        assert c.ask("/next").status == 200
