"""Reload after reload, five a second, under load of every kind: no request
fails, no stream and no WebSocket is closed, nothing of the old snapshots is
left."""
import os
import queue
import re
import signal
import subprocess
import threading
import time

import pytest
import websockets.sync.client
import websockets.sync.server

from lib.client import Grpc
from lib.gateway import BIN
from lib.wait import PATIENCE, wait_until

pytestmark = pytest.mark.reload

IS_SANITIZED = os.environ.get("DAEMUN_VARIANT") in ("asan", "tsan") or \
    "asan" in BIN or "tsan" in BIN
N_RELOADS = 30 if IS_SANITIZED else 200
PERIOD_S = 0.2
# A sanitizer keeps freed memory back for a while, on purpose.
GROWTH_BYTES_MAX = (512 if IS_SANITIZED else 8) << 20

HEAD = """
listeners = ( { name = "http"; address = "127.0.0.1:@http@"; } );
timeouts = { idle_timeout_ms = 500; };
"""
# Each of them has routes, weights, policies and endpoints of its own; the
# gRPC stream and the WebSocket lose their upstreams in the third one.
CONFS = [HEAD + """
upstreams = {
  web = { endpoints = ( { address = "@one@"; }, { address = "@two@"; } );
          keep_alive_idle_ms = 500; };
  rpc = { endpoints = ( { address = "@one@"; } ); protocol = "h2c";
          keep_alive_idle_ms = 500; };
  ws = { endpoints = ( { address = "@ws@"; } ); }; };
routes = ( { path_prefix = "/"; upstream = "web"; },
           { path_prefix = "/daemun.demo.Echo/"; upstream = "rpc"; },
           { path_prefix = "/ws"; upstream = "ws"; } );
""", HEAD + """
upstreams = {
  web = { endpoints = ( { address = "@two@"; weight = 3; },
                        { address = "@three@"; weight = 1; } );
          balance = { policy = "least_request"; };
          keep_alive_idle_ms = 500; };
  other = { endpoints = ( { address = "@one@"; } );
            keep_alive_idle_ms = 500; };
  rpc = { endpoints = ( { address = "@two@"; }, { address = "@one@"; } );
          protocol = "h2c"; keep_alive_idle_ms = 500; };
  ws = { endpoints = ( { address = "@ws@"; weight = 7; } );
         idle_timeout_ms = 200000; }; };
routes = ( { name = "all"; path_prefix = "/"; upstream = "web"; },
           { path = "/echo"; split = ( { upstream = "web"; weight = 2; },
                                       { upstream = "other"; } ); },
           { path_prefix = "/daemun.demo.Echo/"; upstream = "rpc"; },
           { path_prefix = "/ws"; upstream = "ws"; max_body_bytes = 0; } );
limits = { streams_max = 200; };
""", HEAD + """
upstreams = {
  web = { endpoints = ( { address = "@one@"; weight = 2; },
                        { address = "@two@"; }, { address = "@three@"; } );
          balance = { policy = "maglev"; hash_on = [ "source_port", "path" ];
                      table_size = 1009; };
          keep_alive_idle_ms = 500; }; };
routes = ( { path = "/never"; answer = { status = 404; }; },
           { path_regex = "/e[a-z]+"; upstream = "web";
             response_headers = { set = { x-third = "yes"; }; }; },
           { path_prefix = "/"; upstream = "web"; } );
"""]


class Load:
    """Runs a load generator over and over until told to end; its failures
    are in `problems`."""

    def __init__(self, command, check):
        self.command = command
        self.check = check
        self.problems = []
        self.n_done = 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.is_over.is_set():
            done = subprocess.run(self.command, capture_output=True,
                                  text=True, check=False)
            n = self.check(done.stdout)
            if done.returncode != 0 or n == 0:
                self.problems.append(done.stdout + done.stderr)
            self.n_done += n or 0

    def end(self):
        self.is_over.set()
        self.thread.join(60)
        assert not self.thread.is_alive()
        assert not self.problems, self.problems[0]
        assert self.n_done > 0


def wrk_check(text):
    """How many requests; 0: something failed."""
    if "Non-2xx" in text or "Socket errors" in text:
        return 0
    found = re.search(r"(\d+) requests in", text)
    return int(found.group(1)) if found else 0


