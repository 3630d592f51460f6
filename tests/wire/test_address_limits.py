"""One source address has so many connections open and opens them so fast, all
workers together; others are not held up by it."""
import re

import pytest

from lib.client import ask, connect, request
from lib.server import reply
from lib.stream import Closed
from lib.wait import wait_until

REFUSED = "dm_client_refused_by_address_total"
CONF = """
listeners = ( { name = "http"; address = "127.0.0.1:@http@"; %s } );
workers = 2;
limits = { connections_per_address_exempt = [ %s ]; %s };
upstreams = { u = { endpoints = ( { address = "%s"; } ); }; };
routes = ( { path_prefix = "/"; upstream = "u"; } );
"""
MAX_3 = ("connections_per_address_max = 3; connections_per_address_rate = 0;")


def conf(b, limits, exempt="", listener=""):
    return CONF % (listener, exempt, limits, b)


def is_served(c):
    """Is this connection taken? One that is not is closed at once."""
    try:
        c.send(request("/"))
        return c.recv_response().status == 200
    except (Closed, ConnectionError):
        return False


@pytest.fixture
def b(backend):
    return backend(lambda _: reply(200, "ok"))


def test_open_connections(gateway, b):
    g = gateway(conf(b, MAX_3))
    held = [connect(g.port()) for _ in range(3)]
    assert all(is_served(c) for c in held)
    for n in range(1, 5):
        with connect(g.port()) as c:
            assert not is_served(c)
        g.wait_metric(REFUSED, n)
    # Others have their own count.
    assert ask(g.port(), source="127.0.0.9").status == 200
    assert g.metric("dm_client_refused_total") == 4
    g.error_log(r"client 127\.0\.0\.1:\d+: refused, its address has too many "
                r"connections open: 3 may be open "
                r"\(limits\.connections_per_address_max\)")
    # One that leaves makes room; those that are there go on.
    held.pop().close()
    wait_until(lambda: ask_or_none(g) == 200, "room")
    assert all(is_served(c) for c in held)


def ask_or_none(g, **kw):
    try:
        return ask(g.port(), **kw).status
    except (Closed, ConnectionError):
        return None


@pytest.mark.reload
def test_counts_outlive_a_reload(gateway, b):
    g = gateway(conf(b, MAX_3))
    held = [connect(g.port()) for _ in range(3)]
    assert all(is_served(c) for c in held)
    g.reload(conf(b, MAX_3 + " connections_max = 500;"))
    assert ask_or_none(g) is None
    g.reload(conf(b, MAX_3.replace("3", "5")))
    assert ask_or_none(g) == 200
    g.reload(conf(b, MAX_3.replace("3", "1")))
    assert all(is_served(c) for c in held)  # none is closed by it
    assert ask_or_none(g) is None
    g.reload(conf(b, MAX_3, exempt='"127.0.0.0/8"'))
    assert ask_or_none(g) == 200


def test_new_connections_too_fast(gateway, b):
    limits = ("connections_per_address_max = 0; "
              "connections_per_address_burst = 10; "
              "connections_per_address_rate = 1;")
    g = gateway(conf(b, limits))
    got = [ask_or_none(g) for _ in range(20)]
    assert got[:10] == [200] * 10
    assert got.count(200) <= 12  # a few seconds may have passed
    assert g.metric(REFUSED) == got.count(None)
    assert ask(g.port(), source="127.0.0.9").status == 200
    g.error_log(r"opened too many too fast: 1 a second are taken")
    wait_until(lambda: ask_or_none(g) == 200, "one more after a second")
    # An attack does not fill the log.
    for _ in range(50):
        ask_or_none(g)
    n = len(re.findall("refused, its address", g.error_log()))
    assert n < g.metric(REFUSED) / 5


def test_the_address_of_the_proxy_header_counts(gateway, b):
    g = gateway(conf(b, MAX_3, listener="proxy_protocol = true; "
                     'proxy_protocol_from = [ "127.0.0.0/8" ];'))
    def come(source):
        head = f"PROXY TCP4 {source} 203.0.113.1 1000 80\r\n".encode()
        return connect(g.port(), before=head)
    held = [come("198.51.100.1") for _ in range(3)]
    held += [come("198.51.100.2") for _ in range(3)]
    assert all(is_served(c) for c in held)
    assert not is_served(come("198.51.100.1"))
    assert not is_served(come("198.51.100.2"))
    assert is_served(come("198.51.100.3"))


def test_trusted_proxies_bring_many(gateway, b):
    g = gateway(conf(b, MAX_3, listener='trusted_proxies = [ "127.0.0.1/32" ];'
                     ))
    held = [connect(g.port()) for _ in range(8)]
    assert all(is_served(c) for c in held)
    few = [connect(g.port(), source="127.0.0.9") for _ in range(4)]
    assert sum(is_served(c) for c in few) == 3


def test_the_machine_itself_is_not_limited_by_default(gateway, b):
    text = conf(b, MAX_3).replace("connections_per_address_exempt = [  ];", "")
    g = gateway(text)
    held = [connect(g.port()) for _ in range(8)]
    assert all(is_served(c) for c in held)
