"""Runs rows: one gateway with one worker, and one backend that is driven by
the thread that runs the test, so that what it saw can be told for certain.

A row runs three times: in one piece over TCP; byte by byte, and in random
cuts, over a Unix socket, where the kernel says when the gateway has read a
piece: the next one is sent only then."""
import fcntl
import hashlib
import os
import random
import re
import select
import socket
import ssl
import struct
import termios
import time

import hpack

from lib import frames, wait
from lib.gateway import Gateway
from lib.stream import FIELD, Stream
from lib.wait import PATIENCE

from row import (AFTER, AFTER_SAW, CLOSED, KEPT, TUNNEL, Saw,
                 fault_rows)

FAULTS = fault_rows()
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: sentinel\r\n\r\n"
SENTINEL_SAW = Saw("GET /sentinel", host="sentinel")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of the key in RFC 6455

# What a listener, the route of all paths, and the routes before it say.
CONFS = {
    "plain": ("", ""),
    "guarded": ("", "", '{ path_prefix = "/admin"; answer = { '
                'status = 403; }; }, { path = "/exact"; answer = { '
                'status = 403; }; },'),
    "loose": ("underscore_names = true;", "allow_encoded_slash = true;"),
    "no_websocket": ("", "websocket = false;"),
    "no_h2c": ("h2c = false;", ""),
    "small": ("", "max_body_bytes = 8;"),
}
CONF = """
workers = 1;
listeners = (
  {{ name = "tcp"; address = "127.0.0.1:@tcp@"; {listener} }},
  {{ name = "unix"; address = "unix:@unix@"; {listener} }},
  {{ name = "tls"; address = "127.0.0.1:@tls@"; {listener}
    tls = {{ certificates = ( @leaf@ ); }}; }}
);
upstreams = {{ u = {{ endpoints = ( {{ address = "@backend@"; }} );
  protocol = "{protocol}"; }}; }};
routes = ( {routes} {{ path_prefix = "/"; upstream = "u"; retries_max = 0; {route} }} );
log = {{ access = "off"; error = "@error@"; level = "info"; }};
"""


# ---- the backend ----------------------------------------------------------

class Seen:
    """One request at the backend. `head`: its bytes (h1) or fields (h2)."""

    def __init__(self, number):
        self.number = number
        self.head = None
        self.body = b""
        self.framing = None
        self.trailers = []
        self.is_whole = False

    def __repr__(self):
        return (f"<{self.head!r} {self.framing} {self.body!r} "
                f"{self.trailers!r} {'whole' if self.is_whole else 'cut'}>")


class H1Conn:
    """Reads strictly; what is not exactly right raises. `buffer` begins with
    the request that is being read."""

    def __init__(self, bench, sock):
        self.bench = bench
        self.sock = sock
        self.buffer = b""
        self.seen = None
        self.is_tunnel = False

    def is_midway(self):
        return self.seen is not None or bool(self.buffer)

    def on_bytes(self, data):
        if self.is_tunnel:
            self.sock.send(data)
            return
        self.buffer += data
        while self.buffer and self.step():
            pass

    def on_end(self):
        assert self.seen is not None or not self.buffer, \
            f"half a head: {self.buffer!r}"
        self.seen, self.buffer = None, b""

    def step(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if self.seen is None:
            self.seen = self.bench.new_seen()
            self.seen.head = self.buffer[:end + 4]
            fields = [FIELD.match(line).groups()
                      for line in self.buffer[:end].split(b"\r\n")[1:]]
            self.length = [v for n, v in fields if n == b"content-length"]
            self.coding = [v for n, v in fields if n == b"transfer-encoding"]
            self.upgrade = [v for n, v in fields if n == b"upgrade"]
            assert len(self.length) + len(self.coding) < 2, fields
            self.seen.framing = ("length" if self.length else
                                 "chunked" if self.coding else None)
        used = self.read_body(end + 4)
        if used is None:
            return False
        self.buffer = self.buffer[used:]
        seen, self.seen = self.seen, None
        seen.is_whole = True
        self.answer(seen)
        return True

    def read_body(self, at):
        """Where the message ends, None when it is not complete."""
        if self.length:
            n = int(self.length[0])
            self.seen.body = self.buffer[at:at + n]
            return at + n if len(self.seen.body) == n else None
        if not self.coding:
            return at
        self.seen.body = b""
        while (end := self.buffer.find(b"\r\n", at)) >= 0:
            size = int(self.buffer[at:end], 16)
            assert re.fullmatch(rb"[0-9a-f]+", self.buffer[at:end])
            if size == 0:
                return self.read_trailers(end + 2)
            at = end + 2 + size
            self.seen.body += self.buffer[end + 2:at]
            if len(self.buffer) < at + 2:
                return None
            assert self.buffer[at:at + 2] == b"\r\n", self.buffer
            at += 2
        return None

    def read_trailers(self, at):
        if self.buffer[at:at + 2] == b"\r\n":
            return at + 2
        end = self.buffer.find(b"\r\n\r\n", at)
        if end < 0:
            return None
        self.seen.trailers = self.buffer[at:end].decode("latin-1").split(
            "\r\n")
        return end + 4

    def answer(self, seen):
        if self.upgrade:
            assert self.upgrade == [b"websocket"], self.upgrade
            self.is_tunnel = True
            self.sock.send(b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\n"
                           b"Upgrade: websocket\r\nSec-WebSocket-Accept: " +
                           ACCEPT.encode() + b"\r\n\r\n")
            return
        body = b"%d" % seen.number
        self.sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (
            len(body), b"" if seen.head.startswith(b"HEAD ") else body))


