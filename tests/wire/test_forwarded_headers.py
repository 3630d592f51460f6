"""What backends are told about the client: X-Forwarded-*, X-Real-IP and
X-Request-Id are ours on the way from a stranger, and kept or appended to on
the way from a trusted proxy. Answers of the gateway carry the request id."""
import re

import pytest

from lib.client import H2Client, ask
from lib.gateway import secure, simple

FORGED = [("X-Forwarded-For", "10.9.9.9"), ("X-Forwarded-For", "10.8.8.8"),
          ("X-Forwarded-Proto", "gopher"), ("X-Forwarded-Host", "evil"),
          ("X-Forwarded-Port", "1"), ("X-Forwarded-Server", "evil"),
          ("X-Real-IP", "10.9.9.9"), ("X-Request-Id", "forged"),
          ("Forwarded", "for=10.9.9.9"), ("X-Daemun-Model", "m"),
          ("X-Client-Cert-Subject", "CN=root"),
          ("X-Client-Cert-Sha256", "00")]
ID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-"
                r"[0-9a-f]{12}$")
TRUSTED = 'trusted_proxies = [ "127.0.0.1/32", "10.0.0.0/8" ];'


def seen(port, client, fields, **kw):
    """The header fields that arrive at the backend (as lists)."""
    if client == "h2":
        with H2Client.open(port) as c:
            got = c.ask("/", fields=[(n.lower(), v) for n, v in fields])
    else:
        got = ask(port, fields=fields, **kw)
    assert got.status == 200
    found = {}
    for name, value in got.json()["fields"]:
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("client", ["http1", "h2"])
def test_stranger_is_rewritten(gateway, backend, client):
    g = gateway(simple(backend()))
    got = seen(g.port(), client, FORGED)
    assert got["x-forwarded-for"] == ["127.0.0.1"]
    assert got["x-forwarded-proto"] == ["http"]
    assert got["x-forwarded-host"] == ["localhost"]
    assert got["x-forwarded-port"] == [str(g.port())]
    assert got["x-real-ip"] == ["127.0.0.1"]
    assert len(got["x-request-id"]) == 1 and ID.match(got["x-request-id"][0])
    for name in ("forwarded", "x-forwarded-server", "x-daemun-model",
                 "x-client-cert-subject", "x-client-cert-sha256"):
        assert name not in got or "9.9" not in str(got[name]), name
        if name != "forwarded":
            assert name not in got, name


@pytest.mark.parametrize("client", ["http1", "h2"])
def test_trusted_is_kept(gateway, backend, client):
    g = gateway(simple(backend(), TRUSTED))
    got = seen(g.port(), client, FORGED)
    assert ", ".join(got["x-forwarded-for"]) == \
        "10.9.9.9, 10.8.8.8, 127.0.0.1"
    assert got["x-forwarded-proto"] == ["gopher"]
    assert got["x-forwarded-host"] == ["evil"]
    assert got["x-forwarded-port"] == ["1"]
    assert got["x-real-ip"] == ["10.9.9.9"]
    assert got["x-request-id"] == ["forged"]
    # These are never a client's to say.
    for name in ("x-daemun-model", "x-client-cert-subject",
                 "x-client-cert-sha256"):
        assert name not in got, name


def test_trusted_that_says_nothing(gateway, backend):
    g = gateway(simple(backend(), TRUSTED))
    got = seen(g.port(), "http1", [])
    assert got["x-forwarded-for"] == ["127.0.0.1"]
    assert got["x-real-ip"] == ["127.0.0.1"]
    assert got["x-forwarded-proto"] == ["http"]
    assert ID.match(got["x-request-id"][0])


def test_trust_is_by_address(gateway, backend):
    g = gateway(simple(backend(), TRUSTED))
    got = seen(g.port(), "http1", FORGED, source="127.0.0.2")
    assert got["x-forwarded-for"] == ["127.0.0.2"]
    assert got["x-real-ip"] == ["127.0.0.2"]


@pytest.mark.parametrize("bad", ["", "a b", "x" * 200, 'a"b', "a\\b", "<x>"])
def test_unfit_id_of_a_trusted_proxy_is_replaced(gateway, backend, bad):
    g = gateway(simple(backend(), TRUSTED))
    got = seen(g.port(), "http1", [("X-Request-Id", bad)])
    assert ID.match(got["x-request-id"][0])


def test_tls_listener(gateway, backend, ca, leaf):
    g = gateway(secure(backend(), leaf))
    got = seen(g.port("https"), "http1", FORGED, tls=ca.client_context())
    assert got["x-forwarded-proto"] == ["https"]
    assert got["x-forwarded-port"] == [str(g.port("https"))]


def test_connection_cannot_remove_them(gateway, backend):
    g = gateway(simple(backend()))
    got = seen(g.port(), "http1", [
        ("Connection", "X-Forwarded-For, X-Request-Id, X-Real-IP, X-Mine"),
        ("X-Mine", "1")])
    assert got["x-forwarded-for"] == ["127.0.0.1"]
    assert "x-request-id" in got and "x-real-ip" in got
    assert "x-mine" not in got


def test_ids_differ_and_are_logged(gateway, backend):
    g = gateway(simple(backend()))
    ids = {seen(g.port(), "http1", [])["x-request-id"][0] for _ in range(20)}
    assert len(ids) == 20
    g.access_log(n=20, path="/")
    assert {line["request_id"] for line in g.access_lines()} == ids


FAULTS = [("/none", 404), ("/down", 502), ("/empty", 503)]


@pytest.mark.parametrize("path, status", FAULTS)
def test_answer_of_the_gateway(gateway, path, status):
    """One line that says what happened, with the id that the log has."""
    g = gateway(f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; {TRUSTED} }} );
upstreams = {{ e = {{ endpoints = (); }};
  d = {{ endpoints = ( {{ address = "127.0.0.1:@closed@"; }} ); }}; }};
routes = ( {{ path = "/empty"; upstream = "e"; }},
           {{ path = "/down"; upstream = "d"; }} );
""")
    got = ask(g.port(), path)
    assert got.status == status
    assert got.headers["content-type"].startswith("text/plain")
    assert got.text.count("\n") == 1 and got.text.endswith("\n")
    assert str(status) in got.text
    line = g.access_log(path=path)
    assert ID.match(line["request_id"])
    assert got.headers["x-request-id"] == line["request_id"]
    assert line["request_id"] in got.text
    assert "daemun" not in got.text.lower() and "127.0.0" not in got.text
    got = ask(g.port(), path, fields=[("X-Request-Id", "mine-1")])
    assert got.headers["x-request-id"] == "mine-1" and "mine-1" in got.text


def test_forwarded_when_asked_for(gateway, backend):
    g = gateway(simple(backend(), "forwarded_header = true;"))
    got = seen(g.port(), "http1", FORGED)
    assert len(got["forwarded"]) == 1 and "10.9.9.9" not in got["forwarded"][0]
    assert "for=127.0.0.1" in got["forwarded"][0]
    assert "proto=http" in got["forwarded"][0]


def test_forwarded_of_a_trusted_proxy_goes_on(gateway, backend):
    g = gateway(simple(backend(), TRUSTED))
    got = ", ".join(seen(g.port(), "http1", FORGED)["forwarded"])
    assert got.startswith("for=10.9.9.9, for=127.0.0.1")
    assert "forwarded" not in seen(g.port(), "http1", [])
