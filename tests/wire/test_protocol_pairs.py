"""A request and its response mean the same on both sides, whichever protocol
the client and the backend speak: HTTP/1.1 and HTTP/2, plain and with TLS."""
import hashlib
import random

import pytest

from lib.client import H2Client, connect, request
from lib.gateway import simple
from lib.server import echo, reply

CLIENTS = ["http1", "h2c", "https", "h2"]
BACKENDS = ["http1", "h2c", "https", "h2"]
BIG = random.Random(1).randbytes(3_000_000)


class Http1:
    """HTTP/1.1, with the calls of H2Client."""

    def __init__(self, stream):
        self.stream = stream

    def ask(self, path="/", method="GET", fields=(), body=None):
        self.stream.send(request(path, method, fields=fields, body=body))
        return self.stream.recv_response(method)

    def ask_in_pieces(self, path, pieces, trailers):
        fields = [("Transfer-Encoding", "chunked"), ("TE", "trailers")]
        self.stream.send(request(path, "POST", fields=fields))
        for piece in pieces:
            self.stream.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        ends = "".join(f"{n}: {v}\r\n" for n, v in trailers)
        self.stream.send(f"0\r\n{ends}\r\n")
        return self.stream.recv_response("POST")


class Http2(H2Client):
    def ask(self, path="/", method="GET", fields=(), body=None):
        raw = [(n, v.encode("latin-1")) for n, v in fields]
        if body is not None:
            raw.append(("content-length", str(len(body))))
        return super().ask(path, method, fields=raw, body=body)

    def ask_in_pieces(self, path, pieces, trailers):
        number = self.request(path, "POST", end=False,
                              fields=[("te", "trailers")])
        for piece in pieces:
            self.send_data(number, piece)
        self.send_trailers(number, trailers)
        return self.response(number)


@pytest.fixture(params=BACKENDS)
def upstream(request):
    return request.param


@pytest.fixture(params=CLIENTS)
def ours(request):
    return request.param


@pytest.fixture
def pair(gateway, backend, ca, leaf, ours, upstream):
    """pair(answer) -> (client, backend), connected through the gateway."""
    opened = []

    def start(answer=None):
        b = backend(answer, "h2" if upstream.startswith("h2") else "http1",
                    leaf=leaf if upstream in ("h2", "https") else None)
        conf = {"http1": 'protocol = "http1";', "h2c": 'protocol = "h2c";',
                "h2": 'protocol = "h2";', "https": 'protocol = "http1";'}
        up = conf[upstream]
        if upstream in ("h2", "https"):
            up += f' tls = {{ ca = "{ca.path}"; }};'
        is_tls = ours in ("h2", "https")
        g = gateway(simple(b, upstream=up, listener=(
            f"tls = {{ certificates = ( {leaf.conf} ); }};"
            if is_tls else "")))
        alpn = "h2" if ours == "h2" else "http/1.1"
        stream = connect(g.port(), tls=ca.client_context([alpn])
                         if is_tls else None)
        opened.append(stream)
        if ours.startswith("h2"):
            return Http2(stream, "https" if is_tls else "http"), b
        return Http1(stream), b
    yield start
    for stream in opened:
        stream.close()


def test_request_arrives(pair, ours, upstream):
    client, b = pair()
    fields = [("x-twice", "one"), ("x-twice", "two"), ("cookie", "a=b; c=d"),
              ("x-odd", "\xe9\t~"), ("accept", "*/*")]
    got = client.ask("/a/b?c=d&e=%2F", "PUT", fields, b"hello")
    assert got.status == 200
    seen = got.json()
    assert seen["method"] == "PUT" and seen["path"] == "/a/b?c=d&e=%2F"
    assert seen["host"] == "localhost" and seen["body"] == "hello"
    assert seen["version"] == ("HTTP/2" if upstream.startswith("h2")
                               else "HTTP/1.1")
    headers = seen["headers"]
    assert headers["x-twice"] == "one, two"
    assert headers["cookie"] == "a=b; c=d"
    assert headers["x-odd"] == "\xe9\t~"
    assert headers["content-length"] == "5"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == (
        "https" if ours in ("https", "h2") else "http")
    if upstream.startswith("h2"):
        assert seen["scheme"] == ("https" if upstream == "h2" else "http")


def test_response_arrives(pair, ours):
    fields = [("set-cookie", "a=b"), ("set-cookie", "c=d"),
              ("x-late", "yes"), ("content-type", "text/x")]
    client, _ = pair(lambda r: reply(418, b"teapot", fields))
    got = client.ask("/")
    assert (got.status, got.body) == (418, b"teapot")
    assert got.all("set-cookie") == ["a=b", "c=d"]
    assert got.headers["content-type"] == "text/x"
    assert got.headers["content-length"] == "6"
    for name in ("connection", "transfer-encoding", "keep-alive"):
        assert name not in got.headers, name


def test_body_of_unknown_length_with_trailers(pair):
    client, b = pair(lambda r: reply(
        200, chunks=[b"one", b"two", r.body], trailers=[("x-sum", "6")]))
    got = client.ask_in_pieces("/", [b"ab", b"cd"], [("x-end", "1")])
    assert got.status == 200
    assert got.body == b"onetwoabcd"
    assert "content-length" not in got.headers
    assert b.requests[0].body == b"abcd"
    assert got.trailers == [("x-sum", "6")]
    assert b.requests[0].trailers == [("x-end", "1")]


def test_big_bodies(pair):
    def answer(r):
        digest = hashlib.sha256(r.body).hexdigest()
        return reply(200, BIG, [("x-digest", digest)])
    client, _ = pair(answer)
    got = client.ask("/", "POST", body=BIG)
    assert got.headers["x-digest"] == hashlib.sha256(BIG).hexdigest()
    assert got.body == BIG


@pytest.mark.parametrize("method, status, length", [
    ("HEAD", 200, "12"), ("GET", 204, None), ("GET", 304, None)])
def test_no_body(pair, method, status, length):
    fields = [("content-length", length)] if length else []
    client, _ = pair(lambda r: reply(status, b"", fields) if
                     r.path == "/" else echo()(r))
    got = client.ask("/", method)
    assert (got.status, got.body) == (status, b"")
    assert got.headers.get("content-length") == length
    assert client.ask("/next").json()["path"] == "/next"


def test_many_on_one_connection(pair):
    client, b = pair()
    for i in range(20):
        assert client.ask(f"/{i}").json()["path"] == f"/{i}"
    assert b.n_conns == 1
