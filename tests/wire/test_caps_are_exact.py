"""max_requests and max_connections hold at every moment, over all workers; who
finds no place waits in one line, first come first served, and not for ever."""
import socket
import subprocess
import threading

import grpc
import pytest

from lib.client import ask, connect, request
from lib.server import reply
from lib.wait import PATIENCE, wait_until

pytestmark = pytest.mark.balance

CONF = """
listeners = ( { name = "http"; address = "127.0.0.1:@http@"; } );
workers = 4;
upstreams = { u = { endpoints = ( %s ); %s }; };
routes = ( { path_prefix = "/"; upstream = "u"; } );
"""


def conf(backends, cap, more=""):
    ends = ", ".join(f'{{ address = "{b}"; {cap} }}' for b in backends)
    return CONF % (ends, more)


class Gate:
    """Counts who is inside; holds them while it is shut."""

    def __init__(self, is_open=True):
        self.lock = threading.Lock()
        self.open = threading.Event()
        self.never = threading.Event()
        self.n = 0
        self.most = 0
        self.order = []
        self.places = threading.Semaphore(0)
        if is_open:
            self.open.set()

    def enter(self, who):
        with self.lock:
            self.n += 1
            self.most = max(self.most, self.n)
            self.order.append(who)
        if not self.open.is_set():
            self.places.acquire(timeout=PATIENCE)

    def leave(self):
        with self.lock:
            self.n -= 1

    def answer(self, r):
        """For Backend. The place is left before the answer goes out."""
        self.enter(r.path)
        self.never.wait(0.002)  # others may come in meanwhile
        self.leave()
        return reply(200, r.path)

    def release(self, n=1):
        self.places.release(n)


def load(g, n, n_clients, *more):
    done = subprocess.run(
        ["h2load", "-n", str(n), "-c", str(n_clients), *more,
         g.url()], capture_output=True, text=True, timeout=120, check=True)
    assert f"{n} succeeded" in done.stdout, done.stdout
    assert f"{n} 2xx" in done.stdout, done.stdout


def ask_later(g, path):
    """Asks on a connection of its own; the thread's .got is the answer."""
    thread = threading.Thread(
        target=lambda: setattr(thread, "got", ask(g.port(), path)))
    thread.start()
    return thread


@pytest.mark.parametrize("client", [["--h1"], ["-m", "5"]], ids=["h1", "h2"])
def test_max_requests_under_load(gateway, backend, client):
    gates = [Gate(), Gate()]
    backends = [backend(gate.answer) for gate in gates]
    g = gateway(conf(backends, "max_requests = 3;", "queue_timeout_ms = 15000;"
                     "balance = { policy = \"least_request\"; };"))
    load(g, 1500, 30, *client)
    assert [gate.most for gate in gates] == [3, 3]
    seen = g.metrics()
    assert seen['dm_upstream_queued_total{upstream="u"}'] > 300
    assert seen['dm_upstream_queue_failures_total{upstream="u"}'] == 0
    assert seen['dm_upstream_in_flight{upstream="u"}'] == 0
    assert seen['dm_upstream_queue_length{upstream="u"}'] == 0


