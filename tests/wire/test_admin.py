"""The admin pages: metrics that Prometheus can read and that count right,
health, readiness, and a configuration that can be loaded again and tells no
secret."""
import re
import subprocess
import urllib.error
import urllib.request

import pytest

from lib.client import ask, connect, request
from lib.gateway import BIN, secure, simple
from lib.server import reply

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")


def parse(text):
    """The Prometheus text format, strictly: {name: kind}, {(name, labels):
    value}. A family's lines are together, HELP and TYPE before its samples,
    no sample is there twice."""
    kinds, helps, samples, over = {}, {}, {}, set()
    current = None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            assert name not in helps and words
            helps[name] = words
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds and name in helps, line
            assert kind in ("counter", "gauge", "histogram")
            kinds[name] = kind
            over.add(current)
            current = name
            continue
        found = SAMPLE.fullmatch(line)
        assert found, f"no sample: {line!r}"
        name, labels, value = found.groups()
        family = name if name in kinds else \
            re.sub("_(bucket|sum|count)$", "", name)
        assert family == current and family not in over, line
        assert (name, labels) not in samples, line
        samples[name, labels] = float(value)
    return kinds, samples


def test_metrics_are_prometheus_text(gateway, backend):
    origin = backend()
    g = gateway(simple(origin, listener="").replace(
        "upstreams = { u", 'upstreams = { other = { endpoints = ( { address ='
        ' "127.0.0.1:9"; }, { address = "[::1]:9"; } ); }; u'))
    for i in range(3):
        ask(g.port(), f"/{i}", "POST", body=b"abcd")
    g.access_log(n=3, status=200)
    with urllib.request.urlopen(g.url("admin", "/metrics")) as answer:
        kind = answer.headers["content-type"]
        text = answer.read().decode()
    assert kind == "text/plain; version=0.0.4"
    kinds, samples = parse(text)
    for name in kinds:
        assert name.startswith(("dm_", "process_"))
        assert name.endswith("_total") == (kinds[name] == "counter"), name
    assert samples["dm_exchanges_total", None] == 3
    assert samples["dm_responses_2xx_total", None] == 3
    assert samples["dm_client_connections_total", None] == 3
    assert samples["dm_client_received_bytes_total", None] == 12
    assert samples["dm_workers", None] == 2
    assert samples["dm_snapshot_generation", None] == 1
    assert samples["process_resident_memory_bytes", None] > 1 << 20
    endpoints = {labels for name, labels in samples
                 if name.startswith("dm_endpoint_")}
    for upstream, address in (("u", origin.address), ("other", "127.0.0.1:9"),
                              ("other", "[::1]:9")):
        assert any(f'upstream="{upstream}"' in labels and
                   f'endpoint="{address}"' in labels
                   for labels in endpoints), (upstream, endpoints)


def test_counters_only_grow_over_reloads(gateway, backend):
    origin = backend()
    g = gateway(simple(origin))

    def counters():
        kinds, samples = parse(g.admin_get("/metrics")[1])
        return {k: v for k, v in samples.items()
                if kinds.get(k[0]) == "counter"}
    last = counters()
    for i in range(3):
        ask(g.port())
        g.access_log(n=i + 1)
        g.reload(simple(origin, route=f'name = "r{i}";'))
        now = counters()
        assert all(now[k] >= v for k, v in last.items() if k in now)
        assert set(last) <= set(now)
        last = now
    assert last["dm_exchanges_total", None] == 3


def test_health_and_readiness(gateway, backend):
    g = gateway(simple(backend()))
    assert g.admin_get("/healthz") == (200, "ok\n")
    assert g.admin_get("/readyz") == (200, "ok\n")
    g.reload("nonsense = 1;", ok=False)
    # A wrong file is no reason to take a working gateway away.
    assert g.admin_get("/readyz") == (200, "ok\n")


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/", 200), ("HEAD", "/metrics", 200), ("GET", "/nothing", 404),
    ("GET", "/metrics/", 404), ("POST", "/metrics", 405),
    ("PUT", "/config", 405), ("DELETE", "/readyz", 405),
    ("POST", "/nothing", 405)])
