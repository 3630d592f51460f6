"""What is lawful and surely not meant is told by -t, at the start and at a
reload, with place and mending; what may be meant is not."""
import re
import subprocess

import pytest

from lib.gateway import BIN, simple

LISTENERS = '''listeners = (
  { name = "a"; address = "127.0.0.1:18001"; },
  { name = "b"; address = "127.0.0.1:18002"; },
  { name = "to_https"; address = "127.0.0.1:18003";
    redirect_to_https = true; } );
'''
UPSTREAM = 'u = { endpoints = ( { address = "127.0.0.1:9"; } ); };'


def warnings(tmp_path, conf):
    """What -t prints beside "good", without the place of the file."""
    path = tmp_path / "daemun.conf"
    path.write_text(conf)
    got = subprocess.run([BIN, "-t", "-c", str(path)], text=True,
                         capture_output=True, check=False)
    assert got.returncode == 0, got.stderr
    assert got.stdout == f"{path}: good\n"
    return [line.split(f"{path}:")[-1] for line in got.stderr.splitlines()
            if " warn " in line]


def routes(tmp_path, *lines, upstreams=UPSTREAM):
    conf = (f"{LISTENERS}upstreams = {{ {upstreams} }};\nroutes = (\n"
            + ",\n".join(f"{{ {line} }}" for line in lines) + "\n);\n")
    return warnings(tmp_path, conf)


TO_U = 'upstream = "u";'
ALL = 'path_prefix = "/"; upstream = "u";'
HIDDEN = {
    "fewer methods": (
        f'path = "/a"; methods = [ "GET", "POST" ]; {TO_U}',
        f'path = "/a"; methods = [ "POST" ]; {TO_U}'),
    "fewer listeners": (
        f'path_prefix = "/a"; listeners = [ "a", "b" ]; {TO_U}',
        f'path_prefix = "/a/"; listeners = [ "b" ]; {TO_U}'),
    "a pattern behind all": (
        f'path_regex = "/.*"; {TO_U}',
        f'path_regex = "/x[0-9]+"; {TO_U}'),
}
SEEN = {
    "more methods": (
        f'path = "/a"; methods = [ "GET" ]; {TO_U}',
        f'path = "/a"; methods = [ "GET", "POST" ]; {TO_U}'),
    "more conditions": (
        f'path = "/a"; {TO_U}',
        f'path = "/a"; methods = [ "GET" ]; {TO_U}'),
    "longer prefix": (ALL, f'path_prefix = "/a"; {TO_U}'),
    "exact": (f'path_prefix = "/a"; {TO_U}', f'path = "/a"; {TO_U}'),
    "another host": (
        f'host = "x.example"; path_regex = "/.*"; {TO_U}',
        f'host = "y.example"; path_regex = "/a.*"; {TO_U}'),
    "fields on the first": (
        f'path_regex = "/.*"; headers = ( {{ name = "x"; }} ); {TO_U}',
        f'path_regex = "/a.*"; {TO_U}'),
    "other listeners": (
        f'path = "/a"; listeners = [ "a" ]; {TO_U}',
        f'path = "/a"; listeners = [ "a", "b" ]; {TO_U}'),
    "one listener of two redirects": (
        ALL, f'path = "/a"; listeners = [ "b", "to_https" ]; {TO_U}'),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_hidden_route(tmp_path, case):
    assert routes(tmp_path, ALL, *HIDDEN[case]) == [
        "10: routes[2]: never reached: routes[1] (line 9) gets all that it "
        "matches; put it before that one, or remove it"]


@pytest.mark.parametrize("case", SEEN)
def test_route_that_is_reached(tmp_path, case):
    assert routes(tmp_path, *SEEN[case]) == []


def test_route_of_a_listener_that_redirects(tmp_path):
    assert routes(tmp_path, ALL,
                  f'path = "/a"; listeners = [ "to_https" ]; {TO_U}') == [
        "9: routes[1]: never reached: all of its listeners redirect to https "
        "(redirect_to_https); remove the route, or name another listener"]


@pytest.mark.parametrize("text, warning", [
    ("v = { endpoints = ( { address = \"127.0.0.1:9\"; } ); };",
     "7: upstreams.v: no route uses this upstream; name it in a route, or "
     "remove it"),
    ("u = { endpoints = ( ); };",
     "7: upstreams.u: it has no endpoint, so its requests are answered with "
     "503; add one to endpoints"),
    ("u = { endpoints = ( { address = \"127.0.0.1:9\"; weight = 0; } ); };",
     "7: upstreams.u: all of its endpoints have weight 0, so its requests are "
     "answered with 503; give one of them a weight"),
])
def test_upstreams(tmp_path, text, warning):
    more = "" if text.startswith("u") else UPSTREAM
    assert routes(tmp_path, ALL, upstreams=f"{more}\n{text}") == [warning]


def test_upstream_that_a_split_uses(tmp_path):
    more = 'v = { endpoints = ( { address = "127.0.0.1:9"; } ); };'
    split = 'split = ( { upstream = "u"; }, { upstream = "v"; } );'
    assert routes(tmp_path, f'path_prefix = "/"; {split}',
                  upstreams=f"{UPSTREAM} {more}") == []


def test_certificates(tmp_path, ca, monkeypatch):
    monkeypatch.setattr(ca, "folder", tmp_path)

    def tell(leaf):
        return warnings(tmp_path, f"""
listeners = ( {{ name = "s"; address = "127.0.0.1:18001";
  tls = {{ certificates = ( {leaf.conf} ); }}; }} );
routes = ( {{ path_prefix = "/"; answer = {{ status = 200; }}; }} );
""")
    assert tell(ca.leaf("good.example")) == []
    old, = tell(ca.leaf("old.example", expired=True))
    assert "the certificate has expired, and clients refuse it; renew it" in old
    near, = tell(ca.leaf("near.example", n_days=10))
    assert re.search("the certificate ends in (9|10) days; renew it$", near)


def test_start_and_reload_tell_too(gateway, backend):
    b = backend()
    conf = simple(b)
    unused = 'upstreams = { spare = { endpoints = ( { address = ' \
        '"127.0.0.1:9"; } ); };'
    g = gateway(conf)
    assert "spare" not in g.error_log()
    g.reload(conf.replace("upstreams = {", unused))
    g.error_log(r"warn .*upstreams.spare: no route uses this upstream")
    g.stop()
    again = gateway(conf.replace("upstreams = {", unused))
    again.error_log(r"warn .*upstreams.spare: no route uses this upstream")
