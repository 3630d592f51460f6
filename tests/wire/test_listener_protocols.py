"""`protocols` says what a listener speaks: with h2 alone what is not HTTP/2's
preface ends with GOAWAY PROTOCOL_ERROR (RFC 9113 3.4), with http/1.1 alone
HTTP/2 is never spoken; over TLS no more than that is offered by ALPN."""
import ssl

import pytest

from lib import frames
from lib.client import H2Client, RawH2, ask, connect, request
from lib.gateway import secure, simple

H2 = 'protocols = [ "h2" ];'
HTTP1 = 'protocols = [ "http/1.1" ];'


def secure_listener(backend, leaf, listener, tls=""):
    return secure(backend, leaf, tls).replace(
        'name = "https";', f'name = "https"; {listener}')


def goaway_code(stream):
    """Reads to the end; the code of the GOAWAY that came, or None."""
    return RawH2(stream, handshake=False).wait_end()


def send_in_bytes(stream, raw):
    """One by one; the gateway may leave at the first wrong one."""
    try:
        for i in range(len(raw)):
            stream.sock.sendall(raw[i:i + 1])
    except (BrokenPipeError, ConnectionResetError):
        pass


def test_h2_alone_speaks_h2(gateway, backend):
    g = gateway(simple(backend(), H2))
    with H2Client.open(g.port()) as c:
        assert c.ask("/").status == 200


@pytest.mark.parametrize("raw", [
    request(),
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2,
    b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frames.settings(),
    b"INVALID CONNECTION PREFACE\r\n\r\n",
    frames.settings(),
    b"\x00" * 64,
])
@pytest.mark.parametrize("cut", ["whole", "bytes"])
def test_h2_alone_meets_other_bytes_with_goaway(gateway, backend, raw, cut):
    b = backend()
    g = gateway(simple(b, H2))
    with connect(g.port()) as c:
        if cut == "whole":
            c.send(raw)
        else:
            send_in_bytes(c, raw)
        assert goaway_code(c) == frames.PROTOCOL_ERROR
    assert not b.requests


def test_http1_alone_does_not_know_the_preface(gateway, backend):
    b = backend()
    g = gateway(simple(b, HTTP1))
    with connect(g.port()) as c:
        c.send(frames.PREFACE + frames.settings())
        got = c.recv_all()
    assert got.startswith((b"HTTP/1.1 505 ", b"HTTP/1.1 400 ")), got
    assert ask(g.port()).status == 200
    assert len(b.requests) == 1


ROWS = [
    (H2, "", ["h2", "http/1.1"], "h2"),
    (H2, 'alpn = [ "http/1.1", "h2" ];', ["http/1.1", "h2"], "h2"),
    (H2, "", ["http/1.1"], "refused"),
    (HTTP1, "", ["h2", "http/1.1"], "http/1.1"),
    (HTTP1, "", ["h2"], "refused"),
    ('protocols = [ "http/1.1", "h2" ];', "", ["http/1.1", "h2"], "h2"),
]


@pytest.mark.parametrize("listener, tls, offered, chosen", ROWS)
def test_alpn(gateway, backend, ca, leaf, listener, tls, offered, chosen):
    g = gateway(secure_listener(backend(), leaf, listener, tls))
    context = ca.client_context(offered)
    if chosen == "refused":
        with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
            connect(g.port("https"), tls=context)
        return
    stream = connect(g.port("https"), tls=context)
    assert stream.sock.selected_alpn_protocol() == chosen
    if chosen == "h2":
        with H2Client(stream, "https") as c:
            assert c.ask("/").status == 200
    else:
        stream.close()
        assert ask(g.port("https"), tls=context).status == 200


def test_h2_alone_over_tls_without_alpn(gateway, backend, ca, leaf):
    b = backend()
    g = gateway(secure_listener(b, leaf, H2))
    with connect(g.port("https"), tls=ca.client_context(None)) as c:
        c.send(request())
        assert goaway_code(c) == frames.PROTOCOL_ERROR
    assert not b.requests


def test_http1_alone_over_tls_without_alpn(gateway, backend, ca, leaf):
    b = backend()
    g = gateway(secure_listener(b, leaf, HTTP1))
    with connect(g.port("https"), tls=ca.client_context(None)) as c:
        c.send(frames.PREFACE + frames.settings())
        got = c.recv_all()
    assert got.startswith((b"HTTP/1.1 505 ", b"HTTP/1.1 400 ")), got
    assert not b.requests
