"""A plain listener takes HTTP/2 with prior knowledge beside HTTP/1.1, unless
h2c is off; Upgrade: h2c is not taken."""
import pytest

from lib import frames
from lib.client import H2Client, RawH2, ask, connect, curl, request
from lib.gateway import simple


def test_both_on_one_port(gateway, backend):
    g = gateway(simple(backend()))
    with H2Client.open(g.port()) as c:
        assert c.ask("/").status == 200
    assert ask(g.port()).status == 200
    got = curl("--http2-prior-knowledge", "-o", "/dev/null", "-w",
               "%{http_version}", g.url())
    assert got == "2"


def test_preface_in_pieces(gateway, backend):
    g = gateway(simple(backend()))
    with connect(g.port()) as stream:
        raw = frames.PREFACE + frames.settings()
        for i in range(len(raw)):
            stream.sock.sendall(raw[i:i + 1])
        c = RawH2(stream, handshake=False)
        c.wait_frame(frames.SETTINGS)
        c.send(frames.headers(1, frames.request_fields()))
        assert c.wait_frame(frames.HEADERS, 1)


@pytest.mark.parametrize("raw", [
    frames.PREFACE[:-1] + b"X" + frames.settings(),
    b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    frames.PREFACE + frames.ping(),
    frames.PREFACE + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_what_is_no_preface_is_closed(gateway, backend, raw):
    b = backend()
    g = gateway(simple(b))
    with connect(g.port()) as c:
        c.send(raw)
        c.recv_all()
    assert not b.requests


def test_off(gateway, backend):
    b = backend()
    g = gateway(simple(b, "h2c = false;"))
    with connect(g.port()) as c:
        c.send(frames.PREFACE + frames.settings())
        got = c.recv_all()
    assert got.startswith(b"HTTP/1.1 505 ") or \
        got.startswith(b"HTTP/1.1 400 "), got
    assert ask(g.port()).status == 200
    assert len(b.requests) == 1


def test_upgrade_is_not_taken(gateway, backend):
    b = backend()
    g = gateway(simple(b))
    with connect(g.port()) as c:
        c.send(request(fields=[("Connection", "Upgrade, HTTP2-Settings"),
                               ("Upgrade", "h2c"),
                               ("HTTP2-Settings", "AAMAAABkAAQAAP__")]))
        got = c.recv_response()
    assert got.status == 200 and got.version == "HTTP/1.1"
    for name in ("upgrade", "http2-settings", "connection"):
        assert name not in b.requests[0].headers
