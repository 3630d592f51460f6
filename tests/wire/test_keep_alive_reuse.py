"""Connections are kept and used again on both sides, as long as both want it:
Connection: close is honoured, and what came unasked spoils a connection."""
from lib.client import ask, connect, request
from lib.gateway import simple
from lib.server import reply
from lib.wait import wait_until


def test_one_connection_each_side(gateway, backend):
    b = backend()
    g = gateway(simple(b), )
    with connect(g.port()) as c:
        for i in range(10):
            c.send(request(f"/{i}", "POST", body=b"x" * i))
            got = c.recv_response()
            assert got.status == 200 and "connection" not in got.headers
    assert b.n_conns == 1
    g.wait_metric("dm_upstream_connections_total", 1)
    assert g.metric("dm_exchanges_total") == 10


def test_new_clients_use_old_upstream_connections(gateway, backend):
    b = backend()
    g = gateway(simple(b, more="workers = 1;"))
    for _ in range(10):
        assert ask(g.port()).status == 200
    assert b.n_conns == 1


def test_client_says_close(gateway, backend):
    b = backend()
    g = gateway(simple(b))
    with connect(g.port()) as c:
        c.send(request(fields=[("Connection", "close")]) + request("/never"))
        got = c.recv_response()
        assert got.headers["connection"] == "close"
        assert c.is_closed_by_peer()
    assert "connection" not in b.requests[0].headers
    assert [r.path for r in b.requests] == ["/"]


def test_backend_says_close(gateway, backend):
    b = backend(lambda r: reply(200, b"ok", [("connection", "close")]))
    g = gateway(simple(b))
    with connect(g.port()) as c:
        for _ in range(3):
            c.send(request())
            got = c.recv_response()
            assert got.status == 200 and "connection" not in got.headers
    assert b.n_conns == 3


def test_unframed_answer_ends_with_the_connection(gateway, server):
    def script(conn):
        conn.recv_request()
        conn.send("HTTP/1.1 200 OK\r\n\r\nall of it")
    s = server(script)
    g = gateway(simple(s))
    with connect(g.port()) as c:
        for _ in range(2):
            c.send(request())
            got = c.recv_response()
            assert got.body == b"all of it"
            assert got.headers["transfer-encoding"] == "chunked"
    assert s.n_conns == 2


def test_bytes_behind_an_answer_spoil_the_connection(gateway, server):
    def script(conn):
        conn.recv_request()
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                  "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen")
        conn.recv_all()
    s = server(script)
    g = gateway(simple(s, more="workers = 1;"))
    with connect(g.port()) as c:
        for _ in range(3):
            c.send(request())
            assert c.recv_response().body == b"ok"
    assert s.n_conns == 3


def test_idle_connection_that_the_backend_closes(gateway, backend):
    b = backend()
    g = gateway(simple(b, more="workers = 1;"))
    with connect(g.port()) as c:
        c.send(request())
        c.recv_response()
        b.drop_conns()
        g.wait_metric("dm_upstream_connections", 0)
        c.send(request())
        assert c.recv_response().status == 200
    assert b.n_conns == 2


def test_keep_alive_limits(gateway, backend):
    b = backend()
    g = gateway(simple(b, upstream="keep_alive_idle_ms = 50;"))
    with connect(g.port()) as c:
        c.send(request())
        c.recv_response()
        g.wait_metric("dm_upstream_connections", 0)
        c.send(request())
        assert c.recv_response().status == 200
    assert b.n_conns == 2


def test_requests_per_connection_max(gateway, backend):
    g = gateway(simple(backend(), more="limits = { "
                       "requests_per_connection_max = 2; };"))
    with connect(g.port()) as c:
        c.send(request())
        assert "connection" not in c.recv_response().headers
        c.send(request())
        assert c.recv_response().headers["connection"] == "close"
        assert c.is_closed_by_peer()


def test_idle_client_is_closed(gateway, backend):
    g = gateway(simple(backend(), more="timeouts = { idle_timeout_ms = 50; "
                       "};"))
    with connect(g.port()) as c:
        c.send(request())
        assert c.recv_response().status == 200
        assert c.is_closed_by_peer()
    wait_until(lambda: g.metric("dm_client_connections") == 0, "no client")
