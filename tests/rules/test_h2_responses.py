"""What a backend may send over HTTP/2, and what its clients get of it (RFC
9113). "evil" never reaches a client. A number in "CVE" or "row" is the lesson
that the row keeps."""
import struct

import pytest

from row_response import (CLIENTS, Ask, Bad, Cut, Got, ResponseRow, frames,
                          parameters, response_bench, run)

F = frames
Row = ResponseRow
POST = Ask("POST", body=b"12345")
HEAD = Ask("HEAD")
TRAILERS = Ask(fields=(("TE", "trailers"),))
FOUR = Got(body=b"four")
HALF = Cut(b"half")


def raw_head(n, block, end=False, flags=F.END_HEADERS):
    return F.frame(F.HEADERS, n, block, flags | (F.END_STREAM if end else 0))


def head(n, *fields, status="200", end=False):
    return raw_head(n, F.block([(":status", status), *fields]), end)


def tail(n, *fields, end=True):
    return raw_head(n, F.block(fields), end)


def length(text):
    return ("content-length", str(text))


def answer(*fields, status="200", body=b"four"):
    """A function of the stream's number, as all rows have."""
    return lambda n: head(n, *fields, status=status) + F.data(n, body, True)


def behind_half(text):
    """What comes behind a head and half a body."""
    return lambda n: head(n) + F.data(n, b"half") + text(n)


# ---- heads: the stream is malformed, the connection lives ----------------
HEADS = [Row(f"head, {what}", lambda n, f=fields: raw_head(
    n, F.block(f)) + F.data(n, b"evil", True), reused=True)
         for what, *fields in [
    ("no status", ("x-a", "b")),
    ("no field",),
    ("status twice", (":status", "200"), (":status", "200")),
    ("status behind a field", ("x-a", "b"), (":status", "200")),
    ("status empty", (":status", "")),
    ("status with a letter", (":status", "2x0")),
    ("status of 2 digits", (":status", "20")),
    ("status of 4 digits", (":status", "2000")),
    ("status with a sign", (":status", "+20")),
    ("status with a reason", (":status", "200 OK")),
    ("status 099", (":status", "099")),
    ("status 600", (":status", "600")),
    ("status 101", (":status", "101")),  # R-H2-13, 8.6
    ("a pseudo-field of requests", (":status", "200"), (":path", "/evil")),
    ("an unknown pseudo-field", (":status", "200"), (":foo", "evil")),
    ("upper case in a name", (":status", "200"), ("X-a", "evil")),
    ("empty name", (":status", "200"), ("", "evil")),
    ("blank in a name", (":status", "200"), ("x a", "evil")),
    ("colon in a name", (":status", "200"), ("x:a", "evil")),
    ("LF in a name", (":status", "200"), ("x\na", "evil")),
    ("NUL in a value", (":status", "200"), ("x-a", "\0evil")),
    # CVE-2023-38709 and its family: a response is split
    ("CRLF in a value", (":status", "200"), ("x-a", "b\r\nset-cookie: evil")),
    ("LF in a value", (":status", "200"), ("x-a", "b\nevil")),
    ("DEL in a value", (":status", "200"), ("x-a", "b\x7fevil")),
    ("blank before a value", (":status", "200"), ("x-a", " evil")),
    ("blank behind a value", (":status", "200"), ("x-a", "evil ")),
    ("connection", (":status", "200"), ("connection", "close")),
    ("transfer-encoding", (":status", "200"),
     ("transfer-encoding", "chunked")),
    ("keep-alive", (":status", "200"), ("keep-alive", "5")),
    ("proxy-connection", (":status", "200"), ("proxy-connection", "a")),
    ("upgrade", (":status", "200"), ("upgrade", "websocket")),
    ("length with a sign", (":status", "200"), length("+4")),
    ("length empty", (":status", "200"), length("")),
    ("length a list", (":status", "200"), length("4, 4")),
    ("length twice", (":status", "200"), length(4), length(4)),
    ("length 2^63", (":status", "200"), length(1 << 63)),
    ("101 fields", (":status", "200"), *[("x-a", "b")] * 101),
    ("an interim status that has a length twice", (":status", "103"),
     length(4), length(4)),
]] + [
    Row("head, length, but it ends the stream",  # R-H2-6
        lambda n: head(n, length(4), end=True), reused=True),
    Row("head, an interim one ends the stream",
        lambda n: head(n, status="103", end=True), reused=True),
    Row("head, 32 KiB of fields",
        lambda n: F.frame(F.HEADERS, n, F.block(
            [(":status", "200"), ("x-a", "b" * 12000)])) +
        F.continuation(n, F.block([("x-a", "b" * 12000)]), False) +
        F.continuation(n, F.block([("x-a", "b" * 12000)])) +
        F.data(n, b"evil", True), reused=True),
    Row("head, nine interim ones",  # row 15 of faults
        lambda n: head(n, status="103") * 9 + answer(body=b"evil")(n),
        Bad(interim=((103, ()),) * 8), reused=True),
    Row("head, garbage behind an interim one",
        lambda n: head(n, status="103") + head(n, ("X", "evil")),
        Bad(interim=((103, ()),)), reused=True),
]

