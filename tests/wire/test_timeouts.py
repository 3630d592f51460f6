"""Each timeout ends what it is for, with the right answer."""
import socket

import pytest

from lib.client import H2Client, ask, connect, request
from lib.gateway import simple
from lib.server import reply


@pytest.fixture
def deaf():
    """A port whose backlog is full: connecting to it never ends."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    held = []
    for _ in range(4):
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(s.getsockname())
        held.append(c)
    yield f"127.0.0.1:{s.getsockname()[1]}"
    for c in held:
        c.close()
    s.close()


def silent(conn):
    conn.recv_request()
    conn.recv_all()


def test_connect(gateway, deaf):
    g = gateway(simple(deaf, upstream="connect_timeout_ms = 150; "
                                      "retries_max = 0;"))
    got = ask(g.port(), "/c")
    assert got.status == 504 and b"took too long" in got.body
    assert g.access_log(path="/c")["fault"] == "connect_timeout"


CALL = [("content-type", "application/grpc"), ("te", "trailers")]


@pytest.mark.parametrize("timeout, connect_ms, status, fault", [
    (None, 150, "14", "connect_timeout"),
    ("10S", 150, "14", "connect_timeout"),
    ("150m", 10000, "4", "deadline_exceeded")],
    ids=["no deadline", "later deadline", "earlier deadline"])
def test_connect_of_a_grpc_call(gateway, deaf, timeout, connect_ms, status,
                                fault):
    """UNAVAILABLE, unless the call's own time is up before: DEADLINE."""
    g = gateway(simple(deaf, upstream=f"connect_timeout_ms = {connect_ms}; "
                                      'retries_max = 0; protocol = "h2c";'))
    fields = CALL + ([("grpc-timeout", timeout)] if timeout else [])
    with H2Client.open(g.port()) as c:
        got = c.ask("/t.S/M", "POST", fields=fields, body=b"\0\0\0\0\0")
    assert got.status == 200 and got.headers["grpc-status"] == status
    line = g.access_log(path="/t.S/M")
    assert line["fault"] == fault and line["grpc_status"] == int(status)


def test_response(gateway, server):
    g = gateway(simple(server(silent), upstream="response_timeout_ms = 150;"))
    got = ask(g.port(), "/r")
    assert got.status == 504
    assert g.access_log(path="/r")["fault"] == "response_timeout"


def test_route_has_its_own_response_timeout(gateway, server):
    g = gateway(simple(server(silent), route="response_timeout_ms = 100;"))
    assert ask(g.port()).status == 504


def test_idle_in_the_middle_of_a_body(gateway, server):
    def half(conn):
        conn.recv_request()
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        conn.recv_all()
    g = gateway(simple(server(half), upstream="idle_timeout_ms = 150;"))
    with connect(g.port()) as c:
        c.send(request("/i"))
        raw = c.recv_all()
        assert raw.endswith(b"half")  # cut, not completed
    assert g.access_log(path="/i")["fault"] == "idle_timeout"


def test_client_sends_half_a_head(gateway, backend):
    b = backend()
    g = gateway(simple(b, more="timeouts = { head_timeout_ms = 150; };"))
    with connect(g.port()) as c:
        c.send("GET / HTTP/1.1\r\nHost: localh")
        assert c.recv_response().status == 408
        assert c.is_closed_by_peer()
    assert b.requests == []


def test_client_sends_half_a_body(gateway, backend):
    g = gateway(simple(backend(), more="timeouts = "
                                       "{ body_timeout_ms = 150; };",
                       upstream="idle_timeout_ms = 150;"))
    with connect(g.port()) as c:
        c.send("POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
               "\r\nhalf")
        assert c.recv_response().status == 408
    assert g.access_log(path="/b")["fault"] == "body_timeout"


def test_client_is_idle_between_requests(gateway, backend):
    b = backend(lambda r: reply(200, b"ok"))
    g = gateway(simple(b, more="timeouts = { idle_timeout_ms = 150; };"))
    with connect(g.port()) as c:
        c.send(request())
        assert c.recv_response().status == 200
        assert c.is_closed_by_peer()


def test_client_says_nothing(gateway, backend):
    g = gateway(simple(backend(), more="timeouts = "
                                       "{ handshake_timeout_ms = 150; "
                                       "head_timeout_ms = 150; };"))
    with connect(g.port()) as c:
        assert c.is_closed_by_peer()
    g.wait_metric("dm_client_connections", 0)
