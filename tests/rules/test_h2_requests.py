"""What HTTP/2 clients may send, and what becomes of it (RFC 9113, HPACK is RFC
7541). A number in "CVE" or "row" is the lesson that the row keeps."""
import struct

import pytest

from h2_wire import frames
from row_h2 import (LEGS, Answer, Goaway, H2Row, Nothing, Reset, Seen,
                    h2_bench, parameters, run)

F = frames
END, MORE = True, False
POST = ("POST", "/x")


def fields(*more, method="GET", path="/x", host="localhost", scheme="http"):
    return F.request_fields(path, method, host, scheme, more)


def get(*more, stream=1, end=END, **kw):
    """A GET of /x with these fields more."""
    return F.headers(stream, fields(*more, **kw), end)


def post(*more, stream=1, end=MORE, **kw):
    return F.headers(stream, fields(*more, method="POST", **kw), end)


def raw_head(block, stream=1, flags=F.END_STREAM | F.END_HEADERS):
    return F.frame(F.HEADERS, stream, block, flags)


def without(name, *more):
    return F.headers(1, [f for f in fields() if f[0] != name] + list(more))


def length(n):
    return ("content-length", str(n))


def settings(*pairs):
    return F.frame(F.SETTINGS, 0, b"".join(struct.pack(">HI", *p)
                                           for p in pairs))


MALFORMED = Reset(F.PROTOCOL_ERROR)
BAD = Answer(400)
LARGE = Answer(431)
CALM = Goaway(F.ENHANCE_YOUR_CALM)
PROTOCOL = Goaway(F.PROTOCOL_ERROR)
SIZE = Goaway(F.FRAME_SIZE_ERROR)
FLOW = Goaway(F.FLOW_CONTROL_ERROR)
HPACK = Goaway(F.COMPRESSION_ERROR)
STATE = Goaway(F.STREAM_CLOSED)

# ---- fields (9113 8.2.1, R-H2-1) ----------------------------------------
FIELDS = [H2Row(f"field, {what}", get(field), want) for what, field, want in [
    ("upper case in a name", ("X-a", "b"), MALFORMED),
    ("empty name", ("", "b"), MALFORMED),  # CVE-2023-25725, CVE-2019-9516
    ("blank in a name", ("x a", "b"), MALFORMED),
    ("blank at the end of a name", ("x-a ", "b"), MALFORMED),
    ("colon in a name", ("x:a", "b"), MALFORMED),
    ("NUL in a name", ("x\0a", "b"), MALFORMED),
    ("CR in a name", ("x\ra", "b"), MALFORMED),
    ("LF in a name", ("x\na", "b"), MALFORMED),
    ("a whole line in a name", ("x: b\r\ntransfer-encoding", "chunked"),
     MALFORMED),  # CVE-2023-27491
    ("DEL in a name", ("x\x7fa", "b"), MALFORMED),
    ("high byte in a name", ("x\x80a", "b"), MALFORMED),
    ("delimiter in a name", ("x(a)", "b"), MALFORMED),
    ("vertical tab behind a framing name", ("transfer-encoding\x0b",
                                            "chunked"), MALFORMED),  # R-HDR-6
    ("NUL in a value", ("x-a", "b\0c"), MALFORMED),  # CVE-2019-9900
    ("LF in a value", ("x-a", "b\nc"), MALFORMED),
    ("CR in a value", ("x-a", "b\rc"), MALFORMED),
    ("a smuggled request in a value",
     ("x-a", "b\r\n\r\nGET /evil HTTP/1.1\r\nhost: a"), MALFORMED),
    ("control byte in a value", ("x-a", "b\x01c"), MALFORMED),  # R-HDR-4
    ("DEL in a value", ("x-a", "b\x7fc"), MALFORMED),
    # row 44
    ("blank before a value", ("x-a", " b"), MALFORMED),
    ("blank behind a value", ("x-a", "b "), MALFORMED),
    ("tab before a value", ("x-a", "\tb"), MALFORMED),
    ("tab behind a value", ("x-a", "b\t"), MALFORMED),
    ("a value that is a blank", ("x-a", " "), MALFORMED),
    ("underscore in a name", ("x_a", "b"), BAD),  # R-HDR-5
    ("underscore that spells a length", ("content_length", "5"), BAD),
]]

# ---- connection fields (9113 8.2.2, R-H2-2) ------------------------------
CONNECTION = [H2Row(f"connection field, {what}", get(field), MALFORMED)
              for what, field in [
    ("connection", ("connection", "close")),  # row 42
    ("keep-alive", ("keep-alive", "timeout=5")),
    ("proxy-connection", ("proxy-connection", "keep-alive")),
    # CVE-2026-58150
    ("transfer-encoding", ("transfer-encoding", "chunked")),
    ("transfer-encoding identity", ("transfer-encoding", "identity")),
    ("upgrade", ("upgrade", "h2c")),  # CVE-2022-41721
    ("te gzip", ("te", "gzip")),
    ("te a list", ("te", "trailers, gzip")),
    ("te trailers with a weight", ("te", "trailers;q=0.5")),
]]

