"""The most specific route wins, whatever its place; and what a route says is
done to the request and to the answer."""
import collections
import math

import pytest

from lib.client import H2Client, ask, connect, request
from lib.gateway import simple
from lib.server import counts, reply


def answer(name):
    return f'answer = {{ status = 200; body = "{name}"; }};'


def table(*rows, more=""):
    """A conf of routes that answer with their own name; a row is (name,
    conditions)."""
    routes = " , ".join(f'{{ name = "{n}"; {conf} {answer(n)} }}'
                        for n, conf in rows)
    return f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }},
              {{ name = "other"; address = "127.0.0.1:@other@"; }} );
upstreams = {{}};
routes = ( {routes} );
{more}
"""


ROWS = [
    ("any", 'path_prefix = "/";'),
    ("wild", 'host = "*.example.org"; path_prefix = "/";'),
    ("exact-host", 'host = "www.example.org"; path_prefix = "/";'),
    ("prefix", 'path_prefix = "/a";'),
    ("prefix-longer", 'path_prefix = "/a/b";'),
    ("path", 'path = "/a/b";'),
    ("regex-1", 'path_regex = "/r/[0-9]+";'),
    ("regex-2", 'path_regex = "/r/.*";'),
    ("host-path", 'host = "www.example.org"; path = "/a/b";'),
    ("header", 'path_prefix = "/h"; headers = ( { name = "x-kind"; '
               'value = "blue"; } );'),
    ("header-regex", 'path_prefix = "/h"; headers = ( { name = "x-kind"; '
                     'value_regex = "gr(a|e)y[0-9]*"; } );'),
    ("header-absent", 'path_prefix = "/h2"; headers = ( { name = "x-not"; '
                      'present = false; } );'),
    ("listener", 'path_prefix = "/l"; listeners = [ "other" ];'),
    ("method", 'path = "/m"; methods = [ "PUT", "POST" ];'),
]
ASKED = [
    # path, host, more fields, the route's name
    ("/", "localhost", [], "any"),
    ("/x?a=b", "localhost", [], "any"),
    ("/", "a.example.org", [], "wild"),
    ("/", "A.EXAMPLE.ORG", [], "wild"),
    ("/", "a.example.org:8080", [], "wild"),
    ("/", "a.b.example.org", [], "any"),
    ("/", "example.org", [], "any"),
    ("/", "www.example.org", [], "exact-host"),
    ("/", "www.example.org:1", [], "exact-host"),
    ("/a/b", "www.example.org", [], "host-path"),
    ("/a", "localhost", [], "prefix"),
    ("/a/", "localhost", [], "prefix"),
    ("/a/x", "localhost", [], "prefix"),
    ("/a?b", "localhost", [], "prefix"),
    ("/ab", "localhost", [], "any"),
    ("/A", "localhost", [], "any"),
    ("/a/b", "localhost", [], "path"),
    ("/a/b?c", "localhost", [], "path"),
    ("/a/b/", "localhost", [], "prefix-longer"),
    ("/a/b/c", "localhost", [], "prefix-longer"),
    ("/a/bc", "localhost", [], "prefix"),
    ("/a/x/../b", "localhost", [], "path"),
    ("/%61/b", "localhost", [], "path"),
    ("/r/12", "localhost", [], "regex-1"),
    ("/r/12x", "localhost", [], "regex-2"),
    ("/h", "localhost", [], "any"),
    ("/h", "localhost", [("X-Kind", "blue")], "header"),
    ("/h", "localhost", [("X-Kind", "Blue")], "any"),
    ("/h", "localhost", [("X-Kind", "grey12")], "header-regex"),
    ("/h", "localhost", [("X-Kind", "grey12x")], "any"),
    ("/h2", "localhost", [], "header-absent"),
    ("/h2", "localhost", [("X-Not", "")], "any"),
    ("/l", "localhost", [], "any"),
]


@pytest.mark.parametrize("order", [1, -1])
def test_precedence(gateway, order):
    """The order of the routes decides between the two regular expressions
    only (which are turned round separately)."""
    rows = ROWS[::order]
    if order < 0:
        at = [i for i, row in enumerate(rows) if row[0].startswith("regex")]
        rows[at[0]], rows[at[1]] = rows[at[1]], rows[at[0]]
    g = gateway(table(*rows))
    with connect(g.port()) as c, H2Client.open(g.port()) as c2:
        for path, host, fields, name in ASKED:
            c.send(request(path, host=host, fields=fields))
            got = c.recv_response()
            assert got.text == name, (path, host, fields)
            assert c2.ask(path, host=host,
                          fields=[(n.lower(), v) for n, v in fields]
                          ).text == name, (path, host, fields)
    assert ask(g.port("other"), "/l/x").text == "listener"
    assert g.access_log(path="/l/x")["route"] == "listener"


def test_first_regex_wins(gateway):
    g = gateway(table(("a", 'path_regex = "/r/.*";'),
                      ("b", 'path_regex = "/r/[0-9]+";')))
    assert ask(g.port(), "/r/1").text == "a"


def test_no_route(gateway):
    g = gateway(table(("a", 'path_prefix = "/a";')))
    got = ask(g.port(), "/b")
    assert got.status == 404
    assert g.access_log(path="/b")["fault"] == "no_route"


def test_only_the_method_differs(gateway):
    g = gateway(table(("put", 'path = "/m"; methods = [ "PUT", "POST" ];'),
                      ("del", 'path = "/m"; methods = [ "DELETE" ];')))
    assert ask(g.port(), "/m", "PUT", body=b"").text == "put"
    assert ask(g.port(), "/m", "DELETE").text == "del"
    got = ask(g.port(), "/m")
    assert got.status == 405
    allow = {m.strip() for m in got.headers.get("allow", "").split(",")}
    assert allow == {"PUT", "POST", "DELETE"}
    assert ask(g.port(), "/n").status == 404


def split_conf(backends, weights):
    ups = " ".join(f'u{i} = {{ endpoints = ( {{ address = "{b}"; }} ); }};'
                   for i, b in enumerate(backends))
    shares = " , ".join(f'{{ upstream = "u{i}"; weight = {w}; }}'
                        for i, w in enumerate(weights))
    return f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }} );
upstreams = {{ {ups} }};
routes = ( {{ path_prefix = "/"; split = ( {shares} ); }} );
"""


