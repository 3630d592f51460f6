"""WebSocket over HTTP/1.1 is tunnelled after a right handshake, and nothing
else is ever made a tunnel."""
import base64
import hashlib
import random

import pytest
import websockets
from websockets.sync.client import connect as ws_connect

from lib.client import ask, connect, request
from lib.gateway import secure, simple
from lib.server import reply
from lib.ws import Echo

KEY = base64.b64encode(bytes(range(16))).decode()
ACCEPT = base64.b64encode(hashlib.sha1(
    (KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
HANDSHAKE = [("Connection", "Upgrade"), ("Upgrade", "websocket"),
             ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)]
BIG = random.Random(3).randbytes(3_000_000)


@pytest.fixture
def echo(actors):
    actors.append(Echo())
    return actors[-1]


def open_ws(g, path="/", **kw):
    return ws_connect(f"ws://127.0.0.1:{g.port()}{path}", proxy=None,
                      max_size=None, open_timeout=15, **kw)


@pytest.mark.parametrize("is_tls", [False, True])
def test_echo(gateway, echo, ca, leaf, is_tls):
    if is_tls:
        g = gateway(secure(echo, leaf))
        ws = ws_connect(f"wss://localhost:{g.port('https')}/a?b=c",
                        ssl=ca.client_context(), proxy=None)
    else:
        g = gateway(simple(echo))
        ws = open_ws(g, "/a?b=c")
    with ws:
        for message in ["text \u20ac", b"\0\xff", "", b""]:
            ws.send(message)
            assert ws.recv(15) == message
        assert g.metric("dm_tunnels") == 1
        head = echo.heads[0]
        assert head.path == "/a?b=c"
        assert head.headers["X-Forwarded-For"] == "127.0.0.1"
    assert g.access_log(status=101)["path"] == "/a?b=c"
    g.wait_metric("dm_tunnels", 0)


@pytest.mark.parametrize("code, reason", [(1000, ""), (1001, "away"),
                                          (4999, "ours \u20ac")])
def test_close_code_of_the_client(gateway, echo, code, reason):
    g = gateway(simple(echo))
    with open_ws(g) as ws:
        ws.close(code, reason)
        assert ws.close_code == code
    assert echo.is_closed.wait(15)
    assert echo.closed == [(code, reason)]


def test_close_code_of_the_server(gateway, echo):
    g = gateway(simple(echo))
    with open_ws(g, "/close") as ws:
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            ws.recv(15)
    assert caught.value.rcvd.code == 4321
    assert caught.value.rcvd.reason == "enough"


def test_ping_both_ways(gateway, echo):
    g = gateway(simple(echo))
    with open_ws(g) as ws:
        assert ws.ping(b"are you there").wait(15)
        ws.send("ping")
        assert ws.recv(15) == "pong"


def test_large_messages_both_ways(gateway, echo):
    g = gateway(simple(echo))
    with open_ws(g, compression=None) as ws:
        for _ in range(2):
            ws.send(BIG)
            assert ws.recv(15) == BIG
        ws.send([BIG[i:i + 100_000] for i in range(0, len(BIG), 100_000)])
        assert ws.recv(15) == BIG


def upgraded(conn, accept=ACCEPT, more=""):
    conn.recv_request()
    conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
              f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
              f"{more}\r\n")


def test_bytes_right_behind_the_handshake(gateway, server):
    def script(conn):
        conn.recv_request()
        conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  f"Connection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n"
                  "\r\nfrom the server")
        assert conn.recv_exact(15) == b"from the client"
    g = gateway(simple(server(script)))
    with connect(g.port()) as c:
        c.send(request("/", fields=HANDSHAKE))
        assert c.recv_response().status == 101
        assert c.recv_exact(15) == b"from the server"
        c.send("from the client")
        assert c.recv_all() == b""


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close(gateway, server, first):
    """One side has said its last; the other one goes on."""
    def script(conn):
        upgraded(conn)
        if first == "server":
            conn.send("last")
            conn.shut()
            assert conn.recv_all() == b"still here"
        else:
            assert conn.recv_all() == b"last"
            conn.send("still here")
    g = gateway(simple(server(script)))
    with connect(g.port()) as c:
        c.send(request("/", fields=HANDSHAKE))
        assert c.recv_response().status == 101
        if first == "server":
            assert c.recv_all() == b"last"
            c.send("still here")
            c.shut()
        else:
            c.send("last")
            c.shut()
            assert c.recv_all() == b"still here"
    g.wait_metric("dm_tunnels", 0)