# ---- pseudo-fields (9113 8.3, R-H2-3) ------------------------------------
PSEUDO = [
    H2Row("pseudo, no method", without(":method"), MALFORMED),
    H2Row("pseudo, no scheme", without(":scheme"), MALFORMED),
    H2Row("pseudo, no path", without(":path"), MALFORMED),
    H2Row("pseudo, neither authority nor host", without(":authority"),
          MALFORMED),
    H2Row("pseudo, none at all", F.headers(1, [("x-a", "b")]), MALFORMED),
    H2Row("pseudo, an empty head", F.headers(1, []), MALFORMED),
    H2Row("pseudo, method twice",
          F.headers(1, [(":method", "GET"), *fields()]), MALFORMED),
    H2Row("pseudo, scheme twice",
          F.headers(1, [(":scheme", "http"), *fields()]), MALFORMED),
    H2Row("pseudo, authority twice",
          F.headers(1, [(":authority", "localhost"), *fields()]), MALFORMED),
    H2Row("pseudo, path twice",
          F.headers(1, [(":path", "/evil"), *fields()]), MALFORMED),
    H2Row("pseudo, unknown", F.headers(1, [(":foo", "a"), *fields()]),
          MALFORMED),
    H2Row("pseudo, upper case",
          F.headers(1, [(":Method", "GET"), *fields()[1:]]), MALFORMED),
    H2Row("pseudo, one of responses",
          F.headers(1, [(":status", "200"), *fields()]), MALFORMED),
    # Not offered (RFC 8441), row 52.
    H2Row("pseudo, protocol",
          F.headers(1, [(":protocol", "websocket"), *fields()]), MALFORMED),
    H2Row("pseudo, extended CONNECT",
          F.headers(1, [(":protocol", "websocket"),
                        *fields(method="CONNECT")]), MALFORMED),
    # row 43
    H2Row("pseudo, path behind a field",
          F.headers(1, [*fields()[:3], ("x-a", "b"), (":path", "/x")]),
          MALFORMED),
    H2Row("pseudo, a second path behind a field",
          get((":path", "/evil")), MALFORMED),
    H2Row("pseudo, a name of one colon", F.headers(1, [*fields(), (":", "a")]),
          MALFORMED),
    H2Row("pseudo, empty method", get(method=""), MALFORMED),
    H2Row("pseudo, empty scheme", get(scheme=""), MALFORMED),
    H2Row("pseudo, empty path", get(path=""), MALFORMED),
    H2Row("pseudo, empty authority", get(host=""), MALFORMED),
]

# ---- method, scheme (R-H2-4) ---------------------------------------------
METHODS = [
    # CVE-2021-39241, CVE-2021-33193: a request line in the method
    H2Row("method, a request line",
          get(method="GET /evil HTTP/1.1"), MALFORMED),
    H2Row("method, CRLF", get(method="GET\r\n"), MALFORMED),
    H2Row("method, tab", get(method="GET\t"), MALFORMED),
    H2Row("method, delimiter", get(method="GE/T"), MALFORMED),
    H2Row("method, high byte", get(method="G\xc9T"), MALFORMED),
    H2Row("method, 33 bytes", get(method="A" * 33), BAD),
    H2Row("method, TRACE", get(method="TRACE"), Answer(405)),  # R-TGT-9
    H2Row("method, TRACK", get(method="TRACK"), Answer(405)),
    # CVE-2025-64763: CONNECT is off, and its bytes go nowhere.
    H2Row("method, CONNECT",
          F.headers(1, [(":method", "CONNECT"), (":authority", "a:443")],
                    MORE) + F.data(1, b"\x16\x03\x01", END), Answer(405)),
    H2Row("method, CONNECT with a path", get(method="CONNECT"), MALFORMED),
    H2Row("method, CONNECT without a port",  # row 50
          F.headers(1, [(":method", "CONNECT"), (":authority", "a")], END),
          Answer(405)),
    H2Row("scheme, that of TLS", get(scheme="https"), BAD),
    H2Row("scheme, unknown", get(scheme="ftp"), BAD),
    # CVE-2021-39240
    H2Row("scheme, a URL", get(scheme="http://localhost/evil?"), MALFORMED),
    H2Row("scheme, blank", get(scheme="http "), MALFORMED),
    H2Row("scheme, CRLF", get(scheme="http\r\nx: y"), MALFORMED),
]

# ---- path (R-TGT-4, 5.8) -------------------------------------------------
PATHS = [H2Row(f"path, {what}", get(path=path), want)
         for what, path, want in [
    ("no slash first", "x", MALFORMED),  # CVE-2026-33186
    ("absolute form", "http://localhost/x", MALFORMED),
    ("an asterisk for GET", "*", MALFORMED),  # CVE-2025-46821
    ("an asterisk and more", "*/x", MALFORMED),
    ("blank", "/x y", MALFORMED),  # CVE-2022-45060
    ("a request line", "/x HTTP/1.1\r\nhost: a\r\n\r\nGET /evil", MALFORMED),
    ("tab", "/x\ty", MALFORMED),
    ("NUL", "/x\0y", MALFORMED),
    ("LF", "/x\ny", MALFORMED),
    ("DEL", "/x\x7f", MALFORMED),
    ("high byte", "/x\xc3\xa4", BAD),
    ("fragment", "/x#y", BAD),  # CVE-2021-32779, CVE-2023-45539
    ("fragment in the query", "/x?a#b", BAD),
    ("quote", '/x"y', BAD),
    ("angle bracket", "/x<y", BAD),
    ("brace", "/x{y}", BAD),
    ("pipe", "/x|y", BAD),
    ("caret", "/x^y", BAD),
    ("backtick", "/x`y", BAD),
    ("backslash", "/x\\y", BAD),
    ("escape of no hex", "/x%zz", BAD),
    ("escape cut off", "/x%4", BAD),
    ("escaped NUL", "/x%00", BAD),
    ("escaped CRLF", "/x%0d%0a", BAD),
    ("escaped slash", "/x%2fy", BAD),  # CVE-2021-29492
    ("escaped backslash", "/x%5Cy", BAD),
    ("above the root", "/x/../../y", BAD),  # CVE-2019-9901
    ("above the root, escaped", "/%2e%2e/y", BAD),
    ("dots with parameters", "/x/..;a=b/y", BAD),  # CVE-2026-73511
    ("over 8 KiB", "/" + "x" * 8192, Answer(414)),
]]