def test_split_by_weight(gateway, backend):
    weights = [90, 9, 1, 0]
    backends = [backend(lambda r: reply(200, b"x"), name=f"b{i}")
                for i in range(4)]
    g = gateway(split_conf(backends, weights))
    n = 2000
    with connect(g.port()) as c:
        for _ in range(n):
            c.send(request())
            assert c.recv_response().status == 200
    got = counts(backends)
    assert got["b3"] == 0
    for i, weight in enumerate(weights[:3]):
        p = weight / 100
        # Five standard deviations: once in two million runs by chance.
        room = 5 * math.sqrt(n * p * (1 - p))
        assert abs(got[f"b{i}"] - n * p) <= room, got


REDIRECTS = [
    ("https://${host}${path}", "/a/b?c=d", 308, "https://localhost/a/b"),
    ("https://${host}${request_uri}", "/a?c=d", 301,
     "https://localhost/a?c=d"),
    ("/new${path}?old&${query}", "/a?c=d", 302, "/new/a?old&c=d"),
    ("https://example.org/", "/", 303, "https://example.org/"),
    ("https://x${path}", "/a%20b%22", 307, "https://x/a%20b%22"),
]


@pytest.mark.parametrize("to, path, status, location", REDIRECTS)
def test_redirect(gateway, to, path, status, location):
    conf = table(("r", 'path_prefix = "/";')).replace(
        answer("r"), f'redirect = {{ to = "{to}"; status = {status}; }};')
    g = gateway(conf)
    got = ask(g.port(), path)
    assert got.status == status
    assert got.headers["location"].lower() == location.lower()
    assert "set-cookie" not in got.headers


def test_answer(gateway):
    g = gateway(table(("x", 'path_prefix = "/";')).replace(
        answer("x"), 'answer = { status = 418; body = "{\\"a\\": 1}\\n"; '
        'content_type = "application/json"; };'))
    got = ask(g.port())
    assert (got.status, got.json()) == (418, {"a": 1})
    assert got.headers["content-type"] == "application/json"
    assert ask(g.port(), method="HEAD").headers["content-length"] == "9"


PREFIXES = [
    ('path_prefix = "/v1"; strip_prefix = true;', "/v1/a?b", "/a?b"),
    ('path_prefix = "/v1"; strip_prefix = true;', "/v1", "/"),
    ('path_prefix = "/v1"; strip_prefix = true;', "/v1?q", "/?q"),
    ('path_prefix = "/v1"; strip_prefix = true;', "/v1//a", "/a"),
    ('path_prefix = "/v1"; replace_prefix = "/api/v2";', "/v1/a",
     "/api/v2/a"),
    ('path_prefix = "/v1"; replace_prefix = "/api/v2";', "/v1", "/api/v2"),
    ('path_prefix = "/v1"; replace_prefix = "/";', "/v1/a", "/a"),
]


@pytest.mark.parametrize("conf, path, sent", PREFIXES)
def test_prefix_is_changed(gateway, backend, conf, path, sent):
    b = backend()
    g = gateway(simple(b).replace('path_prefix = "/";', conf))
    assert ask(g.port(), path).status == 200
    assert b.requests[0].path == sent


