"""Endpoints whose requests fail are ejected: what counts and what does not,
for how long, how many at most; and what is done when too few are left."""
import threading
import time

import pytest

from lib.client import H2Client, ask, connect, request
from lib.server import H2Serving, reply
from lib.wait import wait_until

pytestmark = pytest.mark.balance
# Long enough that nothing comes back while a test looks.
LONG = "base_ms = 60000; max_ms = 60000;"
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def conf_of(backends, ejection=LONG, upstream="retries_max = 0;", more=""):
    ends = " , ".join(f'{{ address = "{b}"; }}' for b in backends)
    return f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }} );
upstreams = {{ u = {{ endpoints = ( {ends} ); ejection = {{ {ejection} }};
  {upstream} }}; }};
routes = ( {{ path_prefix = "/"; upstream = "u"; }} );
{more}
"""


def of(backend, name):
    return f'dm_endpoint_{name}{{upstream="u",endpoint="{backend}"}}'


class Switch:
    """An answer function: `answer` is given to each request; a health check
    is always told that all is well."""

    def __init__(self, name):
        self.name = name
        self.good = reply(200, name, [("x-server", name)])
        self.answer = self.good
        self.n = 0

    def __call__(self, request_):
        if request_.path == "/health":
            return reply(200, "fine")
        self.n += 1
        return self.answer(request_) if callable(self.answer) else self.answer


@pytest.fixture
def make(backend):
    def start(n, **kw):
        switches = [Switch(f"b{i}") for i in range(n)]
        return switches, [backend(s, name=s.name, **kw) for s in switches]
    return start


def statuses(g, n=20, path="/"):
    return [ask(g.port(), path).status for _ in range(n)]


def until_ejected(g, b, path="/"):
    """Asks until it is; the decision is made on another thread, so that a few
    requests more than it takes may meet it."""
    wait_until(lambda: ask(g.port(), path) and g.metric(of(b, "ejected")),
               f"{b} is ejected")


def until_failed(g, switch, n=5):
    """Asks until the endpoint had n requests; its row of failures is full."""
    with connect(g.port()) as c:
        while switch.n < n:
            c.send(request("/"))
            c.recv_response()


BAD = {
    "500": reply(500, "x"), "502": reply(502, "x"), "503": reply(503, "x"),
    "504": reply(504, "x"), "closes": lambda r: None,
}


@pytest.mark.parametrize("how", BAD)
def test_ejected_on_traffic(gateway, make, how):
    """The health endpoint lies: 200 there, errors on traffic."""
    (s0, _), (b0, b1) = make(2)
    g = gateway(conf_of([b0, b1], upstream="retries_max = 0; health_check = { "
                        'kind = "http"; path = "/health"; interval_ms = 50; '
                        '};'))
    g.wait_metric(of(b0, "probes_total"), lambda n: n >= 1)
    s0.answer = BAD[how]
    until_failed(g, s0)
    g.wait_metric(of(b0, "ejected"), 1)
    assert g.metric(of(b0, "down")) == 1
    assert g.metric(of(b0, "probe_down")) == 0
    assert g.metric(of(b0, "ejections_total")) == 1
    assert s0.n == 5
    g.error_log(rf"upstream u: endpoint {b0} is ejected for 60.0 s: 5 requests "
                r"failed in a row, the last one: "
                + (f"status {how}" if how != "closes"
                   else "reset_by_upstream"))
    # Probes pass, and do not bring it back.
    n = g.metric(of(b0, "probes_total"))
    g.wait_metric(of(b0, "probes_total"), lambda now: now > n + 3)
    assert g.metric(of(b0, "down")) == 1
    assert set(statuses(g)) == {200}
    assert s0.n == 5


def test_connect_refused(gateway, make):
    (_, _), (b0, b1) = make(2)
    g = gateway(conf_of([b0, b1], upstream=""))
    b0.pause()
    assert set(statuses(g, 40)) == {200}  # by a retry
    g.wait_metric(of(b0, "ejected"), 1)
    n = g.metric("dm_retries_total")
    assert set(statuses(g)) == {200}
    assert g.metric("dm_retries_total") == n


def test_no_answer_in_time(gateway, backend, server):
    def hang(conn):
        while conn.more():
            pass
    b0, b1 = server(hang), backend()
    g = gateway(conf_of([b0, b1], upstream="response_timeout_ms = 50; "
                                           "retries_max = 0;"))
    assert set(statuses(g, 20)) == {200, 504}
    g.wait_metric(of(b0, "ejected"), 1)
    g.error_log("the last one: response_timeout")


@pytest.mark.parametrize("code,is_bad", [
    (14, True), (13, True), (2, True), (0, False), (3, False), (4, False),
    (5, False), (8, False), (12, False)])
def test_grpc_codes(gateway, make, code, is_bad):
    (s0, _), (b0, b1) = make(2, protocol="h2")
    s0.answer = reply(200, b"\0\0\0\0\0", GRPC[:1],
                      trailers=[("grpc-status", str(code))])
    g = gateway(conf_of([b0, b1], upstream='protocol = "h2c";'))
    with H2Client.open(g.port()) as c:
        while s0.n < (5 if is_bad else 12):
            c.ask("/a.B/C", "POST", fields=GRPC, body=b"\0\0\0\0\0")
    if is_bad:
        g.wait_metric(of(b0, "ejected"), 1)
        g.error_log(f"the last one: gRPC status {code}")
    assert g.metric(of(b0, "ejections_total")) == (1 if is_bad else 0)


@pytest.mark.parametrize("status", [400, 404, 429, 501, 505])
def test_answers_that_do_not_count(gateway, make, status):
    (s0, _), (b0, b1) = make(2)
    s0.answer = reply(status, "x")
    g = gateway(conf_of([b0, b1], more="workers = 1;"))
    assert statuses(g, 30).count(status) == 15
    assert g.metric(of(b0, "ejected")) == 0


def test_a_success_in_between(gateway, make):
    """Failures count in a row only."""
    (s0, _), (b0, b1) = make(2)

    def answer(_):
        return reply(500, "x") if s0.n % 5 else s0.good
    s0.answer = answer
    g = gateway(conf_of([b0, b1], more="workers = 1;"))
    assert statuses(g, 60).count(500) == 24
    assert g.metric(of(b0, "ejected")) == 0


def test_clients_that_leave_do_not_count(gateway, make):
    gate = threading.Event()

    def wait(_):
        gate.wait(15)
        return reply(200, "late")
    switches, backends = make(2)
    for s in switches:
        s.answer = wait
    g = gateway(conf_of(backends))
    for i in range(20):
        with connect(g.port()) as c:
            c.send(request(f"/{i}"))
            wait_until(lambda i=i: sum(s.n for s in switches) > i, "sent")
            c.reset()
        g.wait_metric("dm_exchanges", 0)
    gate.set()
    for b in backends:
        assert g.metric(of(b, "ejected")) == 0


def test_a_deadline_of_the_client_does_not_count(gateway, rpc_server):
    """Else a client with a short deadline could take endpoints out."""
    gate = threading.Event()

    def wait(_, context):
        gate.wait(15)
        return b""
    backends = [rpc_server({"/a.B/C": ("unary", wait)}, name=f"b{i}")
                for i in range(2)]
    g = gateway(conf_of(backends, upstream='protocol = "h2c"; '
                                           'retries_max = 0;'))
    with H2Client.open(g.port()) as c:
        for _ in range(14):
            got = c.ask("/a.B/C", "POST", body=b"\0\0\0\0\0",
                        fields=GRPC + [("grpc-timeout", "20m")])
            assert dict(got.fields)["grpc-status"] == "4"
    gate.set()
    for b in backends:
        assert g.metric(of(b, "ejected")) == 0


UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"),
           ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
UPGRADED = ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


def test_the_end_of_a_tunnel_does_not_count(gateway, server):
    """Both sides of a WebSocket may drop it as they like."""
    def serve(conn):
        conn.recv_request()
        conn.send(UPGRADED)
        conn.recv_exact(4)
        conn.reset()
    b = server(serve)
    g = gateway(conf_of([b], LONG + "max_percent = 100;"))
    for i in range(7):
        with connect(g.port()) as c:
            c.send(request(f"/{i}", fields=UPGRADE))
            c.recv_until(b"\r\n\r\n")
            c.send(b"ping")
            g.access_log(path=f"/{i}")
    assert g.metric(of(b, "ejections_total")) == 0


def test_cut_answers_count(gateway, server):
    """An answer that begins well and is cut off, again and again."""
    def serve(conn):
        while conn.recv_request():
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            conn.reset()
            return
    b = server(serve)
    g = gateway(conf_of([b], LONG + "max_percent = 100;"))
    for i in range(5):
        with connect(g.port()) as c:
            c.send(request(f"/{i}"))
            c.recv_all()
        g.access_log(path=f"/{i}")
    g.wait_metric(of(b, "ejections_total"), 1)
    g.error_log("the last one: (truncated|reset_by_upstream)")


class Dying(H2Serving):
    """Its connection dies when the 8th request after the first is there."""

    def answer(self, number, request_):
        if request_.path == "/first":
            super().answer(number, request_)
            return
        self.n_seen = getattr(self, "n_seen", 0) + 1
        if self.n_seen == 8:
            raise ConnectionError("dies")


def test_a_dying_connection_is_one_event(gateway, server):
    """An HTTP/2 connection that ends with many streams on it does not eject
    its endpoint at once."""
    b0 = server(lambda conn: Dying(conn, lambda c, r: reply(200, "x")).run())
    g = gateway(conf_of([b0], LONG + "max_percent = 100;",
                        'protocol = "h2c"; retries_max = 0;'))
    with H2Client.open(g.port()) as c:
        assert c.ask("/first").text == "x"
        numbers = [c.request(f"/{i}") for i in range(8)]
        assert [c.response(n).status for n in numbers] == [502] * 8
    assert b0.n_conns == 1
    assert g.metric(of(b0, "failures_total")) == 8
    assert g.metric(of(b0, "ejections_total")) == 0


@pytest.mark.parametrize("n,n_bad,n_out", [
    (1, 1, 0), (2, 2, 1), (3, 3, 1), (4, 4, 2), (5, 3, 2)])
def test_never_more_than_half(gateway, make, n, n_bad, n_out):
    switches, backends = make(n)
    for s in switches[:n_bad]:
        s.answer = reply(503, "burst")
    g = gateway(conf_of(backends, more="workers = 1;"))
    def n_ejected():
        return sum(g.metric(of(b, "ejected")) for b in backends)
    wait_until(lambda: ask(g.port()) and n_ejected() == n_out, "ejections")
    statuses(g, 15 * n)
    assert n_ejected() == n_out
    assert g.metric('dm_upstream_endpoints_up{upstream="u"}') == n - n_out
    assert g.metric('dm_upstream_panic{upstream="u"}') == 0
    g.error_log(r"fails \d+ requests in a row, but is not ejected: that would "
                r"be more than 50 %")


def test_growing_times(gateway, make):
    """Out for the base time, then twice as long."""
    (s0, _), (b0, b1) = make(2)
    s0.answer = reply(503, "x")
    g = gateway(conf_of([b0, b1], "base_ms = 1500; max_ms = 10000;",
                        more="workers = 1;"))
    until_failed(g, s0)
    g.wait_metric(of(b0, "down"), 1)
    begin = time.monotonic()
    # Whoever asks without a pause meets it as soon as it is back.
    until_failed(g, s0, 10)
    assert time.monotonic() - begin > 1
    s0.answer = s0.good
    g.error_log(rf"endpoint {b0} is ejected for 1.5 s")
    g.error_log(rf"endpoint {b0} is back after [\d.]+ s: its ejection is over")
    g.error_log(rf"endpoint {b0} is ejected for 3.0 s")
    # Well again: it takes its share after that.
    g.wait_metric(of(b0, "down"), 1)
    g.wait_metric(of(b0, "down"), 0)
    n = s0.n
    assert set(statuses(g, 10)) == {200}
    assert s0.n == n + 5


def test_off(gateway, make):
    (s0, _), (b0, b1) = make(2)
    s0.answer = reply(503, "x")
    one = "workers = 1;"
    g = gateway(conf_of([b0, b1], "consecutive_failures = 0;", more=one))
    assert statuses(g, 30).count(503) == 15
    # Turned on and off by a reload.
    g.reload(conf_of([b0, b1]))
    until_ejected(g, b0)
    g.reload(conf_of([b0, b1], LONG, "retries_max = 1;"))
    assert g.metric(of(b0, "down")) == 1, "a reload brought it back"
    g.reload(conf_of([b0, b1], "consecutive_failures = 0;"))
    assert g.metric(of(b0, "down")) == 0
    g.error_log("ejection is off")


def test_removed_and_added_while_ejected(gateway, make):
    """Its state goes with it, or comes back with it: it is never stuck."""
    (s0, _), (b0, b1) = make(2)
    s0.answer = reply(503, "x")
    ejection = "base_ms = 500; max_ms = 500;"
    g = gateway(conf_of([b0, b1], ejection))
    until_ejected(g, b0)
    s0.answer = s0.good
    g.reload(conf_of([b1], ejection), settle=False)
    g.reload(conf_of([b0, b1], ejection), settle=False)
    g.wait_metric(of(b0, "down"), 0)
    n = s0.n
    wait_until(lambda: ask(g.port()) and s0.n > n, "it is used again")


def test_panic_below_the_floor(gateway, make):
    """Probes fail nearly everywhere: all are used, as the log and the access
    log say; above the floor that ends."""
    switches, backends = make(4)
    ill = {f"b{i}" for i in range(4)}
    health = {f"b{i}": reply(200) for i in range(4)}

    def answer_of(s):
        def answer(request_):
            if request_.path == "/well":
                return health[s.name]
            return s.good
        return answer
    for s in switches:
        s.answer = answer_of(s)
    check = ('health_check = { kind = "http"; path = "/well"; '
             'interval_ms = 50; };')
    g = gateway(conf_of(backends, upstream=check))
    for name in ("b0", "b1"):
        health[name] = reply(500)
    for b in backends[:2]:
        g.wait_metric(of(b, "down"), 1)
    assert g.metric('dm_upstream_panic{upstream="u"}') == 0
    assert {ask(g.port()).text for _ in range(20)} == {"b2", "b3"}
    health["b2"] = reply(500)
    g.wait_metric('dm_upstream_panic{upstream="u"}', 1)
    assert {ask(g.port(), "/p").text for _ in range(40)} == ill
    assert g.access_log(path="/p")["picked_by"] == "panic"
    g.error_log(r"upstream u: 1 of 4 endpoints up, less than 50 %: all are "
                "used as if up")
    health["b1"] = health["b2"] = reply(200)
    g.wait_metric('dm_upstream_panic{upstream="u"}', 0)
    g.wait_metric('dm_upstream_endpoints_up{upstream="u"}', 3)
    assert {ask(g.port()).text for _ in range(40)} == {"b1", "b2", "b3"}


def dead(backends):
    for b in backends:
        b.pause()
        b.drop_conns()


@pytest.mark.parametrize("floor", [0, 50])
def test_all_down(gateway, make, floor):
    """503 at once with Retry-After, and service again within one check after
    the first one is back."""
    switches, backends = make(2)
    g = gateway(conf_of(backends, upstream='health_check = { kind = "tcp"; '
                        "interval_ms = 100; rise = 1; fall = 2; }; "
                        f"healthy_min_percent = {floor};"))
    assert set(statuses(g, 4)) == {200}
    dead(backends)
    g.wait_metric('dm_upstream_endpoints_up{upstream="u"}', 0)
    begin = time.monotonic()
    for i in range(20):
        got = ask(g.port(), f"/{i}")
        assert got.status == 503
        assert got.headers["retry-after"] in ("1", "2", "3")
    assert time.monotonic() - begin < 5
    assert g.access_log(path="/19")["fault"] == "no_endpoint"
    assert g.metric("dm_exchanges") == 0
    for b in backends:
        b.resume()
    g.wait_metric('dm_upstream_endpoints_up{upstream="u"}', 2)
    assert set(statuses(g, 10)) == {200}
    if floor == 0:
        n = g.metric("dm_upstream_connections_total")
        dead(backends)
        g.wait_metric('dm_upstream_endpoints_up{upstream="u"}', 0)
        assert set(statuses(g, 10)) == {503}
        assert g.metric("dm_upstream_connections_total") == n


def test_sticky_clients_move_and_return(gateway, make):
    (s0, s1), (b0, b1) = make(2)
    g = gateway(conf_of([b0, b1], upstream='retries_max = 0; balance = { '
                        'sticky_cookie = { name = "at"; }; };'))
    got = ask(g.port())
    value = got.headers["set-cookie"].split(";")[0]
    switch, b = (s0, b0) if got.text == "b0" else (s1, b1)
    switch.answer = reply(500, "x")
    while not g.metric(of(b, "ejected")):
        ask(g.port(), fields=[("Cookie", value)])
    assert ask(g.port(), fields=[("Cookie", value)]).text not in ("x",
                                                                  got.text)