# ---- authority (R-HST-3, R-H2-5) -----------------------------------------
HOSTS = [H2Row(f"authority, {what}", get(host=host), want)
         for what, host, want in [
    ("userinfo", "user@localhost", BAD),
    ("comma", "a,localhost", BAD),  # row 73
    ("path", "localhost/evil", MALFORMED),
    ("query", "localhost?x", MALFORMED),  # row 73
    ("fragment", "localhost#x", MALFORMED),
    ("blank", "local host", MALFORMED),
    ("CRLF", "localhost\r\nx: y", MALFORMED),  # CVE-2023-29406
    ("backslash", "localhost\\a", MALFORMED),
    ("percent", "local%68ost", BAD),
    ("high byte", "l\xf6calhost", MALFORMED),
    ("two ports", "localhost:80:81", BAD),
    ("port 0", "localhost:0", BAD),
    ("port 65536", "localhost:65536", BAD),
    ("empty port", "localhost:", BAD),
    ("port no number", "localhost:8a", BAD),
    ("empty label", "a..b", BAD),
    ("a dot first", ".a", BAD),
    ("only a port", ":80", BAD),
    ("IPv4 in brackets", "[127.0.0.1]", BAD),  # CVE-2025-47912
    ("a name in brackets", "[localhost]", BAD),
    ("bracket left open", "[::1", BAD),
    ("text behind the bracket", "[::1]a", BAD),
    ("zone", "[fe80::1%25lo]", BAD),
    ("256 bytes", ".".join(["a" * 63] * 4) + "b", BAD),  # CVE-2024-32475
]] + [
    # CVE-2021-39242
    H2Row("host, another than the authority", get(("host", "evil")), BAD),
    H2Row("host, another port", get(("host", "localhost:81")), BAD),
    H2Row("host, twice", get(("host", "localhost"), ("host", "localhost")),
          MALFORMED),  # CVE-2026-73550
    H2Row("host, twice without authority",
          without(":authority", ("host", "a"), ("host", "b")), MALFORMED),
    H2Row("host, malformed beside a good authority",
          get(("host", "local host")), MALFORMED),
    H2Row("host, empty without authority",
          without(":authority", ("host", "")), MALFORMED),
]

# ---- length (R-H2-6) -----------------------------------------------------
LENGTHS = [H2Row(f"length, {what}", post(("content-length", text)) +
                 F.data(1, b"12345", END), want, begins=False)
           for what, text, want in [
    ("plus", "+5", MALFORMED), ("minus", "-5", MALFORMED),
    ("hex", "0x5", MALFORMED), ("blank inside", "5 5", MALFORMED),
    ("list", "5, 5", MALFORMED), ("underscore", "1_0", MALFORMED),
    ("empty", "", MALFORMED),  # CVE-2023-40225
    ("not a number", "five", MALFORMED),  # CVE-2021-32565
    ("2^63", "9223372036854775808", MALFORMED),
    ("20 digits", "00000000000000000005", BAD),  # R-LEN-5
    ("2^64 and 5", "18446744073709551621", MALFORMED),
]] + [
    H2Row("length, twice, equal", post(length(5), length(5)) +
          F.data(1, b"12345", END), MALFORMED),
    H2Row("length, twice, differing", post(length(5), length(6)) +
          F.data(1, b"12345", END), MALFORMED),
    # row 37, CVE-2026-48743
    H2Row("length, but the head ends the stream",
          post(length(5), end=END), MALFORMED),
    H2Row("length, but the trailers end the stream",
          post(length(5)) + F.headers(1, [("x-a", "b")]), MALFORMED,
          begins=True),
    H2Row("length, but an empty frame ends it",  # CVE-2026-33555
          post(length(5)) + F.data(1, b"", END), MALFORMED, begins=True),
    H2Row("length, less data", post(length(5)) + F.data(1, b"123", END),
          MALFORMED, begins=True),  # CVE-2021-36740
    H2Row("length, less data, then trailers",
          post(length(5)) + F.data(1, b"123") + F.headers(1, [("x-a", "b")]),
          MALFORMED, begins=True),
    H2Row("length, more data", post(length(5)) + F.data(1, b"123456", END),
          MALFORMED, begins=True),
    H2Row("length, more data in a second frame",
          post(length(5)) + F.data(1, b"12345") +
          F.data(1, b"GET /evil HTTP/1.1\r\n\r\n", END),
          MALFORMED, begins=True),
    H2Row("length 0, but data",
          post(length(0)) + F.data(1, b"1", END), MALFORMED, begins=True),
    H2Row("length, a GET that carries one",  # CVE-2026-111809
          get(length(5), end=MORE) + F.data(1, b"12345", END), BAD),
    H2Row("length, a GET with data and none",
          get(end=MORE) + F.data(1, b"12345", END), BAD, begins=True),
    H2Row("length, HEAD with one and the end",
          get(length(5), method="HEAD"), MALFORMED),
    H2Row("length, more than the route allows",
          post(length(16777217)) + F.data(1, b"123"), Answer(413)),
]