# ---- bodies and trailers -------------------------------------------------
BODIES = [Row(f"body, {what}", behind_half(text), HALF, reused=True)
          for what, text in [
    # CVE-2026-73513
    ("trailers without the end", lambda n: tail(n, ("x-a", "b"), end=False)),
    ("a second head", lambda n: head(n, ("x-a", "evil"), end=True)),
    ("an interim head", lambda n: head(n, status="103")),
    ("a pseudo-field in trailers", lambda n: tail(n, (":path", "/evil"))),
    ("upper case in trailers", lambda n: tail(n, ("X-A", "evil"))),
    ("CRLF in trailers", lambda n: tail(n, ("x-a", "b\r\nc: evil"))),
    ("a connection field in trailers", lambda n: tail(n, ("connection",
                                                          "x-a"))),
    ("33 trailers", lambda n: tail(n, *[("x-a", "b")] * 33)),
    ("8 KiB of trailers", lambda n: tail(n, ("x-a", "b" * 9000))),
    ("reset", lambda n: F.rst(n, F.INTERNAL_ERROR)),  # row 6 of faults
    ("cancelled", lambda n: F.rst(n, F.CANCEL)),
    ("reset without an error", lambda n: F.rst(n, F.NO_ERROR)),
    ("refused too late", lambda n: F.rst(n, F.REFUSED_STREAM)),
    ("reset twice", lambda n: F.rst(n) + F.rst(n)),
    # CVE-2021-32781
    ("reset, then data", lambda n: F.rst(n) + F.data(n, b"evil", True)),
    ("a window over 2^31-1", lambda n: F.window_update(n, (1 << 31) - 1)),
]] + [
    Row("body, shorter than its length",
        lambda n: head(n, length(5)) + F.data(n, b"half", True), HALF,
        reused=True),
    Row("body, shorter, and an empty frame ends it",
        lambda n: head(n, length(5)) + F.data(n, b"half") +
        F.data(n, b"", True), HALF, reused=True),
    Row("body, shorter, and trailers end it",
        lambda n: head(n, length(5)) + F.data(n, b"half") +
        tail(n, ("x-a", "b")), HALF, reused=True),
    Row("body, longer than its length",  # row 9 of faults
        lambda n: head(n, length(4)) + F.data(n, b"halfevil", True), HALF,
        reused=True),
    Row("body, longer by a frame",
        lambda n: head(n, length(4)) + F.data(n, b"half") +
        F.data(n, b"evil", True), HALF, reused=True),
    Row("body, length 0 and data",
        lambda n: head(n, length(0)) + F.data(n, b"evil", True),
        reused=True),
]

# ---- no answer: who may be asked again (rows 5, 17, 18 of faults) --------
NONE = [
    Row("none, refused", lambda n: F.rst(n, F.REFUSED_STREAM), attempts=2,
        reused=True),
    Row("none, refused a POST", lambda n: F.rst(n, F.REFUSED_STREAM),
        ask=POST, attempts=2, reused=True),
    Row("none, cancelled", lambda n: F.rst(n, F.CANCEL), attempts=2,
        reused=True),
    Row("none, reset a POST", lambda n: F.rst(n, F.INTERNAL_ERROR), ask=POST,
        reused=True),
    Row("none, HTTP/1.1 is wanted", lambda n: F.rst(n, 13), attempts=2,
        reused=True),
    Row("none, FIN", lambda n: b"", end="fin", attempts=2),
    Row("none, FIN behind a POST", lambda n: b"", end="fin", ask=POST),
    Row("none, RST", lambda n: b"", end="rst now", attempts=2),
    Row("none, GOAWAY that passes it over",
        lambda n: F.frame(F.GOAWAY, 0, struct.pack(">II", 0, 0)),
        attempts=2),
    Row("none, GOAWAY that passes a POST over",
        lambda n: F.frame(F.GOAWAY, 0, struct.pack(">II", 0, 0)), ask=POST,
        attempts=2),
    Row("none, GOAWAY and FIN",
        lambda n: F.frame(F.GOAWAY, 0, struct.pack(">II", n, 2)), end="fin",
        attempts=2),
    # CVE-2023-35945
    Row("none, reset and GOAWAY",
        lambda n: F.rst(n, F.INTERNAL_ERROR) +
        F.frame(F.GOAWAY, 0, struct.pack(">II", n, 2)), ask=POST),
    # CVE-2021-32780
    Row("none, GOAWAY and a SETTINGS of no streams",
        lambda n: F.frame(F.GOAWAY, 0, struct.pack(">II", 0, 0)) +
        F.settings({3: 0}), attempts=2),
]