@pytest.mark.parametrize("client", ["http1", "h2"])
def test_header_edits(gateway, backend, client):
    b = backend(lambda r: reply(200, b"x", [
        ("x-set", "old"), ("x-gone", "1"), ("x-more", "a"), ("server", "s")]))
    edits = ('set = { X-Set = "new"; x-fresh = "f"; }; '
             'add = { x-more = "b"; }; remove = [ "x-gone", "X-Gone-2" ]; ')
    g = gateway(simple(b, route=f"request_headers = {{ {edits} }}; "
                       f"response_headers = {{ {edits} }};"))
    fields = [("x-set", "one"), ("x-set", "two"), ("x-gone", "1"),
              ("x-gone-2", "2"), ("x-more", "a"), ("x-stays", "s")]
    if client == "h2":
        with H2Client.open(g.port()) as c:
            got = c.ask("/", fields=fields)
    else:
        got = ask(g.port(), fields=fields)
    for message in (got, b.requests[0]):
        assert message.all("x-set") == ["new"]
        assert message.all("x-fresh") == ["f"]
        assert message.headers["x-more"] == "a, b"
        assert not message.all("x-gone") and not message.all("x-gone-2")
    assert b.requests[0].headers["x-stays"] == "s"
    assert got.headers["server"] == "s"


@pytest.mark.parametrize("size, status", [(10, 200), (11, 413)])
@pytest.mark.parametrize("framing", ["length", "chunked", "h2", "h2-length"])
def test_max_body_bytes(gateway, backend, framing, size, status):
    b = backend()
    g = gateway(simple(b, route="max_body_bytes = 10;"))
    body = b"x" * size
    if framing.startswith("h2"):
        fields = [("content-length", str(size))] if "length" in framing else []
        with H2Client.open(g.port()) as c:
            got = c.ask("/", "POST", fields=fields, body=body)
    elif framing == "length":
        got = ask(g.port(), "/", "POST", body=body)
    else:
        with connect(g.port()) as c:
            c.send(request("/", "POST",
                           fields=[("Transfer-Encoding", "chunked")]))
            c.send(b"5\r\nxxxxx\r\n%x\r\n%s\r\n0\r\n\r\n" % (
                size - 5, b"x" * (size - 5)))
            got = c.recv_response()
    assert got.status == status
    if status == 413:
        assert not b.requests
        assert g.access_log(status=413)["fault"] == "body_too_large"
    else:
        assert b.requests[0].body == body


@pytest.mark.parametrize("is_allowed", [False, True])
@pytest.mark.parametrize("path", ["/a%2Fb", "/a%2fb", "/a%5Cb"])
def test_encoded_slash(gateway, backend, path, is_allowed):
    b = backend()
    route = "allow_encoded_slash = true;" if is_allowed else ""
    g = gateway(simple(b, route=route))
    got = ask(g.port(), path)
    assert got.status == (200 if is_allowed else 400)
    if is_allowed:
        assert b.requests[0].path.lower() == path.lower()
    else:
        assert not b.requests


def test_ten_thousand_routes(gateway):
    rows = [(f"p{i}", f'path = "/p/{i}";') for i in range(4000)]
    rows += [(f"x{i}", f'path_prefix = "/x/{i}";') for i in range(3000)]
    rows += [(f"h{i}", f'host = "h{i}.example.org"; path_prefix = "/";')
             for i in range(3000)]
    g = gateway(table(*rows))
    seen = collections.Counter()
    with connect(g.port()) as c:
        for i in range(0, 3000, 97):
            for path, host, name in [
                    (f"/p/{i}", "localhost", f"p{i}"),
                    (f"/x/{i}/more", "localhost", f"x{i}"),
                    ("/", f"h{i}.example.org", f"h{i}")]:
                c.send(request(path, host=host))
                got = c.recv_response()
                assert got.text == name
                seen[got.status] += 1
    assert set(seen) == {200}


@pytest.mark.parametrize("client", ["http1", "h2"])
@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_brackets_in_a_query(gateway, backend, client, protocol):
    """Browsers send them raw; they arrive as they are. Not so in a path."""
    kind = "h2c" if protocol == "h2" else "http1"
    g = gateway(simple(backend(protocol=protocol),
                       upstream=f'protocol = "{kind}";'))
    got = {}
    for path in ("/a?ids[]=1&f[x][y]=%5B2%5D", "/a[b]?c"):
        if client == "http1":
            got[path] = ask(g.port(), path)
        else:
            with H2Client.open(g.port()) as c:
                got[path] = c.ask(path)
    good, bad = got.values()
    assert good.status == 200 and good.json()["path"] == list(got)[0]
    assert bad.status == 400
