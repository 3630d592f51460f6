"""TLS to the backend is verified: chain, name and dates; what cannot be
trusted is a 502 and sees no request. SNI is sent; h2 is chosen by ALPN; the
gateway can show a certificate of its own."""
import pytest

from lib.client import H2Client, ask
from lib.gateway import simple


def tls(ca, more=""):
    return f'tls = {{ ca = "{ca.path}"; {more} }};'


def test_verified(gateway, backend, ca, leaf):
    b = backend(leaf=leaf)
    g = gateway(simple(b, upstream=tls(ca)))
    got = ask(g.port(), "/x")
    assert got.status == 200 and b.requests[0].path == "/x"
    assert g.access_log()["fault"] == "-"


@pytest.mark.parametrize("what", ["wrong name", "unknown ca", "expired",
                                  "no tls"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_untrusted_is_502(gateway, backend, ca, leaf, stranger, what, method):
    certificate = {"wrong name": lambda: ca.leaf("other.test"),
                   "unknown ca": stranger.leaf,
                   "expired": lambda: ca.leaf(expired=True),
                   "no tls": lambda: None}[what]()
    b = backend(leaf=certificate) if certificate else \
        backend(lambda r: None)
    if what == "no tls":
        b.script = lambda conn: conn.recv_some() and conn.send(b"HTTP/1.1 ")
    g = gateway(simple(b, upstream=tls(ca)))
    got = ask(g.port(), "/x", method, body=b"x" if method == "POST" else None)
    assert got.status == 502
    assert "could not be trusted" in got.text
    assert not b.requests
    assert g.access_log()["fault"] == "upstream_tls"


def test_unknown_ca_without_setting(gateway, backend, leaf):
    """Without `ca` the system's authorities count, which do not know ours."""
    g = gateway(simple(backend(leaf=leaf), upstream="tls = {};"))
    assert ask(g.port()).status == 502


def test_verify_off(gateway, backend, stranger):
    b = backend(leaf=stranger.leaf("other.test", expired=True))
    g = gateway(simple(b, upstream="tls = { verify = false; };"))
    assert ask(g.port()).status == 200


def test_server_name_is_sni_and_verified(gateway, backend, ca):
    b = backend(leaf=ca.leaf("models.test"))
    conf = simple(b, upstream=tls(ca, 'server_name = "models.test";'))
    g = gateway(conf)
    assert ask(g.port()).status == 200
    assert b.snis == ["models.test"]
    g.reload(conf.replace("models.test", "others.test"))
    assert ask(g.port()).status == 502
    assert len(b.requests) == 1


@pytest.mark.parametrize("address, sni", [("localhost", "localhost"),
                                          ("127.0.0.1", None)])
def test_sni_of_the_endpoint(gateway, backend, ca, leaf, address, sni):
    b = backend(leaf=leaf)
    g = gateway(simple(f"{address}:{b.port}", upstream=tls(ca)))
    assert ask(g.port()).status == 200
    assert b.snis[0] == sni


@pytest.mark.parametrize("protocol, speaks, seen", [
    ("http1", "auto", "http/1.1"), ("h2", "auto", "h2"),
    ("auto", "auto", "h2"), ("auto", "http1", "http/1.1"),
    ("auto", "h2", "h2")])
def test_protocol_by_alpn(gateway, backend, ca, leaf, protocol, speaks, seen):
    b = backend(protocol=speaks, leaf=leaf)
    g = gateway(simple(b, upstream=f'protocol = "{protocol}"; ' + tls(ca)))
    for _ in range(3):
        assert ask(g.port()).status == 200
    assert [r.alpn for r in b.requests] == [seen] * 3


def test_h2_that_the_backend_does_not_speak(gateway, backend, ca, leaf):
    b = backend(leaf=leaf)
    g = gateway(simple(b, upstream='protocol = "h2"; ' + tls(ca)))
    assert ask(g.port(), "/x").status == 502
    assert not b.requests
    line = g.access_log(path="/x")
    assert line["fault"] == "upstream_tls"
    assert "did not choose h2 by ALPN" in line["detail"]
    assert 'protocol = "http1"' in line["detail"]


def test_own_certificate(gateway, backend, ca, leaf):
    us = ca.client("gateway")
    b = backend(leaf=leaf, client_ca=ca)
    g = gateway(simple(b, upstream=tls(
        ca, f'chain = "{us.chain}"; key = "{us.key}";')))
    assert ask(g.port()).status == 200
    names = dict(x[0] for x in b.requests[0].client_cert["subject"])
    assert names["commonName"] == "gateway"


def test_h2_is_multiplexed(gateway, backend, ca, leaf):
    """Requests of one worker share a connection."""
    b = backend(protocol="h2", leaf=leaf)
    g = gateway(simple(b, upstream='protocol = "h2"; ' + tls(ca)))
    with H2Client.open(g.port()) as c:
        c.ask("/first")
        numbers = [c.request(f"/{i}") for i in range(20)]
        assert {c.response(n).status for n in numbers} == {200}
    assert b.n_conns == 1