# ---- the connection ends -------------------------------------------------
FATAL = [Row(f"fatal, {what}", text) for what, text in [
    ("SETTINGS of 5 bytes", lambda n: F.frame(F.SETTINGS, 0, bytes(5))),
    ("SETTINGS on a stream", lambda n: F.frame(F.SETTINGS, n, b"")),
    ("frame size of 0", lambda n: F.settings({5: 0})),  # CVE-2026-33814
    ("window of 2^31", lambda n: F.settings({4: 1 << 31})),
    ("push on by a server", lambda n: F.settings({2: 1})),
    ("an ACK that nobody waits for", lambda n: F.settings(ack=True) * 2),
    ("PING of 7 bytes", lambda n: F.frame(F.PING, 0, bytes(7))),
    ("PING on a stream", lambda n: F.frame(F.PING, n, bytes(8))),
    ("GOAWAY on a stream", lambda n: F.frame(F.GOAWAY, n, bytes(8))),
    ("WINDOW_UPDATE of nothing", lambda n: F.window_update(0, 0)),
    ("WINDOW_UPDATE over 2^31-1",
     lambda n: F.window_update(0, (1 << 31) - 1)),
    ("HEADERS on 0", lambda n: raw_head(0, F.block([(":status", "200")]))),
    ("HEADERS on an even stream", lambda n: head(2, end=True)),
    ("HEADERS on an idle stream", lambda n: head(n + 2, end=True)),
    ("DATA on an idle stream", lambda n: F.data(n + 2, b"evil")),
    ("RST_STREAM of an idle stream", lambda n: F.rst(n + 2)),
    ("WINDOW_UPDATE of an idle stream", lambda n: F.window_update(n + 2, 1)),
    ("PUSH_PROMISE", lambda n: F.frame(
        F.PUSH_PROMISE, n, struct.pack(">I", 2) + F.block(
            F.request_fields("/evil")), F.END_HEADERS)),
    ("CONTINUATION of nothing", lambda n: F.continuation(n, b"")),
    ("PING within a head", lambda n: raw_head(
        n, F.block([(":status", "200")]), True, 0) + F.ping()),
    ("a frame over 16 KiB", lambda n: F.frame(0x2a, 0, b"x" * 16385)),
    ("a frame of an announced 2^24-1",
     lambda n: F.frame(F.DATA, n, b"x" * 64, 0, (1 << 24) - 1)),
    ("padding longer than its frame", lambda n: F.frame(
        F.HEADERS, n, b"\xff\x88", F.END_HEADERS | F.PADDED)),
    ("priority in a short head", lambda n: F.frame(
        F.HEADERS, n, b"\0\0", F.END_HEADERS | F.HAS_PRIORITY)),
    ("HPACK index 0", lambda n: raw_head(n, b"\x88\x80")),
    ("HPACK index behind the table", lambda n: raw_head(n, b"\x88\xff\x7f")),
    ("HPACK cut off", lambda n: raw_head(n, b"\x88\x00\x7e")),
    ("HPACK table over 4 KiB", lambda n: raw_head(n, b"\x3f\xe2\x1f\x88")),
    # CVE-2024-28182 and its family
    ("CONTINUATION without end", lambda n: raw_head(
        n, F.block([(":status", "200")]), True, 0) +
     F.continuation(n, F.block([("x-a", "b")]), False) * 100),
    # CVE-2026-49975
    ("one entry named 4,000 times", lambda n: raw_head(
        n, b"\x88\x40\x03x-a\x7f\xa1\x1e" + b"b" * 4000 + b"\xbe" * 4000)),
    ("a body in the place of frames", lambda n: b"HTTP/1.1 200 OK\r\n\r\n"),
    ("PING flood", lambda n: F.ping() * 1500),  # CVE-2019-9512
    ("SETTINGS flood", lambda n: F.settings({3: 100}) * 100),
    ("SETTINGS of 2,400 entries", lambda n: F.frame(
        F.SETTINGS, 0, struct.pack(">HI", 0x1234, 1) * 2400)),
    ("a flood of unknown frames",
     lambda n: F.frame(0x2a, 0, b"x") * 1500),
    ("DATA before a head", lambda n: F.data(n, b"evil", True)),
]] + [
    Row("fatal, FIN within a body", behind_half(lambda n: b""), HALF, "fin"),
    Row("fatal, RST within a body", behind_half(lambda n: b""), HALF, "rst"),
    Row("fatal, a broken frame behind half a body",
        behind_half(lambda n: F.frame(F.PING, 0, bytes(7))), HALF),
    Row("fatal, empty DATA frames",  # CVE-2019-9518
        behind_half(lambda n: F.data(n) * 1500), HALF),
    Row("fatal, DATA behind the end",
        lambda n: answer()(n) + F.data(n, b"evil", True), FOUR,
        reused=True),
]
HELLOS = [
    Row("hello, a server of HTTP/1.1", lambda n: b"",
        hello=b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        is_warm=False, attempts=None),
    Row("hello, no SETTINGS first", lambda n: b"", hello=F.ping(),
        is_warm=False, attempts=None),
    Row("hello, a frame size of 0", lambda n: b"",
        hello=F.settings({5: 0}), is_warm=False, attempts=None),
    Row("hello, nothing but FIN", lambda n: b"", end="fin", hello=b"",
        is_warm=False, attempts=1),
]

