"""What a backend does wrong ends in 502, or in an answer that the client sees
cut off: never in one that looks complete and is not."""
import pytest

from lib.client import H2Client, StreamReset, ask, connect, request
from lib.gateway import simple
from lib.stream import Closed

OK = "HTTP/1.1 200 OK\r\n"
BAD_HEADS = {
    "status line": "HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
    "status 99": "HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
    "garbage": "hello, this is no HTTP\r\n\r\n",
    "version": "HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "NUL in a value": OK + "x-a: b\0c\r\ncontent-length: 0\r\n\r\n",
    "blank before the colon": OK + "x-a : b\r\ncontent-length: 0\r\n\r\n",
    "folded line": OK + "x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "two lengths": OK + "content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length is no number": OK + "content-length: 0x2\r\n\r\nab",
    "TE and CL": OK + "transfer-encoding: chunked\r\ncontent-length: 5\r\n"
                      "\r\n0\r\n\r\n",
    "unknown coding": OK + "transfer-encoding: gzip\r\n\r\nab",
    "chunked not last": OK + "transfer-encoding: chunked, gzip\r\n\r\nab",
    "1xx flood": "HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + OK + "\r\n",
    "101 unasked": "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
                   "connection: upgrade\r\n\r\n",
    "huge head": OK + "x-a: " + "b" * 40000 + "\r\n\r\n",
    "no answer": "",
}


@pytest.mark.parametrize("name", BAD_HEADS)
@pytest.mark.parametrize("client", ["http1", "h2"])
def test_bad_head(gateway, server, name, client):
    def script(conn):
        conn.recv_request()
        conn.send(BAD_HEADS[name])
        conn.close()
    g = gateway(simple(server(script), upstream="retries_max = 0;"))
    if client == "h2":
        with H2Client.open(g.port()) as c:
            got = c.ask("/x")
    else:
        got = ask(g.port(), "/x")
    assert got.status == 502
    assert b"request id" in got.body
    assert g.access_log(path="/x")["fault"] in ("bad_response",
                                                "reset_by_upstream")


CUT_BODIES = {
    "length, FIN": (OK + "content-length: 10\r\n\r\nhalf", "close"),
    "length, RST": (OK + "content-length: 10\r\n\r\nhalf", "reset"),
    "chunked, FIN": (OK + "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                     "close"),
    "chunked, RST": (OK + "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                     "reset"),
    "bad chunk": (OK + "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
                  "close"),
}


@pytest.mark.parametrize("name", CUT_BODIES)
@pytest.mark.parametrize("client", ["http1", "h2"])
def test_cut_body(gateway, server, name, client):
    head, end = CUT_BODIES[name]

    def script(conn):
        conn.recv_request()
        conn.send(head)
        getattr(conn, end)()
    g = gateway(simple(server(script), upstream="retries_max = 0;"))
    if client == "h2":
        with H2Client.open(g.port()) as c:
            try:
                # A reset may overtake the head: then it is a 502.
                assert c.ask("/x").status == 502
            except StreamReset:
                pass
    else:
        with connect(g.port()) as c:
            c.send(request("/x"))
            try:
                assert c.recv_response().status == 502
            except (Closed, ConnectionResetError):
                pass
    assert g.access_log(path="/x")["fault"] in (
        "truncated", "bad_response", "reset_by_upstream")


def test_more_than_the_length(gateway, server):
    """Exactly the announced bytes pass; the connection is not used again."""
    def script(conn):
        conn.recv_request()
        conn.send(OK + "content-length: 4\r\n\r\nfourHTTP/1.1 200 OK\r\n\r\n")
        conn.recv_all()
    s = server(script)
    g = gateway(simple(s, more="workers = 1;"))
    for _ in range(3):
        got = ask(g.port())
        assert got.status == 200 and got.body == b"four"
    assert s.n_conns == 3


def test_extra_bytes_on_an_idle_connection(gateway, server):
    def script(conn):
        conn.recv_request()
        conn.send(OK + "content-length: 2\r\n\r\nok")
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        conn.recv_all()
    s = server(script)
    g = gateway(simple(s, more="workers = 1;"))
    for _ in range(3):
        got = ask(g.port())
        assert got.status == 200 and got.body == b"ok"
        g.wait_metric("dm_upstream_connections", 0)  # the bytes came
