"""A row of the table of HTTP/2 requests: frames in, and out come an answer, a
reset or the end of the connection, its fate, and what the backend saw."""
import dataclasses
import os

import pytest

import h2_wire
from h2_wire import CUTS, H2Peer, frames, take_told
from lib.gateway import Gateway
from lib.wait import new_transcript
from player import Player

LEGS = ("http1", "h2")
CONF = """
workers = 1;
listeners = (
  { name = "http1"; address = "127.0.0.1:@http1@"; },
  { name = "h2"; address = "127.0.0.1:@h2@"; } );
upstreams = {
  one = { endpoints = ( { address = "%s"; } ); };
  two = { endpoints = ( { address = "%s"; } ); protocol = "h2c"; }; };
routes = (
  { path_prefix = "/"; listeners = ["http1"]; upstream = "one"; },
  { path_prefix = "/"; listeners = ["h2"]; upstream = "two"; } );
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A whole response. A good one says "ok"."""
    status: int = 200


@dataclasses.dataclass(frozen=True)
class Reset:
    """RST_STREAM, and no response before it."""
    code: int = frames.PROTOCOL_ERROR


@dataclasses.dataclass(frozen=True)
class Goaway:
    """The connection ends with this code; None: without a GOAWAY."""
    code: int = frames.PROTOCOL_ERROR


@dataclasses.dataclass(frozen=True)
class Nothing:
    """The stream is not answered: the client has given it up."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """A whole request at the backend. `length`: the content-length that it
    announces; None: none, so that HTTP/1.1 brings a body in chunks."""
    method: str = "GET"
    path: str = "/x"
    host: str = "localhost"
    fields: tuple = ()
    body: bytes = b""
    length: int | None = None
    trailers: tuple = ()
    te: bool = False  # wants trailers

    def _length(self):
        return [] if self.length is None else \
            [("content-length", str(self.length))]

    def http1(self):
        framing = self._length()
        if not framing and (self.body or self.trailers):
            framing = [("transfer-encoding", "chunked")]
        return (f"{self.method} {self.path} HTTP/1.1",
                [("host", self.host), *self.fields, *framing],
                self.body, [] if self._length() else list(self.trailers))

    def h2(self):
        te = [("te", "trailers")] if self.te else []
        return ([(":method", self.method), (":scheme", "http"),
                 (":authority", self.host), (":path", self.path)],
                [*self.fields, *te, *self._length()], self.body,
                list(self.trailers))


@dataclasses.dataclass(frozen=True)
class H2Row:
    """`sent`: bytes, or parts with a pause between, in which the gateway shows
    that it has taken the one before. `want`: of stream 1, or pairs of a stream and what becomes of it; or
    Goaway. `seen`: whole requests, in any order. `begins`: the backend may see
    how a request begins, but its end is that it is given up."""
    id: str
    sent: bytes | tuple
    want: object = Answer()
    seen: tuple = ()
    begins: bool = False
    is_raw: bool = False  # `sent` is all that the client says
    settings: dict | None = None
    after: int = 999  # the stream that asks whether the connection lives

    @property
    def is_end(self):
        return isinstance(self.want, Goaway)

    @property
    def wants(self):
        return self.want if isinstance(self.want, tuple) else ((1, self.want),)


class Bench:
    """The gateway between this table and its backends."""

    def __init__(self, folder, conf=CONF):
        new_transcript()
        self.players = {leg: Player(leg) for leg in LEGS}
        self.gateway = Gateway(conf % tuple(self.players.values()), folder)

    def port(self, leg):
        return self.gateway.port(leg)

    def stop(self):
        try:
            self.gateway.stop()
        finally:
            for player in self.players.values():
                player.stop()


@pytest.fixture(scope="module")
def h2_bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("h2_rows"))
    yield bench
    bench.stop()


def _check_stream(client, number, want):
    st = client.stream(number)
    if isinstance(want, Nothing):
        assert st.fields is None, st
        return
    client.wait(lambda: st.is_over)
    if isinstance(want, Reset):
        assert st.reset == want.code and st.fields is None, \
            f"not {want}: {st}, goaway {client.reader.goaway}"
        return
    assert st.is_ended and st.status == want.status, \
        f"not {want}: {st}, goaway {client.reader.goaway}"
    assert want.status != 200 or st.body == b"ok", st


def _check_client(row, client):
    if row.is_end:
        client.wait_end()
        assert client.reader.goaway == row.want.code, \
            f"{client.reader.goaway} {client.reader.streams}"
        return
    for number, want in row.wants:
        _check_stream(client, number, want)
    credit = 9 if row.settings else 0
    assert client.ask(row.after, "/ok", credit=credit), \
        f"the connection ended: {client.reader.goaway}"
    assert client.reader.goaway is None


def _check_one(leg, request, host):
    """What the backend saw, without what the gateway tells of the client."""
    fields = take_told(request.fields, host)
    return (request.line, fields, request.body, request.trailers)


def _check_backend(row, leg, player):
    player.sync()
    came = [r for r in player.requests if r.path != "/ok"]
    half = [r for r in came if not r.is_whole]
    assert row.begins or not half, half
    for r in half:
        player.wait(lambda r=r: r.conn.is_gone or r.reset is not None,
                    f"{r} is given up")
    assert not any(c.raw for c in player.conns if leg == "http1"
                   and not c.is_gone and c.open is None), "half a head"
    want = [getattr(s, leg)() for s in row.seen]
    whole = [r for r in came if r.is_whole]
    assert len(whole) == len(want), whole
    got = [_check_one(leg, r, s.host) for r, s in zip(whole, row.seen)] \
        if len(row.seen) == 1 else \
        [_check_one(leg, r, "localhost") for r in whole]
    assert sorted(got, key=repr) == sorted(want, key=repr)


def _send(row, client, cut):
    if isinstance(row.sent, bytes):
        client.send(row.sent, cut, row.id)
        return
    for part in row.sent:
        n_pongs = client.reader.n_pongs
        client.send(part + frames.ping(), cut, row.id)
        if not client.wait(lambda n=n_pongs: client.reader.n_pongs > n):
            return


def run_cut(row, leg, bench, cut):
    player = bench.players[leg]
    player.begin_row()
    client = H2Peer(bench.port(leg), row.settings, not row.is_raw)
    try:
        _send(row, client, cut)
        _check_client(row, client)
    finally:
        client.close()
    if row.is_end:
        other = H2Peer(bench.port(leg))
        try:
            assert other.ask(1, "/ok")
        finally:
            other.close()
    _check_backend(row, leg, player)


def run(row, leg, bench):
    """The row whole, byte by byte and in random cuts."""
    new_transcript()
    for cut in CUTS:
        try:
            run_cut(row, leg, bench, cut)
        except BaseException as error:
            show = h2_wire.note.__globals__["transcript"].show()
            raise AssertionError(
                f"{row.id}, {leg}, {cut}: {error}\n{show[-6000:]}") from error


def parameters(rows):
    """The rows for pytest; an id that comes twice is an error."""
    ids = [row.id for row in rows]
    assert len(set(ids)) == len(ids), \
        sorted(i for i in set(ids) if ids.count(i) > 1)
    return pytest.mark.parametrize("row", rows, ids=ids)


__all__ = ["Answer", "Bench", "Goaway", "H2Row", "LEGS", "Nothing", "Reset",
           "Seen", "h2_bench", "os", "parameters", "run"]
