"""HTTP/1.0 clients are served: the answer is framed by length or by the end
of the connection, never chunked; keep-alive only when asked for."""
import pytest

from lib.client import connect, request
from lib.gateway import simple
from lib.server import reply

HEAD = b"GET /%s HTTP/1.0\r\nHost: localhost\r\n%s\r\n"


@pytest.fixture(params=["http1", "h2c"])
def protocol(request):
    return request.param


def start(gateway, backend, protocol, answer=None):
    b = backend(answer, "h2" if protocol == "h2c" else "http1")
    return gateway(simple(b, upstream=f'protocol = "{protocol}";')), b


def test_served_and_closed(gateway, backend, protocol):
    g, b = start(gateway, backend, protocol)
    with connect(g.port()) as c:
        c.send(HEAD % (b"x", b""))
        got = c.recv_response()
        assert got.status == 200 and got.json()["path"] == "/x"
        assert "transfer-encoding" not in got.headers
        assert got.headers["connection"] == "close"
        assert c.is_closed_by_peer()


def test_keep_alive_when_asked(gateway, backend, protocol):
    g, b = start(gateway, backend, protocol)
    with connect(g.port()) as c:
        for name in (b"1", b"2"):
            c.send(HEAD % (name, b"Connection: keep-alive\r\n"))
            got = c.recv_response()
            assert got.headers["connection"] == "keep-alive"
        c.send(HEAD % (b"3", b""))
        c.recv_response()
        assert c.is_closed_by_peer()


def test_unknown_length_ends_with_the_connection(gateway, backend, protocol):
    g, b = start(gateway, backend, protocol,
                 lambda r: reply(200, chunks=[b"one", b"two"],
                                 trailers=[("x-end", "1")]))
    with connect(g.port()) as c:
        c.send(HEAD % (b"", b"Connection: keep-alive\r\n"))
        got = c.recv_response()
    assert got.body == b"onetwo"
    assert "transfer-encoding" not in got.headers
    assert "content-length" not in got.headers
    assert got.headers["connection"] == "close"


def test_body_with_length(gateway, backend):
    g, b = start(gateway, backend, "http1")
    with connect(g.port()) as c:
        c.send(request("/", "POST", body=b"hello", version="HTTP/1.0"))
        assert c.recv_response().json()["body"] == "hello"
    assert b.requests[0].version == "HTTP/1.1"


def test_without_host(gateway, backend):
    """Only a route for every host takes it."""
    b = backend()
    conf = simple(b)
    g = gateway(conf)
    with connect(g.port()) as c:
        c.send(b"GET / HTTP/1.0\r\n\r\n")
        assert c.recv_response().status == 200
    g.reload(conf.replace("path_prefix", 'host = "a.test"; path_prefix'))
    with connect(g.port()) as c:
        c.send(b"GET / HTTP/1.0\r\n\r\n")
        assert c.recv_response().status in (400, 404)
    assert len(b.requests) == 1


def test_expect_is_ignored(gateway, backend):
    g, b = start(gateway, backend, "http1")
    with connect(g.port()) as c:
        c.send(request("/", "POST", body=b"hello", version="HTTP/1.0",
                       fields=[("Expect", "100-continue")]))
        got = c.recv_response()
    assert got.status == 200 and got.informational == []
    assert "expect" not in b.requests[0].headers


@pytest.mark.parametrize("head", [
    b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\n",
    b"GET /\r\n\r\n"])
def test_doubtful_ones_are_refused(gateway, backend, head):
    g, b = start(gateway, backend, "http1")
    with connect(g.port()) as c:
        c.send(head)
        assert c.recv_response().status == 400
        assert c.recv_all() == b""
    assert not b.requests