# ---- singletons, expect, limits ------------------------------------------
LIMITS = [
    H2Row("twice, content-type", get(("content-type", "a/b"),
                                     ("content-type", "a/b")), BAD),
    H2Row("twice, authorization", get(("authorization", "a"),
                                      ("authorization", "b")), BAD),
    H2Row("twice, proxy-authorization", get(("proxy-authorization", "a"),
                                            ("proxy-authorization", "b")),
          BAD),
    H2Row("twice, expect", post(("expect", "100-continue"),
                                ("expect", "100-continue")) +
          F.data(1, b"1", END), BAD),
    H2Row("expect, unknown", post(("expect", "cookies")) +
          F.data(1, b"1", END), Answer(417)),  # R-EXP-1
    H2Row("limits, 101 fields",
          get(*[(f"x-{i}", "a") for i in range(101)]), LARGE),
    H2Row("limits, 101 crumbs of a cookie",  # CVE-2026-47774
          get(*[("cookie", "a=b")] * 101), LARGE),
    H2Row("limits, a value over 16 KiB",
          F.headers(1, fields(), END, False) +
          F.continuation(1, F.block([("x-a", "b" * 16385)])[:16384], False) +
          F.continuation(1, F.block([("x-a", "b" * 16385)])[16384:]), LARGE),
    H2Row("limits, 32 KiB of fields",
          F.headers(1, fields(), END, False) + b"".join(
              F.continuation(1, F.block([(f"x-{i}", "b" * 12000)]), i == 2)
              for i in range(3)), LARGE),
    # CVE-2026-49975: an entry of the table, named again and again
    H2Row("limits, one entry named 4,000 times",
          raw_head(F.block(fields()) + b"\x40\x03x-a" + b"\x7f\xa1\x1e" +
                   b"b" * 4000 + b"\xbe" * 4000), CALM),
    H2Row("limits, 33 trailers",
          post() + F.data(1, b"1") +
          F.headers(1, [(f"x-{i}", "a") for i in range(33)]), LARGE,
          begins=True),
    H2Row("limits, 8 KiB of trailers",
          post() + F.data(1, b"1") +
          F.headers(1, [("x-a", "b" * 8192)]), LARGE, begins=True),
]

# ---- trailers (8.1, 5.7) -------------------------------------------------
TRAILERS = [H2Row(f"trailers, {what}", post() + F.data(1, b"123") + tail,
                  MALFORMED, begins=True) for what, tail in [
    # CVE-2026-73513, R-H2-10
    ("without the end", F.headers(1, [("x-a", "b")], MORE)),
    ("without the end, then data", F.headers(1, [("x-a", "b")], MORE) +
     F.data(1, b"456", END)),
    ("a pseudo-field", F.headers(1, [(":path", "/evil")])),
    ("upper case", F.headers(1, [("X-a", "b")])),
    ("CRLF in a value", F.headers(1, [("x-a", "b\r\nc: d")])),
    ("a connection field", F.headers(1, [("connection", "x-a")])),
    ("transfer-encoding", F.headers(1, [("transfer-encoding", "chunked")])),
    ("a second head", get(path="/evil")),
]] + [
    H2Row("trailers, underscore",
          post() + F.data(1, b"123") + F.headers(1, [("x_a", "b")]), BAD,
          begins=True),
]

# ---- streams (9113 5.1) --------------------------------------------------
OK_GET = get(path="/y", stream=3)
STREAMS = [
    H2Row("stream, DATA before HEADERS", F.data(1, b"x", END), PROTOCOL),
    H2Row("stream, HEADERS on an even one", get(stream=2), PROTOCOL),
    H2Row("stream, HEADERS on 0", get(stream=0), PROTOCOL),
    H2Row("stream, DATA on 0", F.data(0, b"x"), PROTOCOL),
    H2Row("stream, a smaller number",
          post(stream=5) + get(stream=3), STATE, begins=True),
    H2Row("stream, RST_STREAM of an idle one", F.rst(1), PROTOCOL),
    H2Row("stream, RST_STREAM of 0", F.rst(0), PROTOCOL),
    H2Row("stream, WINDOW_UPDATE of an idle one", F.window_update(1, 9),
          PROTOCOL),
    H2Row("stream, CONTINUATION of an idle one",
          F.continuation(1, F.block(fields())), PROTOCOL),
    H2Row("stream, CONTINUATION behind a whole head",
          post() + F.continuation(1, F.block([("x-a", "b")])), PROTOCOL,
          begins=True),
    H2Row("stream, PING within a head",
          F.headers(1, fields(), END, False) + F.ping() +
          F.continuation(1, b""), PROTOCOL),
    H2Row("stream, DATA within a head",
          F.headers(1, fields(), MORE, False) + F.data(1, b"x", END),
          PROTOCOL),
    H2Row("stream, another's HEADERS within a head",
          F.headers(1, fields(), END, False) + get(stream=3), PROTOCOL),
    H2Row("stream, another's CONTINUATION",
          F.headers(1, fields(), END, False) +
          F.continuation(3, F.block([("x-a", "b")])), PROTOCOL),
    # CVE-2026-27135: an extension where none may stand
    H2Row("stream, an unknown frame within a head",
          F.headers(1, fields(), END, False) + F.frame(0x2a, 1, b"x") +
          F.continuation(1, b""), PROTOCOL),
    H2Row("stream, PUSH_PROMISE of a client",
          F.frame(F.PUSH_PROMISE, 1, struct.pack(">I", 2) +
                  F.block(fields()), F.END_HEADERS), PROTOCOL),
    H2Row("stream, GOAWAY on a stream",
          F.frame(F.GOAWAY, 1, bytes(8)), PROTOCOL),
    H2Row("stream, SETTINGS on a stream", F.frame(F.SETTINGS, 1, b""),
          PROTOCOL),
    H2Row("stream, PING on a stream", F.frame(F.PING, 1, bytes(8)), PROTOCOL),
    H2Row("stream, PRIORITY of 0", F.frame(F.PRIORITY, 0, bytes(5)),
          PROTOCOL),
    H2Row("stream, PRIORITY on itself",
          F.frame(F.PRIORITY, 1, struct.pack(">IB", 1, 0)), PROTOCOL),
    # CVE-2021-32781: data for a stream that was reset
    H2Row("stream, reset by the client, then data",
          post() + F.rst(1) + F.data(1, b"x", END), STATE, begins=True),
    H2Row("stream, reset by the client, then trailers",
          post() + F.rst(1) + F.headers(1, [("x-a", "b")]), STATE,
          begins=True),
    H2Row("stream, reset by the client", post() + F.rst(1), Nothing(),
          begins=True),
    H2Row("stream, reset within the body",
          post(length(9)) + F.data(1, b"123") + F.rst(1), Nothing(),
          begins=True),
    H2Row("stream, reset twice", post() + F.rst(1) + F.rst(1), Nothing(),
          begins=True),
    H2Row("stream, a reset and then a window",
          post() + F.rst(1) + F.window_update(1, 5), Nothing(), begins=True),
    # R-H2-10: the answer of the first may or may not be out.
    H2Row("stream, a malformed one beside a good one",
          get(("X-A", "b")) + OK_GET, ((1, MALFORMED), (3, Answer())),
          (Seen(path="/y"),)),
    H2Row("stream, a refused one beside a good one",
          get(path="/%00") + OK_GET, ((1, BAD), (3, Answer())),
          (Seen(path="/y"),)),
    H2Row("stream, a bad body beside a good one",
          post(length(1)) + F.data(1, b"22", END) + OK_GET,
          ((1, MALFORMED), (3, Answer())), (Seen(path="/y"),), begins=True),
]

