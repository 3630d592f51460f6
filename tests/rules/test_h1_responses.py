"""What an HTTP/1.1 backend may send, and what its clients get of it (RFC 9112;
RFC 9110). "evil" never reaches a client. A number in "CVE" or "row" is the
lesson that the row keeps."""
import pytest

from row_response import (CLIENTS, WEBSOCKET, Ask, Bad, Cut, Got, ResponseRow,
                          parameters, response_bench, run)

Row = ResponseRow
OK = b"HTTP/1.1 200 OK\r\n"
NO_BODY = b"Content-Length: 0\r\n\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
HEAD = Ask("HEAD")
POST = Ask("POST", body=b"12345")
SOCKET = Ask(fields=WEBSOCKET)
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
          b"Upgrade: websocket\r\n")
ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
ACCEPTED = (("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),)


def head(*lines, status=OK):
    """A head of these lines."""
    return status + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def good(body, *lines, status=OK):
    return head(*lines, b"Content-Length: %d" % len(body),
                status=status) + body


def chunks(body, tail=b"0\r\n\r\n", *lines):
    """Chunks after a good one."""
    return head(*lines, TE[:-2]) + b"4\r\nhalf\r\n" + body + tail


# ---- status lines --------------------------------------------------------
LINES = [Row(f"line, {what}", line + NO_BODY) for what, line in [
    ("a letter in the status", b"HTTP/1.1 2x0 OK\r\n"),
    ("status 099", b"HTTP/1.1 099 OK\r\n"),
    ("status 000", b"HTTP/1.1 000 OK\r\n"),
    ("status 600", b"HTTP/1.1 600 OK\r\n"),
    ("status 999", b"HTTP/1.1 999 OK\r\n"),
    ("status of 4 digits", b"HTTP/1.1 2000 OK\r\n"),
    ("status of 2 digits", b"HTTP/1.1 20 OK\r\n"),
    ("status with a sign", b"HTTP/1.1 +20 OK\r\n"),
    ("status below nothing", b"HTTP/1.1 -20 OK\r\n"),
    ("no status", b"HTTP/1.1\r\n"),
    ("no status but a blank", b"HTTP/1.1 \r\n"),
    ("two blanks before the status", b"HTTP/1.1  200 OK\r\n"),
    ("a tab before the status", b"HTTP/1.1\t200 OK\r\n"),
    ("no blank before the reason", b"HTTP/1.1 200OK\r\n"),
    ("a tab before the reason", b"HTTP/1.1 200\tOK\r\n"),
    ("version 2.0", b"HTTP/2.0 200 OK\r\n"),
    ("version 0.9", b"HTTP/0.9 200 OK\r\n"),
    ("version 1.2", b"HTTP/1.2 200 OK\r\n"),
    ("version 1.10", b"HTTP/1.10 200 OK\r\n"),
    ("version without a dot", b"HTTP/11 200 OK\r\n"),
    ("version in small letters", b"http/1.1 200 OK\r\n"),
    ("another protocol", b"ICY 200 OK\r\n"),
    ("RTSP", b"RTSP/1.0 200 OK\r\n"),
    ("a blank first", b" HTTP/1.1 200 OK\r\n"),
    ("an empty line first", b"\r\nHTTP/1.1 200 OK\r\n"),
    ("NUL in the reason", b"HTTP/1.1 200 O\0K\r\n"),
    ("CR in the reason", b"HTTP/1.1 200 O\rK\r\n"),
    ("control byte in the reason", b"HTTP/1.1 200 O\x1bK\r\n"),
    ("a request", b"GET / HTTP/1.1\r\nHost: evil\r\n"),
    ("text without a head", b"<html>evil</html>\r\n"),  # HTTP/0.9
    ("frames of HTTP/2", b"\0\0\0\4\0\0\0\0\0" * 2),
    ("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x28"),  # row 23 of faults
]]

# ---- lines, names and values --------------------------------------------
FIELDS = [Row(f"field, {what}", OK + line + NO_BODY) for what, line in [
    ("LF alone", b"X-A: b\n"),  # row 12
    ("CR alone in a value", b"X-A: b\rSet-Cookie: evil\r\n"),
    ("CR CR LF", b"X-A: b\r\r\n"),
    ("NUL in a value", b"X-A: b\0c\r\n"),
    ("NUL in a name", b"X\0A: b\r\n"),
    ("control byte in a value", b"X-A: b\x08c\r\n"),
    ("vertical tab in a value", b"X-A: b\x0bc\r\n"),
    ("DEL in a value", b"X-A: b\x7fc\r\n"),
    ("blank before the colon", b"X-A : b\r\n"),  # R-HDR-2
    ("tab before the colon", b"X-A\t: b\r\n"),
    ("folded by a blank", b"X-A: b\r\n c\r\n"),  # R-HDR-3, CVE-2025-32094
    ("folded by a tab", b"X-A: b\r\n\tc\r\n"),
    ("a blank before the first", b" X-A: b\r\n"),  # R-LIN-6
    ("empty name", b": b\r\n"),  # CVE-2023-25725
    ("no colon", b"X-A b\r\n"),
    ("blank in a name", b"X A: b\r\n"),
    ("parenthesis in a name", b"X(A): b\r\n"),
    ("high byte in a name", b"X\xe4: b\r\n"),
    # CVE-2023-38709 and its family: splitting
    ("a second head behind LF", b"X-A: b\n\nHTTP/1.1 200 OK\nX: evil\n\n"),
    ("101 of them", b"X-A: b\r\n" * 101),  # R-HDR-8
    ("a value over 16 KiB", b"X-A: " + b"b" * 16385 + b"\r\n"),
    ("32 KiB", b"".join(b"X-%d: %s\r\n" % (i, b"b" * 9000)
                        for i in range(4))),
    ("a head without end", b"X-A: " + b"b" * 60000),
    ("a whole status line", b"HTTP/1.1 200 OK\r\n"),
]]
LINE_ENDS = [
    Row("head, LF alone", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    Row("head, LF alone behind the status",
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
    Row("head, LF alone at the end",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n"),
    Row("head, CR alone at the end",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\revil\r\n\r\n"),
]

# ---- ends before a head --------------------------------------------------
# Rows 5 and 8 of faults: asked again only while nothing of an answer came.
ENDS = [
    Row("end, FIN at once", b"", end="fin", attempts=2),
    Row("end, RST at once", b"", end="rst now", attempts=2),
    Row("end, FIN at once behind a POST", b"", end="fin", ask=POST),
    Row("end, FIN within the status line", b"HTTP/1.1 20", end="fin"),
    Row("end, FIN behind the status line", OK, end="fin"),
    Row("end, FIN within a field", OK + b"X-A: b", end="fin"),
    Row("end, half-close before a head", b"", end="shut", attempts=2),
    Row("end, FIN behind an interim answer",  # row 53
        b"HTTP/1.1 100 Continue\r\n\r\n", end="fin", attempts=2),
]

# ---- framing (5.5) -------------------------------------------------------
FRAMING = [Row(f"framing, {what}", head(*lines) + b"0\r\n\r\nevil")
           for what, *lines in [
    ("TE and CL", b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    ("CL and TE", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    ("TE gzip", b"Transfer-Encoding: gzip"),
    ("TE gzip, chunked", b"Transfer-Encoding: gzip, chunked"),
    ("TE chunked, gzip", b"Transfer-Encoding: chunked, gzip"),
    ("TE identity", b"Transfer-Encoding: identity"),
    ("TE chunked twice in one", b"Transfer-Encoding: chunked, chunked"),
    ("TE, two lines", b"Transfer-Encoding: chunked",
     b"Transfer-Encoding: chunked"),
    ("TE, the second line hides it", b"Transfer-Encoding: chunked",
     b"Transfer-Encoding: identity"),
    ("TE empty", b"Transfer-Encoding:"),  # row 11
    ("TE, comma first", b"Transfer-Encoding: ,chunked"),
    ("TE, comma last", b"Transfer-Encoding: chunked,"),
    ("TE xchunked", b"Transfer-Encoding: xchunked"),  # CVE-2022-1705
    ("TE, vertical tab", b"Transfer-Encoding: \x0bchunked"),  # CVE-2019-18277
    ("TE with a parameter", b"Transfer-Encoding: chunked;q=1"),
    ("TE quoted", b'Transfer-Encoding: "chunked"'),
    ("CL plus", b"Content-Length: +5"),
    ("CL minus", b"Content-Length: -5"),
    ("CL hex", b"Content-Length: 0x5"),
    ("CL blank inside", b"Content-Length: 5 5"),
    ("CL empty", b"Content-Length:"),  # CVE-2023-40225
    ("CL list, equal", b"Content-Length: 5, 5"),
    ("CL list, differing", b"Content-Length: 5, 6"),
    ("CL, two lines, differing", b"Content-Length: 5", b"Content-Length: 9"),
    ("CL, no number", b"Content-Length: five"),
    ("CL, underscore", b"Content-Length: 1_0"),
    ("CL, semicolon", b"Content-Length: 5;"),
    ("CL 2^63", b"Content-Length: 9223372036854775808"),
    ("CL 2^64 and 5", b"Content-Length: 18446744073709551621"),
    ("CL of 20 digits", b"Content-Length: 00000000000000000005"),
]] + [
    Row("framing, TE in HTTP/1.0",  # CVE-2026-2835
        head(b"Transfer-Encoding: chunked", status=b"HTTP/1.0 200 OK\r\n") +
        b"0\r\n\r\n"),
    Row("framing, TE and CL for HEAD",
        head(b"Transfer-Encoding: chunked", b"Content-Length: 5"), ask=HEAD),
    Row("framing, CL wrong in a 304",
        head(b"Content-Length: 5x", status=b"HTTP/1.1 304 Not Modified\r\n")),
    Row("framing, TE and CL in a 204",
        head(b"Transfer-Encoding: chunked", b"Content-Length: 0",
             status=b"HTTP/1.1 204 No Content\r\n")),
    Row("framing, CL wrong in an interim answer",
        head(b"Content-Length: -1", status=b"HTTP/1.1 103 Early Hints\r\n") +
        good(b"evil")),
]

# ---- chunks (5.6) --------------------------------------------------------
HALF = Cut(b"half")
CHUNKS = [Row(f"chunk, {what}", chunks(text), HALF) for what, text in [
    ("minus", b"-1\r\nx\r\n"), ("0x", b"0x1\r\nx\r\n"),
    ("blank first", b" 1\r\nx\r\n"), ("underscore", b"1_0\r\nx\r\n"),
    ("no size", b"\r\nx\r\n"), ("no hex", b"g\r\nx\r\n"),
    ("17 digits", b"00000000000000001\r\nx\r\n"),
    ("2^63", b"8000000000000000\r\nx\r\n"),  # row 25
    ("2^64-1", b"ffffffffffffffff\r\nx\r\n"),
    ("LF alone behind the size", b"1\nx\r\n"),  # CVE-2025-22871
    ("CR alone behind the size", b"1\rx\r\n"),
    ("NUL behind the size", b"1\0\r\nx\r\n"),
    ("extension without a name", b"1;\r\nx\r\n"),
    ("extension with a blank at its end", b"1;a \r\nx\r\n"),
    ("blank behind the size", b"1 \r\nx\r\n"),
    ("extension with CR", b"1;a\rb\r\nx\r\n"),
    ("extension with LF", b"1;a\nb\r\nx\r\n"),
    ("quoted extension with LF", b'1;a="\n"\r\nx\r\n'),  # CVE-2026-24033
    ("quoted extension without end", b'1;a="b\r\nx\r\n'),
    ("extension over 256 bytes", b"1;a=" + b"b" * 300 + b"\r\nx\r\n"),
]] + [Row(f"chunk, {what}", chunks(text), Cut(b"halfx")) for what, text in [
    ("longer than its size", b"1\r\nxevil\r\n"),  # CVE-2025-30346
    ("no line end behind data", b"1\r\nx0\r\n\r\nevil"),
    ("LF alone behind data", b"1\r\nx\n"),
    ("CR twice behind data", b"1\r\nx\r\r\n"),
]] + [
    # CVE-2023-39326
    Row("chunk, overhead of 16 times its data",
        chunks(b"1;a=bcdefghijklmnopqrstuvwxyz\r\nx\r\n" * 800),
        Cut(b"half" + b"x" * 800)),
    Row("chunk, trailer without a colon", chunks(b"", b"0\r\nX\r\n\r\n"),
        HALF),  # CVE-2024-35161
    Row("chunk, trailer folded", chunks(b"", b"0\r\nX: a\r\n b\r\n\r\n"),
        HALF),
    Row("chunk, trailer with LF alone", chunks(b"", b"0\r\nX: a\n\r\n"),
        HALF),
    Row("chunk, trailer with NUL", chunks(b"", b"0\r\nX: \0\r\n\r\n"), HALF),
    Row("chunk, LF alone at the end", chunks(b"", b"0\r\n\n"), HALF),
    Row("chunk, text at the end", chunks(b"", b"0\r\nevil"), HALF,
        end="fin"),
    Row("chunk, 33 trailers",
        chunks(b"", b"0\r\n" + b"X: a\r\n" * 33 + b"\r\n"), HALF),
    Row("chunk, 8 KiB of trailers",
        chunks(b"", b"0\r\nX: " + b"a" * 9000 + b"\r\n\r\n"), HALF),
]

# ---- ends within a body: rows 6 to 8 of faults ---------------------------
BODIES = [
    Row("body, FIN before its length", good(b"half!")[:-1], HALF, "fin"),
    Row("body, RST before its length", good(b"half!")[:-1], HALF, "rst"),
    Row("body, half-close before its length", good(b"half!")[:-1], HALF,
        "shut"),
    Row("body, FIN behind the head", good(b"half")[:-4], Cut(), "fin"),
    Row("body, FIN between chunks", chunks(b"", b""), HALF, "fin"),
    Row("body, RST between chunks", chunks(b"", b""), HALF, "rst"),
    Row("body, FIN within a chunk", chunks(b"5\r\nx", b""), Cut(b"halfx"),
        "fin"),
    Row("body, FIN within a size", chunks(b"1", b""), HALF, "fin"),
    Row("body, FIN behind a chunk's data", chunks(b"1\r\nx", b""),
        Cut(b"halfx"), "fin"),
    Row("body, FIN within the last chunk", chunks(b"", b"0\r\n"), HALF,
        "fin"),
    Row("body, FIN within trailers", chunks(b"", b"0\r\nX: a\r\n"), HALF,
        "fin"),
    # 5.5: a reset is no end of a body
    Row("body, until RST", head() + b"half", HALF, "rst"),
]

# ---- more than was asked for: rows 9 and 10 of faults --------------------
MORE = [
    Row("more, bytes behind the length", good(b"four") + b"evil",
        Got(body=b"four")),
    Row("more, a second answer", good(b"four") + EVIL, Got(body=b"four")),
    Row("more, an empty line", good(b"four") + b"\r\n", Got(body=b"four")),
    Row("more, an interim answer behind the final one",
        good(b"four") + b"HTTP/1.1 100 Continue\r\n\r\n", Got(body=b"four")),
    Row("more, an answer behind the last chunk", chunks(b"") + EVIL,
        Got(body=b"half")),
    Row("more, an answer behind trailers",
        chunks(b"", b"0\r\nX: a\r\n\r\n") + EVIL, Got(body=b"half")),
    Row("more, a body behind a length of 0", OK + NO_BODY + EVIL, Got()),
    Row("more, a body for HEAD", good(b"evil"), Got(length=4), ask=HEAD),
    Row("more, chunks for HEAD", head(TE[:-2]) + b"4\r\nevil\r\n0\r\n\r\n",
        Got(), ask=HEAD),
    Row("more, a body in a 204",
        good(b"evil", status=b"HTTP/1.1 204 No Content\r\n"), Got(204)),
    Row("more, chunks in a 204",
        head(TE[:-2], status=b"HTTP/1.1 204 No Content\r\n") +
        b"4\r\nevil\r\n0\r\n\r\n", Got(204)),
    Row("more, a body in a 304",
        good(b"evil", status=b"HTTP/1.1 304 Not Modified\r\n"),
        Got(304, length=4)),
    Row("more, a body in a 205",
        good(b"evil", status=b"HTTP/1.1 205 Reset Content\r\n"), Got(205)),
    Row("more, chunks in a 205",
        head(TE[:-2], status=b"HTTP/1.1 205 Reset Content\r\n") +
        b"4\r\nevil\r\n0\r\n\r\n", Got(205)),
]

# ---- interim answers and upgrades (R-EXP-5, 5.11) ------------------------
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
HINT = (103, (("link", "</a>"),))
INTERIM = [
    Row("interim, nine", EARLY * 9 + good(b"evil"),
        Bad(interim=(HINT,) * 8)),  # row 15 of faults
    Row("interim, nine of 100",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + good(b"evil")),
    Row("interim, then garbage", EARLY + b"evil\r\n\r\n",
        Bad(interim=(HINT,))),
    Row("interim, with NUL", b"HTTP/1.1 103 Early\r\nX: \0\r\n\r\n" +
        good(b"evil")),
    # row 16 of faults
    Row("101, not asked for", SWITCH + ACCEPT + b"\r\nevil"),
    Row("101, not asked for, without fields",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\nevil"),
    Row("101, another token", SWITCH.replace(b"websocket", b"h2c") + ACCEPT +
        b"\r\nevil", ask=SOCKET),
    Row("101, two tokens", SWITCH.replace(b"websocket", b"websocket, h2c") +
        ACCEPT + b"\r\nevil", ask=SOCKET),
    Row("101, no token", b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Connection: Upgrade\r\n" + ACCEPT + b"\r\nevil", ask=SOCKET),
    Row("101, no Connection", b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n" + ACCEPT + b"\r\nevil", ask=SOCKET),
    Row("101, no hash", SWITCH + b"\r\nevil", ask=SOCKET),
    Row("101, a wrong hash", SWITCH + ACCEPT.replace(b"s3p", b"S3p") +
        b"\r\nevil", ask=SOCKET),
    # CVE-2024-23326
    Row("101, but it is 200",
        good(b"four", b"Upgrade: websocket", b"Connection: upgrade", ACCEPT[:-2]),
        Got(body=b"four", fields=ACCEPTED), ask=SOCKET,
        h2=Got(body=b"four", fields=ACCEPTED)),
    Row("101, but it is 426",
        good(b"four", b"Upgrade: websocket",
             status=b"HTTP/1.1 426 Upgrade Required\r\n"),
        Got(426, b"four"), ask=SOCKET, h2=Got(426, b"four")),
    Row("early, the whole answer before the body",  # row 12, CVE-2024-24791
        good(b"four"), Got(body=b"four"), early=True,
        ask=Ask("POST", body=b"123", unsent=b"45")),
    Row("early, a refusal", good(b"no", status=b"HTTP/1.1 413 Large\r\n"),
        Got(413, b"no"), early=True,
        ask=Ask("POST", body=b"123", unsent=b"45")),
    Row("early, a malformed one", b"HTTP/1.1 2 evil\r\n\r\n", early=True,
        ask=Ask("POST", body=b"123", unsent=b"45")),
]

# ---- legal ---------------------------------------------------------------


def legal(what, sent, want, reused=True, **kw):
    return Row(f"legal, {what}", sent, want, reused=reused, **kw)


FOUR = Got(body=b"four")


def kept(*pairs, **kw):
    return Got(body=b"four", fields=pairs, **kw)


LEGAL = [
    legal("a length", good(b"four"), FOUR),
    legal("a length of 0", OK + NO_BODY, Got(length=0)),
    legal("a length with zeros", head(b"Content-Length: 0004") + b"four",
          FOUR),
    legal("a length twice, equal",
          head(b"Content-Length: 4", b"Content-Length: 4") + b"four", FOUR),
    legal("chunks", chunks(b"2\r\n!!\r\n"), Got(body=b"half!!")),
    legal("Chunked", head(b"transfer-encoding: Chunked") +
          b"4\r\nfour\r\n0\r\n\r\n", FOUR),
    legal("only the last chunk", head(TE[:-2]) + b"0\r\n\r\n", Got()),
    legal("many zeros", head(TE[:-2]) +
          b"0000000000000004\r\nfour\r\n0000000000000000\r\n\r\n", FOUR),
    legal("a size in capitals", head(TE[:-2]) + b"A\r\n0123456789\r\n"
          b"0\r\n\r\n", Got(body=b"0123456789")),
    legal("extensions are dropped", head(TE[:-2]) +  # R-CHK-2
          b'4;a;b=c;d="e\\"f" ; g\r\nfour\r\n0;h=i\r\n\r\n', FOUR),
    legal("trailers that are not wanted",
          chunks(b"", b"0\r\nX-A: b\r\n\r\n"), Got(body=b"half")),
    legal("trailers", chunks(b"", b"0\r\nX-A: b\r\nX-C: d\r\n\r\n"),
          Got(body=b"half", trailers=(("x-a", "b"), ("x-c", "d"))),
          ask=Ask(fields=(("TE", "trailers"),))),
    legal("trailers that must not be any",  # 5.7
          chunks(b"", b"0\r\nSet-Cookie: evil\r\nContent-Type: a/evil\r\n"
                 b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n"
                 b"X-Daemun-A: evil\r\nX-A: b\r\nConnection: x-a\r\n\r\n"),
          Got(body=b"half", trailers=(("x-a", "b"),)),
          ask=Ask(fields=(("TE", "trailers"),))),
    legal("trailers with an underscore", chunks(b"", b"0\r\nX_A: b\r\n\r\n"),
          Got(body=b"half", trailers=(("x_a", "b"),)),
          ask=Ask(fields=(("TE", "trailers"),))),
    legal("until FIN", head() + b"four", FOUR, False, end="fin"),
    legal("until FIN, nothing", head(), Got(), False, end="fin"),
    legal("until a half-close", head() + b"four", FOUR, False, end="shut"),
    legal("until FIN, though keep-alive is said",
          head(b"Connection: keep-alive") + b"four", FOUR, False, end="fin"),
    legal("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfour",
          FOUR, False),
    legal("HTTP/1.0 that would go on",
          b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
          b"Content-Length: 4\r\n\r\nfour", FOUR, False),
    legal("HTTP/1.0 until FIN", b"HTTP/1.0 200 OK\r\n\r\nfour", FOUR, False,
          end="fin"),
    legal("HTTP/1.0 behind HEAD", b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n"
          b"\r\n", Got(length=4), False, ask=HEAD),
    legal("Connection: close", good(b"four", b"Connection: close"), FOUR,
          False),
    legal("Connection: Close among others",
          good(b"four", b"Connection: x-a, Close", b"X-A: b"), FOUR, False),
    legal("FIN behind the whole answer", good(b"four"), FOUR, False,
          end="fin"),
    legal("FIN behind the last chunk", chunks(b""), Got(body=b"half"), False,
          end="fin"),
    legal("HEAD", good(b"four")[:-4], Got(length=4), ask=HEAD),
    legal("HEAD, chunked", head(TE[:-2]), Got(), ask=HEAD),
    legal("HEAD, no framing", head(), Got(), ask=HEAD),
    legal("HEAD, a great length", head(b"Content-Length: "
                                       b"9223372036854775807"),
          Got(length=9223372036854775807), ask=HEAD),
    legal("204", head(status=b"HTTP/1.1 204 No Content\r\n"), Got(204)),
    legal("204 with a length of 0",
          head(b"Content-Length: 0", status=b"HTTP/1.1 204 No Content\r\n"),
          Got(204)),
    legal("304 with a length",
          head(b"Content-Length: 4", b"ETag: \"a\"",
               status=b"HTTP/1.1 304 Not Modified\r\n"),
          Got(304, fields=(("etag", '"a"'),), length=4)),
    legal("205 with a length of 0",
          head(b"Content-Length: 0", status=b"HTTP/1.1 205 Reset\r\n"),
          Got(205)),
    legal("an error", good(b"four", status=b"HTTP/1.1 503 Busy\r\n",),
          Got(503, b"four")),
    legal("status 599", good(b"four", status=b"HTTP/1.1 599 ?\r\n"),
          Got(599, b"four")),
    legal("no reason", good(b"four", status=b"HTTP/1.1 200 \r\n"), FOUR),
    legal("no blank for a reason", good(b"four", status=b"HTTP/1.1 200\r\n"),
          FOUR),
    legal("high bytes in the reason",
          good(b"four", status=b"HTTP/1.1 200 \xc3\xa4\tb\r\n"), FOUR),
    legal("100", b"HTTP/1.1 100 Continue\r\n\r\n" + good(b"four"), FOUR),
    legal("103", EARLY + good(b"four"), Got(body=b"four", interim=(HINT,))),
    legal("eight of 103", EARLY * 8 + good(b"four"),  # row 54
          Got(body=b"four", interim=(HINT,) * 8)),
    legal("102, 100 and 199",  # CVE-2024-53271
          b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Go\r\n\r\n"
          b"HTTP/1.1 199 A\r\nX-A: b\r\n\r\n" + good(b"four"),
          Got(body=b"four", interim=((102, ()), (199, (("x-a", "b"),))))),
    legal("103 with fields of one hop",
          b"HTTP/1.1 103 Early\r\nConnection: x-a\r\nX-A: b\r\n"
          b"Content-Length: 9\r\nKeep-Alive: 5\r\nLink: </a>\r\n\r\n" +
          good(b"four"), Got(body=b"four", interim=(HINT,))),
    legal("103 behind a POST", EARLY + good(b"four"),
          Got(body=b"four", interim=(HINT,)), ask=POST),
    legal("a WebSocket", SWITCH + ACCEPT + b"\r\nhello",
          Got(101, b"hello", ACCEPTED), False, ask=SOCKET, h2=Bad()),
    legal("a field that Connection names",  # R-HOP-1
          good(b"four", b"Connection: X-A", b"X-A: b", b"X-C: d"),
          kept(("x-c", "d"))),
    legal("fields that Connection must not name",  # R-HOP-2
          good(b"four", b"Connection: cache-control, content-type, via",
               b"Cache-Control: no-store", b"Content-Type: a/b"),
          kept(("cache-control", "no-store"), ("content-type", "a/b"))),
    legal("Connection that names the framing",  # CVE-2026-26365
          head(b"Connection: transfer-encoding", TE[:-2]) +
          b"4\r\nfour\r\n0\r\n\r\n", FOUR),
    legal("fields of one hop",
          good(b"four", b"Keep-Alive: timeout=5", b"Proxy-Connection: a",
               b"Upgrade: h2c", b"Trailer: x-a", b"TE: trailers",
               b"Proxy-Authenticate: Basic", b"X-A: b"), kept(("x-a", "b"))),
    legal("fields that only we write",
          good(b"four", b"X-Daemun-A: evil", b"X-A: b"), kept(("x-a", "b"))),
    legal("Set-Cookie twice", good(b"four", b"Set-Cookie: a=b",
                                   b"X-A: b", b"Set-Cookie: c=d"),
          kept(("set-cookie", "a=b"), ("x-a", "b"), ("set-cookie", "c=d"))),
    # CVE-2019-14241, CVE-2022-0711
    legal("cookies that begin with a delimiter",
          good(b"four", b"Set-Cookie: ;=;,", b"Set-Cookie2: =,;"),
          kept(("set-cookie", ";=;,"), ("set-cookie2", "=,;"))),
    legal("Content-Type twice", good(b"four", b"Content-Type: a/b",
                                     b"Content-Type: c/d"),
          kept(("content-type", "a/b"), ("content-type", "c/d"))),
    legal("names in odd case", good(b"four", b"x-A: b", b"X-c: D"),
          kept(("x-a", "b"), ("x-c", "D"))),
    legal("blanks around a value", good(b"four", b"X-A: \t b c\t ",
                                        b"X-D:e"),
          kept(("x-a", "b c"), ("x-d", "e"))),
    legal("an empty value", good(b"four", b"X-A:", b"X-B: "),
          kept(("x-a", ""), ("x-b", ""))),
    legal("high bytes and tabs in a value", good(b"four", b"X-A: \xe9\tb"),
          kept(("x-a", "\xe9\tb"))),
    legal("an underscore in a name", good(b"four", b"X_A: b"),
          kept(("x_a", "b"))),
    legal("a name like the framing", good(b"four", b"Content_Length: 9"),
          kept(("content_length", "9"))),
    legal("odd letters in a name", good(b"four", b"!#$%&'*+-.^`|~9: b"),
          kept(("!#$%&'*+-.^`|~9", "b"))),
    legal("100 fields", good(b"four", *[b"X-%d: a" % i for i in range(99)]),
          kept(*[(f"x-{i}", "a") for i in range(99)])),
    legal("a value of 16 KiB", good(b"four", b"X-A: " + b"b" * 16384),
          kept(("x-a", "b" * 16384))),
    legal("a redirect as it is",
          good(b"", b"Location: http://127.0.0.1:1/evil?a#b",
               status=b"HTTP/1.1 302 Found\r\n"),
          Got(302, fields=(("location", "http://127.0.0.1:1/evil?a#b"),))),
    legal("a body that looks like a head", good(EVIL), Got(body=EVIL)),
    legal("a body larger than all buffers", good(b"0123456789" * 30000),
          Got(body=b"0123456789" * 30000)),
    legal("a large body in small chunks",
          head(TE[:-2]) + b"a\r\n0123456789\r\n" * 3000 + b"0\r\n\r\n",
          Got(body=b"0123456789" * 3000)),
    legal("a POST", good(b"four"), FOUR, ask=POST),
]

ROWS = [*LINES, *FIELDS, *LINE_ENDS, *ENDS, *FRAMING, *CHUNKS, *BODIES, *MORE,
        *INTERIM, *LEGAL]


@pytest.mark.parametrize("client", CLIENTS)
@parameters(ROWS)
def test_row(row, client, response_bench):
    run(row, client, response_bench.players["http1"],
        response_bench.port("http1"))
