"""Filters of modules: request hooks run in order and response hooks in
reverse; they may edit heads and bodies, wait, and answer; on_done comes once
for each exchange, whatever happened; what a module does wrong is said."""
import base64
import hashlib
import json
import os
import re
import signal

import pytest

from lib import client, gateway as gw
from lib.server import reply

MODULES = os.environ.get("DAEMUN_MODULES",
                         os.path.join(gw.ROOT, "build/release/modules"))
TEST_MODULES = os.environ.get(
    "DAEMUN_TEST_MODULES", os.path.join(gw.ROOT, "build/release/test/module"))
LAB = f'modules = [ "{TEST_MODULES}/lab.so" ];'
H1_H2 = pytest.mark.parametrize("protocol", ["http1", "h2"])


def use(name, **settings):
    """One filter of a route."""
    def text(value):
        if isinstance(value, bool):
            return "true" if value else "false"
        return json.dumps(value)
    inner = " ".join(f"{k} = {text(v)};" for k, v in settings.items())
    inner = f"settings = {{ {inner} }};" if settings else ""
    return f'{{ name = "{name}"; {inner} }}'


def lab(backend, *filters, protocol="http1", route=""):
    listener = "" if protocol == "http1" else "h2c = true;"
    upstream = f'protocol = "{"http1" if protocol == "http1" else "h2c"}";'
    return gw.simple(
        backend, listener=listener, upstream=upstream,
        route=f"filters = ( {', '.join(filters)} ); {route}", more=LAB)


def ask(protocol, port, **kw):
    if protocol == "http1":
        return client.ask(port, **kw)
    with client.H2Client.open(port) as c:
        return c.ask(**kw)


@H1_H2
def test_order(gateway, backend, protocol):
    origin = backend(protocol=protocol)
    g = gateway(lab(origin, use("lab_tag", label="a"),
                    use("lab_tag", label="b"), use("lab_tag", label="c"),
                    protocol=protocol))
    got = ask(protocol, g.port())
    assert got.status == 200
    assert got.json()["headers"]["x-lab"] == "a,b,c"
    assert got.headers["x-lab"] == "c,b,a"


@H1_H2
@pytest.mark.parametrize("size", [3, 300_000])
def test_bodies_are_edited(gateway, backend, protocol, size):
    origin = backend(lambda r: reply(200, r.body), protocol=protocol)
    g = gateway(lab(origin, use("lab_body"), protocol=protocol))
    body = b"yx" * size
    got = ask(protocol, g.port(), method="POST", body=body)
    up = b"yy" * size + b"."
    assert origin.requests[0].body == up
    assert got.body == b"yyyy" * size + b".." + b"."
    assert "content-length" not in got.headers


@H1_H2
def test_a_filter_holds_request_and_response(gateway, backend, protocol):
    origin = backend(lambda r: reply(200, r.body), protocol=protocol)
    g = gateway(lab(origin, use("lab_wait", request_ms=60, response_ms=60),
                    use("lab_body"), use("lab_tag", label="in"),
                    protocol=protocol))
    body = b"0123456789" * 30_000
    got = ask(protocol, g.port(), method="POST", body=body)
    assert got.headers["x-lab"] == "in"
    assert len(got.body) == (len(body) * 2 + 1) * 2 + 1
    assert g.access_log(status=200)["duration_us"] >= 120_000


def test_without_data_hooks_a_held_body_passes_whole(gateway, backend):
    origin = backend(lambda r: reply(200, r.body))
    g = gateway(lab(origin, use("lab_wait", request_ms=50, response_ms=50)))
    body = os.urandom(200_000)
    got = client.ask(g.port(), method="POST", body=body)
    assert got.body == body


def test_trailers_come_after_what_the_end_adds(gateway, backend):
    origin = backend(lambda r: reply(200, r.body, trailers=[("x-sum", "1")]),
                     protocol="h2")
    g = gateway(lab(origin, use("lab_wait", response_ms=30), use("lab_body"),
                    protocol="h2"))
    with client.H2Client.open(g.port()) as c:
        number = c.request("/", "POST", fields=[("te", "trailers")],
                           body=b"a", end=False)
        c.send_trailers(number, [("x-up", "2")])
        got = c.response(number)
    assert origin.requests[0].body == b"aa."
    assert ("x-up", "2") in origin.requests[0].trailers
    assert got.body == b"aaaa..."
    assert ("x-sum", "1") in got.trailers


