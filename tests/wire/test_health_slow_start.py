"""Slow start: an endpoint that came back, or that a reload added, gets a share
that grows; at the start of the gateway all get theirs at once."""
import collections

import pytest

from lib.client import connect, request
from lib.server import reply
from lib.wait import wait_until

pytestmark = pytest.mark.balance
# So long that the share stays near 10 % for a whole test.
SLOW = "slow_start_ms = 600000;"
CHECK = ('health_check = { kind = "http"; path = "/health"; interval_ms = 50; '
         'rise = 2; fall = 2; };')


def conf_of(backends, upstream, more="workers = 1;"):
    ends = " , ".join(f'{{ address = "{b}"; }}' for b in backends)
    return f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }} );
upstreams = {{ u = {{ endpoints = ( {ends} ); {upstream} }}; }};
routes = ( {{ path_prefix = "/"; upstream = "u"; }} );
{more}
"""


def of(backend, name):
    return f'dm_endpoint_{name}{{upstream="u",endpoint="{backend}"}}'


class Switch:
    def __init__(self, name):
        self.name = name
        self.health = 200
        self.n = 0

    def __call__(self, request_):
        if request_.path == "/health":
            return reply(self.health)
        self.n += 1
        return reply(200, self.name)


@pytest.fixture
def make(backend):
    def start(n):
        switches = [Switch(f"b{i}") for i in range(n)]
        return switches, [backend(s, name=s.name) for s in switches]
    return start


def spread(g, n):
    got = collections.Counter()
    with connect(g.port()) as c:
        for i in range(n):
            c.send(request(f"/{i}", fields=[("x-key", str(i))]))
            got[c.recv_response().text] += 1
    return got


POLICIES = {
    "round_robin": "",
    "least_request": "",
    "random": "",
    "ring_hash": 'hash_on = [ "header:x-key" ];',
    "maglev": 'hash_on = [ "header:x-key" ];',
}


@pytest.mark.parametrize("policy", POLICIES)
def test_after_the_return(gateway, make, policy):
    switches, backends = make(2)
    balance = f'balance = {{ policy = "{policy}"; {POLICIES[policy]} }};'
    g = gateway(conf_of(backends, CHECK + SLOW + balance))
    b0 = backends[0]
    g.wait_metric(of(b0, "probes_total"), lambda n: n >= 1)
    # At the start there is no slow start.
    assert g.metric(of(b0, "slow_start")) == 0
    assert 50 < spread(g, 200)["b0"] < 150
    switches[0].health = 500
    g.wait_metric(of(b0, "down"), 1)
    assert spread(g, 40) == {"b1": 40}
    switches[0].health = 200
    g.wait_metric(of(b0, "down"), 0)
    assert g.metric(of(b0, "slow_start")) == 1
    # A tenth of its half: 20 of 400. round_robin gives it one turn for each
    # ten of the other one: 36. Give or take five deviations of chance.
    assert 2 <= spread(g, 400)["b0"] <= 66
    assert "slow_start" in {line["picked_by"] for line in g.access_lines()}


def test_the_share_grows(gateway, make):
    """To all of it, and then the flag is down."""
    switches, backends = make(2)
    g = gateway(conf_of(backends, CHECK + "slow_start_ms = 1000;"))
    b0 = backends[0]
    switches[0].health = 500
    g.wait_metric(of(b0, "down"), 1)
    switches[0].health = 200
    g.wait_metric(of(b0, "down"), 0)
    g.wait_metric(of(b0, "slow_start"), 0)
    assert spread(g, 40) == {"b0": 20, "b1": 20}


def test_added_by_a_reload(gateway, make):
    _, backends = make(3)
    g = gateway(conf_of(backends[:2], SLOW))
    assert spread(g, 40) == {"b0": 20, "b1": 20}
    g.reload(conf_of(backends, SLOW))
    assert g.metric(of(backends[2], "slow_start")) == 1
    got = spread(g, 300)
    assert 1 <= got["b2"] <= 36
    assert abs(got["b0"] - got["b1"]) < 60
    # Another reload goes on with it, and one without slow start ends it.
    g.reload(conf_of(backends, SLOW + "retries_max = 2;"))
    assert g.metric(of(backends[2], "slow_start")) == 1
    g.reload(conf_of(backends, ""))
    assert g.metric(of(backends[2], "slow_start")) == 0
    assert set(spread(g, 30).values()) == {10}


def test_a_new_upstream_begins_at_once(gateway, make):
    """Nor does one whose endpoints were all replaced refuse anything."""
    _, backends = make(4)
    conf = conf_of(backends[:2], SLOW)
    g = gateway(conf.replace("u = {", "v = {").replace('"u"', '"v"'))
    g.reload(conf)
    assert g.metric(of(backends[0], "slow_start")) == 0
    g.reload(conf_of(backends[2:], SLOW))
    assert g.metric(of(backends[2], "slow_start")) == 1
    got = spread(g, 100)
    assert got["b2"] + got["b3"] == 100 and min(got.values()) >= 25


def test_after_an_ejection(gateway, make):
    switches, backends = make(2)
    b0 = backends[0]
    fail = [True]
    backends[0].answer = lambda r: (reply(500, "x") if fail[0]
                                    else switches[0](r))
    g = gateway(conf_of(backends, SLOW + "ejection = { base_ms = 300; };"))
    spread(g, 12)
    g.wait_metric(of(b0, "ejections_total"), 1)
    fail[0] = False
    g.wait_metric(of(b0, "down"), 0)
    assert g.metric(of(b0, "slow_start")) == 1
    assert spread(g, 200)["b0"] <= 30


def test_a_flapping_backend_is_damped(gateway, make):
    """It dies and comes back without end: few requests meet it, none fails,
    and no storm of connections runs against it."""
    switches, backends = make(3)
    b0 = backends[0]
    # Ejection would keep it out for longer than the test runs.
    g = gateway(conf_of(backends, CHECK + SLOW +
                        "ejection = { consecutive_failures = 0; };"))
    g.wait_metric(of(b0, "probes_total"), lambda n: n >= 1)
    n_before = switches[0].n
    connects = g.metric(of(b0, "connects_total"))
    total = collections.Counter()
    for _ in range(5):
        switches[0].health = 500
        b0.pause()
        b0.drop_conns()
        total += spread(g, 40)
        g.wait_metric(of(b0, "down"), 1)
        total += spread(g, 20)
        switches[0].health = 200
        b0.resume()
        g.wait_metric(of(b0, "down"), 0)
        total += spread(g, 40)
    assert sum(total.values()) == 500
    assert set(total) <= {"b0", "b1", "b2"}
    # Without damping it would have had a third of 40 each time.
    assert switches[0].n - n_before <= 35, total
    assert g.metric(of(b0, "connects_total")) - connects <= 60
    wait_until(lambda: len(g.error_log().split("is back after")) >= 6, "log")
