"""A receiver that stops reading stops its sender: the gateway's memory does
not grow, little is taken from the sender, and when the receiver goes on, the
transfer completes."""
import os
import select
import socket
import threading

import pytest

from lib.client import H2Client, connect, request
from lib.gateway import simple
from lib.wait import wait_until

IS_SANITIZED = os.environ.get("DAEMUN_VARIANT", "release") != "release"
MIB = 1024 * 1024
BIG = (128 if IS_SANITIZED else 1024) * MIB
MIDDLE = 96 * MIB
PIECE = bytes(range(256)) * 1024
# What the kernel's buffers on the way may hold; far below MIDDLE.
TAKEN_MAX = 40 * MIB
GROWTH_MAX = (16 if IS_SANITIZED else 4) * MIB
MORE = "timeouts = { write_timeout_ms = 600000; body_timeout_ms = 600000; };"
RSS = "process_resident_memory_bytes"


class Sender:
    """Sends `size` bytes on a socket and knows when it was stopped."""

    def __init__(self, sock, size):
        self.sock = sock
        self.size = size
        self.n_sent = 0
        self.stalled = threading.Event()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)

    def run(self):
        self.sock.setblocking(False)
        while self.n_sent < self.size:
            # One second without room is what "stopped" means here.
            if not select.select([], [self.sock], [], 1)[1]:
                self.stalled.set()
                select.select([], [self.sock], [], 60)
            left = min(len(PIECE), self.size - self.n_sent)
            try:
                self.n_sent += self.sock.send(PIECE[:left])
            except BlockingIOError:
                pass
        self.sock.settimeout(60)


@pytest.fixture(autouse=True)
def small_quarantine(monkeypatch):
    """ASan keeps freed blocks, 256 MiB of them by default: not to be taken
    for memory of the gateway."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=1:exitcode=99:"
                                       "quarantine_size_mb=1:"
                                       "thread_local_quarantine_size_kb=64")


def first(senders):
    """The first one, as soon as the backend has begun to send."""
    return wait_until(lambda: senders, "the backend sends")[0]


def check_stalled(g, sender, before):
    assert sender.stalled.wait(60), "the sender was never stopped"
    assert sender.n_sent < TAKEN_MAX, sender.n_sent
    assert g.metric(RSS) - before < GROWTH_MAX, (g.metric(RSS), before)


def slow_reader(port):
    c = connect(port, timeout=60)
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    return c


def count(sock, left):
    """Reads `left` bytes and forgets them."""
    room = bytearray(MIB)
    while left > 0:
        n = sock.recv_into(room, min(left, MIB))
        assert n > 0, f"{left} bytes are missing"
        left -= n


def download(server, size):
    """A backend that sends `size` bytes -> (server, a list of senders)."""
    senders = []

    def script(conn):
        conn.recv_request()
        conn.send(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n")
        senders.append(Sender(conn.sock, size))
        senders[0].run()
    return server(script), senders


def test_client_stops_reading(gateway, server):
    s, senders = download(server, BIG)
    g = gateway(simple(s, more=MORE))
    before = g.metric(RSS)
    with slow_reader(g.port()) as c:
        c.send(request("/down"))
        head = c.recv_response_head()
        assert head.headers["content-length"] == str(BIG)
        check_stalled(g, first(senders), before)
        count(c.sock, BIG - len(c.buffer))
        assert g.metric(RSS) - before < GROWTH_MAX
    assert g.access_log(path="/down")["status"] == 200


def test_http2_client_gives_no_credit(gateway, server):
    s, senders = download(server, MIDDLE)
    g = gateway(simple(s, more=MORE))
    before = g.metric(RSS)
    with H2Client.open(g.port()) as c:
        c.auto_credit = False
        number = c.request("/down")
        while c.h2.remote_flow_control_window(number) > 0:
            c.read()
        check_stalled(g, first(senders), before)
        # Another stream of the connection is not held up.
        c.h2.increment_flow_control_window(MIDDLE)
        c.h2.increment_flow_control_window(MIDDLE, number)
        c.flush()
        got = sum(len(e.data) for e in c.events if hasattr(e, "data"))
        while got < MIDDLE:
            c.events.clear()
            got += sum(len(e.data) for e in c.read() if hasattr(e, "data"))
        assert got == MIDDLE
        assert g.metric(RSS) - before < GROWTH_MAX
    assert g.access_log(path="/down")["status"] == 200


@pytest.mark.parametrize("size", [BIG])
def test_backend_stops_reading(gateway, server, size):
    go_on = threading.Event()

    def script(conn):
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        conn.recv_request_head()
        go_on.wait(60)
        conn.sock.settimeout(60)
        count(conn.sock, size - len(conn.buffer))
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nall.")
    g = gateway(simple(server(script), route="max_body_bytes = 0;",
                       more=MORE))
    before = g.metric(RSS)
    with connect(g.port(), timeout=60) as c:
        c.send(request("/up", "POST", fields=[("Content-Length", size)]))
        sender = Sender(c.sock, size)
        thread = threading.Thread(target=sender.run)
        thread.start()
        try:
            check_stalled(g, sender, before)
        finally:
            go_on.set()
            thread.join(60)
        assert c.recv_response().body == b"all."
        assert g.metric(RSS) - before < GROWTH_MAX


def test_http2_upload_to_a_backend_that_stops_reading(gateway, server):
    """The client's credit runs out; it comes back as the backend reads."""
    go_on = threading.Event()
    size = 24 * MIB

    def script(conn):
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        head = conn.recv_request_head()
        assert head.headers["content-length"] == str(size)
        go_on.wait(60)
        count(conn.sock, size - len(conn.buffer))
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nall.")
    g = gateway(simple(server(script), route="max_body_bytes = 0;",
                       more=MORE))
    before = g.metric(RSS)
    with H2Client.open(g.port()) as c:
        number = c.request("/up", "POST", end=False,
                           fields=[("content-length", str(size))])
        left = size
        while True:
            room = min(c.h2.local_flow_control_window(number), 16384, left)
            if room > 0:
                c.h2.send_data(number, PIECE[:room], end_stream=room == left)
                c.flush()
                left -= room
            elif left and select.select([c.stream.sock], [], [], 1)[0]:
                c.read()
            else:
                break
        assert left > size - TAKEN_MAX and left > 0, "nothing was held back"
        assert g.metric(RSS) - before < GROWTH_MAX
        go_on.set()
        while left:
            while c.h2.local_flow_control_window(number) <= 0:
                c.read()
            room = min(c.h2.local_flow_control_window(number), 16384, left)
            c.h2.send_data(number, PIECE[:room], end_stream=room == left)
            c.flush()
            left -= room
        assert c.response(number).body == b"all."
