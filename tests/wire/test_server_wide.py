"""Requests that are about the gateway as a whole, or that it answers as the
last recipient: OPTIONS *, Max-Forwards: 0; the methods that it never takes;
answers without content."""
import pytest

from lib.client import H2Client, ask, connect, request
from lib.gateway import simple

ALL = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]


def send(g, client, path="/", method="GET", fields=()):
    if client == "http1":
        return ask(g.port(), path, method, fields=fields)
    with H2Client.open(g.port()) as c:
        return c.ask(path, method, fields=[(n.lower(), v) for n, v in fields])


def allow(got):
    return sorted(got.headers["allow"].split(", "))


@pytest.mark.parametrize("client", ["http1", "h2"])
def test_options_star_is_answered_here(gateway, backend, client):
    """RFC 9110 9.3.7: it is about the server. A backend never sees `*`, which
    no rule for a path could guard."""
    b = backend()
    g = gateway(simple(b))
    got = send(g, client, "*", "OPTIONS")
    assert got.status == 200 and got.body == b""
    assert allow(got) == sorted(ALL)
    assert got.headers["content-length"] == "0"
    assert "date" in got.headers and "x-request-id" in got.headers
    assert not b.requests
    line = g.access_log(method="OPTIONS")
    assert line["path"] == "*" and line["status"] == 200
    assert line["fault"] == "-" and line["upstream"] == "-"


def test_the_connection_goes_on_behind_it(gateway, backend):
    g = gateway(simple(backend()))
    with connect(g.port()) as c:
        c.send(request("*", "OPTIONS") + request("/next"))
        assert c.recv_response().status == 200
        assert c.recv_response().json()["path"] == "/next"


def test_options_without_a_path_is_the_same(gateway, backend):
    """RFC 9112 3.2.4: OPTIONS http://host stands for *."""
    b = backend()
    g = gateway(simple(b))
    got = ask(g.port(), "http://localhost", "OPTIONS")
    assert got.status == 200 and allow(got) == sorted(ALL)
    assert not b.requests


@pytest.mark.parametrize("client", ["http1", "h2"])
def test_options_of_a_path_is_forwarded(gateway, backend, client):
    b = backend()
    g = gateway(simple(b))
    got = send(g, client, "/x", "OPTIONS", [("Max-Forwards", "2")])
    assert got.status == 200
    assert got.json()["headers"]["max-forwards"] == "1"
    assert b.requests[0].method == "OPTIONS"


@pytest.mark.parametrize("client", ["http1", "h2"])
def test_max_forwards_0_ends_here(gateway, backend, client):
    """RFC 9110 7.6.2: at 0 an intermediary answers and must not forward."""
    b = backend()
    g = gateway(simple(b, route='methods = [ "GET", "OPTIONS" ];'))
    got = send(g, client, "/x", "OPTIONS", [("Max-Forwards", "0")])
    assert got.status == 200 and allow(got) == ["GET", "OPTIONS"]
    assert not b.requests
    assert send(g, client, "/x", "GET", [("Max-Forwards", "0")]).status == 200
    assert len(b.requests) == 1


@pytest.mark.parametrize("client", ["http1", "h2"])
@pytest.mark.parametrize("method", ["TRACE", "TRACK"])
def test_405_says_what_is_allowed(gateway, backend, client, method):
    """RFC 9110 15.5.6: a 405 must carry Allow."""
    b = backend()
    g = gateway(simple(b))
    got = send(g, client, "/", method)
    assert got.status == 405 and allow(got) == sorted(ALL)
    assert not b.requests


def test_405_of_a_route_says_its_methods(gateway, backend):
    g = gateway(simple(backend(), route='methods = [ "GET", "PUT" ];'))
    got = ask(g.port(), method="DELETE")
    assert got.status == 405 and allow(got) == ["GET", "PUT"]


ANSWER = """
listeners = ( { name = "http"; address = "127.0.0.1:@http@"; } );
upstreams = {};
routes = ( { path_prefix = "/"; answer = { status = %d; }; } );
"""


@pytest.mark.parametrize("client", ["http1", "h2"])
@pytest.mark.parametrize("status, length", [(204, None), (304, None),
                                            (205, "0"), (200, "0")])
def test_an_answer_without_content(gateway, client, status, length):
    """RFC 9110 8.6: 204 has no Content-Length; 304 tells that of the whole
    thing, which is not 0."""
    g = gateway(ANSWER % status)
    got = send(g, client)
    assert got.status == status and got.body == b""
    assert got.headers.get("content-length") == length
    assert "transfer-encoding" not in got.headers


def test_time_is_taken_where_the_answer_ends(gateway):
    """The clock of the turn would say 0 for whatever is done within one."""
    g = gateway(ANSWER % 200)
    for i in range(10):
        assert ask(g.port(), f"/{i}").status == 200
    spans = [g.access_log(path=f"/{i}")["duration_us"] for i in range(10)]
    assert all(0 < us < 10_000_000 for us in spans), spans
