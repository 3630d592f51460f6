"""Expect: 100-continue is answered by the gateway once a route takes the
request, and is not forwarded; an early final answer needs no body; any other
expectation is a 417."""
import pytest

from lib.client import connect, request
from lib.gateway import simple
from lib.server import reply

EXPECT = [("Expect", "100-continue")]


def head(path="/", length=5, fields=()):
    return request(path, "POST", fields=[*EXPECT, *fields,
                                         ("Content-Length", str(length))])


@pytest.mark.parametrize("protocol", ["http1", "h2c"])
def test_continue_then_body(gateway, backend, protocol):
    b = backend(protocol="h2" if protocol == "h2c" else "http1")
    g = gateway(simple(b, upstream=f'protocol = "{protocol}";'))
    with connect(g.port()) as c:
        for _ in range(2):
            c.send(head())
            assert c.recv_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
            c.send(b"hello")
            got = c.recv_response()
            assert got.json()["body"] == "hello"
            assert "expect" not in got.json()["headers"]


def test_any_case(gateway, backend):
    g = gateway(simple(backend()))
    with connect(g.port()) as c:
        c.send(head().replace(b"100-continue", b"100-Continue"))
        assert c.recv_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")


def test_body_behind_the_head_is_body(gateway, backend):
    b = backend()
    g = gateway(simple(b))
    smuggled = request("/smuggled")
    with connect(g.port()) as c:
        c.send(head(length=len(smuggled)) + smuggled)
        got = c.recv_response()
        assert got.json()["body"] == smuggled.decode()
        c.send(request("/next"))
        assert c.recv_response().json()["path"] == "/next"
    assert [r.path for r in b.requests] == ["/", "/next"]


def test_no_route_no_continue(gateway, backend):
    b = backend()
    g = gateway(simple(b).replace('path_prefix = "/"', 'path_prefix = "/a"'))
    with connect(g.port()) as c:
        c.send(head("/b"))
        got = c.recv_response()
        assert got.status == 404 and got.informational == []
    assert not b.requests


def test_too_large_no_continue(gateway, backend):
    b = backend()
    g = gateway(simple(b, route="max_body_bytes = 4;"))
    with connect(g.port()) as c:
        c.send(head())
        got = c.recv_response()
        assert got.status == 413 and got.informational == []
    assert not b.requests


@pytest.mark.parametrize("value", ["200-ok", "100-continue, x", "100", "x"])
def test_other_expectations(gateway, backend, value):
    b = backend()
    g = gateway(simple(b))
    with connect(g.port()) as c:
        c.send(request("/", "POST", fields=[("Expect", value)], body=b"x"))
        assert c.recv_response().status == 417
    assert not b.requests


def test_early_final_answer(gateway, server):
    """The backend refuses without reading; the client gets that."""
    def script(conn):
        conn.recv_request_head()
        conn.send("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno")
        conn.recv_all()
    g = gateway(simple(server(script)))
    with connect(g.port()) as c:
        c.send(head(length=100000))
        got = c.recv_response()
        assert (got.status, got.body) == (403, b"no")


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
@pytest.mark.parametrize("answer", ["backend", "gateway"])
def test_early_answer_to_one_that_sends_on(gateway, server, framing, answer):
    """Many clients read an answer only once their body is sent: it is not
    destroyed by a reset while they send."""
    def script(conn):
        conn.recv_request_head()
        conn.send("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno")
        conn.shut()
        conn.recv_all()
    route = "max_body_bytes = 4;" if answer == "gateway" else ""
    g = gateway(simple(server(script), route=route))
    piece = bytes(64 * 1024)
    n = 128
    with connect(g.port()) as c:
        if framing == "chunked":
            c.send("POST / HTTP/1.1\r\nhost: localhost\r\n"
                   "transfer-encoding: chunked\r\n\r\n")
            piece = b"%x\r\n%s\r\n" % (len(piece), piece)
        else:
            c.send("POST / HTTP/1.1\r\nhost: localhost\r\n"
                   f"content-length: {n * len(piece)}\r\n\r\n")
        for _ in range(n):
            c.send(piece)
        got = c.recv_response()
        assert got.status == (413 if answer == "gateway" else 403)
        assert c.is_closed_by_peer()


def test_interim_answers_of_the_backend(gateway, server):
    """100 is swallowed, 103 is relayed."""
    def script(conn):
        conn.recv_request()
        conn.send("HTTP/1.1 100 Continue\r\n\r\n"
                  "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
                  "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        conn.recv_all()
    g = gateway(simple(server(script)))
    with connect(g.port()) as c:
        c.send(request())
        got = c.recv_response()
    assert got.body == b"ok"
    assert [(m.status, m.headers.get("link")) for m in got.informational] == \
        [(103, "</a>")]


def test_without_body_there_is_none_to_wait_for(gateway, backend):
    g = gateway(simple(backend(lambda r: reply(200, b"ok"))))
    with connect(g.port()) as c:
        c.send(request("/", "GET", fields=EXPECT))
        got = c.recv_response()
        assert got.informational == [] and got.status in (200, 417)
