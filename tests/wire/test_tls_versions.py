"""TLS 1.2 and 1.3 are spoken, 1.1 and older are refused; min_version 1.3
refuses 1.2."""
import ssl

import pytest

from lib.client import ask, connect, s_client
from lib.gateway import secure

V = ssl.TLSVersion


def context(ca, version):
    return ca.client_context(minimum=version, maximum=version)


@pytest.mark.parametrize("version, name", [(V.TLSv1_2, "TLSv1.2"),
                                           (V.TLSv1_3, "TLSv1.3")])
def test_spoken(gateway, backend, ca, leaf, version, name):
    g = gateway(secure(backend(), leaf))
    with connect(g.port("https"), tls=context(ca, version)) as c:
        assert c.sock.version() == name
    assert ask(g.port("https"), tls=context(ca, version)).status == 200


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_old_ones_are_refused(gateway, backend, leaf, option):
    g = gateway(secure(backend(), leaf))
    status, text = s_client(g.port("https"), option, "-cipher",
                            "ALL:@SECLEVEL=0")
    assert status != 0
    assert "alert protocol version" in text, text
    g.wait_metric("dm_tls_handshakes_failed_total", 1)


def test_min_version(gateway, backend, ca, leaf):
    g = gateway(secure(backend(), leaf, 'min_version = "1.3";'))
    assert ask(g.port("https"), tls=context(ca, V.TLSv1_3)).status == 200
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        ask(g.port("https"), tls=context(ca, V.TLSv1_2))


@pytest.mark.parametrize("cipher", ["AES128-SHA", "ECDHE-RSA-AES128-SHA",
                                    "ECDHE-ECDSA-AES128-SHA256",
                                    "DHE-RSA-AES128-GCM-SHA256"])
def test_weak_suites_are_refused(gateway, backend, ca, cipher):
    g = gateway(secure(backend(), ca.leaf(kind="rsa")))
    status, text = s_client(g.port("https"), "-tls1_2", "-cipher",
                            cipher + ":@SECLEVEL=0")
    assert status != 0 and "handshake failure" in text, text


def test_plain_http_on_the_tls_port_is_closed(gateway, backend, leaf):
    b = backend()
    g = gateway(secure(b, leaf))
    with connect(g.port("https")) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP/1.1 200" not in c.recv_all()
    assert not b.requests