def test_pages_and_methods(gateway, backend, method, path, status):
    g = gateway(simple(backend()))
    body = b"x" if method in ("POST", "PUT") else None
    got = ask(g.port("admin"), path, method, body=body)
    assert got.status == status
    assert got.headers["cache-control"] == "no-store"
    if status == 404:
        assert "/metrics\n/healthz\n/readyz\n/config\n" in got.text
    if status == 405:
        assert "use GET" in got.text
    if method == "HEAD":
        assert got.body == b"" and int(got.headers["content-length"]) > 1000


def test_many_requests_on_one_connection(gateway, backend):
    g = gateway(simple(backend()))
    with connect(g.port("admin")) as c:
        c.send(request("/healthz") * 20)
        for _ in range(20):
            assert c.recv_response().text == "ok\n"
        c.send(request("/metrics"))
        parse(c.recv_response().text)


def test_bytes_that_are_no_http(gateway, backend):
    g = gateway(simple(backend()))
    for raw in (b"\0\1\2\3\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        with connect(g.port("admin")) as c:
            c.send(raw)
            c.recv_all()
    assert g.admin_get("/healthz")[0] == 200


SECRET = "s3cr3t-value"


@pytest.fixture
def full(gateway, backend, ca, leaf):
    """A gateway with relative paths, long texts, quotes and secrets."""
    g = gateway(secure(
        backend(), leaf, upstream='retries_max = 2; balance = { policy = '
        '"maglev"; hash_on = [ "cookie:c", "source_ip" ]; };',
        route=f'request_headers = {{ set = {{ authorization = "{SECRET}"; }};'
        ' remove = [ "x-\\x61" ]; };') .replace("\\x61", "a").replace(
            "routes = (", 'routes = ( { path = "/a"; answer = { status = 200;'
            ' body = "a \\"quote\\"\\n\\\\ \\t caf\\xc3\\xa9"; }; },'))
    folder = g.conf_path.parent
    (folder / "certs").mkdir()
    (folder / "certs" / "a.pem").write_bytes(leaf.chain.read_bytes())
    (folder / "certs" / "a.key").write_bytes(leaf.key.read_bytes())
    text = g.conf_path.read_text()
    text = text.replace(str(leaf.chain), "certs/a.pem").replace(
        str(leaf.key), "certs/a.key")
    assert "certs/a.pem" in text and "certs/a.key" in text
    g.conf_path.write_text(text)
    g.reload()
    return g


def test_config_can_be_loaded_again(full, tmp_path):
    status, text = full.admin_get("/config")
    assert status == 200
    path = tmp_path / "elsewhere.conf"
    path.write_text(text)
    done = subprocess.run([BIN, "-t", "-c", str(path)], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Loaded, it says the same again.
    full.conf_path.write_text(text)
    full.reload()
    again = full.admin_get("/config")[1]
    assert again == text


def test_config_has_defaults_and_no_secret(full):
    text = full.admin_get("/config")[1]
    assert SECRET not in text
    assert re.search(r"retries_max = 2;", text)
    assert re.search(r"connect_timeout_ms = 2000;", text)
    assert "authorization" in text
    assert "PRIVATE KEY" not in text


def test_answers_are_whole_when_large(gateway, backend):
    """4,000 routes: the page is longer than any buffer."""
    origin = backend(lambda r: reply(200))
    many = "".join(f'{{ path = "/r{i}"; upstream = "u"; }},\n'
                   for i in range(4000))
    g = gateway(simple(origin).replace("routes = (", "routes = (" + many))
    status, text = g.admin_get("/config")
    assert status == 200 and '"/r3999"' in text
    assert text.endswith(";\n")
