"""A socket with a buffer, and the strict HTTP/1.1 reading that clients and
servers of the tests share. What is not exactly right raises."""
import json
import re
import socket
import struct

from lib.wait import PATIENCE, note

FIELD = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$",
                   re.S)
REQUEST = re.compile(rb"^(\S+) (\S+) (HTTP/\d\.\d)$")
STATUS = re.compile(rb"^(HTTP/\d\.\d) (\d{3}) ([^\r\n]*)$")
NO_BODY = (204, 304)


class Closed(Exception):
    """The other side closed the connection; `got` is what came before."""

    def __init__(self, got):
        super().__init__(f"closed after {got!r}")
        self.got = got


class Message:
    """A request or a response. `fields`: (name, value) pairs as they came,
    names in lower case; `headers`: a dict of them, repeated ones joined."""

    def __init__(self, fields=(), body=b"", trailers=()):
        self.fields = [(n.lower(), v) for n, v in fields]
        self.body = body
        self.trailers = list(trailers)
        self.version = self.reason = None
        self.status = self.method = self.path = self.host = None
        self.scheme = None
        self.informational = []
        self.ended = True

    @property
    def headers(self):
        found = {}
        for name, value in self.fields:
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def all(self, name):
        """Every value of a field."""
        return [v for n, v in self.fields if n == name]

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        what = self.status if self.status else f"{self.method} {self.path}"
        return f"<{self.version} {what} {self.fields} {self.body[:200]!r}>"


class Stream:
    """One side of a TCP or TLS connection. Every read is bounded in time."""

    def __init__(self, sock, actor, timeout=None):
        self.sock = sock
        self.actor = actor
        self.buffer = b""
        self.is_shut = False
        sock.settimeout(timeout or PATIENCE)

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        note(self.actor, f"> {data[:300]!r}")
        self.sock.sendall(data)

    def more(self):
        """Reads what there is into the buffer; False at the end."""
        try:
            piece = self.sock.recv(65536)
        except ConnectionResetError:
            note(self.actor, "< reset")
            raise
        note(self.actor, f"< {piece[:300]!r}" if piece else "< end")
        self.buffer += piece
        return bool(piece)

    def need(self):
        if not self.more():
            raise Closed(self.buffer)

    def recv_until(self, mark):
        """Bytes up to and with `mark`."""
        while mark not in self.buffer:
            self.need()
        at = self.buffer.index(mark) + len(mark)
        got, self.buffer = self.buffer[:at], self.buffer[at:]
        return got

    def recv_exact(self, n):
        while len(self.buffer) < n:
            self.need()
        got, self.buffer = self.buffer[:n], self.buffer[n:]
        return got

    def recv_some(self):
        """At least one byte."""
        if not self.buffer:
            self.need()
        got, self.buffer = self.buffer, b""
        return got

    def recv_all(self):
        """Everything until the other side closes; a reset ends it too."""
        try:
            while self.more():
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        got, self.buffer = self.buffer, b""
        return got

    def is_closed_by_peer(self):
        """Waits until the other side closes; False: it sent something
        instead."""
        if self.buffer:
            return False
        try:
            return not self.more()
        except ConnectionResetError:
            return True

    def shut(self):
        """Says that nothing more will be sent."""
        note(self.actor, "half-closes")
        self.is_shut = True
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a TCP reset."""
        note(self.actor, "resets")
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        if hasattr(self.sock, "unwrap"):
            # Without a TLS goodbye.
            socket.socket(fileno=self.sock.detach()).close()
            return
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- HTTP/1 ------------------------------------------------------------

    def _fields(self, lines):
        found = []
        for line in lines:
            field = FIELD.match(line)
            assert field, f"{self.actor}: no field: {line!r}"
            found.append((field.group(1).decode().lower(),
                          field.group(2).decode("latin-1")))
        return found

    def _head(self):
        head = self.recv_until(b"\r\n\r\n")[:-4]
        lines = head.split(b"\r\n")
        assert b"\n" not in b"".join(lines), f"bare LF in {head!r}"
        return lines[0], self._fields(lines[1:])

    def recv_chunk(self):
        """One chunk's data; b"" for the last one (trailers follow)."""
        line = self.recv_until(b"\r\n")[:-2]
        assert re.fullmatch(rb"[0-9a-fA-F]+", line), f"chunk line {line!r}"
        size = int(line, 16)
        if size == 0:
            return b""
        data = self.recv_exact(size + 2)
        assert data.endswith(b"\r\n"), f"chunk ends with {data[-2:]!r}"
        return data[:-2]

    def recv_trailers(self):
        lines = []
        while True:
            line = self.recv_until(b"\r\n")[:-2]
            if not line:
                return self._fields(lines)
            lines.append(line)

    def _body(self, message):
        coding = message.all("transfer-encoding")
        length = message.all("content-length")
        assert not (coding and length), f"both framings: {message!r}"
        if coding:
            assert coding == ["chunked"], coding
            while piece := self.recv_chunk():
                message.body += piece
            message.trailers = self.recv_trailers()
            return True
        if length:
            assert len(length) == 1 and length[0].isdigit(), length
            message.body = self.recv_exact(int(length[0]))
            return True
        return False

    def recv_request_head(self):
        line, fields = self._head()
        found = REQUEST.match(line)
        assert found, f"{self.actor}: no request line: {line!r}"
        message = Message(fields)
        message.method, message.path, message.version = (
            g.decode("latin-1") for g in found.groups())
        message.host = message.headers.get("host")
        return message

    def recv_request(self):
        """One whole request. Raises Closed when the connection ends first."""
        message = self.recv_request_head()
        self._body(message)
        return message

    def recv_response_head(self):
        line, fields = self._head()
        found = STATUS.match(line)
        assert found, f"{self.actor}: no status line: {line!r}"
        message = Message(fields)
        message.version = found.group(1).decode()
        message.status = int(found.group(2))
        message.reason = found.group(3).decode("latin-1")
        return message

    def recv_response(self, method="GET"):
        """One whole final response; interim ones are in .informational. A
        body without framing goes until the connection ends."""
        interim = []
        while True:
            message = self.recv_response_head()
            if message.status >= 200 or message.status == 101:
                break
            interim.append(message)
        message.informational = interim
        if method == "HEAD" or message.status in NO_BODY or \
                message.status == 101:
            return message
        if not self._body(message):
            message.body = self.recv_all()
        return message
