"""Plain HTTP sent to a TLS port is told so, in plain HTTP; TLS sent to a port
without it is told in the log. Neither reaches a backend."""
import ssl

import pytest

from lib.client import connect, request
from lib.gateway import secure, simple


@pytest.mark.parametrize("first", [
    request("/a"), request("/a", "DELETE"), request("/a", "OPTIONS"),
    request("/a", "POST", body=b"x" * 30000),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"],
    ids=["GET", "DELETE", "OPTIONS", "POST", "PRI", "CONNECT"])
def test_plain_http_on_the_tls_port(gateway, backend, leaf, first):
    b = backend()
    g = gateway(secure(b, leaf))
    with connect(g.port("https")) as c:
        c.send(first)
        got = c.recv_response()
        assert got.status == 400 and got.version == "HTTP/1.1"
        assert got.headers["connection"] == "close"
        assert got.headers["content-type"].startswith("text/plain")
        assert "date" in got.headers
        assert "TLS" in got.text
        assert f"https://<host>:{g.port('https')}/" in got.text
        assert c.is_closed_by_peer()
    assert not b.requests
    g.wait_metric("dm_tls_handshakes_failed_total", 1)
    g.wait_metric("dm_client_connections", 0)
    g.error_log(r"info worker: client 127\.0\.0\.1:\d+: "
                r"plain HTTP on the TLS port$")


def test_it_may_come_in_pieces(gateway, backend, leaf):
    g = gateway(secure(backend(), leaf))
    with connect(g.port("https")) as c:
        for byte in request("/a")[:8]:
            c.send(bytes([byte]))
        assert c.recv_response().status == 400
        assert c.is_closed_by_peer()


def test_behind_a_proxy_header(gateway, backend, leaf):
    conf = secure(backend(), leaf).replace(
        'tls = {', 'proxy_protocol = true; '
        'proxy_protocol_from = [ "127.0.0.1/32" ]; tls = {', 1)
    g = gateway(conf)
    with connect(g.port("https"), before=b"PROXY TCP4 10.1.1.1 10.2.2.2 1 "
                                         b"443\r\n") as c:
        c.send(request("/a"))
        got = c.recv_response()
        assert got.status == 400 and "https://<host>/" in got.text


@pytest.mark.parametrize("first", [b"\x80\x2e\x01\x03\x01" + b"\0" * 50,
                                   b"\0\1\2\3\4\5\6\7", b"\r\n\r\n\r\n\r\n"],
                         ids=["ssl2", "zeros", "lines"])
def test_other_bytes_get_no_http(gateway, backend, leaf, first):
    g = gateway(secure(backend(), leaf))
    with connect(g.port("https")) as c:
        c.send(first)
        assert b"HTTP" not in c.recv_all()
    g.wait_metric("dm_tls_handshakes_failed_total", 1)


def test_half_a_handshake_gets_no_http(gateway, backend, leaf):
    """Once the peer has spoken TLS, letters are no plain HTTP."""
    g = gateway(secure(backend(), leaf))
    with connect(g.port("https")) as c:
        c.send(b"\x16\x03\x01\x00\x05GET /")
        assert b"HTTP" not in c.recv_all()


def test_tls_works_beside_it(gateway, backend, leaf, ca):
    g = gateway(secure(backend(), leaf))
    with connect(g.port("https")) as c:
        c.send(request("/a"))
        assert c.recv_response().status == 400
    with connect(g.port("https"), tls=ca.client_context()) as c:
        c.send(request("/b"))
        assert c.recv_response().json()["path"] == "/b"


@pytest.mark.parametrize("h2c", ["true", "false"])
def test_tls_on_the_plain_port(gateway, backend, ca, h2c):
    b = backend()
    g = gateway(simple(b, listener=f"h2c = {h2c};"))
    with connect(g.port()) as c:
        with pytest.raises(ssl.SSLError):
            ca.client_context().wrap_socket(c.sock,
                                            server_hostname="localhost")
    assert not b.requests
    line = g.access_log(status=400)
    assert line["fault"] == "tls_on_plain_port"


def test_other_bad_bytes_are_not_called_tls(gateway, backend):
    g = gateway(simple(backend()))
    with connect(g.port()) as c:
        c.send(b"\x15GET / HTTP/1.1\r\n\r\n")
        got = c.recv_response()
        assert got.status == 400 and "TLS" not in got.text
    assert g.access_log(status=400)["fault"] == "bad_request"