class H2Conn:
    """The little of HTTP/2 that a backend needs."""

    def __init__(self, bench, sock):
        self.bench = bench
        self.sock = sock
        self.buffer = b""
        self.is_begun = False
        self.decoder = hpack.Decoder()
        self.streams = {}
        self.block = b""
        self.n_uncredited = 0
        sock.send(frames.settings())

    def is_midway(self):
        return bool(self.streams) or bool(self.buffer)

    def on_bytes(self, data):
        self.buffer += data
        if not self.is_begun and len(self.buffer) >= len(frames.PREFACE):
            assert self.buffer.startswith(frames.PREFACE)
            self.buffer = self.buffer[len(frames.PREFACE):]
            self.is_begun = True
        if self.is_begun:
            found, self.buffer = frames.split(self.buffer)
            for frame in found:
                self.on_frame(*frame)

    def on_end(self):
        self.streams.clear()
        self.buffer = b""

    def on_frame(self, kind, flags, number, payload):
        if kind in (frames.SETTINGS, frames.PING) and not flags & frames.ACK:
            self.sock.send(frames.frame(
                kind, 0, payload if kind == frames.PING else b"",
                frames.ACK))
        elif kind in (frames.HEADERS, frames.CONTINUATION):
            self.on_headers(kind, flags, number, payload)
        elif kind == frames.DATA:
            self.streams[number].body += payload
            self.n_uncredited += len(payload)
            if self.n_uncredited > 8192:
                n, self.n_uncredited = self.n_uncredited, 0
                self.sock.send(frames.window_update(number, n) +
                               frames.window_update(0, n))
            self.on_end_stream(flags, number)
        elif kind == frames.RST_STREAM:
            self.streams.pop(number, None)

    def on_headers(self, kind, flags, number, payload):
        if kind == frames.HEADERS:
            assert not flags & frames.PADDED
            self.block = payload[5:] if flags & frames.HAS_PRIORITY \
                else payload
            self.is_last = flags & frames.END_STREAM
        else:
            self.block += payload
        if not flags & frames.END_HEADERS:
            return
        fields = [(n.decode("latin-1"), v.decode("latin-1"))
                  for n, v in self.decoder.decode(self.block, raw=True)]
        if number in self.streams:
            self.streams[number].trailers = [f"{n}: {v}" for n, v in fields]
        else:
            self.streams[number] = self.bench.new_seen()
            self.streams[number].head = fields
        self.on_end_stream(self.is_last, number)

    def on_end_stream(self, flags, number):
        if not flags & frames.END_STREAM:
            return
        seen = self.streams.pop(number)
        seen.is_whole = True
        body = b"%d" % seen.number
        head = frames.frame(frames.HEADERS, number, frames.block(
            [(":status", "200"), ("content-length", str(len(body)))]),
            frames.END_HEADERS)
        if (":method", "HEAD") in seen.head:
            head = head[:4] + bytes([5]) + head[5:]
            body = None
        self.sock.send(head + (b"" if body is None else
                               frames.data(number, body, end=True)))