def test_tunnel_without_traffic_is_closed(gateway, server):
    def script(conn):
        upgraded(conn)
        conn.recv_all()
    g = gateway(simple(server(script), more="timeouts = { "
                       "tunnel_idle_timeout_ms = 100; };"))
    with connect(g.port()) as c:
        c.send(request("/", fields=HANDSHAKE))
        assert c.recv_response().status == 101
        assert c.is_closed_by_peer()
    assert g.access_log(status=101)["fault"] == "idle_timeout"


@pytest.mark.parametrize("status", [200, 403, 404, 426, 500])
def test_answer_other_than_101_is_ordinary(gateway, backend, status):
    b = backend(lambda r: reply(status, b"no", [("x-why", "because")]))
    g = gateway(simple(b))
    with connect(g.port()) as c:
        for _ in range(2):
            c.send(request("/", fields=HANDSHAKE))
            got = c.recv_response()
            assert (got.status, got.body) == (status, b"no")
            assert got.headers["x-why"] == "because"


BAD_101 = [
    ("other hash", "", ACCEPT.replace(ACCEPT[0], "A" if ACCEPT[0] != "A"
                                      else "B", 1)),
    ("no hash", "", ""),
    ("empty key", "", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
]


@pytest.mark.parametrize("accept", [row[2] for row in BAD_101],
                         ids=[row[0] for row in BAD_101])
def test_wrong_accept_hash(gateway, server, accept):
    def script(conn):
        upgraded(conn, accept)
        assert conn.recv_all() == b""
    g = gateway(simple(server(script)))
    with connect(g.port()) as c:
        c.send(request("/", fields=HANDSHAKE) + b"\x81\x00tunnelled?")
        assert c.recv_response_head().status == 502
    assert g.access_log(status=502)["fault"] == "bad_response"


def test_101_for_another_token(gateway, server):
    def script(conn):
        conn.recv_request()
        conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n"
                  f"Connection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n"
                  "\r\n")
        assert conn.recv_all() == b""
    g = gateway(simple(server(script)))
    assert ask(g.port(), fields=HANDSHAKE).status == 502


def changed(name, value):
    """The handshake with one field changed or (None) left out."""
    return [(n, value if n == name else v) for n, v in HANDSHAKE
            if n != name or value is not None]


BAD_HANDSHAKES = {
    "no key": changed("Sec-WebSocket-Key", None),
    "short key": changed("Sec-WebSocket-Key", "YWJj"),
    "no base64": changed("Sec-WebSocket-Key", "!" * 22 + "=="),
    "two keys": HANDSHAKE + [("Sec-WebSocket-Key", KEY)],
    "old version": changed("Sec-WebSocket-Version", "8"),
    "no version": changed("Sec-WebSocket-Version", None),
}


@pytest.mark.parametrize("name", BAD_HANDSHAKES)
def test_bad_handshake_opens_no_tunnel(gateway, server, name):
    """It is refused, or it goes on as an ordinary request; a backend that
    says 101 to it all the same is not believed."""
    seen = []

    def script(conn):
        seen.append(conn.recv_request())
        conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  f"Connection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n"
                  "\r\n")
        assert conn.recv_all() == b""
    g = gateway(simple(server(script)))
    got = ask(g.port(), fields=BAD_HANDSHAKES[name])
    assert got.status == (502 if seen else 400)
    assert all("upgrade" not in r.headers for r in seen)
    assert g.metric("dm_tunnels") == 0


def test_handshake_with_post(gateway, backend):
    b = backend()
    g = gateway(simple(b))
    got = ask(g.port(), method="POST", fields=HANDSHAKE, body=b"x")
    assert got.status in (200, 400)
    assert all("upgrade" not in r.headers for r in b.requests)


@pytest.mark.parametrize("token", ["h2c", "TLS/1.0", "foo", "foo/2, bar"])
def test_other_upgrades_are_removed(gateway, backend, token):
    b = backend()
    g = gateway(simple(b))
    got = ask(g.port(), fields=[("Connection", "Upgrade, HTTP2-Settings"),
                                ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
                                ("Upgrade", token)])
    assert got.status == 200
    for name in ("upgrade", "http2-settings", "connection"):
        assert name not in b.requests[0].headers, name


def test_route_that_forbids_it(gateway, backend):
    b = backend()
    g = gateway(simple(b, route="websocket = false;"))
    assert ask(g.port(), fields=HANDSHAKE).status == 200
    headers = b.requests[0].headers
    assert "upgrade" not in headers and "connection" not in headers
