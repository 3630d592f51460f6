"""Clients: raw sockets, HTTP/2 by the h2 package or by raw frames, curl, and
gRPC. httpx is used as it is."""
import socket
import subprocess

import grpc
import h2.config
import h2.connection
import h2.events

from lib import frames
from lib.stream import Closed, Message, Stream
from lib.wait import PATIENCE, note

CRLF = "\r\n"


def connect(port, host="127.0.0.1", tls=None, name="localhost",
            timeout=None, before=b"", source=None):
    """A connected Stream. `tls`: a context (lib.tls), `name` the SNI (None:
    no SNI); `before`: bytes sent before TLS (a PROXY header); `source`: the
    address to come from."""
    bind = (source, 0) if source else None
    sock = socket.create_connection((host, port), timeout or PATIENCE, bind)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if before:
        sock.sendall(before)
    if tls is not None:
        try:
            sock = tls.wrap_socket(sock, server_hostname=name)
        except BaseException:
            sock.close()
            raise
    return Stream(sock, "client", timeout)


def request(path="/", method="GET", host="localhost", fields=(), body=None,
            version="HTTP/1.1"):
    """The bytes of a request; `body` brings its content-length."""
    lines = [f"{method} {path} {version}", f"Host: {host}"]
    lines += [f"{n}: {v}" for n, v in fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    head = CRLF.join(lines) + CRLF + CRLF
    return head.encode("latin-1") + (body or b"")


def ask(port, path="/", method="GET", tls=None, name="localhost",
        host="localhost", fields=(), body=None, before=b"", address=None,
        source=None):
    """One request on its own connection -> its response (a Message)."""
    with connect(port, address or "127.0.0.1", tls, name, before=before,
                 source=source) as c:
        c.send(request(path, method, host, fields, body))
        return c.recv_response(method)


class H2Client:
    """HTTP/2 on a Stream. Events are read when something is waited for."""

    def __init__(self, stream, scheme="http", settings=None, validate=True):
        self.stream = stream
        self.scheme = scheme
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="latin-1",
            validate_outbound_headers=validate,
            normalize_outbound_headers=validate))
        if settings:
            self.h2.local_settings.update(settings)
        self.h2.initiate_connection()
        self.events = []  # all that came
        self.goaway = None  # the event, once it came
        self.auto_credit = True
        self.flush()

    @classmethod
    def open(cls, port, tls=None, name="localhost", host="127.0.0.1", **kw):
        """h2c with prior knowledge; with `tls` (ALPN h2) over TLS."""
        stream = connect(port, host, tls, name)
        if tls is not None:
            assert stream.sock.selected_alpn_protocol() == "h2"
        return cls(stream, "https" if tls else "http", **kw)

    def flush(self):
        raw = self.h2.data_to_send()
        if raw:
            self.stream.sock.sendall(raw)

    def send_raw(self, raw):
        """Bytes that the h2 package knows nothing of."""
        self.stream.send(raw)

    def request(self, path="/", method="GET", host="localhost", fields=(),
                body=None, end=True):
        """Sends a head and a body; returns the stream's number."""
        number = self.h2.get_next_available_stream_id()
        head = frames.request_fields(path, method, host, self.scheme, fields)
        has_body = body is not None
        note("client", f"> [{number}] {head} end={end and not has_body}")
        self.h2.send_headers(number, head, end_stream=end and not has_body)
        self.flush()
        if has_body:
            self.send_data(number, body, end)
        return number

    def send_data(self, number, body, end=False):
        """Sends as flow control allows, reading in between."""
        sent = 0
        while True:
            room = min(self.h2.local_flow_control_window(number),
                       self.h2.max_outbound_frame_size, len(body) - sent)
            if room > 0 or not body:
                last = sent + max(room, 0) == len(body)
                self.h2.send_data(number, body[sent:sent + room],
                                  end_stream=end and last)
                self.flush()
                sent += room
                if last:
                    return
            else:
                self.read()

    def send_trailers(self, number, fields):
        self.h2.send_headers(number, list(fields), end_stream=True)
        self.flush()

    def reset(self, number, code=frames.CANCEL):
        note("client", f"> [{number}] reset {code}")
        self.h2.reset_stream(number, code)
        self.flush()

    def read(self):
        """Reads once; the new events. Raises Closed at the end."""
        if not self.stream.more():
            raise Closed(b"")
        raw, self.stream.buffer = self.stream.buffer, b""
        new = self.h2.receive_data(raw)
        for event in new:
            if isinstance(event, h2.events.DataReceived) and \
                    self.auto_credit and event.flow_controlled_length:
                self.credit(event)
            if isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = event
            note("client", f"< {event}")
        self.events += new
        self.flush()
        return new

    def credit(self, event):
        try:
            self.h2.acknowledge_received_data(event.flow_controlled_length,
                                              event.stream_id)
        except h2.exceptions.StreamClosedError:
            pass

    def wait_event(self, kind, **fields):
        """Reads until there is an event of this kind with these values."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                if isinstance(event, kind) and all(
                        getattr(event, k) == v for k, v in fields.items()):
                    return event
            seen = len(self.events)
            self.read()

    def _message(self, number):
        message = Message()
        message.version = "HTTP/2"
        message.ended = False
        for event in self.events:
            if getattr(event, "stream_id", None) != number:
                continue
            if isinstance(event, h2.events.ResponseReceived):
                message.status = int(dict(event.headers)[":status"])
                message.fields = [f for f in event.headers
                                  if not f[0].startswith(":")]
            elif isinstance(event, h2.events.InformationalResponseReceived):
                message.informational.append(event)
            elif isinstance(event, h2.events.DataReceived):
                message.body += event.data
            elif isinstance(event, h2.events.TrailersReceived):
                message.trailers = list(event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                message.ended = True
            elif isinstance(event, h2.events.StreamReset):
                raise StreamReset(event.error_code, message)
        return message

    def response(self, number):
        """The whole response of a stream. Raises StreamReset if it was
        reset, Closed if the connection ended first."""
        while True:
            message = self._message(number)
            if message.ended:
                return message
            self.read()

    def ask(self, *args, **kw):
        """request() and its response()."""
        return self.response(self.request(*args, **kw))

    def wait_end(self):
        """Reads until the other side closes; the GOAWAY event, if any."""
        try:
            while True:
                self.read()
        except (Closed, ConnectionResetError):
            return self.goaway

    def close(self):
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class StreamReset(Exception):
    """The server reset the stream; `so_far` is what came before."""

    def __init__(self, code, so_far):
        super().__init__(f"stream reset with {code} after {so_far!r}")
        self.code = int(code)
        self.so_far = so_far


class RawH2:
    """HTTP/2 by raw frames: send any bytes, read frames."""

    def __init__(self, stream, handshake=True):
        self.stream = stream
        self.frames = []
        self.raw = b""
        if handshake:
            self.send(frames.PREFACE + frames.settings())
            self.wait_frame(frames.SETTINGS)
            self.send(frames.settings(ack=True))

    def send(self, raw):
        self.stream.send(raw)

    def read(self):
        if not self.stream.more():
            raise Closed(b"")
        self.raw += self.stream.buffer
        self.stream.buffer = b""
        new, self.raw = frames.split(self.raw)
        self.frames += new

    def wait_frame(self, kind, stream=None):
        """(kind, flags, stream, payload) of the first such frame that was
        not returned before. Raises Closed."""
        while True:
            for i, found in enumerate(self.frames):
                if found[0] == kind and stream in (None, found[2]):
                    return self.frames.pop(i)
            self.read()

    def wait_end(self):
        """Reads to the end; the error code of the GOAWAY, or None."""
        try:
            while True:
                self.read()
        except (Closed, ConnectionResetError):
            pass
        codes = [int.from_bytes(f[3][4:8], "big") for f in self.frames
                 if f[0] == frames.GOAWAY]
        return codes[-1] if codes else None

    def close(self):
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def curl(*args, check=True):
    """curl -sS with these arguments: what it printed."""
    command = ["curl", "-sS", "--max-time", str(int(PATIENCE)), *args]
    done = subprocess.run(command, capture_output=True, check=False,
                          stdin=subprocess.DEVNULL)
    note("curl", f"{command[1:]} -> {done.returncode} {done.stdout[:300]!r} "
         f"{done.stderr[:300]!r}")
    assert not check or done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("latin-1")


def s_client(port, *args, send="", host="127.0.0.1"):
    """openssl s_client with these arguments: (exit status, its output)."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", *args],
        input=send.encode(), capture_output=True, timeout=PATIENCE * 2,
        check=False)
    text = (done.stdout + done.stderr).decode("latin-1")
    note("s_client", f"{args} -> {done.returncode}")
    return done.returncode, text


