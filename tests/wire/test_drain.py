"""SIGTERM stops in order: not ready at once, no new connections, idle ones
closed, what runs ends by itself or at the limit, exit status 0. A second
signal, or SIGINT, does not wait."""
import os
import shutil
import signal
import socket
import threading
import time

import pytest

from lib import frames
from lib.client import H2Client, RawH2, ask, connect, request
from lib.gateway import simple
from lib.server import reply
from lib.wait import PATIENCE, wait_until

LONG = "timeouts = { drain_timeout_ms = 60000; };"


class Gate:
    """A backend's answer function that waits until it is opened."""

    def __init__(self):
        self.is_open = threading.Event()

    def __call__(self, got):
        if got.path.startswith("/slow"):
            assert self.is_open.wait(PATIENCE)
        return reply(200, got.path)


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


def drain(g):
    """Sends SIGTERM and waits until it has been taken."""
    g.signal(signal.SIGTERM)
    g.error_log("draining, ")


def test_nothing_runs(gateway, backend):
    g = gateway(simple(backend(), more=LONG))
    assert ask(g.port()).status == 200
    drain(g)
    assert g.wait_exit() == 0
    g.error_log("drained; stopping")


def test_running_request_is_answered(gateway, backend):
    gate = Gate()
    origin = backend(gate)
    g = gateway(simple(origin, more=LONG))
    idle = connect(g.port())
    idle.send(request("/idle"))
    assert idle.recv_response().text == "/idle"
    silent = connect(g.port())
    g.wait_metric("dm_client_connections", 2)
    running = connect(g.port())
    running.send(request("/slow"))
    origin.wait_requests(2)
    drain(g)
    assert g.admin_get("/readyz") == (503, "draining\n")
    assert g.admin_get("/healthz")[0] == 200
    assert idle.is_closed_by_peer()
    assert silent.is_closed_by_peer()
    wait_until(lambda: is_refused(g.port()), "new connections are refused")
    assert g.is_running()
    gate.is_open.set()
    got = running.recv_response()
    assert got.text == "/slow" and got.headers["connection"] == "close"
    assert running.is_closed_by_peer()
    assert g.wait_exit() == 0
    for c in (idle, silent, running):
        c.close()


def test_reload_is_refused_meanwhile(gateway, backend):
    gate = Gate()
    origin = backend(gate)
    g = gateway(simple(origin, more=LONG))
    with connect(g.port()) as running:
        running.send(request("/slow"))
        origin.wait_requests(1)
        drain(g)
        g.signal(signal.SIGHUP)
        wait_until(lambda: g.admin_get("/readyz")[0] == 503, "still there")
        assert g.metric("dm_snapshot_generation") == 1
        gate.is_open.set()
        assert running.recv_response().text == "/slow"
    assert g.wait_exit() == 0


def test_h2_goaway_then_streams_end(gateway, backend):
    gate = Gate()
    origin = backend(gate)
    g = gateway(simple(origin, more=LONG))
    with RawH2(connect(g.port())) as c, H2Client.open(g.port()) as idle:
        assert idle.ask("/idle").text == "/idle"
        for number in (1, 3, 5):
            c.send(frames.headers(number,
                                  frames.request_fields(f"/slow/{number}")))
        origin.wait_requests(4)
        drain(g)
        # The first GOAWAY only announces; streams go on below it.
        goaway = c.wait_frame(frames.GOAWAY)
        assert int.from_bytes(goaway[3][4:8], "big") == 0
        assert idle.wait_end().error_code == 0
        gate.is_open.set()
        for number in (1, 3, 5):
            data = c.wait_frame(frames.DATA, number)
            assert data[3] == f"/slow/{number}".encode()
        assert c.wait_end() in (0, None)
    assert g.wait_exit() == 0


def hold(conn):
    """A backend that never answers, or tunnels forever."""
    head = conn.recv_request_head()
    if head.headers.get("upgrade"):
        conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Accept: "
                  "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
    while True:
        conn.send(conn.recv_some())


def open_tunnel(g):
    c = connect(g.port())
    c.send(request("/ws", fields=[
        ("Connection", "Upgrade"), ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]))
    assert c.recv_response_head().status == 101
    return c


def test_web_socket_lives_until_the_limit(gateway, server):
    g = gateway(simple(server(hold),
                       more="timeouts = { drain_timeout_ms = 700; };"))
    with open_tunnel(g) as c:
        begin = time.monotonic()
        drain(g)
        c.send(b"ping")
        assert c.recv_exact(4) == b"ping"
        c.recv_all()
        took = time.monotonic() - begin
    assert 0.5 < took < PATIENCE
    assert g.wait_exit() == 0


def test_request_ends_at_the_limit(gateway, server):
    g = gateway(simple(server(hold),
                       more="timeouts = { drain_timeout_ms = 300; };"))
    with connect(g.port()) as c:
        c.send(request("/"))
        g.wait_metric("dm_upstream_connections", 1)
        drain(g)
        c.recv_all()
    assert g.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT,
                                    signal.SIGQUIT])
def test_second_signal_does_not_wait(gateway, server, number):
    g = gateway(simple(server(hold), more=LONG))
    with open_tunnel(g) as c:
        drain(g)
        c.send(b"ping")
        assert c.recv_exact(4) == b"ping"
        begin = time.monotonic()
        g.signal(number)
        assert g.wait_exit() == 0
        assert time.monotonic() - begin < 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_quick_stop(gateway, server, number):
    g = gateway(simple(server(hold), more=LONG))
    with open_tunnel(g) as tunnel, connect(g.port()) as running:
        running.send(request("/"))
        g.wait_metric("dm_exchanges", lambda n: n >= 1)
        g.signal(number)
        assert g.wait_exit() == 0
        tunnel.recv_all()
        running.recv_all()
    g.error_log("stopping at once")


def test_pid_file_goes_away(gateway, backend, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    path = folder / "daemun.pid"
    g = gateway(simple(backend(), more=f'pid_file = "{path}";'))
    assert path.read_text() == f"{g.process.pid}\n"
    drain(g)
    assert g.wait_exit() == 0
    assert not path.exists()