# ---- frames (9113 4.2, 6) ------------------------------------------------
FRAMES = [
    H2Row("frame, over 16 KiB", post() + F.data(1, b"x" * 16385), SIZE,
          begins=True),
    H2Row("frame, HEADERS over 16 KiB",
          raw_head(F.block(fields(("x-a", "b" * 16384)))), SIZE),
    H2Row("frame, an unknown one over 16 KiB",
          F.frame(0x2a, 0, b"x" * 16385), SIZE),
    H2Row("frame, length of 2^24-1 announced",
          F.frame(F.DATA, 1, b"x" * 64, 0, (1 << 24) - 1), SIZE),
    H2Row("frame, SETTINGS of 5 bytes", F.frame(F.SETTINGS, 0, bytes(5)),
          SIZE),
    H2Row("frame, SETTINGS ACK with a payload",
          F.frame(F.SETTINGS, 0, bytes(6), F.ACK), SIZE),
    H2Row("frame, a SETTINGS ACK that nobody waits for",
          F.settings(ack=True), PROTOCOL),
    H2Row("frame, ENABLE_PUSH of 2", settings((2, 2)), PROTOCOL),
    H2Row("frame, window of 2^31", settings((4, 1 << 31)), FLOW),
    # CVE-2026-33814 and its neighbours
    H2Row("frame, frame size of 0", settings((5, 0)), PROTOCOL),
    H2Row("frame, frame size of 16383", settings((5, 16383)), PROTOCOL),
    H2Row("frame, frame size of 2^24", settings((5, 1 << 24)), PROTOCOL),
    H2Row("frame, extended CONNECT of 2", settings((8, 2)), PROTOCOL),
    H2Row("frame, PING of 7 bytes", F.frame(F.PING, 0, bytes(7)), SIZE),
    H2Row("frame, GOAWAY of 7 bytes", F.frame(F.GOAWAY, 0, bytes(7)), SIZE),
    H2Row("frame, RST_STREAM of 3 bytes",
          post() + F.frame(F.RST_STREAM, 1, bytes(3)), SIZE, begins=True),
    H2Row("frame, WINDOW_UPDATE of 5 bytes",
          F.frame(F.WINDOW_UPDATE, 0, bytes(5)), SIZE),
    H2Row("frame, WINDOW_UPDATE of nothing", F.window_update(0, 0), PROTOCOL),
    # nghttp2 ends the connection, as 9113 5.4.1 allows.
    H2Row("frame, WINDOW_UPDATE of nothing for a stream",
          post() + F.window_update(1, 0), PROTOCOL, begins=True),
    H2Row("frame, WINDOW_UPDATE over 2^31-1",
          F.window_update(0, (1 << 31) - 1), FLOW),
    H2Row("frame, WINDOW_UPDATE over 2^31-1 for a stream",
          post() + F.window_update(1, (1 << 31) - 1),
          Reset(F.FLOW_CONTROL_ERROR), begins=True),
    # nghttp2 resets the stream; 9113 6.9.2 would end the connection.
    H2Row("frame, SETTINGS that push a window over 2^31-1",
          post() + F.window_update(1, 1 << 30) +
          settings((4, (1 << 31) - 1)), Reset(F.FLOW_CONTROL_ERROR),
          begins=True),
    H2Row("frame, HEADERS shorter than its padding",
          F.frame(F.HEADERS, 1, b"\xff" + F.block(fields()),
                  F.END_STREAM | F.END_HEADERS | F.PADDED), PROTOCOL),
    H2Row("frame, DATA shorter than its padding",
          post() + F.frame(F.DATA, 1, b"\x04abc", F.PADDED), PROTOCOL,
          begins=True),
    H2Row("frame, padded HEADERS without a byte",
          F.frame(F.HEADERS, 1, b"", F.END_HEADERS | F.PADDED), PROTOCOL),
    H2Row("frame, padded DATA without a byte",
          post() + F.frame(F.DATA, 1, b"", F.PADDED), PROTOCOL, begins=True),
    # CVE-2018-20615
    H2Row("frame, HEADERS too short for its priority",
          F.frame(F.HEADERS, 1, b"\0\0\0",
                  F.END_STREAM | F.END_HEADERS | F.HAS_PRIORITY), SIZE),
    H2Row("frame, HEADERS that depends on itself",
          raw_head(struct.pack(">IB", 1, 15) + F.block(fields()), 1,
                   F.END_STREAM | F.END_HEADERS | F.HAS_PRIORITY), PROTOCOL),
    H2Row("frame, garbage in the place of a head", b"GET / HTTP/1.1\r\n" * 4,
          SIZE),
]
PREFACES = [
    H2Row("preface, no SETTINGS behind it", F.PREFACE + get(), PROTOCOL,
          is_raw=True),
    H2Row("preface, PING behind it", F.PREFACE + F.ping(), PROTOCOL,
          is_raw=True),
    H2Row("preface, an ACK behind it",
          F.PREFACE + F.settings(ack=True), PROTOCOL, is_raw=True),
    H2Row("preface, twice", F.PREFACE + F.settings() + F.PREFACE, SIZE,
          is_raw=True),
]

