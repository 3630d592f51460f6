"""A row of the tables of responses: what a backend sends, and what the clients
of both protocols got of it, how often the backend was asked, and whether its
connection was used again."""
import dataclasses

import pytest

import h2_wire
from h2_wire import CUTS, H2Peer, frames
from lib.client import connect, request
from lib.stream import Closed, Stream
from lib.wait import new_transcript
from player import HELLO, Play
from row_h2 import Bench, parameters

CLIENTS = ("http1", "h2")
# Written by the gateway for itself; other tests look at them.
OURS = ("date", "x-request-id", "server", "via")
FRAMING = ("content-length", "transfer-encoding", "connection")
NO_H2 = ("connection", "upgrade")
WEBSOCKET = (("Connection", "Upgrade"), ("Upgrade", "websocket"),
             ("Sec-WebSocket-Version", "13"),
             ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))


@dataclasses.dataclass(frozen=True)
class Ask:
    """What is asked. `unsent`: the end of the body, which the client keeps
    until it has the answer."""
    method: str = "GET"
    fields: tuple = ()
    body: bytes | None = None
    unsent: bytes = b""


@dataclasses.dataclass(frozen=True)
class Got:
    """A whole answer. `length`: the content-length that must be said, where no
    body tells. `interim`: pairs of a status and its fields."""
    status: int = 200
    body: bytes = b""
    fields: tuple = ()
    trailers: tuple = ()
    interim: tuple = ()
    length: int | None = None


@dataclasses.dataclass(frozen=True)
class Bad:
    """An error of the gateway in the place of an answer."""
    status: int = 502
    interim: tuple = ()


@dataclasses.dataclass(frozen=True)
class Cut:
    """An answer that the client sees to be incomplete. `body`: all that it
    may have got of it."""
    body: bytes = b""


@dataclasses.dataclass(frozen=True)
class ResponseRow:
    """`sent`: bytes, or a function of a stream's number. `end`: "open": the
    backend waits for more; "fin": closes; "shut": says FIN and waits; "rst":
    resets as soon as the client has what is to come."""
    id: str
    sent: object
    want: object = Bad()
    end: str = "open"
    reused: bool = False
    ask: Ask = Ask()
    h2: object = None  # what a client of HTTP/2 gets, when it is another thing
    attempts: int | None = 1  # None: who knows
    early: bool = False  # the answer comes before the request is whole
    hello: bytes | None = None  # the backend's first bytes of HTTP/2
    is_warm: bool = True  # the connection has served a request before

    def want_of(self, client):
        return self.h2 if client == "h2" and self.h2 else self.want


def _plain(fields):
    """Pairs of text without framing and without what is ours."""
    text = [(n.decode() if isinstance(n, bytes) else n,
             v.decode("latin-1") if isinstance(v, bytes) else v)
            for n, v in fields]
    return [f for f in text if f[0] not in OURS + FRAMING and f[0][0] != ":"]


