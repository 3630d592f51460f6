"""Where it is in doubt where a request ends, it is answered with an error and
the connection closed; the backend sees nothing of it, nor what follows."""
import pytest

from lib.client import ask, connect, request
from lib.gateway import simple
from lib.wait import wait_until

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def post(*lines, body=b"0\r\n\r\n"):
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


ROWS = {
    "te and cl": post(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "cl and te": post(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "two cl, differing": post(b"Content-Length: 0", b"Content-Length: 45",
                              body=b""),
    "two cl, equal": post(b"Content-Length: 5", b"Content-Length: 5"),
    "cl list": post(b"Content-Length: 5, 5"),
    "cl plus sign": post(b"Content-Length: +5"),
    "cl minus sign": post(b"Content-Length: -5"),
    "cl hex": post(b"Content-Length: 0x5"),
    "cl blank inside": post(b"Content-Length: 5 0"),
    "cl empty": post(b"Content-Length:"),
    "cl underscore": post(b"Content-Length: 1_0"),
    "cl too large": post(b"Content-Length: 9223372036854775808"),
    "cl twenty digits": post(b"Content-Length: 18446744073709551621"),
    "te identity": post(b"Transfer-Encoding: identity"),
    "te xchunked": post(b"Transfer-Encoding: xchunked"),
    "te list": post(b"Transfer-Encoding: gzip, chunked"),
    "te twice in one": post(b"Transfer-Encoding: chunked, chunked"),
    "te two lines": post(b"Transfer-Encoding: chunked",
                         b"Transfer-Encoding: identity"),
    "te comma first": post(b"Transfer-Encoding: ,chunked"),
    "te comma last": post(b"Transfer-Encoding: chunked,"),
    "te parameter": post(b"Transfer-Encoding: chunked;q=1"),
    "te quoted": post(b'Transfer-Encoding: "chunked"'),
    "te vertical tab": post(b"Transfer-Encoding: \x0bchunked"),
    "te empty": post(b"Transfer-Encoding:"),
    "te blank before colon": post(b"Transfer-Encoding : chunked"),
    "te folded": post(b"Transfer-Encoding:", b" chunked"),
    "te named in connection": post(b"Connection: close, transfer-encoding",
                                   b"Transfer-Encoding: chunked"),
    "cl named in connection": post(b"Connection: content-length",
                                   b"Content-Length: 5"),
    "te with nul": post(b"Transfer-Encoding\x00: chunked"),
    "underscore name": post(b"Transfer_Encoding: chunked",
                            b"Content-Length: 5"),
    "bare lf": POST.replace(b"\r\n", b"\n") + b"Content-Length: 5\n\n12345",
    "bare lf in a value": post(b"X: a\nTransfer-Encoding: chunked"),
    "bare cr in a value": post(b"X: a\rTransfer-Encoding: chunked"),
    "blank before first field": POST.replace(b"Host", b" Host") + b"\r\n",
    "field without colon": post(b"Transfer-Encoding chunked"),
    "empty name": post(b": chunked"),
    "no host": b"POST /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "two hosts": post(b"Host: other", b"Content-Length: 0", body=b""),
    "host list": b"GET /x HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "blank in target": b"GET /x HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "version 1.2x": b"GET /x HTTP/1.1x\r\nHost: a\r\n\r\n",
    "version 2.0": b"GET /x HTTP/2.0\r\nHost: a\r\n\r\n",
    "version lower case": b"GET /x http/1.1\r\nHost: a\r\n\r\n",
    "two empty lines first": b"\r\n\r\n" + request("/x"),
    "absolute, other host": b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute, userinfo": b"GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
}
# The head is good and has gone on; the body is not.
BODY_ROWS = {
    "size minus": b"-1\r\nx\r\n0\r\n\r\n",
    "size 0x": b"0x1\r\nx\r\n0\r\n\r\n",
    "size blank": b" 1\r\nx\r\n0\r\n\r\n",
    "size underscore": b"1_0\r\nx\r\n0\r\n\r\n",
    "size empty": b"\r\nx\r\n0\r\n\r\n",
    "size of 17 digits": b"10000000000000000\r\n",
    "size overflow": b"ffffffffffffffff\r\nx",
    "size bare lf": b"1\nx\r\n0\r\n\r\n",
    "data longer": b"1\r\nxx\r\n0\r\n\r\n",
    "data bare lf": b"1\r\nx\n0\r\n\r\n",
    "extension with cr": b"1;a\rb\r\nx\r\n0\r\n\r\n",
    "extension with lf": b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "extension empty": b"1;\r\nx\r\n0\r\n\r\n",
    "extension too long": b"1;a=" + b"b" * 300 + b"\r\nx\r\n0\r\n\r\n",
    "trailer without colon": b"0\r\nX\r\n\r\n",
    "trailer bare lf": b"0\r\nX: a\n\r\n",
    "trailer folded": b"0\r\nX: a\r\n b\r\n\r\n",
}


def refused(gateway, backend, raw):
    b = backend()
    g = gateway(simple(b, route="max_body_bytes = 0;"))
    with connect(g.port()) as c:
        c.send(raw + SMUGGLED)
        got = c.recv_response()
        assert 400 <= got.status < 600, got
        assert got.headers["connection"] == "close"
        assert c.recv_all() == b"", "a second answer"
    return b, got


@pytest.mark.parametrize("raw", ROWS.values(), ids=ROWS.keys())
def test_head(gateway, backend, raw):
    b, got = refused(gateway, backend, raw)
    assert got.status in (400, 405, 501, 505), got
    assert b.n_conns == 0 and not b.requests


@pytest.mark.parametrize("raw", BODY_ROWS.values(), ids=BODY_ROWS.keys())
def test_chunks(gateway, server, raw):
    """The backend may have the head by then, but never a whole request."""
    seen = []
    s, got = refused(gateway, lambda: server(
        lambda conn: seen.append(conn.recv_all())), CHUNKED + raw)
    assert got.status == 400
    s.stop()
    for bytes_seen in seen:
        assert b"smuggled" not in bytes_seen
        assert not bytes_seen.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_body_on_get(gateway, backend, method):
    """Its end is clear, so the connection may live; it is not forwarded."""
    b = backend()
    g = gateway(simple(b))
    with connect(g.port()) as c:
        c.send(request("/x", method, body=SMUGGLED))
        assert c.recv_response(method).status == 400
    assert ask(g.port(), "/y").status == 200
    assert [r.path for r in b.requests] == ["/y"]


@pytest.mark.parametrize("length, sent", [(b"10", b"12345"), (b"1", b"")])
def test_client_that_leaves_early(gateway, server, length, sent):
    """A body that is too short is never made whole."""
    seen = []
    s = server(lambda conn: seen.append(conn.recv_all()))
    g = gateway(simple(s))
    with connect(g.port()) as c:
        c.send(post(b"Content-Length: " + length, body=sent))
        wait_until(lambda: s.conns and s.conns[0].buffer.endswith(
            b"\r\n\r\n" + sent), "the backend has what was sent")
        c.shut()
        c.recv_all()
    g.access_log(path="/x")
    s.stop()
    assert len(seen) == 1 and seen[0].endswith(b"\r\n\r\n" + sent)