def test_tunnels_pass_untouched(gateway, server):
    def script(conn):
        key = conn.recv_request_head().headers["sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(
            (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept +
                  b"\r\n\r\n")
        conn.send(conn.recv_exact(5) + b"back")
    g = gateway(lab(server(script), use("lab_count", label="c"),
                    use("lab_body"), use("lab_reply", only_secret=True)))
    with client.connect(g.port()) as c:
        c.send(client.request("/ws", fields=[
            ("Upgrade", "websocket"), ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]))
        assert c.recv_response_head().status == 101
        c.send(b"there")
        assert c.recv_exact(9) == b"thereback"
    g.error_log(r"lab: done c /ws status 101")


def test_a_thread_comes_back_by_post(gateway, backend):
    origin = backend()
    g = gateway(lab(origin, use("lab_thread")))
    for _ in range(20):
        got = client.ask(g.port())
        assert got.json()["headers"]["x-lab-thread"] == "yes"


def test_one_that_never_resumes_is_ended_and_named(gateway, backend):
    origin = backend()
    g = gateway(lab(origin, use("lab_count", label="c"), use("lab_stuck"),
                    route="idle_timeout_ms = 200; name = \"r\";"))
    assert client.ask(g.port()).status == 504
    g.error_log(r"route r: filter lab_stuck did not resume in time")
    g.error_log(r"lab: done c / status 504 fault idle_timeout")
    assert origin.n_conns == 0


def test_a_client_that_leaves_ends_the_wait(gateway, backend):
    g = gateway(lab(backend(), use("lab_count", label="c"), use("lab_stuck")))
    with client.connect(g.port()) as c:
        c.send(client.request("/gone"))
        g.wait_metric("dm_exchanges", 1)
        c.reset()
    g.error_log(r"lab: done c /gone status 499 fault client_gone")
    g.wait_metric("dm_exchanges", 0)


def test_an_answer_is_seen_by_the_outer_filters_only(gateway, backend):
    origin = backend()
    g = gateway(lab(origin, use("lab_tag", label="out"),
                    use("lab_count", label="c1"),
                    use("lab_reply", status=418, label="me"),
                    use("lab_count", label="c2"), use("lab_tag", label="in")))
    got = client.ask(g.port(), "/tea")
    assert (got.status, got.body) == (418, b"the lab says no\n")
    assert got.headers["x-lab"] == "out"
    assert got.headers["x-lab-reply"] == "me"
    assert origin.n_conns == 0
    g.error_log(r"lab: done c1 /tea status 418 fault -")
    assert "done c2" not in g.error_log()
    assert g.access_log(status=418)["detail"] == "answered by filter lab_reply"


def test_an_answer_to_head_has_no_body(gateway, backend):
    g = gateway(lab(backend(), use("lab_reply", status=403)))
    with client.connect(g.port()) as c:
        for _ in range(2):
            c.send(client.request("/", "HEAD"))
            got = c.recv_response("HEAD")
            assert got.status == 403
            assert got.headers["content-length"] == "16"


@H1_H2
def test_an_answer_in_the_middle_of_a_body(gateway, backend, protocol):
    origin = backend(protocol=protocol)
    g = gateway(lab(origin, use("lab_reply", status=403, only_secret=True),
                    protocol=protocol))
    assert ask(protocol, g.port(), method="POST", body=b"good").status == 200
    got = ask(protocol, g.port(), method="POST", body=b"a secret is here")
    assert got.status == 403
    assert ask(protocol, g.port(), method="POST", body=b"good").status == 200


def test_no_answer_set_is_our_fault(gateway, backend):
    g = gateway(lab(backend(), use("lab_reply", status=42)))
    got = client.ask(g.port())
    assert got.status == 500
    g.error_log("filter lab_reply: DM_REPLY without an answer by dm_reply")


def test_done_comes_once_for_each(gateway, backend):
    g = gateway(lab(backend(), use("lab_count", label="one")))
    for n in range(5):
        client.ask(g.port(), f"/n{n}")
    g.error_log(r"lab: done one /n4")
    assert len(re.findall("lab: done one", g.error_log())) == 5


def test_done_comes_when_the_upstream_fails(gateway, server):
    def script(conn):
        conn.recv_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    g = gateway(lab(server(script), use("lab_count", label="c"),
                    use("lab_tag")))
    with client.connect(g.port()) as c:
        c.send(client.request("/cut"))
        c.recv_all()
    g.error_log(r"lab: done c /cut status 200 fault \w+")
    assert len(re.findall("lab: done", g.error_log())) == 1


@pytest.mark.reload
def test_reload_takes_new_settings_and_frees_old_ones(gateway, backend):
    origin = backend()
    g = gateway(lab(origin, use("lab_tag", label="old"), use("lab_body")))
    assert client.ask(g.port()).headers["x-lab"] == "old"
    g.reload(lab(origin, use("lab_tag", label="new")))
    assert client.ask(g.port()).headers["x-lab"] == "new"
    told = g.stderr() + g.error_log()  # the log file is opened after it
    assert len(re.findall("module lab .* is loaded", told)) == 1
    g.stop(signal.SIGTERM)


BAD = [
    ("other_abi", "built for module ABI 3, this daemun has 1; compile it again"),
    ("no_symbol", "is no module: it does not export dm_module"),
    ("unresolved", "cannot be loaded: undefined symbol: dm_no_such_call"),
    ("internal", "cannot be loaded: undefined symbol: exchange_finish"),
    ("missing", "cannot be loaded: No such file or directory"),
]


@pytest.mark.parametrize("name, message", BAD)
def test_a_bad_module_is_explained(tmp_path, name, message):
    path = f"{TEST_MODULES}/{name}.so"
    conf = gw.simple("127.0.0.1:9", more=f'modules = [ "{path}" ];')
    status, text = gw.check_conf(conf, tmp_path, http=8080)
    assert status == 1
    assert f"modules[0]: {path}: {message}" in text
    assert re.search(r"check\.conf:\d+: modules\[0\]", text)


WRONG = [
    (use("nothing"), "no module offers a filter \"nothing\"; there are: "
                     "lab_tag, lab_body, "),
    (use("lab_stuck", label="x"), "filter \"lab_stuck\" has no settings"),
    (use("lab_tag", lable="x"), "routes[0].filters[0].settings.lable: "
                                "unknown key; did you mean \"label\"?"),
    (use("lab_tag", label=1), "settings.label: must be a text in quotes"),
    (use("lab_wait", request_ms=-1), "settings.request_ms: must be from 0 to "
                                     "10000"),
]


@pytest.mark.parametrize("filters, message", WRONG)
def test_wrong_settings_are_explained(tmp_path, filters, message):
    status, text = gw.check_conf(lab("127.0.0.1:9", filters), tmp_path,
                                 http=8080)
    assert status == 1
    assert message in text


IP = f'modules = [ "{MODULES}/ip_access.so" ];'


def ip_access(backend, rules, more=""):
    return gw.simple(backend, more=IP, route=f"""filters = ( {{
        name = "ip_access"; settings = {{ rules = ( {rules} ); {more} }};
    }} );""")


@pytest.mark.parametrize("rules, more, status", [
    ('{ allow = "127.0.0.0/8"; }', "", 200),
    ('{ allow = "10.0.0.0/8"; }', "", 403),
    ('{ deny = "127.0.0.1"; }, { allow = "127.0.0.0/8"; }', "", 403),
    ('{ allow = [ "::1", "127.0.0.0/9" ]; }', "", 200),
    ('{ deny = "127.0.0.2"; }', 'default = "allow";', 200),
    ('{ deny = "0.0.0.0/0"; }', 'default = "allow";', 403),
])
def test_ip_access(gateway, backend, rules, more, status):
    g = gateway(ip_access(backend(), rules, more))
    assert client.ask(g.port()).status == status


@pytest.mark.parametrize("rules, more, message", [
    ('{ allow = "10.0.0.0/33"; }', "", "settings.rules[0].allow: \"10.0.0.0/33"
                                       "\" is no address or network; write"),
    ('{ allow = [ "x" ]; }', "", "settings.rules[0].allow[0]: \"x\" is no"),
    ('{ alow = "::1"; }', "", "settings.rules[0]: must be { allow = ...; } or"),
    ("", "", "without rules nobody is let in"),
    ("", 'default = "maybe";', "settings.default: must be \"allow\" or"),
])
def test_ip_access_explains(tmp_path, rules, more, message):
    status, text = gw.check_conf(ip_access("127.0.0.1:9", rules, more),
                                 tmp_path, http=8080)
    assert status == 1
    assert message in text


def test_the_example_is_good(tmp_path):
    path = os.path.join(gw.ROOT, "conf", "examples", "ip_access.conf")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    old = "../../build/release/modules"
    assert old in text
    status, told = gw.check_conf(text.replace(old, MODULES), tmp_path)
    assert status == 0, told