# ---- HPACK (RFC 7541) ----------------------------------------------------
BLOCK = F.block(fields())
COMPRESSION = [H2Row(f"HPACK, {what}", raw_head(block), HPACK)
               for what, block in [
    ("index 0", BLOCK + b"\x80"),
    ("index behind the table", BLOCK + b"\xbe"),
    ("name index behind the table", BLOCK + b"\x7e\x01a"),
    ("index of 2^32", BLOCK + b"\xff\x80\xff\xff\xff\x0f"),  # CVE-2018-14645
    ("index without end", BLOCK + b"\xff" + b"\x80" * 16),
    ("length of 2^32", BLOCK + b"\x00\x7f\xff\xff\xff\xff\x0fa"),
    ("table over 4 KiB", b"\x3f\xe2\x1f" + BLOCK),
    ("table size behind a field", BLOCK + b"\x20" + b"\x00\x01a\x01b"),
    ("name longer than the block", BLOCK + b"\x00\x7e" + b"abc"),
    ("value longer than the block", BLOCK + b"\x00\x01a\x0abc"),
    ("cut off behind a name", BLOCK + b"\x00\x01a"),
    ("cut off within an integer", BLOCK + b"\x7f"),
    ("Huffman with eight bits of padding", BLOCK + b"\x00\x01a\x82\x1f\xff"),
    ("Huffman padded with zeros", BLOCK + b"\x00\x01a\x81\x18"),
    ("Huffman with EOS", BLOCK + b"\x00\x01a\x84\xff\xff\xff\xff"),
    ("entry that was evicted",
     b"\x40\x03x-a\x01b" + BLOCK + b"\x40\x03x-b\x7f\xd3\x1e" + b"c" * 4050 +
     b"\xbf"),
    ("entry gone with the table", b"\x20" + BLOCK + b"\x40\x03x-a\x01b" +
     b"\xbe"),
]]

# ---- floods (2.F) --------------------------------------------------------
def turns(make, n=1200):
    """`n` streams, so many at a time as may be open."""
    return tuple(b"".join(make(2 * i + 1) for i in range(at, at + 90))
                 for at in range(0, n, 90))


FLOODS = [
    # CVE-2023-44487
    H2Row("flood, requests that are reset",
          b"".join(post(stream=i) + F.rst(i) for i in range(1, 801, 2)),
          CALM, begins=True),
    # CVE-2025-8671: the gateway is made to reset
    H2Row("flood, resets by the gateway",
          turns(lambda i: post(stream=i) +
                F.window_update(i, (1 << 31) - 1)), CALM, begins=True),
    H2Row("flood, malformed requests",
          turns(lambda i: get(("X", "b"), stream=i)), CALM),
    H2Row("flood, malformed bodies",
          turns(lambda i: post(length(1), stream=i) +
                F.data(i, b"22", END)), CALM, begins=True),
    H2Row("flood, PING", F.ping() * 1500, CALM),  # CVE-2019-9512
    H2Row("flood, SETTINGS", F.settings({3: 100}) * 50, CALM),  # -9515
    # CVE-2020-11080
    H2Row("flood, SETTINGS of 2,400 entries",
          settings(*[(0x1234, 1)] * 2400), CALM),
    H2Row("flood, PRIORITY",  # CVE-2019-9513
          F.frame(F.PRIORITY, 1, struct.pack(">IB", 3, 9)) * 1500, CALM),
    H2Row("flood, WINDOW_UPDATE", F.window_update(0, 1) * 2500, CALM),
    H2Row("flood, empty DATA",  # CVE-2019-9518
          post() + F.data(1) * 1500, CALM, begins=True),
    H2Row("flood, unknown frames", F.frame(0x2a, 0, b"x") * 1500, CALM),
    # CVE-2024-28182 and its family
    H2Row("flood, CONTINUATION",
          F.headers(1, fields(), END, False) +
          F.continuation(1, F.block([("x-a", "b")]), False) * 200, CALM),
    H2Row("flood, empty CONTINUATION",
          F.headers(1, fields(), END, False) +
          F.continuation(1, b"", False) * 200, CALM),
]

# ---- legal ---------------------------------------------------------------
OK = Answer()


def legal(what, sent, *seen, want=OK, **kw):
    return H2Row(f"legal, {what}", sent, want, seen or (Seen(),), **kw)


