"""An attempt is repeated on another endpoint when nothing can have been acted
upon, and not otherwise."""
import socket

import grpc
import pytest

from lib import frames
from lib.client import ask
from lib.gateway import simple
from lib.server import reply
from lib.stream import Closed
from lib.wait import PATIENCE

TWO = '''
listeners = ( { name = "http"; address = "127.0.0.1:@http@"; } );
workers = 1;
upstreams = { u = { endpoints = ( { address = "127.0.0.1:@one@"; },
                                  { address = "127.0.0.1:@two@"; } );
                    ejection = { consecutive_failures = 0; }; %s }; };
routes = ( { path_prefix = "/"; upstream = "u"; } );
'''


def two(gateway, one, other, upstream=""):
    return gateway(TWO % upstream, one=str(one).rsplit(":", 1)[-1],
                   two=str(other).rsplit(":", 1)[-1])


@pytest.fixture
def closed():
    """Addresses that refuse: bound, so that nobody takes them, but deaf."""
    held = []

    def make():
        held.append(socket.socket())
        held[-1].bind(("127.0.0.1", 0))
        return f"127.0.0.1:{held[-1].getsockname()[1]}"
    yield make
    for s in held:
        s.close()


@pytest.mark.parametrize("method,body", [("GET", None), ("POST", b"x" * 9000)])
def test_refused_connection_goes_to_the_next(gateway, backend, closed, method,
                                             body):
    b = backend(lambda r: reply(200, str(len(r.body)).encode()))
    g = two(gateway, closed(), b)
    for i in range(8):
        got = ask(g.port(), f"/{i}", method=method, body=body)
        assert got.status == 200 and got.body == str(len(body or b"")).encode()
    assert g.metric("dm_retries_total") >= 3
    assert [r.path for r in b.requests] == [f"/{i}" for i in range(8)]


def test_retries_max_0_means_none(gateway, backend, closed):
    g = two(gateway, closed(), backend(), "retries_max = 0;")
    got = [ask(g.port()).status for _ in range(8)]
    assert sorted(set(got)) == [200, 502]
    assert g.metric("dm_retries_total") == 0


def test_all_refuse(gateway, closed):
    g = two(gateway, closed(), closed())
    got = ask(g.port(), "/x")
    assert got.status == 502 and b"No connection" in got.body
    line = g.access_log(path="/x")
    assert line["attempts"] == 2 and line["fault"] == "connect_failed"


