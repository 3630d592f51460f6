"""Backends in Python: a raw one that runs a script for each connection, an
HTTP backend (HTTP/1.1 or HTTP/2, plain or TLS) that answers by a function,
and the demo model server."""
import collections
import json
import os
import re
import socket
import ssl
import subprocess
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from lib.gateway import ROOT
from lib.stream import NO_BODY, Closed, Message, Stream
from lib.wait import PATIENCE, note, wait_until

DEMO = os.environ.get("DEMO_BIN", os.path.join(ROOT, "build", "demo-server"))
GONE = (Closed, ConnectionError, BrokenPipeError, ssl.SSLError, OSError)


class RawServer:
    """Listens on a port of its own; each connection runs script(conn) in a
    thread and is closed when that returns. `conn` is a Stream with .number
    (1, 2, ...). A script that raises fails the test; that the other side went
    away is no failure."""

    def __init__(self, script, tls=None, name="server", host="127.0.0.1"):
        self.script = script
        self.tls = tls
        self.name = name
        self.errors = []
        self.conns = []
        self.received = b""  # of connections whose script is drop()
        self.lock = threading.Lock()
        self.is_stopping = False
        self.host = host
        self._listen(host, 0)
        self.port = self.socket.getsockname()[1]
        self.address = (f"[{host}]:{self.port}" if ":" in host
                        else f"{host}:{self.port}")
        self.threads = []
        self.thread.start()

    def _listen(self, host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.listen(128)
        self.thread = threading.Thread(target=self._accept, daemon=True)

    def __str__(self):
        return self.address

    @property
    def n_conns(self):
        """Connections so far (with TLS: handshakes begun)."""
        return len(self.conns)

    def wait_conns(self, n):
        wait_until(lambda: self.n_conns >= n, f"{self.name}: {n} connections")

    def _accept(self):
        while True:
            try:
                sock, peer = self.socket.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conn = Stream(sock, self.name)
            conn.peer = peer
            with self.lock:
                self.conns.append(conn)
                conn.number = len(self.conns)
            note(self.name, f"connection {conn.number} from {peer}")
            thread = threading.Thread(target=self._run, args=(conn,),
                                      daemon=True)
            thread.start()
            self.threads.append(thread)

    def _run(self, conn):
        try:
            if self.tls is not None:
                conn.sock = self.tls.wrap_socket(conn.sock, server_side=True)
            self.script(conn)
        except GONE as error:
            note(self.name, f"connection {conn.number} ended: {error!r}")
        except BaseException as error:  # pylint: disable=broad-except
            note(self.name, f"connection {conn.number} failed: {error!r}")
            if not self.is_stopping:
                self.errors.append(error)
        finally:
            conn.close()

    def pause(self):
        """Stops listening: from now on connections are refused."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(PATIENCE)

    def resume(self):
        """Listens again, after pause()."""
        self._listen(self.host, self.port)
        self.thread.start()

    def drop_conns(self):
        """Closes all connections that are open."""
        for conn in self.conns:
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        """Ends it; raises what a script raised."""
        self.is_stopping = True
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        self.thread.join(PATIENCE)
        self.drop_conns()
        for thread in self.threads:
            thread.join(PATIENCE)
        if self.errors:
            raise AssertionError(f"{self.name}: {self.errors[0]!r}") \
                from self.errors[0]


def reply(status=200, body=b"", fields=(), trailers=None, chunks=None):
    """An answer for Backend. `chunks`: an iterable of pieces, sent one by one
    (HTTP/1.1: chunked); `trailers`: pairs, sent at the end."""
    body = body.encode() if isinstance(body, str) else body
    message = Message(fields, body, trailers or ())
    message.status = status
    message.chunks = chunks
    return message


def echo(name="backend"):
    """An answer function: says in JSON what arrived."""
    def answer(request):
        body = json.dumps({
            "server": name, "version": request.version,
            "method": request.method, "path": request.path,
            "host": request.host, "scheme": request.scheme,
            "conn": request.conn_number,
            "fields": request.fields,
            "headers": request.headers,
            "body": request.body.decode("latin-1"),
            "trailers": request.trailers}).encode()
        return reply(200, body, [("content-type", "application/json"),
                                 ("x-server", name)])
    return answer


class Backend(RawServer):
    """An HTTP server: answer(request) returns a reply(). `protocol`: "http1",
    "h2" (also h2c), or "auto" (by ALPN). `requests`: all that came, whole.
    A request has .conn_number, .version, .method, .path, .host, .scheme (h2),
    .fields, .headers, .body, .trailers. A falsy answer closes the
    connection."""

    def __init__(self, answer=None, protocol="http1", name="backend",
                 alpn=None, leaf=None, client_ca=None, host="127.0.0.1",
                 tls=None):
        self.answer = answer or echo(name)
        self.protocol = protocol
        self.requests = []
        self.snis = []
        offers = {"http1": ["http/1.1"], "h2": ["h2"],
                  "auto": ["h2", "http/1.1"]}[protocol]
        if leaf is not None:
            tls = leaf.server_context(alpn or offers, client_ca)
            tls.sni_callback = lambda sock, name, ctx: self.snis.append(name)
        super().__init__(self._serve, tls, name, host)

    def wait_requests(self, n):
        wait_until(lambda: len(self.requests) >= n,
                   f"{self.name}: {n} requests")
        return self.requests

    def _take(self, conn, request):
        request.conn_number = conn.number
        if self.tls is not None:
            request.alpn = conn.sock.selected_alpn_protocol()
            request.client_cert = conn.sock.getpeercert()
        with self.lock:
            self.requests.append(request)
        return self.answer(request)

    def _serve(self, conn):
        is_h2 = self.protocol == "h2"
        if self.protocol == "auto" and self.tls is not None:
            is_h2 = conn.sock.selected_alpn_protocol() == "h2"
        if is_h2:
            H2Serving(conn, self._take).run()
            return
        while True:
            try:
                request = self._recv_http1(conn)
            except Closed as end:
                assert not end.got, f"{self.name}: half a request {end.got!r}"
                return
            got = self._take(conn, request)
            if not got:
                return
            conn.send(http1_bytes(got, request.method))
            if got.chunks is not None:
                self._chunks(conn, got)
            if got.headers.get("connection") == "close":
                return

    @staticmethod
    def _recv_http1(conn):
        request = conn.recv_request_head()
        if request.headers.get("expect") == "100-continue":
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn._body(request)
        return request

    @staticmethod
    def _chunks(conn, got):
        for piece in got.chunks:
            conn.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        ends = "".join(f"{n}: {v}\r\n" for n, v in got.trailers)
        conn.send(f"0\r\n{ends}\r\n")


def has_length(got):
    """Whether a content-length of ours goes with this reply()."""
    return (got.chunks is None and not got.trailers and got.status >= 200 and
            got.status not in NO_BODY and
            "content-length" not in got.headers)


def http1_bytes(got, method="GET"):
    """A reply() as the bytes of an HTTP/1.1 response (of one in chunks: its
    head)."""
    lines = [f"HTTP/1.1 {got.status} Whatever"]
    lines += [f"{n}: {v}" for n, v in got.fields]
    if got.chunks is not None:
        lines.append("transfer-encoding: chunked")
    elif has_length(got):
        lines.append(f"content-length: {len(got.body)}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    has_body = method != "HEAD" and got.chunks is None
    return head.encode("latin-1") + (got.body if has_body else b"")


class H2Serving:
    """The HTTP/2 side of one connection of a Backend."""

    def __init__(self, conn, take):
        self.conn = conn
        self.take = take
        self.requests = {}
        self.waiting = {}  # stream -> [bytes left, trailers]
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="latin-1"))

    def run(self):
        self.h2.initiate_connection()
        self.flush()
        while self.conn.buffer or self.conn.more():
            raw, self.conn.buffer = self.conn.buffer, b""
            for event in self.h2.receive_data(raw):
                self.on_event(event)
            for number in list(self.waiting):
                self.pump(number)
            self.flush()

    def flush(self):
        raw = self.h2.data_to_send()
        if raw:
            self.conn.sock.sendall(raw)

    def on_event(self, event):
        note(self.conn.actor, f"< {event}")
        number = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.RequestReceived):
            self.requests[number] = self.request_of(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.requests[number].body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length,
                                              number)
        elif isinstance(event, h2.events.TrailersReceived):
            self.requests[number].trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self.answer(number, self.requests.pop(number))
        elif isinstance(event, h2.events.StreamReset):
            self.requests.pop(number, None)
            self.waiting.pop(number, None)

    @staticmethod
    def request_of(fields):
        request = Message([f for f in fields if not f[0].startswith(":")])
        pseudo = dict(f for f in fields if f[0].startswith(":"))
        request.version = "HTTP/2"
        request.method = pseudo.get(":method")
        request.path = pseudo.get(":path")
        request.scheme = pseudo.get(":scheme")
        request.host = pseudo.get(":authority",
                                  request.headers.get("host"))
        return request

    def answer(self, number, request):
        got = self.take(self.conn, request)
        if not got:
            raise ConnectionError("the answer is to close")
        body = got.body if got.chunks is None else b"".join(got.chunks)
        has_more = bool(body or got.trailers) and request.method != "HEAD"
        head = [(":status", str(got.status)), *got.fields]
        if has_length(got):
            head.append(("content-length", str(len(body))))
        self.h2.send_headers(number, head, end_stream=not has_more)
        if has_more:
            self.waiting[number] = [body, got.trailers]

    def pump(self, number):
        """Sends what flow control allows of an answer's body."""
        body, trailers = self.waiting[number]
        while body:
            room = min(self.h2.local_flow_control_window(number),
                       self.h2.max_outbound_frame_size, len(body))
            if room <= 0:
                self.waiting[number][0] = body
                return
            is_last = room == len(body) and not trailers
            self.h2.send_data(number, body[:room], end_stream=is_last)
            body = body[room:]
        if trailers:
            self.h2.send_headers(number, list(trailers), end_stream=True)
        del self.waiting[number]


class Demo:
    """The demo model server, as a process."""

    def __init__(self, name="demo"):
        self.name = name
        self.process = subprocess.Popen(
            [DEMO, "--listen", "127.0.0.1:0", "--name", name],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.search(r"port (\d+)", line).group(1))
        self.address = f"127.0.0.1:{self.port}"

    def __str__(self):
        return self.address

    def stop(self):
        self.process.terminate()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()
        assert status == 0, f"{self.name} ended with {status}"


def counts(backends):
    """{name: how many requests it had}"""
    return collections.Counter({b.name: len(b.requests) for b in backends})
