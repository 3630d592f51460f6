"""What the tables of HTTP/2 and of responses share: how bytes are cut, and one
side of an HTTP/2 connection that reads frames one by one and sends whatever it
is told. Nothing is repaired here: what the gateway sends wrong, raises."""
import os
import random
import socket
import sys
import zlib

import hpack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "wire"))

# pylint: disable=wrong-import-position
from lib import frames  # noqa: E402
from lib.stream import Closed  # noqa: E402
from lib.wait import PATIENCE, note  # noqa: E402

CUTS = ("whole", "bytes", "random")
# What the gateway tells backends of the client; each exactly once.
TOLD = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-port",
        "x-forwarded-host", "x-real-ip", "x-request-id")
N_SINGLE = 1500  # of a long text only the ends go byte by byte


def pieces(raw, cut, seed):
    """`raw` in pieces; the seed is the row's name."""
    if cut == "whole" or len(raw) < 2:
        return [raw] if raw else []
    if cut == "bytes" and len(raw) <= N_SINGLE:
        return [raw[i:i + 1] for i in range(len(raw))]
    dice = random.Random(zlib.crc32(f"{seed} {cut}".encode()))
    if cut == "bytes":
        middle = raw[N_SINGLE // 2:-N_SINGLE // 2]
        return (pieces(raw[:N_SINGLE // 2], cut, seed) +
                pieces(middle, "random", seed) +
                pieces(raw[-N_SINGLE // 2:], cut, seed))
    n = min(len(raw) - 1, dice.randint(1, 12))
    at = sorted(dice.sample(range(1, len(raw)), n))
    return [raw[a:b] for a, b in zip([0, *at], [*at, len(raw)])]


def send_pieces(sock, raw, cut, seed):
    """False: the other side went away meanwhile."""
    try:
        for piece in pieces(raw, cut, seed):
            sock.sendall(piece)
            os.sched_yield()  # the reader may have it now
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


class StreamSeen:
    """What came on one stream."""

    def __init__(self):
        self.fields = None  # pairs of bytes, with pseudo-fields
        self.interim = []
        self.body = b""
        self.trailers = None
        self.is_ended = False
        self.reset = None

    @property
    def status(self):
        return None if self.fields is None else int(dict(self.fields)
                                                    [b":status"])

    @property
    def is_over(self):
        return self.is_ended or self.reset is not None

    def __repr__(self):
        return (f"<fields={self.fields} interim={self.interim} "
                f"body={self.body[:100]!r} trailers={self.trailers} "
                f"ended={self.is_ended} reset={self.reset}>")


class Reader:
    """Frames of the gateway, one after the other."""

    def __init__(self, is_client):
        self.is_client = is_client
        self.hpack = hpack.Decoder()
        self.hpack.max_header_list_size = 1 << 24
        self.hpack.max_allowed_table_size = 1 << 16
        self.raw = b""
        self.streams = {}
        self.block = None  # (stream, flags, bytes) of an unfinished block
        self.goaway = None  # the code
        self.n_settings = self.n_settings_acks = 0
        self.pings = []
        self.n_pongs = 0

    def stream(self, number):
        return self.streams.setdefault(number, StreamSeen())

    def take(self, raw):
        """The numbers of streams that moved."""
        self.raw += raw
        new, self.raw = frames.split(self.raw)
        moved = []
        for kind, flags, number, payload in new:
            self.take_frame(kind, flags, number, payload)
            moved.append(number)
        return moved

    def take_frame(self, kind, flags, number, payload):
        if self.block is not None:
            assert kind == frames.CONTINUATION and number == self.block[0]
        if kind in (frames.HEADERS, frames.CONTINUATION):
            assert flags & (frames.PADDED | frames.HAS_PRIORITY) == 0
            before = self.block or (number, flags, b"")
            self.block = (number, before[1], before[2] + payload)
            if flags & frames.END_HEADERS:
                block, self.block = self.block, None
                self.take_block(*block)
        elif kind == frames.DATA:
            st = self.stream(number)
            assert not st.is_over and st.fields is not None, f"late {number}"
            st.body += payload
            st.is_ended = bool(flags & frames.END_STREAM)
        elif kind == frames.RST_STREAM:
            st = self.stream(number)
            assert st.reset is None, f"two resets of {number}"
            st.reset = int.from_bytes(payload, "big")
        elif kind == frames.SETTINGS:
            self.n_settings += not flags & frames.ACK
            self.n_settings_acks += bool(flags & frames.ACK)
        elif kind == frames.PING:
            if flags & frames.ACK:
                self.n_pongs += 1
            else:
                self.pings.append(payload)
        elif kind == frames.GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        else:
            assert kind == frames.WINDOW_UPDATE, kind

    def take_block(self, number, flags, block):
        fields = [(bytes(n), bytes(v))
                  for n, v in self.hpack.decode(block, raw=True)]
        st = self.stream(number)
        assert not st.is_over, f"a head after the end of {number}"
        if st.fields is not None:
            assert flags & frames.END_STREAM, "trailers end streams"
            assert not any(n.startswith(b":") for n, _ in fields)
            st.trailers = fields
        elif self.is_client and dict(fields)[b":status"][:1] == b"1":
            assert not flags & frames.END_STREAM
            st.interim.append(fields)
        else:
            st.fields = fields
        st.is_ended = bool(flags & frames.END_STREAM)


class H2Peer:
    """A client of the gateway."""

    def __init__(self, port, settings=None, handshake=True):
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(True)
        self.is_closed = False
        if handshake:
            own = {4: 1 << 20} if settings is None else settings
            self.sock.sendall(frames.PREFACE + frames.settings(own) +
                              frames.window_update(0, 1 << 24))
            self.wait(lambda: self.reader.n_settings > 0)
            self.sock.sendall(frames.settings(ack=True))

    def send(self, raw, cut="whole", seed=""):
        note("client", f"> {cut} {raw[:300]!r}")
        return send_pieces(self.sock, raw, cut, seed)

    def stream(self, number):
        return self.reader.stream(number)

    def read(self):
        """False: the connection has ended."""
        try:
            raw = self.sock.recv(65536)
        except ConnectionResetError:
            raw = b""
        note("client", f"< {raw[:300]!r}")
        self.reader.take(raw)
        self.is_closed = not raw
        return bool(raw)

    def wait(self, is_done):
        """Reads until it is true; False when the connection ended first."""
        while not is_done():
            if not self.read():
                return bool(is_done())
        return True

    def wait_end(self):
        while self.read():
            pass

    def ask(self, number, path, method="GET", fields=(), credit=0):
        """Asks on stream `number`; True when it was answered."""
        more = frames.window_update(number, credit) if credit else b""
        if not self.send(frames.headers(number, frames.request_fields(
                path, method, more=fields)) + more):
            self.wait_end()
            return False
        st = self.stream(number)
        return self.wait(lambda: st.is_over) and st.is_ended

    def close(self):
        self.sock.close()


def take_told(fields, host):
    """Header pairs (text) without what the gateway tells of the client, which
    must be there once and right."""
    told = [n for n, _ in fields if n in TOLD]
    assert sorted(told) == sorted(TOLD), told
    values = dict(fields)
    assert values["x-forwarded-for"] == values["x-real-ip"] == "127.0.0.1"
    assert values["x-forwarded-proto"] == "http"
    assert values["x-forwarded-host"] == host
    return [f for f in fields if f[0] not in TOLD]


__all__ = ["CUTS", "Closed", "H2Peer", "Reader", "StreamSeen", "frames",
           "note", "pieces", "send_pieces", "take_told"]
