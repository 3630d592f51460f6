"""HTTP/2 frames as bytes, well made or not, for tests that need what no
library would send."""
import struct

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 5, 6, 7, 8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11


def frame(kind, stream=0, payload=b"", flags=0, length=None):
    """One frame; `length` lies about the payload's."""
    n = len(payload) if length is None else length
    return (struct.pack(">I", n)[1:] + bytes([kind, flags]) +
            struct.pack(">I", stream) + payload)


def settings(values=None, ack=False):
    payload = b"".join(struct.pack(">HI", k, v)
                       for k, v in (values or {}).items())
    return frame(SETTINGS, 0, payload, ACK if ack else 0)


def ping(payload=b"01234567", ack=False):
    return frame(PING, 0, payload, ACK if ack else 0)


def rst(stream, code=CANCEL):
    return frame(RST_STREAM, stream, struct.pack(">I", code))


def window_update(stream, n):
    return frame(WINDOW_UPDATE, stream, struct.pack(">I", n))


def data(stream, payload=b"", end=False):
    return frame(DATA, stream, payload, END_STREAM if end else 0)


def block(fields, huffman=False):
    """Fields as an HPACK block that leaves no trace in the dynamic table.
    Names and values go out as they are, whatever they are."""
    out = b""
    for name, value in fields:
        out += b"\x00" + _string(name, huffman) + _string(value, huffman)
    return out


def _string(text, huffman):
    raw = text if isinstance(text, bytes) else text.encode("latin-1")
    if huffman:
        raw = hpack.Encoder().huffman_coder.encode(raw)
    return _integer(len(raw), 7, 0x80 if huffman else 0) + raw


def _integer(value, bits, first):
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out = bytearray([first | limit])
    value -= limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def request_fields(path="/", method="GET", host="localhost", scheme="http",
                   more=()):
    return [(":method", method), (":scheme", scheme), (":authority", host),
            (":path", path), *more]


def headers(stream, fields, end=True, end_headers=True):
    """A HEADERS frame with these fields, literal and unindexed."""
    flags = (END_STREAM if end else 0) | (END_HEADERS if end_headers else 0)
    return frame(HEADERS, stream, block(fields), flags)


def continuation(stream, payload, end_headers=True):
    return frame(CONTINUATION, stream, payload,
                 END_HEADERS if end_headers else 0)


def split(raw):
    """Bytes -> ([(kind, flags, stream, payload), ...], rest)."""
    found = []
    while len(raw) >= 9:
        n = int.from_bytes(raw[:3], "big")
        if len(raw) < 9 + n:
            break
        stream = int.from_bytes(raw[5:9], "big") & 0x7fffffff
        found.append((raw[3], raw[4], stream, raw[9:9 + n]))
        raw = raw[9 + n:]
    return found, raw
