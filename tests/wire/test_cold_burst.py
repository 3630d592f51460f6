"""A burst of requests to an HTTP/2 backend without a connection waits for one
connection, however the requests and the backend's SETTINGS fall."""
import threading

import h2.settings
import pytest

from lib import frames
from lib.client import H2Client, ask
from lib.gateway import simple
from lib.server import H2Serving, reply

N = 50


def gather(g, n_clients):
    """All at once, over `n_clients` connections."""
    clients = [H2Client.open(g.port()) for _ in range(n_clients)]
    try:
        sent = [(c, c.request(f"/{i}"))
                for i in range(N // n_clients) for c in clients]
        return [c.response(number).status for c, number in sent]
    finally:
        for c in clients:
            c.close()


@pytest.mark.parametrize("n_clients", [1, 5, 50])
def test_one_connection(gateway, backend, n_clients):
    b = backend(lambda r: reply(200, b"ok"), protocol="h2")
    g = gateway(simple(b, upstream='protocol = "h2c";', more="workers = 1;"))
    assert gather(g, n_clients) == [200] * N
    assert b.n_conns == 1 and len(b.requests) == N
    assert g.metric("dm_upstream_connections_total") == 1


def test_one_connection_while_tls_is_set_up(gateway, backend, ca, leaf):
    b = backend(lambda r: reply(200, b"ok"), protocol="h2", leaf=leaf)
    g = gateway(simple(b, upstream='protocol = "h2"; '
                       f'tls = {{ ca = "{ca.path}"; }};',
                       more="workers = 1;"))
    assert gather(g, 5) == [200] * N
    assert b.n_conns == 1 and len(b.requests) == N


def n_heads(conn):
    return sum(f[0] == frames.HEADERS for f in frames.split(conn.buffer)[0])


def serving_few(b, is_told, seen):
    """A script: tells late that it takes five streams, and not more."""
    def script(conn):
        conn.recv_until(frames.PREFACE)
        assert is_told.wait(15)
        while n_heads(conn) == 0:
            conn.need()
        seen.append(n_heads(conn))
        conn.buffer = frames.PREFACE + conn.buffer
        serving = H2Serving(conn, b._take)  # pylint: disable=protected-access
        serving.h2.local_settings = h2.settings.Settings(
            client=False, initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 5})
        serving.run()
    return script


def test_one_request_until_settings_come(gateway, backend):
    """A server may refuse, or close upon, more streams than its SETTINGS
    allow: nobody is sent there at a venture."""
    is_told = threading.Event()
    seen = []
    b = backend(lambda r: reply(200, b"ok"), protocol="h2")
    b.script = serving_few(b, is_told, seen)
    g = gateway(simple(b, upstream='protocol = "h2c"; retries_max = 0;',
                       more="workers = 1;"))
    with H2Client.open(g.port()) as c:
        numbers = [c.request(f"/{i}") for i in range(N)]
        g.wait_metric("dm_exchanges", N)
        b.wait_conns(1)
        assert g.metric("dm_upstream_connections_total") == 1
        is_told.set()
        assert {c.response(n).status for n in numbers} == {200}
    assert set(seen) == {1} and len(b.requests) == N


def test_no_settings_at_all(gateway, server):
    """Who waited for them is told together, not one after the other."""
    def script(conn):
        conn.recv_until(frames.PREFACE)
        is_full.wait(15)
    is_full = threading.Event()
    s = server(script)
    g = gateway(simple(s, upstream='protocol = "h2c"; retries_max = 0;',
                       more="workers = 1;"))
    with H2Client.open(g.port()) as c:
        numbers = [c.request(f"/{i}") for i in range(N)]
        g.wait_metric("dm_exchanges", N)
        is_full.set()
        assert {c.response(n).status for n in numbers} == {502}
    assert s.n_conns == 1


def test_a_cold_burst_of_http1_takes_one_connection_each(gateway, backend):
    """... and not more: who comes while others connect is counted once."""
    gate = threading.Barrier(10, timeout=15)

    def answer(_):
        gate.wait()
        return reply(200, b"ok")
    b = backend(answer)
    g = gateway(simple(b, more="workers = 1;"))
    threads = [threading.Thread(target=ask, args=(g.port(),))
               for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(15)
    assert len(b.requests) == 10
    assert g.metric("dm_upstream_connections_total") == 10