# ---- the client -----------------------------------------------------------

class Client(Stream):
    """A Stream that drives the backend while it waits."""

    def __init__(self, bench, sock):
        super().__init__(sock, "client")
        self.bench = bench
        self.is_ended = False
        bench.poll.register(sock, select.EPOLLIN)

    def more(self):
        end = time.monotonic() + PATIENCE
        has_pending = hasattr(self.sock, "pending") and self.sock.pending()
        while True:
            while not has_pending and \
                    not self.bench.pump(1, self.sock.fileno()):
                assert time.monotonic() < end, \
                    f"no answer, nor an end; so far {self.buffer!r}"
            self.sock.setblocking(False)
            try:
                got = super().more()
                self.is_ended = not got
                return got
            except ssl.SSLWantReadError:
                has_pending = False  # It was a ticket, or half a record.
            except OSError:
                self.is_ended = True
                raise
            finally:
                self.sock.settimeout(PATIENCE)

    def n_unread(self):
        """How much of what was sent the gateway has not read yet."""
        out = bytearray(4)
        fcntl.ioctl(self.sock, termios.TIOCOUTQ, out)
        return struct.unpack("i", out)[0]

    def settle(self):
        """Waits until the gateway has read all, or has ended the
        connection."""
        for _ in range(200):
            if self.n_unread() == 0:
                return
            os.sched_yield()
        end = time.monotonic() + PATIENCE
        while self.n_unread() > 0:
            assert time.monotonic() < end, "the gateway does not read"
            if self.bench.pump(0.001, self.sock.fileno()):
                try:
                    self.more()
                except OSError:
                    return
                if self.is_ended:
                    return

    def deliver(self, pieces, is_settled):
        """Sends; what the gateway does not want any more is no failure."""
        try:
            for piece in pieces:
                self.sock.sendall(piece)
                if is_settled:
                    self.settle()
                if self.is_ended:
                    return
        except OSError:
            return

    def close(self):
        try:
            self.bench.poll.unregister(self.sock)
        except (OSError, ValueError):
            pass
        super().close()


def byte_by_byte(data):
    """Single bytes, but for the middle of what is very long."""
    edge = 600
    if len(data) <= 3 * edge:
        return [data[i:i + 1] for i in range(len(data))]
    middle = data[edge:-edge]
    return (byte_by_byte(data[:edge]) +
            [middle[i:i + 509] for i in range(0, len(middle), 509)] +
            byte_by_byte(data[-edge:]))


def random_cuts(data, seed):
    dice = random.Random(seed)
    n = max(0, min(len(data) - 1, dice.randint(1, 8)))
    at = [0, *sorted(dice.sample(range(1, len(data)), n)), len(data)]
    return [data[a:b] for a, b in zip(at, at[1:])]


def seed_of(row):
    return int.from_bytes(hashlib.sha256(row.id.encode()).digest()[:4], "big")


# ---- what must be seen ----------------------------------------------------

class Way:
    """How a client comes: what the gateway tells of it to the backend."""

    def __init__(self, peer, proto, port):
        self.peer, self.proto, self.port = peer, proto, port

    def fields(self, saw):
        """Our fields at the end of a head; the id is checked by its form."""
        return [f"x-forwarded-for: {self.peer}",
                f"x-forwarded-proto: {self.proto}",
                f"x-forwarded-port: {self.port}",
                f"x-real-ip: {self.peer}",
                *([f"x-forwarded-host: {saw.host}"] if saw.host else []),
                "x-request-id: ID"]


def without_id(lines):
    """Replaces an id that the gateway made."""
    return ["x-request-id: ID" if line.startswith("x-request-id: ") and
            ID.match(line[14:]) else line for line in lines]


def length_of(saw):
    return len(saw.body) if saw.length is None else saw.length


def h1_lines(saw, way, framing, address):
    """The lines of the head that an HTTP/1.1 backend must see."""
    lines = [f"{saw.line} HTTP/1.1", f"host: {saw.host or address}", *saw.fields,
             *way.fields(saw)]
    if framing == "length":
        lines.append(f"content-length: {length_of(saw)}")
    elif framing == "chunked":
        lines.append("transfer-encoding: chunked")
    elif framing == "upgrade":
        lines += ["connection: Upgrade", "upgrade: websocket"]
    return lines