class Grpc:
    """gRPC with bytes for messages, on one channel. `ca`: an Authority, for
    TLS. Methods are whole paths: "/package.Service/Method"."""

    def __init__(self, port, ca=None, host="localhost", options=()):
        options = [("grpc.enable_retries", 0),
                   ("grpc.use_local_subchannel_pool", 1), *options]
        if ca is None:
            self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        else:
            credentials = grpc.ssl_channel_credentials(ca.path.read_bytes())
            self.channel = grpc.secure_channel(
                f"127.0.0.1:{port}", credentials,
                [("grpc.ssl_target_name_override", host), *options])

    def unary(self, path, message=b"", timeout=None, **kw):
        """The answer's bytes; raises grpc.RpcError."""
        return self.channel.unary_unary(path)(
            message, timeout=timeout or PATIENCE, **kw)

    def call(self, path, message=b"", timeout=None, **kw):
        """(answer, call): the call knows trailers and initial metadata."""
        return self.channel.unary_unary(path).with_call(
            message, timeout=timeout or PATIENCE, **kw)

    def server_stream(self, path, message=b"", timeout=None, **kw):
        """An iterator of answers."""
        return self.channel.unary_stream(path)(
            message, timeout=timeout or PATIENCE, **kw)

    def client_stream(self, path, messages, timeout=None, **kw):
        return self.channel.stream_unary(path)(
            iter(messages), timeout=timeout or PATIENCE, **kw)

    def stream(self, path, messages, timeout=None, **kw):
        """Both ways; an iterator of answers."""
        return self.channel.stream_stream(path)(
            iter(messages), timeout=timeout or PATIENCE, **kw)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
