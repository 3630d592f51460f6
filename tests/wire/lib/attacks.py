"""What attackers send, as bytes: floods (one connection that sends without
end what costs us more than it) and holds (many connections that keep what we
must keep for them). Used by tests/wire/test_attacks.py, which asks whether we
close, how much we hold and what the backend sees, and by bench/attack.py, which
asks what other clients notice."""
import dataclasses
import selectors
import socket
import struct
import time

from lib import frames

HOST = b"localhost"
GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nhost: localhost\r\n"
KIB = 1024


def _start(values=None):
    return frames.PREFACE + frames.settings(values) + frames.settings(ack=True)


def _get(stream, path="/", end=True, more=()):
    return frames.headers(stream, frames.request_fields(path, more=more), end)


def _post(stream, path="/", more=()):
    return frames.headers(
        stream, frames.request_fields(path, "POST", more=more), False)


def _streams(make, n=50):
    """A piece of `n` streams whose ids go on from piece to piece."""
    def piece(i):
        first = 2 * n * i + 1
        return b"".join(make(first + 2 * k) for k in range(n))
    return piece


def _same(raw, n=100):
    raw = raw * n
    return lambda i: raw


@dataclasses.dataclass
class Flood:
    name: str
    opening: bytes
    piece: object           # (i) -> bytes
    is_reading: bool = True  # takes what we answer
    is_closed: bool = True   # we close, and do not only bear it
    protocol: str = "h2"


@dataclasses.dataclass
class Hold:
    name: str
    opening: bytes
    path: str = ""           # what the backend must answer
    is_reading: bool = True
    receive_bytes: int = 0   # SO_RCVBUF of the attacker; 0: the usual
    protocol: str = "h2"
    kib_max: int = 1024      # what each connection may cost us


def _bomb(n):
    """One field of 4000 bytes, then `n` references to it."""
    value = b"x" * 4000
    field = b"\x40" + frames._string(b"x-a", False) \
        + frames._string(value, False)
    return frames.block(frames.request_fields()) + field + b"\xbe" * n


def _in_frames(stream, block):
    """A block too long for one frame."""
    pieces = [block[i:i + 16384] for i in range(0, len(block), 16384)]
    raw = frames.frame(frames.HEADERS, stream, pieces[0],
                       frames.END_STREAM |
                       (frames.END_HEADERS if len(pieces) == 1 else 0))
    for i, piece in enumerate(pieces[1:], 2):
        raw += frames.continuation(stream, piece, i == len(pieces))
    return raw


_EMPTY = b"\x40" + frames._string(b"x-e", False) + frames._string(b"", False)

FLOODS = [
    Flood("rapid_reset", _start(),
          _streams(lambda s: _get(s) + frames.rst(s))),
    Flood("made_to_reset_by_window", _start(),
          _streams(lambda s: _post(s) + frames.window_update(s, 0))),
    Flood("made_to_reset_by_length", _start(),
          _streams(lambda s: _post(s, more=[("content-length", "1")]) +
                   frames.data(s, b"xx", True))),
    Flood("made_to_reset_by_trailers", _start(),
          _streams(lambda s: _post(s) +
                   frames.headers(s, [(":path", "/")], True))),
    Flood("ping", _start(), _same(frames.ping())),
    Flood("ping_unread", _start(), _same(frames.ping()), is_reading=False),
    Flood("settings", _start(), _same(frames.settings())),
    Flood("settings_unread", _start(), _same(frames.settings({3: 100})),
          is_reading=False),
    Flood("priority", _start(),
          _same(frames.frame(frames.PRIORITY, 1, b"\0\0\0\0\x10"))),
    Flood("unknown_frame", _start(), _same(frames.frame(0x77, 0, b""))),
    Flood("empty_data", _start() + _post(1), _same(frames.data(1))),
    Flood("window_update_connection", _start(),
          _same(frames.window_update(0, 1))),
    Flood("window_update_stream", _start() + _post(1),
          _same(frames.window_update(1, 1))),
    Flood("continuation_empty", _start() +
          frames.headers(1, frames.request_fields(), end_headers=False),
          _same(frames.continuation(1, b"", False))),
    Flood("continuation_full", _start() +
          frames.headers(1, frames.request_fields(), end_headers=False),
          _same(frames.continuation(
              1, frames.block([("x-a", "b" * 1000)] * 16), False), 4)),
    Flood("hpack_references", _start(),
          _streams(lambda s: _in_frames(s, _bomb(16000)), 4)),
    Flood("hpack_empty_references", _start(),
          _streams(lambda s: _in_frames(
              s, frames.block(frames.request_fields()) + _EMPTY
              + b"\xbe" * 100000), 1)),
    Flood("many_fields", _start(),
          _streams(lambda s: frames.headers(
              s, frames.request_fields(more=[("a", "b")] * 1000)), 10)),
    Flood("goaway", _start(), _same(frames.frame(
        frames.GOAWAY, 0, struct.pack(">II", 0, 0)))),
    Flood("tiny_data", _start({4: 1 << 20}) + _post(1),
          _same(frames.data(1, b"x"), 200), is_closed=False),
    Flood("tiny_chunks", POST + b"transfer-encoding: chunked\r\n\r\n",
          _same(b"1\r\nx\r\n", 500), is_closed=False, protocol="h1"),
    Flood("chunk_extensions", POST + b"transfer-encoding: chunked\r\n\r\n",
          _same(b"1;" + b"a" * 200 + b"\r\nx\r\n", 50), protocol="h1"),
    Flood("pipeline_unread", b"", _same(GET + b"\r\n", 100),
          is_reading=False, protocol="h1", is_closed=False),
    Flood("blank_lines", b"", _same(b"\r\n", 1000), protocol="h1"),
    Flood("endless_head", GET, lambda i: b"x-%d: y\r\n" % i, protocol="h1"),
    Flood("endless_line", b"GET /", _same(b"a", 10000), protocol="h1"),
    Flood("endless_trailers", POST +
          b"transfer-encoding: chunked\r\n\r\n0\r\n",
          lambda i: b"x-%d: y\r\n" % i, protocol="h1"),
]

