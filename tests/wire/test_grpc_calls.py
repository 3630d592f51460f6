"""gRPC calls of all four kinds pass through, over TLS and over h2c: messages,
metadata both ways, trailers, errors, size and concurrency."""
import random
import threading

import grpc
import pytest

from lib.client import Grpc
from lib.gateway import secure, simple

BIG = random.Random(2).randbytes(4 * 1024 * 1024)
SIZES = [("grpc.max_receive_message_length", -1),
         ("grpc.max_send_message_length", -1)]
UP = 'protocol = "h2c";'


def tell(message, context):
    """Answers with what came; metadata come back as both kinds."""
    came = [(k, v) for k, v in context.invocation_metadata()
            if k.startswith("x-")]
    context.send_initial_metadata([("x-head", "1"), ("x-head-bin", b"\0\xff"),
                                   *came])
    context.set_trailing_metadata([("x-tail", "2"), ("x-tail-bin", b"\xfe\0"),
                                   *came])
    return b"<" + message + b">"


def count(message, _):
    for i in range(int(message)):
        yield b"%d" % i


def join(messages, _):
    return b"+".join(messages)


def mirror(messages, _):
    for message in messages:
        yield b"re:" + message


def fail(_, context):
    context.set_trailing_metadata([("x-why", "because")])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not t\u00f6day: 100%")


def fail_late(_, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "lost")


METHODS = {"/t.S/Tell": ("unary", tell), "/t.S/Count": ("server", count),
           "/t.S/Join": ("client", join), "/t.S/Mirror": ("both", mirror),
           "/t.S/Fail": ("unary", fail), "/t.S/FailLate": ("server", fail_late)}


@pytest.fixture(params=["h2c", "tls"])
def client(request, gateway, rpc_server, ca, leaf):
    s = rpc_server(METHODS)
    if request.param == "tls":
        g = gateway(secure(s, leaf, upstream=UP))
        c = Grpc(g.port("https"), ca, options=SIZES)
    else:
        g = gateway(simple(s, upstream=UP))
        c = Grpc(g.port(), options=SIZES)
    with c:
        c.gateway = g
        yield c


def test_unary(client):
    assert client.unary("/t.S/Tell", b"a") == b"<a>"
    assert client.unary("/t.S/Tell", b"") == b"<>"
    line = client.gateway.access_log(n=2, path="/t.S/Tell", status=200)
    assert line["endpoint"]


def test_server_stream(client):
    assert list(client.server_stream("/t.S/Count", b"50")) == \
        [b"%d" % i for i in range(50)]
    assert not list(client.server_stream("/t.S/Count", b"0"))


def test_client_stream(client):
    parts = [b"%d" % i for i in range(50)]
    assert client.client_stream("/t.S/Join", parts) == b"+".join(parts)
    assert client.client_stream("/t.S/Join", []) == b""


def test_both_stream_in_lockstep(client):
    """Each message goes out after the answer to the one before came."""
    turn = threading.Semaphore(1)

    def ask():
        for i in range(20):
            turn.acquire()
            yield b"%d" % i
    got = []
    for answer in client.stream("/t.S/Mirror", ask()):
        got.append(answer)
        turn.release()
    assert got == [b"re:%d" % i for i in range(20)]


def test_metadata_both_ways(client):
    sent = [("x-text", "a b"), ("x-twice", "one"), ("x-twice", "two"),
            ("x-raw-bin", bytes(range(256)))]
    answer, call = client.call("/t.S/Tell", b"m", metadata=sent)
    assert answer == b"<m>"
    head = [m for m in call.initial_metadata() if m[0].startswith("x-")]
    tail = [m for m in call.trailing_metadata() if m[0].startswith("x-")]
    for name, first, raw in [(head, "x-head", b"\0\xff"),
                             (tail, "x-tail", b"\xfe\0")]:
        assert (first + "-bin", raw) in name
        for item in sent:
            assert item in name, item
    assert ("x-head", "1") in head and ("x-tail", "2") in tail
    assert call.code() == grpc.StatusCode.OK


def test_trailers_only_error(client):
    with pytest.raises(grpc.RpcError) as caught:
        client.unary("/t.S/Fail", b"")
    error = caught.value
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "not t\u00f6day: 100%"
    assert ("x-why", "because") in error.trailing_metadata()


def test_method_that_the_backend_lacks(client):
    with pytest.raises(grpc.RpcError) as caught:
        client.unary("/t.S/Nothing", b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_error_after_messages(client):
    got = client.server_stream("/t.S/FailLate", b"")
    assert next(got) == b"one"
    with pytest.raises(grpc.RpcError) as caught:
        next(got)
    assert caught.value.code() == grpc.StatusCode.DATA_LOSS
    assert caught.value.details() == "lost"


@pytest.mark.parametrize("kind", ["unary", "both"])
def test_big_messages(client, kind):
    if kind == "unary":
        got = client.unary("/t.S/Tell", BIG)
        assert got[1:-1] == BIG
    else:
        got = list(client.stream("/t.S/Mirror", [BIG, b"x", BIG]))
        assert [len(m) for m in got] == [len(BIG) + 3, 4, len(BIG) + 3]
        assert got[0][3:] == BIG and got[2][3:] == BIG


def test_three_at_once(client):
    """Three streams are open at the same time on one connection."""
    gates = [threading.Event() for _ in range(3)]

    def ask(i):
        yield b"a%d" % i
        gates[i].wait(15)
        yield b"b%d" % i
    calls = [client.stream("/t.S/Mirror", ask(i)) for i in range(3)]
    for i, call in enumerate(calls):
        assert next(call) == b"re:a%d" % i
    for i in (2, 0, 1):
        gates[i].set()
        assert next(calls[i]) == b"re:b%d" % i
        assert not list(calls[i])