def h2load_check(text):
    found = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, "
                      r"(\d+) succeeded, 0 failed, 0 errored, 0 timeout", text)
    if not found or len(set(found.groups())) != 1:
        return 0
    return int(found.group(1))


class EchoStream:
    """One gRPC stream both ways, open from the start to close()."""

    PATH = "/daemun.demo.Echo/Stream"

    def __init__(self, port):
        self.grpc = Grpc(port)
        self.to_send = queue.Queue()
        self.answers = self.grpc.stream(
            self.PATH, iter(self.to_send.get, None), timeout=300)

    def ask(self, message):
        self.to_send.put(message)
        assert next(self.answers) == message

    def close(self):
        self.to_send.put(None)
        assert list(self.answers) == []
        assert self.answers.code().value[0] == 0
        self.grpc.close()


@pytest.fixture
def web_socket():
    """The port of a server that echoes what comes by WebSocket."""
    def echo(ws):
        for message in ws:
            ws.send(message)
    with websockets.sync.server.serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join(PATIENCE)


def settle(g):
    """Waits until nobody is connected; (descriptors, memory)."""
    g.wait_metric("dm_client_connections", 0)
    g.wait_metric("dm_upstream_connections", 0)
    g.wait_metric("dm_snapshots", 1)
    m = g.metrics()
    return m["process_open_fds"], m["process_resident_memory_bytes"]


def start_loads(g):
    url = g.url("http", "/echo")
    return [Load(["wrk", "-t1", "-c4", "-d3s", url], wrk_check),
            Load(["h2load", "-t1", "-c2", "-m8", "-n1000", url],
                 h2load_check)]


@pytest.mark.timeout(300)
def test_storm(gateway, demo, web_socket):
    log = 'log = { access = "off"; error = "-"; level = "info"; };\n'
    g = gateway(CONFS[0] + log, one=demo("one"), two=demo("two"),
                three=demo("three"), ws=f"127.0.0.1:{web_socket}")
    for load in start_loads(g):
        load.end()
    fds, memory = settle(g)

    stream = EchoStream(g.port())
    stream.ask(b"first")
    with websockets.sync.client.connect(
            f"ws://127.0.0.1:{g.port()}/ws", max_size=None) as ws:
        loads = start_loads(g)
        begin = time.monotonic()
        for i in range(1, N_RELOADS + 1):
            g.reload(CONFS[i % 3] + log, settle=False)
            text = f"after reload {i}"
            stream.ask(text.encode())
            ws.send(text)
            assert ws.recv(PATIENCE) == text
            # The rate is the subject: five reloads a second.
            time.sleep(max(0, begin + i * PERIOD_S - time.monotonic()))
        for load in loads:
            load.end()
        # The stream and the socket began in the first snapshot.
        g.wait_metric("dm_snapshots", lambda n: n <= 2)
        stream.ask(b"last")
        ws.send("last")
        assert ws.recv(PATIENCE) == "last"
        stream.close()
    m = g.metrics()
    assert m["dm_snapshot_generation"] == N_RELOADS + 1
    assert m["dm_reloads_total"] == N_RELOADS
    assert m["dm_reloads_failed_total"] == 0
    assert m["dm_faults_total"] == 0
    assert m["dm_responses_5xx_total"] == 0 == m["dm_responses_4xx_total"]
    after_fds, after_memory = settle(g)
    assert after_fds == fds
    assert after_memory - memory < GROWTH_BYTES_MAX


def test_signals_faster_than_reloads_end_with_the_last_file(gateway, demo):
    """Signals that come while a reload runs become one more reload, which
    reads what the file says then."""
    g = gateway(CONFS[0], one=demo("one"), two=demo("two"),
                three=demo("three"), ws="127.0.0.1:9")
    for i in range(1, 100):
        g._write(CONFS[i % 3])
        g.signal(signal.SIGHUP)
    g._write(CONFS[2].replace("/never", "/at-the-end"))
    g.signal(signal.SIGHUP)
    wait_until(lambda: "/at-the-end" in g.admin_get("/config")[1],
               "the last file")
    g.wait_metric("dm_snapshots", 1)
    assert g.metric("dm_reloads_failed_total") == 0