def kept(*pairs):
    return Seen(fields=pairs)


P3 = Seen("POST", body=b"123", length=3)
P = Seen("POST", body=b"123")
LEGAL = [
    legal("GET", get()),
    legal("OPTIONS", get(method="OPTIONS"), Seen("OPTIONS")),
    legal("DELETE", get(method="DELETE"), Seen("DELETE")),
    legal("an unknown method", get(method="PURGE"), Seen("PURGE")),
    legal("a method in small letters", get(method="get"), Seen("get")),
    legal("a method of 32 bytes", get(method="A" * 32), Seen("A" * 32)),
    legal("scheme in odd case", get(scheme="hTTp")),  # CVE-2023-35944
    legal("query as it is", get(path="/x?a=/../b&c=%2f%00?d"),
          Seen(path="/x?a=/../b&c=%2f%00?d")),
    legal("empty query", get(path="/x?"), Seen(path="/x?")),
    legal("dot segments", get(path="/a/./b/../x"), Seen(path="/a/x")),
    legal("escaped dots", get(path="/a/%2e%2E/x"), Seen(path="/x")),
    legal("two slashes", get(path="//a//x"), Seen(path="/a/x")),
    legal("escaped letters", get(path="/%78%7e"), Seen(path="/x~")),
    legal("escape in small letters", get(path="/%c3%a4"),
          Seen(path="/%C3%A4")),
    legal("double escape", get(path="/x%252e"), Seen(path="/x%252e")),
    legal("parameters", get(path="/x;a=b/c;d"), Seen(path="/x;a=b/c;d")),
    legal("a path of 8 KiB", get(path="/" + "x" * 8191),
          Seen(path="/" + "x" * 8191)),
    legal("host in capitals", get(host="LocalHost")),
    legal("the default port", get(host="localhost:80")),
    legal("another port", get(host="localhost:8080"),
          Seen(host="localhost:8080")),
    legal("a dot behind the host", get(host="localhost.")),
    legal("IPv6", get(host="[::1]:81"), Seen(host="[::1]:81")),
    legal("an underscore in the host", get(host="a_b"), Seen(host="a_b")),
    legal("host equal to the authority", get(("host", "localhost"))),
    legal("host equal but for its case", get(("host", "LOCALHOST:80"))),
    legal("host alone", without(":authority", ("host", "localhost"))),
    legal("empty value", get(("x-a", "")), kept(("x-a", ""))),
    legal("high bytes in a value", get(("x-a", "b\xe9\xff")),
          kept(("x-a", "b\xe9\xff"))),
    legal("tab inside of a value", get(("x-a", "b\tc")),
          kept(("x-a", "b\tc"))),
    legal("odd letters in a name", get(("!#$%&'*+-.^`|~9", "b")),
          kept(("!#$%&'*+-.^`|~9", "b"))),
    legal("a field twice", get(("x-a", "b"), ("x-a", "c")),
          kept(("x-a", "b"), ("x-a", "c"))),
    legal("99 fields", get(*[(f"x-{i}", "a") for i in range(93)]),
          kept(*[(f"x-{i}", "a") for i in range(93)])),
    legal("crumbs", get(("cookie", "a=b"), ("x-a", "b"), ("cookie", "c=d")),
          kept(("x-a", "b"), ("cookie", "a=b; c=d"))),  # R-H2-7
    # CVE-2023-27487 and 5.14
    legal("fields that only we write",
          get(("x-daemun-a", "b"), ("x-forwarded-for", "9.9.9.9"),
              ("forwarded", "for=9.9.9.9"), ("x-real-ip", "9.9.9.9"))),
    legal("fields of one hop that 9113 does not name",
          get(("http2-settings", "AAMAAABk"), ("trailer", "x-a"),
              ("proxy-authorization", "a"), ("x-a", "b")),
          kept(("x-a", "b"))),
    legal("te", get(("te", "trailers")), Seen(te=True)),
    legal("POST with a length", post(length(3)) + F.data(1, b"123", END), P3),
    legal("leading zeros of a length",  # R-LEN-6
          post(("content-length", "0003")) + F.data(1, b"123", END), P3),
    legal("POST in chunks", post() + F.data(1, b"1") + F.data(1, b"23", END),
          P),
    legal("an end of its own", post() + F.data(1, b"123") + F.data(1, b"", END),
          P),
    legal("an empty POST", post(length(0), end=END), Seen("POST", length=0)),
    legal("an empty POST that ends later",
          post(length(0)) + F.data(1, b"", END), Seen("POST", length=0)),
    legal("GET with a length of 0", get(length(0)), Seen(length=0)),
    legal("DELETE with a body",
          F.headers(1, fields(length(3), method="DELETE"), MORE) +
          F.data(1, b"123", END), Seen("DELETE", body=b"123", length=3)),
    legal("expect", post(("expect", "100-Continue"), length(3)) +
          F.data(1, b"123", END), P3),
    legal("trailers that are not wanted",
          post() + F.data(1, b"123") + F.headers(1, [("x-a", "b")]), P),
    legal("trailers",
          post(("te", "trailers")) + F.data(1, b"123") +
          F.headers(1, [("x-a", "b"), ("x-c", "d")]),
          Seen("POST", body=b"123", te=True,
               trailers=(("x-a", "b"), ("x-c", "d")))),
    legal("trailers behind a length",
          post(("te", "trailers"), length(3)) + F.data(1, b"123") +
          F.headers(1, [("x-a", "b")]),
          Seen("POST", body=b"123", length=3, te=True,
               trailers=(("x-a", "b"),))),
    legal("trailers that must not be any",  # 5.7
          post(("te", "trailers")) + F.data(1, b"123") +
          F.headers(1, [("authorization", "a"), ("cookie", "b"),
                        ("content-type", "c/d"), ("x-forwarded-for", "e"),
                        ("x-daemun-f", "g"), ("set-cookie", "h"),
                        ("x-a", "b")]),
          Seen("POST", body=b"123", te=True, trailers=(("x-a", "b"),))),
    legal("padding", F.frame(
        F.HEADERS, 1, b"\x05" + F.block(fields(method="POST")) + bytes(5),
        F.END_HEADERS | F.PADDED) + F.frame(
            F.DATA, 1, b"\xff123" + bytes(255), F.PADDED | F.END_STREAM), P),
    legal("only padding", post() + F.frame(F.DATA, 1, b"\x03\0\0\0",
                                           F.PADDED) +
          F.data(1, b"123", END), P),
    legal("priority in the head", raw_head(
        struct.pack(">IB", 0x80000003, 255) + BLOCK, 1,
        F.END_STREAM | F.END_HEADERS | F.HAS_PRIORITY)),
    legal("PRIORITY before and after",
          F.frame(F.PRIORITY, 7, struct.pack(">IB", 3, 1)) + get() +
          F.frame(F.PRIORITY, 1, struct.pack(">IB", 0, 1))),
    legal("PRIORITY_UPDATE", F.frame(0x10, 0, b"\0\0\0\1u=1, i") + get()),
    legal("unknown frames",  # CVE-2026-27141
          b"".join(F.frame(kind, kind % 2, b"x" * kind, 0xff)
                   for kind in (0x0a, 0x0c, 0x42, 0xff)) + get()),
    legal("unknown settings", settings((0x99, 1), (0xffff, 7)) + get()),
    legal("unknown flags", F.frame(
        F.HEADERS, 1, BLOCK, F.END_STREAM | F.END_HEADERS | 0xc2)),
    legal("the reserved bit of a stream's number",
          F.frame(F.HEADERS, 1 | 1 << 31, BLOCK,
                  F.END_STREAM | F.END_HEADERS)),
    legal("the reserved bit of a window",
          F.window_update(0, 1 << 31 | 5) + get()),
    legal("a head in pieces",
          F.frame(F.HEADERS, 1, BLOCK[:1], F.END_STREAM) +
          F.continuation(1, BLOCK[1:7], False) +
          F.continuation(1, b"", False) + F.continuation(1, BLOCK[7:])),
    legal("HEADERS without a byte of its head",
          F.frame(F.HEADERS, 1, b"", F.END_STREAM) +
          F.continuation(1, BLOCK)),
    legal("PING", F.ping() + get() + F.ping(b"76543210")),
    legal("Huffman", raw_head(F.block(fields(("x-a", "b c~")), True)),
          kept(("x-a", "b c~"))),
    legal("indexed fields of the static table",
          raw_head(b"\x82\x86\x84\x41\x09localhost"), Seen(path="/")),
    legal("a field that is never indexed",
          raw_head(BLOCK + b"\x10\x03x-a\x01b"), kept(("x-a", "b"))),
    legal("the dynamic table over two streams",
          raw_head(BLOCK + b"\x40\x03x-a\x01b") +
          raw_head(BLOCK + b"\xbe\x7e\x01c", 3),
          kept(("x-a", "b")), kept(("x-a", "b"), ("x-a", "c")),
          want=((1, OK), (3, OK))),
    # CVE-2020-11100: the table shrinks to nothing and grows again
    legal("table sizes", raw_head(b"\x20\x3f\xe1\x1f" + BLOCK +
                                  b"\x40\x03x-a\x01b\xbe"),
          kept(("x-a", "b"), ("x-a", "b"))),
    legal("the table of a malformed request stays in step",
          raw_head(b"\x40\x03x-a\x01b\x00\x01X\x01y" + BLOCK) +
          raw_head(BLOCK + b"\xbe", 3), kept(("x-a", "b")),
          want=((1, MALFORMED), (3, OK))),
    legal("numbers that are left out",
          get(stream=1) + get(stream=77, path="/y"), Seen(), Seen(path="/y"),
          want=((1, OK), (77, OK))),
    legal("bodies of two streams in turns",
          post(stream=1) + post(stream=3, path="/y") + F.data(1, b"1") +
          F.data(3, b"4") + F.data(1, b"23", END) + F.data(3, b"56", END),
          P, Seen("POST", path="/y", body=b"456"),
          want=((1, OK), (3, OK))),
    # CVE-2020-12603, CVE-2019-9511: windows are small, the answer comes
    legal("a window of one byte",
          get() + F.window_update(1, 1) * 2, settings={4: 0}),
    legal("a window below nothing",
          settings((4, 0)) + get() + settings((4, 100))),
    legal("no table for answers", settings((1, 0)) + get()),
    legal("a SETTINGS of 32 entries", settings(*[(3, 9)] * 32) + get()),
    legal("a body as large as the window",
          post(length(65536)) + F.data(1, b"x" * 16384) * 3 +
          F.data(1, b"x" * 16384, END),
          Seen("POST", body=b"x" * 65536, length=65536)),
]

ROWS = [*FIELDS, *CONNECTION, *PSEUDO, *METHODS, *PATHS, *HOSTS, *LENGTHS,
        *LIMITS, *TRAILERS, *STREAMS, *FRAMES, *PREFACES, *COMPRESSION,
        *FLOODS, *LEGAL]


@pytest.mark.parametrize("leg", LEGS)
@parameters(ROWS)
def test_row(row, leg, h2_bench):
    run(row, leg, h2_bench)
