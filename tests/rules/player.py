"""Backends that play what they are told. One thread serves all connections of
a backend; sync() lets it take everything that lies in its sockets, so that
"nothing came" is known and not hoped for."""
import re
import selectors
import socket
import struct
import threading

from h2_wire import PATIENCE, Reader, frames, note, send_pieces

FIELD = re.compile(r"^([!#$%&'*+.^_`|~0-9a-z-]+): (.*)$", re.S)
HELLO = frames.settings({4: 1 << 20}) + frames.window_update(0, 1 << 24)


class Request:
    """A request that came, whole or not."""

    def __init__(self, conn, number, line, fields):
        self.conn = conn
        self.number = number  # of its stream; HTTP/1.1: 0
        self.line = line  # "GET /x HTTP/1.1", or the pseudo-fields
        self.fields = fields  # pairs of text as they came
        self.body = b""
        self.trailers = []
        self.is_whole = False
        self.reset = None  # code of the RST_STREAM that came

    @property
    def path(self):
        if isinstance(self.line, str):
            return self.line.split(" ")[1]
        return dict(self.line)[":path"]

    @property
    def method(self):
        if isinstance(self.line, str):
            return self.line.split(" ")[0]
        return dict(self.line)[":method"]

    def __repr__(self):
        return (f"<{self.line} {self.fields} {self.body[:100]!r} "
                f"{self.trailers} whole={self.is_whole} reset={self.reset}>")


class H1Conn:
    """HTTP/1.1 as a strict server reads it."""

    def __init__(self, player, sock, number):
        self.player = player
        self.sock = sock
        self.number = number
        self.raw = b""
        self.open = None  # the request that is coming
        self.is_tunnel = False
        self.is_gone = False
        self.is_played = False  # nothing more will be sent on it

    def hello(self):
        pass

    def ok(self, request):
        body = b"" if request.method == "HEAD" else b"ok"
        return b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + body

    def take(self, raw):
        self.raw += raw
        while not self.is_tunnel and not self.is_played and self.step():
            pass

    def step(self):
        if self.open is None:
            end = self.raw.find(b"\r\n\r\n")
            if end < 0:
                return False
            lines = self.raw[:end].decode("latin-1").split("\r\n")
            self.raw = self.raw[end + 4:]
            fields = [FIELD.match(line).groups() for line in lines[1:]]
            self.open = Request(self, 0, lines[0], fields)
            self.player.begin(self.open)
            return True
        request, self.open = self.open, None
        if not self.take_body(request):
            self.open = request
            return False
        self.player.end(request)
        return True

    def take_body(self, request):
        names = [n for n, _ in request.fields]
        values = dict(request.fields)
        assert names.count("transfer-encoding") + \
            names.count("content-length") <= 1, request
        if "transfer-encoding" in names:
            assert values["transfer-encoding"] == "chunked"
            return self.take_chunks(request)
        n = int(values.get("content-length", 0)) - len(request.body)
        request.body += self.raw[:n]
        self.raw = self.raw[n:]
        return len(request.body) == int(values.get("content-length", 0))

    def take_chunks(self, request):
        while b"\r\n" in self.raw:
            line, rest = self.raw.split(b"\r\n", 1)
            assert re.fullmatch(rb"[0-9a-f]+", line), line
            n = int(line, 16)
            if n == 0:
                return self.take_trailers(request, rest)
            if len(rest) < n + 2:
                return False
            assert rest[n:n + 2] == b"\r\n"
            request.body += rest[:n]
            self.raw = rest[n + 2:]
        return False

    def take_trailers(self, request, rest):
        if rest[:2] == b"\r\n":
            self.raw = rest[2:]
            return True
        end = rest.find(b"\r\n\r\n")
        if end < 0:
            return False
        self.raw = rest[end + 4:]
        request.trailers = [FIELD.match(line).groups() for line in
                            rest[:end].decode("latin-1").split("\r\n")]
        return True


class H2Conn:
    """HTTP/2 by frames."""

    def __init__(self, player, sock, number):
        self.player = player
        self.sock = sock
        self.number = number
        self.reader = Reader(False)
        self.preface = b""
        self.requests = {}
        self.n_acked = self.n_pings = 0
        self.is_gone = False
        self.is_played = False

    def hello(self):
        self.sock.sendall(self.player.hello)

    def ok(self, request):
        return (frames.frame(frames.HEADERS, request.number,
                             frames.block([(":status", "200")]),
                             frames.END_HEADERS) +
                frames.data(request.number, b"ok", end=True))

    def take(self, raw):
        n = len(frames.PREFACE) - len(self.preface)
        self.preface += raw[:n]
        assert frames.PREFACE.startswith(self.preface), self.preface
        for number in self.reader.take(raw[n:]):
            if number != 0:
                self.take_stream(number, self.reader.stream(number))
        self.answer_control()

    def answer_control(self):
        new = b""
        if self.reader.n_settings > self.n_acked:
            self.n_acked += 1
            new += frames.settings(ack=True)
        for payload in self.reader.pings[self.n_pings:]:
            self.n_pings += 1
            new += frames.ping(payload, ack=True)
        if new and not self.is_played:
            try:
                self.sock.sendall(new)
            except OSError:
                pass

    def take_stream(self, number, st):
        request = self.requests.get(number)
        if request is None:
            if st.fields is None:
                return
            fields = [(n.decode("latin-1"), v.decode("latin-1"))
                      for n, v in st.fields]
            request = Request(self, number,
                              [f for f in fields if f[0][0] == ":"],
                              [f for f in fields if f[0][0] != ":"])
            self.requests[number] = request
            self.player.begin(request)
        request.body = st.body
        request.reset = st.reset
        request.trailers = [(n.decode(), v.decode("latin-1"))
                            for n, v in st.trailers or ()]
        if st.is_ended and not request.is_whole:
            self.player.end(request)


