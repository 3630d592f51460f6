"""ALPN: h2 before http/1.1 unless the listener says otherwise; a client
without ALPN speaks HTTP/1.1; one that shares no protocol is refused."""
import ssl

import pytest

from lib.client import H2Client, ask, connect, curl
from lib.gateway import secure

ROWS = [
    ("", ["h2", "http/1.1"], "h2"),
    ("", ["http/1.1", "h2"], "h2"),
    ("", ["http/1.1"], "http/1.1"),
    ("", ["h2"], "h2"),
    ("", ["spdy/3", "http/1.1"], "http/1.1"),
    ("", None, None),
    ('alpn = [ "http/1.1", "h2" ];', ["h2", "http/1.1"], "http/1.1"),
    ('alpn = [ "http/1.1" ];', ["h2", "http/1.1"], "http/1.1"),
    ('alpn = [ "h2" ];', ["h2", "http/1.1"], "h2"),
]


@pytest.mark.parametrize("conf, offered, chosen", ROWS)
def test_chosen(gateway, backend, ca, leaf, conf, offered, chosen):
    g = gateway(secure(backend(), leaf, conf))
    stream = connect(g.port("https"), tls=ca.client_context(offered))
    assert stream.sock.selected_alpn_protocol() == chosen
    if chosen == "h2":
        with H2Client(stream, "https") as c:
            assert c.ask("/").status == 200
    else:
        stream.close()
        got = ask(g.port("https"), tls=ca.client_context(
            [chosen] if chosen else None))
        assert got.status == 200 and got.version == "HTTP/1.1"


@pytest.mark.parametrize("offered", [["spdy/3"], ["h2c"], ["http/1.0"]])
def test_nothing_in_common(gateway, backend, ca, leaf, offered):
    g = gateway(secure(backend(), leaf))
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        connect(g.port("https"), tls=ca.client_context(offered))


def test_curl_takes_h2(gateway, backend, ca, leaf):
    g = gateway(secure(backend(), leaf))
    got = curl("--cacert", str(ca.path), "-o", "/dev/null", "-w",
               "%{http_version}", g.url("https", host="localhost"))
    assert got == "2"