# ---- legal ---------------------------------------------------------------


def legal(what, sent, want=FOUR, reused=True, **kw):
    return Row(f"legal, {what}", sent, want, reused=reused, **kw)


def kept(*pairs, **kw):
    return Got(body=b"four", fields=pairs, **kw)


LEGAL = [
    legal("an answer", answer()),
    legal("with a length", answer(length(4))),
    legal("with zeros before its length", answer(length("0004"))),
    legal("without a body", lambda n: head(n, end=True), Got()),
    legal("with a length of 0", lambda n: head(n, length(0), end=True),
          Got(length=0)),
    legal("an end of its own behind a length of 0",
          lambda n: head(n, length(0)) + F.data(n, b"", True), Got(length=0)),
    legal("trailers behind a length of 0",
          lambda n: head(n, length(0)) + tail(n, ("x-a", "b")),
          Got(length=0)),
    legal("an end of its own", lambda n: head(n) + F.data(n, b"four") +
          F.data(n, b"", True)),
    legal("an end of its own behind a length",
          lambda n: head(n, length(4)) + F.data(n, b"four") +
          F.data(n, b"", True)),
    legal("bytes one by one", lambda n: head(n) + b"".join(
        F.data(n, bytes([c])) for c in b"four") + F.data(n, b"", True)),
    legal("trailers", lambda n: head(n) + F.data(n, b"four") +
          tail(n, ("x-a", "b"), ("x-c", "d")),
          Got(body=b"four", trailers=(("x-a", "b"), ("x-c", "d"))),
          ask=TRAILERS),
    legal("trailers that are not wanted",
          lambda n: head(n) + F.data(n, b"four") + tail(n, ("x-a", "b"))),
    legal("trailers that must not be any",
          lambda n: head(n) + F.data(n, b"four") + tail(
              n, ("set-cookie", "evil"), ("content-type", "a/evil"),
              ("x-daemun-a", "evil"), ("x-a", "b")),
          Got(body=b"four", trailers=(("x-a", "b"),)), ask=TRAILERS),
    legal("HEAD", lambda n: head(n, length(4), end=True), Got(length=4),
          ask=HEAD),
    legal("HEAD without a length", lambda n: head(n, end=True), Got(),
          ask=HEAD),
    legal("HEAD that an empty frame ends",
          lambda n: head(n, length(4)) + F.data(n, b"", True),
          Got(length=4), ask=HEAD),
    legal("204", lambda n: head(n, status="204", end=True), Got(204)),
    legal("304 with a length",
          lambda n: head(n, length(4), status="304", end=True),
          Got(304, length=4)),
    legal("103", lambda n: head(n, ("link", "</a>"), status="103") +
          answer()(n), Got(body=b"four", interim=((103, (("link", "</a>"),)),
                                                  ))),
    legal("100", lambda n: head(n, status="100") + answer()(n)),
    legal("eight of 103", lambda n: head(n, status="103") * 8 + answer()(n),
          Got(body=b"four", interim=((103, ()),) * 8)),
    legal("an error", answer(status="503"), Got(503, b"four")),
    legal("padding", lambda n: F.frame(
        F.HEADERS, n, b"\x07\x88" + bytes(7), F.END_HEADERS | F.PADDED) +
          F.frame(F.DATA, n, b"\xfffour" + bytes(255),
                  F.PADDED | F.END_STREAM)),
    legal("priority in the head", lambda n: raw_head(
        n, struct.pack(">IB", 3, 9) + b"\x88", False,
        F.END_HEADERS | F.HAS_PRIORITY) + F.data(n, b"four", True)),
    legal("a head in pieces", lambda n: F.frame(F.HEADERS, n, b"\x88") +
          F.continuation(n, b"\x00\x03x-", False) +
          F.continuation(n, b"a\x01b") + F.data(n, b"four", True),
          kept(("x-a", "b"))),
    legal("the dynamic table", lambda n: raw_head(
        n, b"\x20\x3f\xe1\x1f\x88\x40\x03x-a\x01b\xbe") +
          F.data(n, b"four", True), kept(("x-a", "b"), ("x-a", "b"))),
    legal("Huffman", lambda n: raw_head(n, F.block(
        [(":status", "200"), ("x-a", "b c~")], True)) +
          F.data(n, b"four", True), kept(("x-a", "b c~"))),
    legal("unknown frames", lambda n: F.frame(0x0c, 0, b"a") +
          head(n) + F.frame(0xfe, n, b"b", 0xff) + F.data(n, b"four", True)),
    legal("control frames in between", lambda n: F.ping() + head(n) +
          F.settings({3: 50}) + F.window_update(0, 5) + F.data(n, b"fo") +
          F.window_update(n, 7) + F.frame(F.PRIORITY, n, bytes(5)) +
          F.ping() + F.data(n, b"ur", True)),
    legal("fields twice, empty, and high bytes",
          answer(("set-cookie", "a=b"), ("set-cookie", "c=d"), ("x-a", ""),
                 ("x-b", "\xe9")),
          kept(("set-cookie", "a=b"), ("set-cookie", "c=d"), ("x-a", ""),
               ("x-b", "\xe9"))),
    legal("an underscore in a name", answer(("x_a", "b")),
          kept(("x_a", "b"))),
    legal("fields of one hop that 9113 does not name",
          answer(("trailer", "x-a"), ("proxy-authenticate", "Basic"),
                 ("x-daemun-a", "evil"), ("x-a", "b")), kept(("x-a", "b"))),
    legal("a large body", lambda n: head(n) + b"".join(
        F.data(n, b"0123456789" * 1000, i == 3) for i in range(4)),
          Got(body=b"0123456789" * 4000)),
    legal("a POST", answer(), ask=POST),
    legal("before the request is whole", lambda n: answer()(n) +
          F.rst(n, F.NO_ERROR), ask=Ask("POST", body=b"123", unsent=b"45"),
          early=True),
    legal("GOAWAY that lets it end",  # row 17 of faults
          lambda n: F.frame(F.GOAWAY, 0, struct.pack(">II", n, 0)) +
          answer()(n), reused=False),
    legal("GOAWAY without a limit", lambda n: F.frame(
        F.GOAWAY, 0, struct.pack(">II", (1 << 31) - 1, 0)) + answer()(n),
          reused=False),
    legal("FIN behind it", answer(), end="fin", reused=False),
    # row 19 of faults
    legal("no table for requests", answer(),
          hello=F.settings({1: 0}), is_warm=False),
    legal("a window of nothing that opens", lambda n: answer()(n), ask=POST,
          hello=F.settings({4: 0}) + F.settings({4: 5}), is_warm=False),
    legal("one stream at a time", answer(), hello=F.settings({3: 1}),
          is_warm=False),
    legal("no stream, then one", answer(),
          hello=F.settings({3: 0}) + F.settings({3: 1}), is_warm=False),
    legal("frames of 16 MiB allowed", answer(), ask=POST,
          hello=F.settings({5: (1 << 24) - 1}), is_warm=False),
]

ROWS = [*HEADS, *BODIES, *NONE, *FATAL, *HELLOS, *LEGAL]


@pytest.mark.parametrize("client", CLIENTS)
@parameters(ROWS)
def test_row(row, client, response_bench):
    run(row, client, response_bench.players["h2"], response_bench.port("h2"))