class Play:
    """What a backend does with the next requests but those for /ok."""

    def __init__(self, sent, end="open", cut="whole", seed="", early=False):
        self.sent = sent  # bytes, or a function of the stream's number
        self.end = end
        self.cut = cut
        self.seed = seed
        self.early = early  # at the head of the request


class Player:
    """`protocol`: "http1" or "h2". Without a Play every request is answered
    with 200 and "ok"."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.name = f"backend {protocol}"
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.wake_out, self.wake_in = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.socket, selectors.EVENT_READ, None)
        self.selector.register(self.wake_in, selectors.EVENT_READ, "wake")
        self.changed = threading.Condition()
        self.todo = []
        self.conns = []
        self.requests = []  # in the order of their heads
        self.errors = []
        self.play = None
        self.hello = HELLO
        self.is_stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def __str__(self):
        return self.address

    # ---- the thread --------------------------------------------------------

    def run(self):
        while not self.is_stopping:
            self.turn(None)

    def turn(self, timeout):
        """One round; True when something happened."""
        ready = self.selector.select(timeout)
        with self.changed:
            for key, _ in ready:
                if key.data is None:
                    self.accept()
                elif key.data == "wake":
                    self.wake_in.recv(64)
                else:
                    self.serve(key.data)
            while self.todo:
                self.todo.pop(0)()
            self.changed.notify_all()
        return bool(ready)

    def accept(self):
        sock, _ = self.socket.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(PATIENCE)
        make = H1Conn if self.protocol == "http1" else H2Conn
        conn = make(self, sock, len(self.conns) + 1)
        self.conns.append(conn)
        self.selector.register(sock, selectors.EVENT_READ, conn)
        note(self.name, f"connection {conn.number}")
        conn.hello()

    def serve(self, conn):
        try:
            raw = conn.sock.recv(1 << 17)
        except OSError:
            raw = b""
        note(self.name, f"{conn.number} < {raw[:300]!r}")
        if not raw:
            self.drop(conn)
            return
        try:
            conn.take(raw)
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(error)
            self.drop(conn)

    def drop(self, conn):
        if not conn.is_gone:
            conn.is_gone = True
            self.selector.unregister(conn.sock)
            conn.sock.close()

    def begin(self, request):
        self.requests.append(request)
        play = self.play_of(request)
        if play is not None and play.early:
            self.perform(request, play)

    def end(self, request):
        request.is_whole = True
        play = self.play_of(request)
        if play is None:
            send_pieces(request.conn.sock, request.conn.ok(request),
                        "whole", "")
        elif not play.early:
            self.perform(request, play)

    def play_of(self, request):
        return None if request.path == "/ok" else self.play

    def perform(self, request, play):
        conn = request.conn
        sent = play.sent
        raw = sent(request.number) if callable(sent) else sent
        note(self.name, f"{conn.number} > {play.cut} {raw[:300]!r}")
        conn.is_played = play.end in ("fin", "shut", "rst now")
        if b" 101 " in raw[:13]:
            conn.is_tunnel = True
        if not send_pieces(conn.sock, raw, play.cut, play.seed):
            return
        if play.end in ("fin", "rst now"):
            if play.end == "rst now":
                self.abort(conn)
            self.drop(conn)
        elif play.end == "shut":
            conn.sock.shutdown(socket.SHUT_WR)

    # ---- what tests call ---------------------------------------------------

    def call(self, fn):
        """Runs fn in the thread and waits for it."""
        done = threading.Event()

        def run():
            fn()
            done.set()
        with self.changed:
            self.todo.append(run)
        self.wake_out.send(b"x")
        assert done.wait(PATIENCE), f"{self.name} hangs"

    def sync(self):
        """All that was sent to this backend by now has been taken."""
        def drain():
            while any(key.data != "wake" for key, _ in
                      self.selector.select(0)):
                for key, _ in self.selector.select(0):
                    if key.data is None:
                        self.accept()
                    elif key.data != "wake":
                        self.serve(key.data)
        self.call(drain)
        assert not self.errors, self.errors

    def wait(self, is_done, what):
        with self.changed:
            assert self.changed.wait_for(is_done, PATIENCE), \
                f"{self.name}: {what} in vain; {self.requests[-3:]}"

    def begin_row(self, play=None, fresh=False):
        """Forgets what came. `fresh`: on new connections."""
        def reset():
            self.play = play
            self.requests.clear()
            if fresh:
                for conn in self.conns:
                    self.drop(conn)
        self.call(reset)

    @staticmethod
    def abort(conn):
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))

    def reset_conn(self, conn):
        """Ends a connection by a TCP reset."""
        def reset():
            if not conn.is_gone:
                self.abort(conn)
                self.drop(conn)
        self.call(reset)

    def send(self, conn, raw):
        """Sends on a connection, out of turn."""
        self.call(lambda: conn.is_gone or conn.sock.sendall(raw))

    def stop(self):
        self.is_stopping = True
        self.wake_out.send(b"x")
        self.thread.join(PATIENCE)
        for conn in self.conns:
            if not conn.is_gone:
                conn.sock.close()
        for sock in (self.socket, self.wake_out, self.wake_in):
            sock.close()
        assert not self.errors, self.errors