def h2_lines(saw, way, framing, address):
    method, _, target = saw.line.partition(" ")
    lines = [f":method: {method}", ":scheme: http", f":authority: {saw.host or address}",
             f":path: {target}", *saw.fields, *way.fields(saw)]
    if saw.te:
        lines.append("te: trailers")
    if framing == "length":
        lines.append(f"content-length: {length_of(saw)}")
    return lines


def check_seen(seen, saw, way, address):
    """One request of the backend (at `address`) against what it had to
    see."""
    is_h1 = isinstance(seen.head, bytes)
    framing = saw.framing
    if is_h1:
        text = seen.head.decode("latin-1")
        assert text.endswith("\r\n\r\n")
        got = text[:-4].split("\r\n")
        if framing == "empty":
            framing = seen.framing
            assert framing in ("length", "chunked"), seen
        elif framing is None and saw.line.split(" ")[0] in (
                "POST", "PUT", "PATCH"):
            framing = "length"
        want = h1_lines(saw, way, framing, address)
    else:
        got = [f"{n}: {v}" for n, v in seen.head]
        want = h2_lines(saw, way, framing, address)
    assert without_id(got) == want
    if saw.is_cut:
        assert not seen.is_whole and saw.body.startswith(seen.body), seen
        return
    assert seen.is_whole and seen.body == saw.body, seen
    assert tuple(seen.trailers) == saw.trailers


# ---- the bench ------------------------------------------------------------

