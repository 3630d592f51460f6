"""A body on GET or HEAD is refused, saying why and which setting of the route
lets it pass; with that setting it is forwarded like any other."""
import pytest

from lib.client import H2Client, StreamReset, ask, connect, request
from lib.gateway import simple

FORWARD = 'get_body = "forward";'
KIND = {"http1": "http1", "h2": "h2c"}


def send(g, client, method, body, length=True):
    if client == "http1":
        return ask(g.port(), "/search", method, body=body)
    fields = [("content-length", str(len(body)))] if length else []
    with H2Client.open(g.port()) as c:
        return c.ask("/search", method, fields=fields, body=body)


@pytest.mark.parametrize("client", ["http1", "h2"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_refused_with_the_reason(gateway, backend, client, method):
    b = backend()
    g = gateway(simple(b))
    got = send(g, client, method, b'{"query": 1}')
    assert got.status == 400 and not b.requests
    if method == "GET":
        assert "body" in got.text and "get_body" in got.text
    line = g.access_log(path="/search")
    assert line["fault"] == "body_unwanted" and line["upstream"] == "-"


def test_refused_when_the_body_comes_unannounced(gateway, backend):
    """HTTP/2 without content-length: seen only when DATA comes."""
    g = gateway(simple(backend()))
    try:
        got = send(g, "h2", "GET", b"body", length=False)
    except StreamReset as reset:
        got = reset.so_far
    assert got.status == 400 and "get_body" in got.text
    assert g.access_log(path="/search")["fault"] == "body_unwanted"


def test_refused_in_chunks(gateway, backend):
    b = backend()
    g = gateway(simple(b))
    with connect(g.port()) as c:
        c.send(request(fields=[("Transfer-Encoding", "chunked")]) +
               b"4\r\nbody\r\n0\r\n\r\n")
        assert c.recv_response().status == 400
    assert not b.requests


@pytest.mark.parametrize("client", ["http1", "h2"])
@pytest.mark.parametrize("protocol", ["http1", "h2"])
@pytest.mark.parametrize("length", [True, False])
def test_forwarded(gateway, backend, client, protocol, length):
    b = backend(protocol=protocol)
    g = gateway(simple(b, route=FORWARD,
                       upstream=f'protocol = "{KIND[protocol]}";'))
    body = b'{"query": 1}' * 100
    if client == "http1" and not length:
        with connect(g.port()) as c:
            c.send(request("/search", fields=[("Transfer-Encoding",
                                               "chunked")]) +
                   b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            got = c.recv_response()
    else:
        got = send(g, client, "GET", body, length)
    assert got.status == 200
    assert got.json()["method"] == "GET"
    assert got.json()["body"] == body.decode()
    assert g.access_log(path="/search")["received_bytes"] == len(body)


@pytest.mark.parametrize("client", ["http1", "h2"])
def test_head_forwarded(gateway, backend, client):
    b = backend()
    g = gateway(simple(b, route=FORWARD))
    assert send(g, client, "HEAD", b"four").status == 200
    assert b.requests[0].method == "HEAD" and b.requests[0].body == b"four"


def test_each_route_decides(gateway, backend):
    b = backend()
    g = gateway(f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }} );
upstreams = {{ u = {{ endpoints = ( {{ address = "{b}"; }} ); }}; }};
routes = ( {{ path_prefix = "/"; upstream = "u"; }},
           {{ path_prefix = "/search"; upstream = "u"; {FORWARD} }} );
""")
    with connect(g.port()) as c:
        c.send(request("/other", body=b"1234"))
        assert c.recv_response().status == 400
        c.send(request("/search", body=b"1234"))
        assert c.recv_response().json()["body"] == "1234"
    assert [r.path for r in b.requests] == ["/search"]


@pytest.mark.parametrize("method", ["OPTIONS", "DELETE"])
def test_other_methods_are_not_asked(gateway, backend, method):
    b = backend()
    g = gateway(simple(b))
    assert ask(g.port(), method=method, body=b"x").json()["body"] == "x"


def test_no_bodies_pass_in_any_case(gateway, backend):
    b = backend()
    g = gateway(simple(b))
    assert ask(g.port(), fields=[("Content-Length", "0")]).status == 200
    with H2Client.open(g.port()) as c:
        assert c.ask("/", body=b"").status == 200