_ALL = range(1, 200, 2)
HOLDS = [
    Hold("idle", b"", protocol="h1"),
    Hold("idle_h2", _start()),
    Hold("half_a_head", GET + b"x-a: " + b"b" * 15000, protocol="h1"),
    Hold("half_a_head_h2", _start() + frames.headers(
        1, frames.request_fields(more=[("x-a", "b" * 15000)]),
        end_headers=False)),
    # Heads are kept for a retry and the access log: header_bytes_max for each
    # of streams_max.
    Hold("heads_of_many_streams", kib_max=4096, opening=_start() + b"".join(
        _post(s, more=[(f"x-{k}", "b" * 1000) for k in range(15)])
        for s in _ALL)),
    # connection_window_bytes, and the streams themselves.
    Hold("bodies_of_many_streams", kib_max=3072, opening=_start() + b"".join(
        _post(s, "/slow") + frames.data(s, b"x" * 16000) for s in _ALL[:60])),
    # A hundred requests in flight cost 1 MiB alone.
    Hold("zero_window", kib_max=2560, opening=_start({4: 0}) + b"".join(
        _get(s, "/large") for s in _ALL), path="/large"),
    Hold("half_shut", kib_max=2560, opening=_start({4: 0}) + b"".join(
        _get(s, "/large") for s in _ALL[:50]), path="/large"),
    Hold("tiny_window", kib_max=2560, opening=_start({4: 1}) + b"".join(
        _get(s, "/large") for s in _ALL), path="/large"),
    Hold("zero_window_of_connection", kib_max=2560, opening=_start({4: 1 << 20}) + b"".join(
        _get(s, "/large") for s in _ALL), path="/large"),
    Hold("unread_h2", kib_max=2560, opening=_start({4: 1 << 20}) +
         frames.window_update(0, 1 << 30) + b"".join(
             _get(s, "/large") for s in _ALL), path="/large",
         is_reading=False, receive_bytes=4096),
    Hold("unread", GET.replace(b"/ ", b"/large ") + b"\r\n", path="/large",
         is_reading=False, receive_bytes=4096, protocol="h1"),
    Hold("slow_body", POST + b"content-length: 1000000\r\n\r\n" +
         b"x" * 1000, protocol="h1"),
    Hold("pipelined", (GET + b"x-a: " + b"b" * 1000 + b"\r\n\r\n") * 300,
         is_reading=False, protocol="h1"),
]


def open_socket(port, receive_bytes=0, tls=None, alpn=None):
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(10)
    sock.connect(("127.0.0.1", port))
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname="localhost")
    return sock


def _drain(sock, got):
    """Takes what is there; False when the other side has closed."""
    try:
        while True:
            piece = sock.recv(65536)
            if not piece:
                return False
            got += len(piece)
            if len(piece) < 65536:
                return True
    except BlockingIOError:
        return True


def flood(attack, port, seconds):
    """Runs one connection for so long or until it is closed; returns (bytes
    sent, seconds until it was closed or None)."""
    began = time.monotonic()
    n_sent = 0
    i = 0
    out = memoryview(attack.opening)
    with open_socket(port) as sock, selectors.DefaultSelector() as wait:
        sock.setblocking(False)
        wait.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        try:
            while time.monotonic() < began + seconds:
                if not out:
                    out = memoryview(attack.piece(i))
                    i += 1
                if not attack.is_reading:
                    wait.modify(sock, selectors.EVENT_WRITE)
                for _, events in wait.select(0.2):
                    if events & selectors.EVENT_READ and \
                            not _drain(sock, 0):
                        return n_sent, time.monotonic() - began
                    if events & selectors.EVENT_WRITE:
                        n = sock.send(out)
                        n_sent += n
                        out = out[n:]
        except (ConnectionError, BlockingIOError) as error:
            if isinstance(error, ConnectionError):
                return n_sent, time.monotonic() - began
        # What is still on its way would keep a slow backend busy.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
    return n_sent, None


def hold(attack, port, n):
    """Opens `n` connections that hold; returns them."""
    socks = []
    for _ in range(n):
        sock = open_socket(port, attack.receive_bytes)
        sock.sendall(attack.opening)
        sock.setblocking(False)
        socks.append(sock)
    return socks


def drain_all(socks):
    """Takes what came (what a reading attacker does)."""
    for sock in socks:
        try:
            _drain(sock, 0)
        except ConnectionError:
            pass
