"""Attacks of a client (lib/attacks.py): we close early or bear it, what one
connection costs us has a bound and is given back, the backend sees no storm,
and other clients get their answers all the while. What they notice in time is
measured by bench/attack.py."""
import os
import threading
import time

import pytest

from lib import attacks
from lib.client import ask, connect, request
from lib.gateway import simple
from lib.server import reply
from lib.wait import wait_until

LARGE = b"L" * (1 << 20)
N_HOLDS = 8
# What the sanitizers add to memory tells nothing about us.
IS_MEMORY_REAL = os.environ.get("DAEMUN_VARIANT", "release") == "release"


@pytest.fixture
def target(gateway, backend):
    """A gateway before a backend of HTTP/1.1 that has /large, and /slow, which
    waits for the end of the test."""
    end = threading.Event()

    def answer(got):
        if got.path == "/slow":
            end.wait()
        return reply(200, LARGE if got.path == "/large" else b"ok")
    b = backend(answer)
    yield gateway(simple(b)), b
    end.set()


class Good:
    """A client that asks all the time, and must be answered each time."""

    def __init__(self, port):
        self.port = port
        self.n = 0
        self.problem = None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            with connect(self.port) as c:
                while self.n == 0 or not self.is_over.is_set():
                    c.send(request("/good"))
                    got = c.recv_response()
                    assert (got.status, got.body) == (200, b"ok")
                    self.n += 1
        except BaseException as problem:  # pylint: disable=broad-except
            self.problem = problem

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        if self.problem is not None:
            raise self.problem


def rss_kib(g):
    with open(f"/proc/{g.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.parametrize("attack", attacks.FLOODS, ids=lambda a: a.name)
def test_flood(target, attack):
    g, b = target
    ask(g.port())
    before = rss_kib(g)
    with Good(g.port()):
        n_sent, closed_after = attacks.flood(attack, g.port(), 2)
        after = rss_kib(g)
    if attack.is_closed:
        assert closed_after is not None
        # What was on its way when we closed is in it too.
        assert n_sent < 8 << 20
    # No storm: each stream that is reset may cost a connection when its head
    # came in an earlier read, but the budget of resets ends the client: 200 of
    # its own, 500 that we are made to send.
    assert b.n_conns <= 520
    if IS_MEMORY_REAL:
        assert after - before < 6 * 1024
    g.wait_metric("dm_client_connections", 0)


@pytest.mark.parametrize("attack", attacks.HOLDS, ids=lambda a: a.name)
def test_hold(target, attack):
    g, _ = target
    ask(g.port())
    before = rss_kib(g)
    peak = 0
    with Good(g.port()):
        socks = attacks.hold(attack, g.port(), N_HOLDS)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            if attack.is_reading:
                attacks.drain_all(socks)
            peak = max(peak, rss_kib(g))
        for sock in socks:
            sock.close()
    if IS_MEMORY_REAL:
        assert (peak - before) / N_HOLDS < attack.kib_max
    g.wait_metric("dm_client_connections", 0)
    g.wait_metric("dm_exchanges", 0)


def test_one_who_takes_nothing_does_not_stop_others(gateway, backend):
    """Those who share a connection to the backend with a client whose windows
    are shut."""
    b = backend(lambda got: reply(200, LARGE), protocol="h2")
    g = gateway(simple(b, upstream='protocol = "h2c";', more="workers = 1;"))
    attack = next(a for a in attacks.HOLDS if a.name == "half_shut")
    socks = attacks.hold(attack, g.port(), 1)
    wait_until(lambda: len(b.requests) >= 50, "the backend has them all")
    for _ in range(3):
        assert ask(g.port()).body == LARGE
    assert b.n_conns == 1
    for sock in socks:
        sock.close()