def refusing_h2(conn, how):
    """Refuses each stream by RST_STREAM, or the first one by GOAWAY."""
    conn.recv_until(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    conn.send(frames.settings())
    try:
        while True:
            head = conn.recv_exact(9)
            if int.from_bytes(head[:3], "big"):
                conn.recv_exact(int.from_bytes(head[:3], "big"))
            if head[3] != frames.HEADERS:
                continue
            if how == "goaway":
                conn.send(frames.frame(7, payload=bytes(8)))
                conn.recv_all()
                return
            conn.send(frames.rst(int.from_bytes(head[5:9], "big"), 7))
    except Closed:
        pass


@pytest.mark.parametrize("how", ["reset", "goaway"])
def test_refused_stream_is_sent_again_with_its_body(gateway, backend, server,
                                                    how):
    b = backend(lambda r: reply(200, b"got " + r.body), protocol="h2")
    s = server(lambda conn: refusing_h2(conn, how))
    g = two(gateway, s, b, 'protocol = "h2c";')
    for i in range(4):
        got = ask(g.port(), f"/{i}", method="POST", body=b"the body")
        assert got.status == 200 and got.body == b"got the body"
    assert g.metric("dm_retries_total") >= 1


def hangs_up(conn):
    """Reads the request and closes without an answer."""
    conn.recv_request()
    conn.reset()


def test_idempotent_request_is_repeated_after_a_reset(gateway, backend, server):
    b = backend()
    g = two(gateway, server(hangs_up), b)
    for i in range(4):
        assert ask(g.port(), f"/{i}").status == 200
    assert len(b.requests) == 4


def test_post_that_may_have_been_acted_upon_is_not_repeated(gateway, backend,
                                                            server):
    b = backend()
    g = two(gateway, server(hangs_up), b)
    got = [ask(g.port(), method="POST", body=b"pay").status for _ in range(4)]
    assert sorted(got) == [200, 200, 502, 502]
    assert len(b.requests) == 2
    assert g.metric("dm_retries_total") == 0


def closes_unanswered(conn):
    """The first connection answers one request and takes another; the second
    goes on for ever."""
    conn.recv_request()
    conn.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst")
    request = conn.recv_request()
    conn.seen = (request.method, request.body)
    if conn.number > 1:
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_reused_connection_closes_unanswered(gateway, server, method):
    """The end of keep-alive crossed the request: once more, on a fresh
    connection."""
    s = server(closes_unanswered)
    g = gateway(simple(s, more="workers = 1;"))
    assert ask(g.port(), "/warm").status == 200
    body = b"kept" if method == "PUT" else None
    got = ask(g.port(), "/x", method, body=body)
    assert got.status == 200
    assert got.body == (b"" if method == "HEAD" else b"first")
    assert s.conns[0].seen == (method, body or b"")
    assert s.n_conns == 2 and g.metric("dm_retries_total") == 1
    assert g.access_log(path="/x")["attempts"] == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_post_on_a_reused_connection_is_not_sent_twice(gateway, server,
                                                       method):
    """It was read by the backend: nobody knows what was done."""
    s = server(closes_unanswered)
    g = gateway(simple(s, more="workers = 1;"))
    assert ask(g.port(), "/warm").status == 200
    got = ask(g.port(), "/x", method, body=b"pay")
    assert got.status == 502
    assert s.conns[0].seen == (method, b"pay")
    assert s.n_conns == 1 and g.metric("dm_retries_total") == 0
    line = g.access_log(path="/x")
    assert line["attempts"] == 1 and line["fault"] == "reset_by_upstream"


@pytest.mark.parametrize("part, status", [
    ("HTTP/1.1 200", 502), ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n", 502),
    ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", None)],
    ids=["status line", "head", "body"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_post_is_not_sent_again_after_a_part_of_its_answer(
        gateway, server, part, status, end):
    def script(conn):
        conn.recv_request()
        conn.send(part)
        getattr(conn, end)()
    s = server(script)
    g = gateway(simple(s, more="workers = 1;"))
    try:
        got = ask(g.port(), "/x", "POST", body=b"pay")
        assert got.status == (status or 502)  # a reset may overtake the head
    except (Closed, ConnectionResetError):
        assert status is None
    line = g.access_log(path="/x")
    assert line["attempts"] == 1 and line["fault"] != "-"
    assert s.n_conns == 1 and g.metric("dm_retries_total") == 0


def test_the_budget_bounds_what_may_have_been_done(gateway, server, backend):
    """Resets of requests that were sent cost the backend work: at most the
    budget is tried again. Connections that were never made cost nothing."""
    def reset(conn):
        conn.recv_request_head()
        conn.reset()
    bad = server(reset)
    g = two(gateway, bad, backend(),
            "retry_budget_percent = 0; retry_budget_min = 0;")
    got = [ask(g.port(), f"/{i}").status for i in range(8)]
    assert sorted(set(got)) == [200, 502]
    refused = g.metric("dm_retries_refused_total")
    assert refused == got.count(502) and refused >= 3
    g.reload(TWO % "retry_budget_percent = 0; retry_budget_min = 1;")
    assert [ask(g.port(), f"/{i}").status for i in range(8)] == [200] * 8
    assert g.metric("dm_retries_refused_total") == refused


def test_grpc_codes_that_the_operator_names(gateway, rpc_server):
    """A call that is answered with nothing but UNAVAILABLE goes elsewhere, if
    the settings say so; with another code, or after a message, never."""
    def fail(message, context):
        context.abort(grpc.StatusCode[message.decode()], "no")

    def fail_late(message, context):
        yield b"first"
        context.abort(grpc.StatusCode.UNAVAILABLE, "no")
    bad = rpc_server({"/a.B/C": ("unary", fail),
                      "/a.B/S": ("server", fail_late)}, name="bad")
    good = rpc_server({"/a.B/C": ("unary", lambda m, c: b"good"),
                       "/a.B/S": ("server", lambda m, c: iter([b"good"]))})
    conf = 'protocol = "h2c"; retry_grpc_codes = [ "unavailable" ];'
    g = two(gateway, bad, good, conf)
    with grpc.insecure_channel(f"127.0.0.1:{g.port()}") as channel:
        call = channel.unary_unary("/a.B/C")
        assert [call(b"UNAVAILABLE", timeout=PATIENCE)
                for _ in range(6)] == [b"good"] * 6
        assert len(bad.calls) >= 2
        codes = []
        for _ in range(6):
            try:
                call(b"INTERNAL", timeout=PATIENCE)
                codes.append(None)
            except grpc.RpcError as error:
                codes.append(error.code())
        assert set(codes) == {None, grpc.StatusCode.INTERNAL}
        ends = []
        for _ in range(6):
            stream = channel.unary_stream("/a.B/S")(b"", timeout=PATIENCE)
            assert next(stream) in (b"first", b"good")
            try:
                ends.append(list(stream))
            except grpc.RpcError as error:
                ends.append(error.code())
        assert grpc.StatusCode.UNAVAILABLE in ends
    assert g.access_log(path="/a.B/C", attempts=2)["grpc_status"] == 0
    g.reload(TWO % 'protocol = "h2c";')
    with grpc.insecure_channel(f"127.0.0.1:{g.port()}") as channel:
        call = channel.unary_unary("/a.B/C")
        with pytest.raises(grpc.RpcError):
            for _ in range(2):
                call(b"UNAVAILABLE", timeout=PATIENCE)
