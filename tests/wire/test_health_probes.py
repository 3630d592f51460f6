"""Health checks: each kind takes an endpoint out and lets it in again, in the
protocol and TLS of its upstream; and what reloads, ports and limits do."""
import threading
import time

import pytest

from lib.client import ask, connect, request
from lib.gateway import check_conf
from lib.server import counts, reply
from lib.wait import PATIENCE, wait_until

pytestmark = pytest.mark.balance
FAST = "interval_ms = 50; timeout_ms = 2000;"
SERVING = b"\0\0\0\0\2\x08\1"
NOT_SERVING = b"\0\0\0\0\2\x08\2"


def conf_of(backends, check, upstream="", more=""):
    ends = " , ".join(f'{{ address = "{b}"; }}' for b in backends)
    check = f"health_check = {{ {check} }};" if check else ""
    return f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }} );
upstreams = {{ u = {{ endpoints = ( {ends} ); {check} {upstream} }}; }};
routes = ( {{ path_prefix = "/"; upstream = "u"; }} );
{more}
"""


def of(backend, name):
    return f'dm_endpoint_{name}{{upstream="u",endpoint="{backend}"}}'


def hang(conn):
    """A script that never answers."""
    while conn.more():
        pass


class Switch:
    """An answer function that is well until told otherwise. Requests to
    /health, or for the health of gRPC, are answered by `health`."""

    def __init__(self, name):
        self.name = name
        self.health = reply(200, "fine")
        self.probes = []
        self.traffic = []

    def __call__(self, request):
        if request.path.startswith("/health"):
            self.probes.append((time.monotonic(), request))
            return self.health() if callable(self.health) else self.health
        self.traffic.append(request)
        return reply(200, self.name)


@pytest.fixture
def pair(backend):
    switches = [Switch("b0"), Switch("b1")]
    return switches, [backend(s, name=s.name) for s in switches]


def spread(g, n=20):
    return [ask(g.port()).text for _ in range(n)]


def test_http_out_and_back(gateway, pair):
    (s0, s1), (b0, b1) = pair
    g = gateway(conf_of([b0, b1], f'kind = "http"; path = "/health?a=b"; {FAST}'))
    g.wait_metric(of(b0, "probes_total"), lambda n: n >= 3)
    assert set(spread(g)) == {"b0", "b1"}
    s0.health = reply(503, "ill")
    g.wait_metric(of(b0, "down"), 1)
    assert g.metric(of(b0, "probe_down")) == 1
    assert g.metric('dm_upstream_endpoints_up{upstream="u"}') == 1
    assert g.metric(of(b0, "probes_failed_total")) >= 3
    n_before = len(s0.traffic)
    assert spread(g) == ["b1"] * 20
    assert len(s0.traffic) == n_before
    g.error_log(rf"upstream u: endpoint {b0} is down: 3 probes failed: "
                r"status 503")
    s0.health = reply(200, "fine")
    g.wait_metric(of(b0, "down"), 0)
    g.error_log(rf"endpoint {b0} is back after [\d.]+ s: 2 probes passed")
    assert set(spread(g)) == {"b0", "b1"}
    probe = s0.probes[0][1]
    assert (probe.method, probe.path) == ("GET", "/health?a=b")
    assert probe.host == str(b0)
    assert probe.headers["user-agent"] == "daemun-health"
    # The access log is the traffic's own.
    assert not [li for li in g.access_lines() if "health" in li["path"]]
    # Each probe has a connection of its own.
    conns = [r.conn_number for _, r in s0.probes]
    assert len(set(conns)) == len(conns)
    assert not set(conns) & {r.conn_number for r in s0.traffic}


@pytest.mark.parametrize("status,is_good", [
    (200, True), (204, True), (399, True), (400, False), (500, False),
    (302, True)])
def test_http_status_range(gateway, pair, status, is_good):
    (s0, _), (b0, b1) = pair
    s0.health = reply(status)
    g = gateway(conf_of([b0, b1], f'kind = "http"; path = "/health"; {FAST} '
                                  'status_max = 399;'))
    g.wait_metric(of(b0, "probes_total"), lambda n: n >= 1)
    assert g.metric(of(b0, "down")) == (0 if is_good else 1)


def test_http_host_and_upstream_host(gateway, pair):
    (s0, s1), (b0, b1) = pair
    check = f'kind = "http"; path = "/health"; {FAST}'
    g = gateway(conf_of([b0, b1], check, 'host = "api.example.org";'))
    wait_until(lambda: s0.probes, "a probe")
    assert s0.probes[-1][1].host == "api.example.org"
    g.reload(conf_of([b0, b1], check + 'host = "probe.example.org";',
                     'host = "api.example.org";'))
    wait_until(lambda: s0.probes[-1][1].host == "probe.example.org",
               "the other host")


@pytest.mark.parametrize("how", ["chunked", "large", "endless"])
def test_http_body_of_any_kind(gateway, pair, how):
    """The head decides; a body is read to its end or given up."""
    (s0, _), (b0, b1) = pair
    gate = threading.Event()

    def endless():
        yield b"x"
        gate.wait(15)
    s0.health = {"chunked": reply(200, chunks=[b"a", b"b"]),
                 "large": reply(200, b"x" * 200000),
                 "endless": lambda: reply(200, chunks=endless())}[how]
    g = gateway(conf_of([b0, b1], 'kind = "http"; path = "/health"; '
                                  'interval_ms = 50; timeout_ms = 300;'))
    g.wait_metric(of(b0, "probes_total"), lambda n: n >= 1)
    gate.set()
    assert g.metric(of(b0, "probes_failed_total")) == 0
    assert g.metric(of(b0, "down")) == 0


def test_http_times_out(gateway, server, backend):
    silent = server(hang)
    good = backend()
    g = gateway(conf_of([silent, good], 'kind = "http"; interval_ms = 50; '
                                        'timeout_ms = 100;'))
    g.wait_metric(of(silent, "down"), 1)
    g.error_log(rf"endpoint {silent} is down: 1 probe failed: no answer in "
                "100 ms")


def test_tcp_out_and_back(gateway, pair):
    (_, _), (b0, b1) = pair
    g = gateway(conf_of([b0, b1], f'kind = "tcp"; {FAST}'))
    g.wait_metric(of(b0, "probes_total"), lambda n: n >= 3)
    assert g.metric(of(b0, "down")) == 0
    b0.pause()
    g.wait_metric(of(b0, "down"), 1)
    g.error_log(rf"endpoint {b0} is down: 3 probes failed: connecting failed: "
                "Connection refused")
    b0.resume()
    g.wait_metric(of(b0, "down"), 0)
    wait_until(lambda: "b0" in spread(g, 2), "traffic comes back")


def test_a_dead_endpoint_is_out_at_the_first_probe(gateway, pair):
    """A start does not send traffic to it for three intervals."""
    (_, _), (b0, b1) = pair
    b0.pause()
    g = gateway(conf_of([b0, b1], 'kind = "tcp"; interval_ms = 600; '
                                  'fall = 1000;'))
    g.wait_metric(of(b0, "down"), 1)
    assert g.metric(of(b0, "probes_total")) == 1
    g.error_log(r"is down: 1 probe failed")


def test_another_port(gateway, pair, backend):
    """The health of an endpoint may be told by another port."""
    (s0, _), (b0, b1) = pair
    health = Switch("health")
    other = backend(health, name="health")
    g = gateway(conf_of([b0, b1], f'kind = "http"; path = "/health"; {FAST} '
                                  f'port = {other.port};'))
    wait_until(lambda: health.probes, "a probe on the other port")
    assert not s0.probes
    health.health = reply(500)
    g.wait_metric(of(b0, "down"), 1)
    g.wait_metric(of(b1, "down"), 1)


def grpc_answer(switch):
    """What grpc.health.v1 says of it."""
    def answer(request):
        if request.path != "/grpc.health.v1.Health/Check":
            switch.traffic.append(request)
            return reply(200, switch.name)
        switch.probes.append((time.monotonic(), request))
        return switch.health
    return answer


def grpc_reply(body, status="0", http=200):
    return reply(http, body, [("content-type", "application/grpc")],
                 trailers=[("grpc-status", status)])


@pytest.mark.parametrize("tls", [False, True])
def test_grpc_out_and_back(gateway, backend, ca, leaf, tls):
    switches = [Switch("b0"), Switch("b1")]
    for s in switches:
        s.health = grpc_reply(SERVING)
    b0, b1 = [backend(grpc_answer(s), name=s.name, protocol="h2",
                      leaf=leaf if tls else None) for s in switches]
    protocol = (f'protocol = "h2"; tls = {{ ca = "{ca.path}"; }};' if tls
                else 'protocol = "h2c";')
    g = gateway(conf_of([b0, b1], f'kind = "grpc"; service = "a.b.C"; {FAST}',
                        protocol))
    g.wait_metric(of(b0, "probes_total"), lambda n: n >= 2)
    assert g.metric(of(b0, "down")) == 0, g.error_log()
    probe = switches[0].probes[0][1]
    assert probe.method == "POST"
    assert probe.headers["content-type"] == "application/grpc"
    assert probe.headers["te"] == "trailers"
    assert probe.body == b"\0\0\0\0\7\x0a\5a.b.C"
    assert probe.scheme == ("https" if tls else "http")
    for ill, why in ((grpc_reply(NOT_SERVING), "health is NOT_SERVING"),
                     (grpc_reply(b"", "12"), "gRPC status 12"),
                     (grpc_reply(b"\1\0\0\0\0"), "health is malformed"),
                     (grpc_reply(b"x" * 1000), "more than 256 bytes"),
                     (reply(404, "what?"), "status 404")):
        switches[0].health = ill
        g.wait_metric(of(b0, "down"), 1)
        g.error_log(rf"endpoint {b0} is down: 3 probes failed: .*{why}")
        assert spread(g, 6) == ["b1"] * 6
        switches[0].health = grpc_reply(SERVING)
        g.wait_metric(of(b0, "down"), 0)


def test_grpc_against_a_real_server(gateway, demo):
    """The demo model server implements grpc.health.v1."""
    one, two = demo("one"), demo("two")
    g = gateway(conf_of([one, two], f'kind = "grpc"; {FAST}',
                        'protocol = "h2c";'))
    g.wait_metric(of(one, "probes_total"), lambda n: n >= 2)
    assert g.metric(of(one, "probes_failed_total")) == 0
    g.reload(conf_of([one, two], f'kind = "grpc"; {FAST} service = "none";',
                     'protocol = "h2c";'))
    g.wait_metric(of(one, "down"), 1)
    g.error_log(rf"endpoint {one} is down: 3 probes failed: gRPC status 5")


def test_tls_is_verified(gateway, backend, ca, leaf, stranger):
    """A probe trusts whom traffic trusts."""
    good = backend(Switch("good"), leaf=leaf)
    bad = backend(Switch("bad"), leaf=stranger.leaf())
    g = gateway(conf_of([good, bad], f'kind = "http"; path = "/health"; {FAST}',
                        f'tls = {{ ca = "{ca.path}"; }};'))
    g.wait_metric(of(bad, "down"), 1)
    g.error_log(rf"endpoint {bad} is down: 1 probe failed: TLS: certificate")
    g.wait_metric(of(good, "probes_total"), lambda n: n >= 2)
    assert g.metric(of(good, "probes_failed_total")) == 0


def test_jitter(gateway, pair):
    """Probes do not march in step: each wait is its own, and none is longer
    than a fifth more than asked for, or shorter by that."""
    (s0, _), (b0, b1) = pair
    g = gateway(conf_of([b0, b1], 'kind = "http"; path = "/health"; '
                                  'interval_ms = 200;'))
    wait_until(lambda: len(s0.probes) >= 21, "21 probes")
    at = [when for when, _ in s0.probes[:21]]
    waits = sorted(b - a for a, b in zip(at, at[1:]))
    assert g.metric(of(b0, "probes_failed_total")) == 0
    # A busy machine makes a probe late, which takes as much from the next
    # wait: the sum and the middle tell.
    assert at[-1] - at[0] >= 20 * 0.155, waits
    assert 0.15 <= waits[10] <= 0.35, waits
    # Without jitter most of them would be within a few milliseconds.
    assert waits[16] - waits[3] > 0.02, waits


def test_state_survives_a_reload(gateway, pair):
    """What is out stays out, although a fresh endpoint counts as up; and who
    was probed a moment ago is not probed anew."""
    (s0, _), (b0, b1) = pair
    s0.health = reply(503)
    check = ('kind = "http"; path = "/health"; interval_ms = 4000; '
             'rise = 1;')
    g = gateway(conf_of([b0, b1], check))
    g.wait_metric(of(b0, "down"), 1)
    n_probes = len(s0.probes)
    for i in range(5):
        g.reload(conf_of([b0, b1], check, f"retries_max = {i};"))
        assert g.metric(of(b0, "down")) == 1
    assert spread(g, 6) == ["b1"] * 6
    assert len(s0.probes) <= n_probes + 1
    # A shorter interval counts from now on.
    s0.health = reply(200)
    g.reload(conf_of([b0, b1], check.replace("4000", "50")))
    g.wait_metric(of(b0, "down"), 0)


def test_checks_taken_away(gateway, pair):
    """Without checks nobody is out because of them, and no probe comes."""
    (s0, _), (b0, b1) = pair
    s0.health = reply(503)
    g = gateway(conf_of([b0, b1], f'kind = "http"; path = "/health"; {FAST}'))
    g.wait_metric(of(b0, "down"), 1)
    g.reload(conf_of([b0, b1], ""))
    assert g.metric(of(b0, "down")) == 0
    g.error_log(rf"endpoint {b0} is back: its health is not checked any more")
    n = g.metric(of(b0, "probes_total"))
    assert set(spread(g)) == {"b0", "b1"}
    assert g.metric(of(b0, "probes_total")) == n


def test_reloads_do_not_starve_probes(gateway, pair):
    """Reloads at a high rate, each of which makes a new upstream."""
    (s0, _), (b0, b1) = pair
    check = 'kind = "http"; path = "/health"; interval_ms = 100;'
    g = gateway(conf_of([b0, b1], check))
    s0.health = reply(503)
    for i in range(100):
        g.reload(conf_of([b0, b1], check, f"retries_max = {i % 5};"))
        if g.metric(of(b0, "down")) == 1:
            break
    assert g.metric(of(b0, "down")) == 1
    assert g.metric(of(b1, "down")) == 0


def test_readiness_is_of_the_gateway(gateway, pair):
    (s0, s1), (b0, b1) = pair
    s0.health = s1.health = reply(503)
    g = gateway(conf_of([b0, b1], f'kind = "http"; path = "/health"; {FAST}'))
    g.wait_metric(of(b0, "down"), 1)
    g.wait_metric(of(b1, "down"), 1)
    assert g.admin_get("/readyz")[0] == 200


def test_an_end_while_probes_hang(gateway, server):
    """Nothing leaks when the gateway stops with probes on their way."""
    silent = [server(hang, name=f"s{i}") for i in range(4)]
    g = gateway(conf_of(silent, 'kind = "http"; interval_ms = 10; '
                                'timeout_ms = 60000;'))
    for s in silent:
        s.wait_conns(1)
    g.stop()


WRONG = {
    'kind = "icmp";': '"icmp" is not one of tcp, http, grpc',
    'interval_ms = 50;': "kind",
    'kind = "tcp"; path = "/x";':
        'health_check.path: has no effect on a check of kind "tcp"',
    'kind = "http"; service = "x";':
        'health_check.service: has no effect on a check of kind "http"',
    'kind = "grpc";': 'health_check.kind: "grpc" needs HTTP/2',
    'kind = "http"; path = "x";': "health_check.path: a path begins with /",
    'kind = "http"; path = "/a b";': "health_check.path: a path begins with /",
    'kind = "http"; host = "a/b";': "health_check.host: is not a host",
    'kind = "http"; status_min = 400;':
        "no status is good: status_min 400 is above status_max 299",
    'kind = "http"; interval = 5;': "did you mean",
    'kind = "http"; fall = 0;': "fall",
}


@pytest.mark.parametrize("check", WRONG)
def test_wrong_settings(check, tmp_path):
    status, text = check_conf(conf_of(["127.0.0.1:1"], check), tmp_path,
                              http=1)
    assert status != 0
    assert "check.conf:3: upstreams.u" in text
    assert WRONG[check] in text, text


def test_port_of_a_unix_socket(tmp_path):
    status, text = check_conf(conf_of(["unix:/x"], 'kind = "tcp"; port = 1;'),
                              tmp_path, http=1)
    assert status != 0 and "UNIX socket, which has no port" in text


def test_wrong_ejection(tmp_path):
    status, text = check_conf(
        conf_of(["127.0.0.1:1"], "", "ejection = { base_ms = 400000; };"),
        tmp_path, http=1)
    assert status != 0
    assert "base_ms 400000 is above max_ms 300000" in text


def test_counts(gateway, pair):
    """Probes are no requests of the upstream."""
    (_, _), (b0, b1) = pair
    g = gateway(conf_of([b0, b1], f'kind = "http"; path = "/health"; {FAST}'))
    g.wait_metric(of(b0, "probes_total"), lambda n: n >= 3)
    assert g.metric(of(b0, "requests_total")) == 0
    assert g.metric("dm_exchanges_total") == 0
    assert counts([b0])["b0"] >= 3


def test_who_waits_in_line_goes_to_an_endpoint_that_came_up(gateway, backend):
    """A request in the queue does not wait for a place on an endpoint that is
    busy when another one has come up."""
    held = threading.Event()
    inside = threading.Event()

    def slow(_):
        inside.set()
        held.wait(PATIENCE)
        return reply(200, "busy")

    busy = backend(slow)
    back = backend(lambda _: reply(200, "back"))
    back.pause()
    back.drop_conns()
    g = gateway(f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }} );
upstreams = {{ u = {{
  endpoints = ( {{ address = "{busy}"; max_requests = 1; }},
                {{ address = "{back}"; }} );
  health_check = {{ kind = "tcp"; interval_ms = 50; rise = 1; fall = 1; }};
  healthy_min_percent = 10; queue_timeout_ms = 60000;
  response_timeout_ms = 60000; }}; }};
routes = ( {{ path_prefix = "/"; upstream = "u"; }} );
""")
    g.wait_metric('dm_upstream_endpoints_up{upstream="u"}', 1)
    with connect(g.port()) as first, connect(g.port()) as second:
        first.send(request("/first"))
        assert inside.wait(PATIENCE)
        second.send(request("/second"))
        g.wait_metric('dm_upstream_queue_length{upstream="u"}', 1)
        back.resume()
        assert second.recv_response().text == "back"
        held.set()
        assert first.recv_response().text == "busy"
