"""PROXY protocol v1 and v2: believed from listed addresses only, on listeners
so configured; what it says is the client for X-Forwarded-For, the log and the
hash; anything malformed closes the connection."""
import socket
import struct

import pytest

from lib.client import H2Client, ask, connect, request
from lib.gateway import simple

MAGIC = b"\r\n\r\n\0\r\nQUIT\n"
LISTENER = 'proxy_protocol = true; proxy_protocol_from = [ "127.0.0.0/8" ];'


def v2(source="198.51.100.7", source_port=4321, command=1, tlvs=b"",
       length=None, family=None):
    six = ":" in source
    pack = socket.inet_pton
    af = socket.AF_INET6 if six else socket.AF_INET
    body = (pack(af, source) + pack(af, "::1" if six else "203.0.113.1") +
            struct.pack(">HH", source_port, 443)) + tlvs
    if command == 0:
        body = tlvs
    family = (0x21 if six else 0x11) if family is None else family
    return MAGIC + bytes([0x20 | command, family]) + struct.pack(
        ">H", len(body) if length is None else length) + body


V1 = b"PROXY TCP4 198.51.100.7 203.0.113.1 4321 443\r\n"
V1_6 = b"PROXY TCP6 2001:db8::7 ::1 4321 443\r\n"
TLV = b"\x04\x00\x03abc"  # NOOP
TOLD = [
    ("v1", V1, "198.51.100.7", "198.51.100.7:4321"),
    ("v1-6", V1_6, "2001:db8::7", "[2001:db8::7]:4321"),
    ("v2", v2(), "198.51.100.7", "198.51.100.7:4321"),
    ("v2-6", v2("2001:db8::7"), "2001:db8::7", "[2001:db8::7]:4321"),
    ("v2-tlv", v2(tlvs=TLV), "198.51.100.7", "198.51.100.7:4321"),
    ("v1-unknown", b"PROXY UNKNOWN\r\n", "127.0.0.1", None),
    ("v2-local", v2(command=0, family=0), "127.0.0.1", None),
]
BAD = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 4321\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 4321 443\n",
    b"PROXY TCP4 198.51.100.300 203.0.113.1 4321 443\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 99999 443\r\n",
    b"PROXY TCP6 198.51.100.7 203.0.113.1 4321 443\r\n",
    b"PROXY TCP4 " + b"1" * 120 + b"\r\n",
    b"proxy TCP4 198.51.100.7 203.0.113.1 4321 443\r\n",
    v2(length=11),
    v2(length=60000),
    v2(command=7),
    v2(family=0x61),
    v2(tlvs=b"\x04\x00\x09abc"),
    MAGIC + b"\x11\x11\x00\x0c" + bytes(12),
]


@pytest.mark.parametrize("header, forwarded_for, client",
                         [row[1:] for row in TOLD],
                         ids=[row[0] for row in TOLD])
def test_told_address_is_the_client(gateway, backend, header, forwarded_for,
                                    client):
    g = gateway(simple(backend(), LISTENER))
    seen = ask(g.port(), "/x", before=header).json()["headers"]
    assert seen["x-forwarded-for"] == forwarded_for
    line = g.access_log(path="/x")
    assert line["client"] == client or client is None and \
        line["client"].startswith("127.0.0.1:")


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_malformed_is_closed(gateway, backend, bad):
    b = backend()
    g = gateway(simple(b, LISTENER))
    with connect(g.port()) as c:
        c.send(bad + request("/never"))
        assert c.recv_all() == b""
    assert ask(g.port(), before=V1).status == 200
    assert [r.path for r in b.requests] == ["/"]


def test_from_an_unlisted_address_is_closed(gateway, backend):
    b = backend()
    g = gateway(simple(b, LISTENER.replace("127.0.0.0/8", "127.0.0.2/32")))
    with connect(g.port()) as c:
        c.send(V1 + request("/never"))
        assert c.recv_all() == b""
    assert ask(g.port(), before=V1, source="127.0.0.2").status == 200
    assert len(b.requests) == 1


def test_byte_by_byte(gateway, backend):
    g = gateway(simple(backend(), LISTENER))
    with connect(g.port()) as c:
        for i in range(len(V1)):
            c.sock.sendall(V1[i:i + 1])
        c.send(request())
        assert c.recv_response().json()["headers"]["x-forwarded-for"] == \
            "198.51.100.7"


def test_not_configured_is_no_request(gateway, backend):
    b = backend()
    g = gateway(simple(b))
    with connect(g.port()) as c:
        c.send(V1 + request("/never"))
        assert c.recv_response().status == 400
        assert c.recv_all() == b""
    assert not b.requests


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_before_tls(gateway, backend, ca, leaf, alpn):
    g = gateway(simple(backend(), LISTENER + f"tls = {{ certificates = "
                       f"( {leaf.conf} ); }};"))
    stream = connect(g.port(), tls=ca.client_context([alpn]), before=v2())
    assert stream.sock.selected_alpn_protocol() == alpn
    if alpn == "h2":
        got = H2Client(stream, "https").ask("/")
    else:
        stream.send(request())
        got = stream.recv_response()
    stream.close()
    assert got.json()["headers"]["x-forwarded-for"] == "198.51.100.7"


@pytest.mark.balance
def test_hash_sees_the_told_address(gateway, backend):
    names = ["one", "two", "three"]
    ends = " , ".join(f'{{ address = "{backend(name=n)}"; }}' for n in names)
    conf = simple("x", LISTENER, 'balance = { policy = "maglev"; '
                  'hash_on = [ "source_ip" ]; };')
    g = gateway(conf.replace('{ address = "x"; }', ends))

    def server_of(last):
        got = ask(g.port(), before=v2(f"198.51.100.{last}"))
        return got.headers["x-server"]
    chosen = {last: server_of(last) for last in range(1, 21)}
    assert set(chosen.values()) == set(names)
    assert all(server_of(last) == name for last, name in chosen.items())