class Bench:
    """A gateway with one worker before a backend of `kind` ("h1", "h2c")."""

    def __init__(self, kind, folder, ca, leaf, conf="plain"):
        self.kind = kind
        self.seen = []
        self.conns = {}
        self.tls = ca.client_context()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.socket.setblocking(False)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.poll = select.epoll()
        self.poll.register(self.socket, select.EPOLLIN)
        self.path = folder / "s"
        listener, route, *routes = CONFS[conf]
        self.gateway = Gateway(
            CONF.format(listener=listener, route=route,
                        routes="".join(routes),
                        protocol="http1" if kind == "h1" else "h2c"),
            folder, unix=self.path, leaf=leaf.conf, error=folder / "error",
            backend=self.address)
        self.ways = {
            "tcp": Way("127.0.0.1", "http", self.gateway.port("tcp")),
            "unix": Way("unknown", "http", 80),
            "tls": Way("127.0.0.1", "https", self.gateway.port("tls"))}

    def check_empty(self):
        """Behind all rows nothing is left in the gateway (5.15.7, .8)."""
        for name in ("dm_exchanges", "dm_client_connections", "dm_tunnels"):
            self.gateway.wait_metric(name, 0)

    def stop(self):
        for conn in self.conns.values():
            conn.sock.close()
        self.socket.close()
        self.gateway.stop()

    def new_seen(self):
        self.seen.append(Seen(len(self.seen)))
        return self.seen[-1]

    def pump(self, timeout, client=-1):
        """Serves the backend's side once; whether `client` is readable."""
        is_readable = False
        for number, _ in self.poll.poll(timeout):
            if number == self.socket.fileno():
                sock = self.socket.accept()[0]
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                make = H1Conn if self.kind == "h1" else H2Conn
                self.conns[sock.fileno()] = make(self, sock)
                self.poll.register(sock, select.EPOLLIN)
            elif number in self.conns:
                self.serve(self.conns[number])
            is_readable |= number == client
        return is_readable

    def serve(self, conn):
        try:
            data = conn.sock.recv(65536)
            if data:
                conn.on_bytes(data)
                return
        except (ConnectionResetError, BrokenPipeError):
            pass
        del self.conns[conn.sock.fileno()]
        self.poll.unregister(conn.sock)
        conn.sock.close()
        conn.on_end()

    def drain(self):
        """Until nothing stands before the backend and no request of it is
        midway: what the gateway had sent up to now has been seen."""
        end = time.monotonic() + PATIENCE
        while self.poll.poll(0) or any(c.is_midway()
                                       for c in self.conns.values()):
            assert time.monotonic() < end, "a request stays midway"
            self.pump(0.01)

    def connect(self, way):
        if way == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(str(self.path))
            return Client(self, sock)
        sock = socket.create_connection(
            ("127.0.0.1", self.gateway.port(way)), PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if way == "tls":
            sock = self.tls.wrap_socket(sock, server_hostname="localhost")
        return Client(self, sock)

    # ---- one run of a row -------------------------------------------------

    def run(self, row, way, pieces):
        """Sends a row in these pieces and checks all that must follow."""
        self.drain()
        first = len(self.seen)
        with self.connect(way) as client:
            client.deliver(pieces, way == "unix")
            if row.eof and not client.is_ended:
                client.shut()
            bodies = self.check_answers(row, client)
            if row.fate == TUNNEL:
                self.check_tunnel(client)
        self.sentinel()
        expected = [*row.backend]
        if row.fate == KEPT:
            expected.append(AFTER_SAW)
        expected.append(SENTINEL_SAW)
        got = self.seen[first:]
        if len(got) < len(expected):
            expected = [s for s in expected if not s.is_cut]
        assert len(got) == len(expected), got
        for seen, saw in zip(got, expected):
            check_seen(seen, saw, self.ways["tcp" if saw is SENTINEL_SAW
                                            else way], self.address)
        served = [b"%d" % s.number for s in got[:-1] if s.is_whole]
        if not row.head and row.fate != TUNNEL:
            assert bodies == served, "answers and requests do not match"

    def check_answers(self, row, client):
        """Reads the answers; the bodies of those that the backend made."""
        bodies = []
        wanted = list(row.answer)
        for number, want in enumerate(wanted):
            is_head = row.head and number < len(row.answer)
            got = client.recv_response("HEAD" if is_head else "GET")
            interim = row.interim if number == 0 else ()
            assert tuple(m.status for m in got.informational) == interim
            is_last = number == len(wanted) - 1 and row.fate == CLOSED
            self.check_answer(got, want, is_head)
            if not row.eof and row.fate != TUNNEL:
                assert got.headers.get("connection") == (
                    "close" if is_last else row.connection), got
            if want == 200:
                bodies.append(got.body)
        if row.fate == KEPT:
            got = client.recv_response()
            assert got.status == 200, got
            bodies.append(got.body)
        elif row.fate == CLOSED:
            rest = client.recv_all()
            want = b"" if wanted or not row.interim else CONTINUE
            assert rest == want, f"more than the answer: {rest!r}"
        return bodies

    def check_tunnel(self, client):
        """What stands behind the request comes back through the tunnel; our
        end of it ends the other."""
        assert client.recv_exact(len(AFTER)) == AFTER
        client.shut()
        assert client.recv_all() == b""

    @staticmethod
    def check_answer(got, want, is_head):
        if isinstance(want, int):
            assert got.status == want, got
            return
        status, text = FAULTS[want]
        assert got.status == status, got
        assert ID.match(got.headers["x-request-id"]), got
        if not is_head:
            assert text in got.text, f"{got.text!r} is not {want}"

    def sentinel(self):
        """A request behind all that the gateway may have sent: it has one
        worker, so what the backend did not see until now never comes."""
        with self.connect("tcp") as client:
            client.sock.sendall(SENTINEL)
            assert client.recv_response().status == 200
        self.drain()

    def run_cuts(self, row):
        """All three ways of a row, and its way through TLS."""
        data = row.input if row.eof else row.input + AFTER
        seed = seed_of(row)
        print(f"seed {seed} of {row.id!r}; input {data!r}")
        self.run(row, "tcp", [data])
        self.run(row, "unix", byte_by_byte(data))
        self.run(row, "unix", random_cuts(data, seed))
        if row.tls and not row.eof and seed % 8 == 0:
            self.run(row, "tls", random_cuts(data, seed))


class Benches:
    """A bench for each conf that the rows of a module ask for. One whose row
    failed is not used again."""

    def __init__(self, kind, factory, ca, leaf):
        self.kind, self.factory, self.ca, self.leaf = kind, factory, ca, leaf
        self.running = {}

    def run(self, row):
        if row.conf not in self.running:
            self.running[row.conf] = Bench(
                self.kind, self.factory.mktemp("b"), self.ca, self.leaf,
                row.conf)
        bench = self.running[row.conf]
        wait.new_transcript()
        try:
            bench.run_cuts(row)
        except BaseException:
            print(wait.transcript.show())
            print(bench.gateway.stderr())
            del self.running[row.conf]
            bench.stop()
            raise

    def stop(self):
        for bench in self.running.values():
            try:
                bench.check_empty()
            finally:
                bench.stop()
