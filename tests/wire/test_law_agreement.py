"""The law of agreement over real traffic: gateways that share nothing, with
another order of the endpoints and another number of workers, choose the same
endpoint for each key, and so does one after a reload and after a restart."""
import random

import pytest

from lib.client import connect, request
from lib.server import reply

pytestmark = pytest.mark.balance
N_ENDPOINTS = 9
N_KEYS = 300


@pytest.fixture
def nine(backend):
    return [backend(lambda r, n=i: reply(200, str(n)), name=f"b{i}")
            for i in range(N_ENDPOINTS)]


def conf_of(backends, policy, workers, order):
    """The endpoints in an order of their own; b8 has weight 3."""
    ends = [f'{{ address = "{b}"; weight = {3 if b.name == "b8" else 1}; }}'
            for b in backends]
    random.Random(order).shuffle(ends)
    return f"""
workers = {workers};
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }} );
upstreams = {{ u = {{ endpoints = ( {", ".join(ends)} );
  balance = {{ policy = "{policy}"; hash_on = [ "header:x-key", "path" ];
    hash_seed = 11; }}; }}; }};
routes = ( {{ path_prefix = "/"; upstream = "u"; }} );
"""


def chosen(g):
    """Key by key, over several connections, so that each worker is asked."""
    got = []
    for first in range(0, N_KEYS, 25):
        with connect(g.port()) as c:
            for i in range(first, first + 25):
                c.send(request(f"/{i % 7}", fields=[("X-Key", f"k{i}")]))
                got.append(c.recv_response().text)
    return got


@pytest.mark.parametrize("policy", ["ring_hash", "maglev"])
def test_processes_agree(gateway, nine, policy):
    one = gateway(conf_of(nine, policy, workers=1, order=1))
    two = gateway(conf_of(nine, policy, workers=4, order=2))
    want = chosen(one)
    # Weight 3 of 11; each of the others has 1 of 11.
    assert set(want) == {str(i) for i in range(N_ENDPOINTS)}
    assert max(set(want), key=want.count) == "8"
    assert chosen(two) == want
    # A reload that changes nothing but the order, then a restart.
    two.reload(conf_of(nine, policy, workers=4, order=3))
    assert chosen(two) == want
    two.stop()
    three = gateway(conf_of(nine, policy, workers=3, order=4))
    assert chosen(three) == want


@pytest.mark.parametrize("policy", ["ring_hash", "maglev"])
def test_one_gone_and_back(gateway, nine, policy):
    """What it had moves. Of the others: nothing (ring_hash), or what evens the
    table out (maglev; of nine endpoints about 1 %)."""
    g = gateway(conf_of(nine, policy, workers=2, order=1))
    before = chosen(g)
    g.reload(conf_of(nine[:4] + nine[5:], policy, workers=2, order=1))
    without = chosen(g)
    assert "4" not in without
    others = sum(w != b for w, b in zip(without, before) if b != "4")
    assert others <= (0 if policy == "ring_hash" else N_KEYS * 0.05)
    g.reload(conf_of(nine, policy, workers=2, order=5))
    assert chosen(g) == before


@pytest.mark.parametrize("policy", ["ring_hash", "maglev"])
def test_an_endpoint_that_refuses_moves_its_keys_alone(gateway, nine, policy):
    g = gateway(conf_of(nine, policy, workers=2, order=1))
    before = chosen(g)
    nine[4].pause()
    nine[4].drop_conns()
    after = chosen(g)
    assert "4" not in after
    assert all(a == b for a, b in zip(after, before) if b != "4")
    moved = {a for a, b in zip(after, before) if b == "4"}
    assert len(moved) > 1
