"""Nothing is held back: each piece of an answer, of an upload and of a gRPC
stream arrives before its sender sends the next one. The barrier is the test:
a sender goes on only when the piece before is known to have arrived."""
import threading

import h2.config
import h2.connection
import h2.events
import pytest

from lib.client import Grpc, H2Client, connect, request
from lib.gateway import simple
from lib.wait import PATIENCE

N = 10
SSE = "text/event-stream"


def event(i):
    return b"data: %d\n\n" % i


class Barrier:
    """Counts what arrived; the sender waits for it."""

    def __init__(self):
        self.semaphore = threading.Semaphore(0)

    def arrived(self):
        self.semaphore.release()

    def wait(self):
        assert self.semaphore.acquire(timeout=PATIENCE), "it was held back"


@pytest.fixture
def barrier():
    return Barrier()


def http1_events(barrier, framing):
    def script(conn):
        conn.recv_request()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {SSE}\r\n"
        size = sum(len(event(i)) for i in range(N))
        head += {"chunked": "transfer-encoding: chunked\r\n",
                 "length": f"content-length: {size}\r\n",
                 "close": "connection: close\r\n"}[framing]
        conn.send(head + "\r\n")
        barrier.wait()
        for i in range(N):
            raw = event(i)
            if framing == "chunked":
                raw = b"%x\r\n%s\r\n" % (len(raw), raw)
            conn.send(raw)
            barrier.wait()
        if framing == "chunked":
            conn.send("0\r\n\r\n")
    return script


def h2_events(barrier):
    """The same over HTTP/2 (h2c)."""
    def script(conn):
        engine = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False))
        engine.initiate_connection()
        number = None
        while number is None:
            conn.send(engine.data_to_send())
            for seen in engine.receive_data(conn.recv_some()):
                if isinstance(seen, h2.events.StreamEnded):
                    number = seen.stream_id
        engine.send_headers(number, [(":status", "200"),
                                     ("content-type", SSE)])
        conn.send(engine.data_to_send())
        barrier.wait()
        for i in range(N):
            engine.send_data(number, event(i), end_stream=i == N - 1)
            conn.send(engine.data_to_send())
            if i < N - 1:
                barrier.wait()
        conn.recv_all()
    return script


BACKENDS = ["chunked", "length", "close", "h2"]


@pytest.fixture(params=BACKENDS)
def streaming(request, gateway, server, barrier):
    """The gateway before a backend that sends events."""
    is_h2 = request.param == "h2"
    s = server(h2_events(barrier) if is_h2
               else http1_events(barrier, request.param))
    return gateway(simple(s, upstream=f'protocol = '
                          f'"{"h2c" if is_h2 else "http1"}";'))


def test_events_to_http1(streaming, barrier):
    with connect(streaming.port()) as c:
        c.send(request("/events"))
        head = c.recv_response_head()
        assert head.headers["content-type"] == SSE
        barrier.arrived()
        is_chunked = "transfer-encoding" in head.headers
        for i in range(N):
            if is_chunked:
                assert c.recv_chunk() == event(i)
            else:
                assert c.recv_exact(len(event(i))) == event(i)
            barrier.arrived()
        if is_chunked:
            assert c.recv_chunk() == b""


def test_events_to_http2(streaming, barrier):
    with H2Client.open(streaming.port()) as c:
        number = c.request("/events")
        c.wait_event(h2.events.ResponseReceived, stream_id=number)
        barrier.arrived()
        for i in range(N):
            c.wait_event(h2.events.DataReceived, stream_id=number,
                         data=event(i))
            barrier.arrived()
        got = c.response(number)
    assert got.body == b"".join(event(i) for i in range(N))


def test_grpc_messages(gateway, rpc_server, barrier):
    def drip(_, context):
        context.send_initial_metadata([])
        for i in range(N):
            yield event(i)
            barrier.wait()
    s = rpc_server({"/t.S/Drip": ("server", drip)})
    g = gateway(simple(s, upstream='protocol = "h2c";'))
    with Grpc(g.port()) as c:
        for i, message in enumerate(c.server_stream("/t.S/Drip")):
            assert message == event(i)
            barrier.arrived()


def upload_script(barrier, n=N):
    def script(conn):
        head = conn.recv_request_head()
        assert head.headers["transfer-encoding"] == "chunked"
        barrier.arrived()
        for i in range(n):
            assert conn.recv_chunk() == event(i)
            barrier.arrived()
        assert conn.recv_chunk() == b""
        conn.recv_trailers()
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nall.")
    return script


def test_upload_of_http1(gateway, server, barrier):
    g = gateway(simple(server(upload_script(barrier))))
    with connect(g.port()) as c:
        c.send(request("/up", "POST",
                       fields=[("Transfer-Encoding", "chunked")]))
        barrier.wait()
        for i in range(N):
            raw = event(i)
            c.send(b"%x\r\n%s\r\n" % (len(raw), raw))
            barrier.wait()
        c.send("0\r\n\r\n")
        assert c.recv_response().body == b"all."


def test_upload_of_http2(gateway, server, barrier):
    g = gateway(simple(server(upload_script(barrier))))
    with H2Client.open(g.port()) as c:
        number = c.request("/up", "POST", end=False)
        barrier.wait()
        for i in range(N):
            c.send_data(number, event(i))
            barrier.wait()
        c.send_data(number, b"", end=True)
        assert c.response(number).body == b"all."


def test_upload_to_grpc(gateway, rpc_server, barrier):
    def join(messages, _):
        n = 0
        for message in messages:
            assert message == event(n)
            n += 1
            barrier.arrived()
        return b"%d" % n

    def drip():
        for i in range(N):
            yield event(i)
            barrier.wait()
    s = rpc_server({"/t.S/Join": ("client", join)})
    g = gateway(simple(s, upstream='protocol = "h2c";'))
    with Grpc(g.port()) as c:
        assert c.client_stream("/t.S/Join", drip()) == b"%d" % N


def test_answer_during_the_upload(gateway, server, barrier):
    """Both directions run at once on HTTP/1.1."""
    def script(conn):
        conn.recv_request_head()
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while piece := conn.recv_chunk():
            conn.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        conn.recv_trailers()
        conn.send("0\r\n\r\n")
    g = gateway(simple(server(script)))
    with connect(g.port()) as c:
        c.send(request("/both", "POST",
                       fields=[("Transfer-Encoding", "chunked")]))
        assert c.recv_response_head().status == 200
        for i in range(N):
            raw = event(i)
            c.send(b"%x\r\n%s\r\n" % (len(raw), raw))
            assert c.recv_chunk() == raw
        c.send("0\r\n\r\n")
        assert c.recv_chunk() == b""