def _body_so_far(raw):
    """The body of an HTTP/1.1 response that was cut off."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while b"\r\n" in rest:
        line, rest = rest.split(b"\r\n", 1)
        body += rest[:int(line, 16)]
        rest = rest[int(line, 16) + 2:]
    return body


class OldBytes:
    """A socket that has nothing but these bytes."""

    def __init__(self, raw):
        self.raw = raw

    def settimeout(self, seconds):
        pass

    def recv(self, _):
        raw, self.raw = self.raw, b""
        return raw


class H1Client:
    """The HTTP/1.1 side of a row."""

    def __init__(self, port):
        self.stream = connect(port)

    def ask(self, ask, path="/x"):
        body = None if ask.body is None else ask.body + ask.unsent
        raw = request(path, ask.method, fields=ask.fields, body=body)
        self.method = ask.method
        self.stream.send(raw[:len(raw) - len(ask.unsent)])

    def wait_body(self, body):
        while _body_so_far(self.stream.buffer) != body or \
                b"\r\n\r\n" not in self.stream.buffer:
            self.stream.need()

    def check_got(self, want):
        got = self.stream.recv_response(self.method)
        assert got.status == want.status, got
        if want.status == 101:
            got.body = self.stream.recv_exact(len(want.body))
            self.stream.close()
        assert got.body == want.body, got
        if want.length is not None:
            assert got.all("content-length") == [str(want.length)], got
        if want.status in (204, 101):
            assert not got.all("content-length"), got
        assert [(m.status, _plain(m.fields)) for m in got.informational] == \
            [(s, list(f)) for s, f in want.interim]
        assert not any(m.all(n) for m in got.informational for n in FRAMING)
        assert [f for f in _plain(got.fields) if want.status != 101 or
                f[0] != "upgrade"] == list(want.fields), got
        assert got.trailers == list(want.trailers), got
        return got.headers.get("connection") != "close"

    def check_bad(self, want):
        got = self.stream.recv_response(self.method)
        assert got.status == want.status, got
        assert [m.status for m in got.informational] == \
            [s for s, _ in want.interim]
        assert b"evil" not in got.body and "evil" not in repr(got.fields)
        assert self.method == "HEAD" or b"request id" in got.body
        return got.headers.get("connection") != "close"

    def check_cut(self, want):
        raw = self.stream.recv_all()
        try:
            got = Stream(OldBytes(raw), "client").recv_response(self.method)
        except Closed:
            assert b"evil" not in raw, raw
            assert want.body.startswith(_body_so_far(raw)), raw
            return False
        raise AssertionError(f"looks whole: {got}")

    def send_rest(self, ask):
        self.stream.send(ask.unsent)

    def ok(self):
        self.ask(Ask(), "/ok")
        return self.stream.recv_response().body == b"ok"

    def close(self):
        self.stream.close()


class H2Client:
    """The HTTP/2 side of a row."""

    def __init__(self, port):
        self.peer = H2Peer(port)
        self.number = -1

    def ask(self, ask, path="/x"):
        self.number += 2
        more = [(n.lower(), v) for n, v in ask.fields
                if n.lower() not in NO_H2]
        if ask.body is not None:
            more.append(("content-length", str(len(ask.body + ask.unsent))))
        raw = frames.headers(self.number, frames.request_fields(
            path, ask.method, more=more), ask.body is None)
        if ask.body is not None:
            raw += frames.data(self.number, ask.body, not ask.unsent)
        self.peer.send(raw)
        self.seen = self.peer.stream(self.number)

    def wait_body(self, body):
        assert self.peer.wait(lambda: self.seen.body == body)

    def wait_over(self):
        assert self.peer.wait(lambda: self.seen.is_over), "connection ended"

    def check_got(self, want):
        self.wait_over()
        st = self.seen
        assert st.is_ended and st.status == want.status, st
        assert st.body == want.body and st.reset in (None, 0), st
        lengths = [int(v) for n, v in st.fields if n == b"content-length"]
        assert len(lengths) <= 1, st
        if want.length is not None:
            assert lengths == [want.length], st
        elif lengths and want.status not in (204, 304):
            assert lengths == [len(want.body)], st
        assert [(int(dict(f)[b":status"]), _plain(f)) for f in st.interim] == \
            [(s, list(f)) for s, f in want.interim]
        names = [n for f in [st.fields, *st.interim] for n, _ in f]
        assert b"connection" not in names
        assert b"transfer-encoding" not in names
        assert _plain(st.fields) == list(want.fields), st
        assert _plain(st.trailers or ()) == list(want.trailers), st
        return True

    def check_bad(self, want):
        self.wait_over()
        st = self.seen
        assert st.is_ended and st.status == want.status, st
        assert [int(dict(f)[b":status"]) for f in st.interim] == \
            [s for s, _ in want.interim]
        assert b"evil" not in st.body and "evil" not in repr(st.fields)
        return True

    def check_cut(self, want):
        self.wait_over()
        st = self.seen
        assert st.reset == frames.INTERNAL_ERROR and not st.is_ended, st
        assert want.body.startswith(st.body) and b"evil" not in st.body, st
        return True

    def send_rest(self, ask):
        self.peer.send(frames.data(self.number, ask.unsent, True))

    def ok(self):
        self.ask(Ask(), "/ok")
        self.wait_over()
        return self.seen.is_ended and self.seen.body == b"ok"

    def close(self):
        self.peer.close()


def _client(name, port):
    return H1Client(port) if name == "http1" else H2Client(port)


def _check(client, want):
    if isinstance(want, Got):
        return client.check_got(want)
    if isinstance(want, Bad):
        return client.check_bad(want)
    return client.check_cut(want)


def _ok_on_new(port):
    client = H1Client(port)
    try:
        assert client.ok()
    finally:
        client.close()


def _check_conn(row, player):
    """After the request for /ok that came last."""
    player.sync()
    came = [r for r in player.requests if r.path != "/ok"]
    assert row.attempts in (None, len(came)), came
    last = player.requests[-1]
    assert last.path == "/ok"
    assert all(r.is_whole for r in came) or row.ask.unsent
    if row.reused:
        assert last.conn is came[-1].conn, "on another connection"
        return
    for r in came:
        assert last.conn is not r.conn, "on the same connection"
        player.wait(lambda r=r: r.conn.is_gone, "the connection ends")


def _begin(row, player, port, cut):
    """A backend that is about to play, with at most one connection."""
    player.begin_row(fresh=player.protocol == "h2")
    player.hello = HELLO if row.hello is None else row.hello
    if row.is_warm:
        _ok_on_new(port)
    player.begin_row(Play(row.sent, row.end, cut, row.id, row.early))


def run_cut(row, name, player, port, cut):
    want = row.want_of(name)
    _begin(row, player, port, cut)
    client = _client(name, port)
    try:
        client.ask(row.ask)
        if row.end == "rst":
            client.wait_body(want.body)
            player.sync()
            player.reset_conn(player.requests[-1].conn)
        lives = _check(client, want)
        player.sync()  # all is sent
        player.hello = HELLO
        if row.ask.unsent:
            client.send_rest(row.ask)
        if name == "h2" or (lives and isinstance(want, Got) and
                            want.status != 101):
            assert client.ok(), "another request is not served"
        else:
            _ok_on_new(port)
        if name == "http1" or row.h2 is None:
            _check_conn(row, player)
    finally:
        client.close()


def run(row, name, player, port):
    """The row whole, byte by byte and in random cuts."""
    new_transcript()
    for cut in CUTS:
        try:
            run_cut(row, name, player, port, cut)
        except BaseException as error:
            show = h2_wire.note.__globals__["transcript"].show()
            raise AssertionError(
                f"{row.id}, {name}, {cut}: {error!r}\n{show[-6000:]}"
            ) from error


@pytest.fixture(scope="module")
def response_bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("response_rows"))
    yield bench
    bench.stop()


__all__ = ["Ask", "Bad", "CLIENTS", "Cut", "Got", "ResponseRow", "WEBSOCKET",
           "frames", "parameters", "response_bench", "run"]
