"""Client certificates: off, optional, required. The verified subject is
handed to the backend; what a client writes into those fields itself is
removed."""
import socket
import ssl

import pytest

from lib.client import H2Client, ask, connect, request
from lib.gateway import secure, simple
from lib.stream import Stream

SUBJECT = "x-client-cert-subject"
FINGERPRINT = "x-client-cert-sha256"
FORGED = [(SUBJECT, "CN=root"), (FINGERPRINT, "00"),
          ("X-Daemun-Anything", "1")]
V = ssl.TLSVersion


def start(gateway, backend, ca, leaf, auth):
    line = f'client_auth = "{auth}";'
    if auth != "off":
        line += f' client_ca = "{ca.path}";'
    return gateway(secure(backend, leaf, line))


def fields_of(got):
    return {n: v for n, v in got.json()["fields"]
            if n.startswith("x-client-cert") or n.startswith("x-daemun")}


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("auth", ["optional", "required"])
def test_subject_is_handed_on(gateway, backend, ca, leaf, auth, version):
    alice = ca.client("alice")
    g = start(gateway, backend(), ca, leaf, auth)
    got = ask(g.port("https"), fields=FORGED, tls=ca.client_context(
        certificate=alice, minimum=version, maximum=version))
    seen = fields_of(got)
    assert "CN=alice" in seen[SUBJECT] and "O=Daemun tests" in seen[SUBJECT]
    assert len(seen[FINGERPRINT]) == 64
    assert set(seen) == {SUBJECT, FINGERPRINT}
    assert "CN=alice" in g.access_log()["client_subject"]


def test_every_request_of_a_connection(gateway, backend, ca, leaf):
    g = start(gateway, backend(), ca, leaf, "required")
    tls = ca.client_context(["h2"], certificate=ca.client("bob"))
    with H2Client.open(g.port("https"), tls) as c:
        for _ in range(2):
            seen = fields_of(c.ask("/", fields=[(n.lower(), v)
                                                for n, v in FORGED]))
            assert "CN=bob" in seen[SUBJECT]


@pytest.mark.parametrize("auth", ["off", "optional"])
def test_without_one(gateway, backend, ca, leaf, auth):
    g = start(gateway, backend(), ca, leaf, auth)
    got = ask(g.port("https"), tls=ca.client_context(), fields=FORGED)
    assert got.status == 200
    assert fields_of(got) == {}
    assert g.access_log()["client_subject"] == "-"


def test_plain_listener_removes_forged_fields(gateway, backend):
    g = gateway(simple(backend()))
    assert fields_of(ask(g.port(), fields=FORGED)) == {}


def refused(g, tls):
    """TLS 1.3 tells the client after its own handshake is done."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with connect(g.port("https"), tls=tls) as c:
            c.send(request())
            while c.more():
                pass
            raise ConnectionError("closed without an answer")


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("auth, certificate", [
    ("required", "none"), ("required", "strange"), ("required", "expired"),
    ("optional", "strange"), ("required", "server")])
def test_refused(gateway, backend, ca, leaf, stranger, auth, certificate,
                 version):
    b = backend()
    g = start(gateway, b, ca, leaf, auth)
    chosen = {"none": lambda: None, "strange": stranger.client,
              "expired": lambda: ca.client(expired=True),
              "server": lambda: leaf}[certificate]()
    refused(g, ca.client_context(certificate=chosen, minimum=version,
                                 maximum=version))
    assert not b.requests
    g.wait_metric("dm_tls_handshakes_failed_total", 1)


def test_resumed_session_keeps_the_subject(gateway, backend, ca, leaf):
    g = start(gateway, backend(), ca, leaf, "required")
    tls = ca.client_context(certificate=ca.client("carol"), maximum=V.TLSv1_2)
    with connect(g.port("https"), tls=tls) as c:
        c.send(request())
        assert "CN=carol" in fields_of(c.recv_response())[SUBJECT]
        session = c.sock.session
    sock = socket.create_connection(("127.0.0.1", g.port("https")), 10)
    with tls.wrap_socket(sock, server_hostname="localhost",
                         session=session) as again:
        assert again.session_reused
        c = Stream(again, "client")
        c.send(request())
        assert "CN=carol" in fields_of(c.recv_response())[SUBJECT]