def test_max_requests_over_h2(gateway, rpc_server):
    gate = Gate()

    def call(message, context):
        gate.enter(message)
        gate.never.wait(0.002)
        # Cancelled or not: it is over when the last byte has left, and the
        # server cannot know when that is read. So it leaves early.
        gate.leave()
        return message
    server = rpc_server({"/a.B/C": ("unary", call)})
    g = gateway(conf([server], "max_requests = 3;",
                     "protocol = \"h2c\"; queue_timeout_ms = 15000;"))
    channels = [grpc.insecure_channel(
        f"127.0.0.1:{g.port()}", [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(8)]
    calls = [ch.unary_unary("/a.B/C").future(b"%d" % i, timeout=PATIENCE)
             for i in range(60) for ch in channels]
    for i, c in enumerate(calls):
        assert c.result() == b"%d" % (i // 8)
    for ch in channels:
        ch.close()
    assert gate.most == 3


class CountingServer:
    """A script for RawServer that answers requests and knows how many
    connections are open. One whose end is in our socket already is gone,
    whether its thread has seen that or not."""

    def __init__(self):
        self.lock = threading.Lock()
        self.conns = set()
        self.most = 0
        self.n_requests = 0

    @staticmethod
    def is_over(conn):
        established = 1
        try:
            return conn.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO,
                                        1)[0] != established
        except OSError:
            return True  # closed by its thread

    def __call__(self, conn):
        with self.lock:
            self.conns = {c for c in self.conns if not self.is_over(c)}
            self.conns.add(conn)
            self.most = max(self.most, len(self.conns))
        try:
            while True:
                conn.recv_request_head()
                with self.lock:
                    self.n_requests += 1
                conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        finally:
            with self.lock:
                self.conns.discard(conn)


def test_max_connections_under_load(gateway, server):
    script = CountingServer()
    b = server(script)
    g = gateway(conf([b], "max_connections = 2;", "queue_timeout_ms = 15000;"))
    load(g, 1000, 20, "--h1")
    assert script.most == 2
    assert script.n_requests == 1000
    assert g.metric(f'dm_endpoint_connections{{upstream="u",endpoint="{b}"}}'
                    ) <= 2


def test_fifo_over_workers(gateway, backend):
    gate = Gate(is_open=False)
    b = backend(gate.answer)
    g = gateway(conf([b], "max_requests = 1;", "queue_timeout_ms = 15000;"))
    asked = []
    for i in range(12):
        asked.append(ask_later(g, f"/{i}"))
        if i == 0:
            wait_until(lambda: gate.order, "the first one is served")
        else:
            g.wait_metric('dm_upstream_queue_length{upstream="u"}', i)
    for i in range(12):
        wait_until(lambda i=i: len(gate.order) == i + 1, f"request {i}")
        gate.release()
    for thread in asked:
        thread.join(PATIENCE)
        assert thread.got.status == 200
    assert gate.order == [f"/{i}" for i in range(12)]
    assert gate.most == 1


def test_full_queue_and_long_wait(gateway, backend):
    gate = Gate(is_open=False)
    b = backend(gate.answer)
    g = gateway(conf([b], "max_requests = 1;",
                     "queue_max = 1; queue_timeout_ms = 300;"))
    first = ask_later(g, "/first")
    wait_until(lambda: gate.order, "the first one is served")
    second = ask_later(g, "/second")
    g.wait_metric('dm_upstream_queue_length{upstream="u"}', 1)
    third = ask(g.port(), "/third")
    assert third.status == 503 and "Too many requests wait" in third.text
    assert third.headers["retry-after"] in ("1", "2", "3")
    second.join(PATIENCE)
    assert second.got.status == 503
    assert "had a place free in time" in second.got.text
    assert second.got.headers["retry-after"] in ("1", "2", "3")
    gate.release()
    first.join(PATIENCE)
    assert first.got.status == 200
    assert g.access_log(path="/third")["fault"] == "queue_full"
    assert g.access_log(path="/second")["fault"] == "queue_timeout"
    assert gate.order == ["/first"]
    seen = g.metrics()
    assert seen['dm_upstream_queue_failures_total{upstream="u"}'] == 2
    assert seen['dm_upstream_queue_length{upstream="u"}'] == 0


def test_queue_full_as_grpc_status(gateway, rpc_server):
    gate = Gate(is_open=False)

    def call(message, context):
        gate.enter(message)
        return message
    server = rpc_server({"/a.B/C": ("unary", call)})
    g = gateway(conf([server], "max_requests = 1;",
                     'protocol = "h2c"; queue_max = 0;'))
    with grpc.insecure_channel(f"127.0.0.1:{g.port()}") as channel:
        method = channel.unary_unary("/a.B/C")
        held = method.future(b"one")
        wait_until(lambda: gate.order, "the first call is served")
        with pytest.raises(grpc.RpcError) as refused:
            method(b"two", timeout=PATIENCE)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        gate.release()
        assert held.result(PATIENCE) == b"one"


def test_who_leaves_frees_its_place_at_once(gateway, backend):
    gate = Gate(is_open=False)
    b = backend(gate.answer)
    g = gateway(conf([b], "max_requests = 1;", "queue_timeout_ms = 15000;"))
    with connect(g.port()) as leaver:
        leaver.send(request("/leaver"))
        wait_until(lambda: gate.order, "the leaver is served")
        patient = ask_later(g, "/patient")
        g.wait_metric('dm_upstream_queue_length{upstream="u"}', 1)
        with connect(g.port()) as waiting:
            waiting.send(request("/waiting"))
            g.wait_metric('dm_upstream_queue_length{upstream="u"}', 2)
            waiting.reset()
        g.wait_metric('dm_upstream_queue_length{upstream="u"}', 1)
        leaver.reset()
        wait_until(lambda: "/patient" in gate.order, "the next one is served")
    gate.release(2)
    patient.join(PATIENCE)
    assert patient.got.status == 200
    assert gate.order == ["/leaver", "/patient"]


def test_waiting_survives_reload(gateway, backend):
    gate = Gate(is_open=False)
    b = backend(gate.answer)
    g = gateway(conf([b], "max_requests = 1;", "queue_timeout_ms = 15000;"))
    first = ask_later(g, "/first")
    wait_until(lambda: gate.order, "the first one is served")
    second = ask_later(g, "/second")
    g.wait_metric('dm_upstream_queue_length{upstream="u"}', 1)
    more = backend(lambda r: reply(200, "more"))
    g.reload(conf([b, more], "max_requests = 1;", "queue_timeout_ms = 15000;"),
             settle=False)
    # The count and the line go on: nobody overtakes, the cap holds.
    third = ask_later(g, "/third")
    g.wait_metric('dm_upstream_queued_total{upstream="u"}', 2)
    third.join(PATIENCE)
    assert third.got.text == "more"
    gate.release(2)
    for thread in (first, second):
        thread.join(PATIENCE)
        assert thread.got.status == 200
    assert gate.most == 1 and gate.order == ["/first", "/second"]


def test_websockets_count_as_connections(gateway, server):
    script = CountingServer()
    b = server(script)
    g = gateway(conf([b], "max_connections = 1;", "queue_timeout_ms = 300;"))
    assert ask(g.port(), "/").status == 200  # leaves an idle connection
    upgrade = [("connection", "upgrade"), ("upgrade", "websocket"),
               ("sec-websocket-version", "13"),
               ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]
    for i in range(5):
        with connect(g.port()) as c:
            c.send(request(f"/{i}", fields=upgrade))
            assert c.recv_response().status == 200  # it does not upgrade
    assert script.most == 1
