"""Pipelined requests are answered in order, whatever the backend's speed; an
error or a close ends the row."""
import threading

from lib.client import connect, request
from lib.gateway import simple
from lib.server import reply


def test_in_order(gateway, backend):
    b = backend()
    g = gateway(simple(b))
    rows = [("GET", None), ("POST", b"x" * 5000), ("HEAD", None),
            ("DELETE", None), ("POST", b"")] * 10
    with connect(g.port()) as c:
        c.send(b"".join(request(f"/{i}", m, body=body)
                        for i, (m, body) in enumerate(rows)))
        for i, (method, body) in enumerate(rows):
            got = c.recv_response(method)
            assert got.status == 200
            if method != "HEAD":
                assert got.json()["path"] == f"/{i}"
                assert got.json()["body"] == (body or b"").decode()
    assert [r.path for r in b.requests] == [f"/{i}" for i in range(len(rows))]


def test_the_second_waits_for_the_first(gateway, backend):
    """Nothing of a request is forwarded before the one in front of it is
    answered."""
    may_answer = threading.Event()

    def answer(r):
        if r.path == "/slow":
            assert may_answer.wait(10)
        return reply(200, r.path.encode())
    b = backend(answer)
    g = gateway(simple(b))
    with connect(g.port()) as c:
        c.send(request("/slow") + request("/fast"))
        b.wait_requests(1)
        assert len(b.requests) == 1
        may_answer.set()
        assert c.recv_response().body == b"/slow"
        assert c.recv_response().body == b"/fast"


def test_byte_by_byte(gateway, backend):
    g = gateway(simple(backend()))
    raw = request("/1", "POST", body=b"abc") + request("/2")
    with connect(g.port()) as c:
        for i in range(len(raw)):
            c.sock.sendall(raw[i:i + 1])
        assert c.recv_response().json()["body"] == "abc"
        assert c.recv_response().json()["path"] == "/2"


def test_an_error_ends_the_row(gateway, backend):
    b = backend()
    g = gateway(simple(b))
    with connect(g.port()) as c:
        c.send(request("/1") + b"GET /bad HTTP/1.1\r\n\r\n" + request("/3"))
        assert c.recv_response().status == 200
        assert c.recv_response().status == 400
        assert c.recv_all() == b""
    assert [r.path for r in b.requests] == ["/1"]


def test_one_empty_line_before_a_request(gateway, backend):
    g = gateway(simple(backend()))
    with connect(g.port()) as c:
        c.send(request("/1", "POST", body=b"x") + b"\r\n" + request("/2"))
        assert c.recv_response().status == 200
        assert c.recv_response().json()["path"] == "/2"
