"""Every conf file that is shipped does what its first lines say: loaded as it
is but for addresses and certificates, it answers a request. A file without a
row in the table fails."""
import os
import pathlib
import re

import pytest
from websockets.sync.client import connect as ws_connect

from lib.client import Grpc, H2Client, ask, connect, request
from lib.gateway import ROOT
from lib.server import reply
from lib.wait import wait_until
from lib.ws import Echo

CONF = pathlib.Path(ROOT, "conf")
FILES = sorted([*CONF.glob("*.conf"), *CONF.glob("examples/*.conf")])
MODULES = os.environ.get("DAEMUN_MODULES",
                         os.path.join(ROOT, "build/release/modules"))
LISTENER = re.compile(r'name = "(\w+)";\s+address = "[\d.]+:(\d+)"')
BACKEND = re.compile(r'"((?:10\.\d+\.\d+\.\d+|127\.0\.0\.1):\d+)"')
FILE = re.compile(r'(chain|key|client_ca|ca) = "([^"]+)"')


class Example:
    """A running example: its gateway, and the backend for each address that
    the file names."""

    def __init__(self, path, gateway, backend, ca, overrides):
        text = path.read_text()
        self.ca = ca
        self.leaf = ca.leaf("localhost", "portal.example.ac.kr",
                            "www.portal.example.ac.kr", "api.example.ac.kr", "backend.example")
        self.backends = {}
        for name, port in LISTENER.findall(text):
            text = re.sub(rf'"(0\.0\.0\.0|127\.0\.0\.1):{port}"',
                          f'"127.0.0.1:@{name}@"', text)
        text = text.replace("127.0.0.1:9901", "127.0.0.1:@admin@")
        for address in BACKEND.findall(text):
            if address not in self.backends:
                make = overrides.get(address, lambda a=address: backend(
                    lambda r: reply(200, f"{a} {r.path}", [
                        ("x-seen", repr(sorted(r.fields)))])))
                self.backends[address] = make()
            text = text.replace(f'"{address}"',
                                f'"{self.backends[address].address}"')
        files = {"chain": self.leaf.chain, "key": self.leaf.key,
                 "client_ca": ca.path, "ca": ca.path}
        text = FILE.sub(lambda m: f'{m[1]} = "{files[m[1]]}"', text)
        text = text.replace("../../build/release/modules", MODULES)
        # The harness reads the logs; it adds its own.
        text = re.sub(r"^log = \{.*?^\};", "", text, flags=re.M | re.S)
        self.g = gateway(text)

    def ask(self, listener, path, **kw):
        if listener.startswith("https"):
            kw.setdefault("tls", self.ca.client_context())
        return ask(self.g.port(listener), path, **kw)


def answers(x):
    assert x.ask("http", "/robots.txt").text == "User-agent: *\nDisallow: /\n"
    got = x.ask("http", "/old/page?x=1", host="site.example")
    assert got.status == 301
    assert got.headers["location"] == "https://site.example/new"
    got = x.ask("http", "/v12/private/x")
    assert (got.status, got.text) == (403, "not here\n")
    got = x.ask("http", "/manual/a", fields=[("Cookie", "a=b")])
    assert got.text == "10.20.0.11:8080 /docs/a"
    assert "'x-area', 'manual'" in got.headers["x-seen"]
    assert "cookie" not in got.headers["x-seen"]
    assert got.headers["x-served-by"] == "daemun"
    assert x.ask("http", "/upload/f", method="PUT", body=b"1").status == 200
    assert x.ask("http", "/upload/f").status in (404, 405)


def behind_proxy(x):
    got = x.ask("from_balancer", "/", before=b"PROXY TCP4 192.0.2.7 "
                b"192.0.2.8 4000 80\r\n")
    assert got.status == 200 and "192.0.2.7" in got.headers["x-seen"]
    got = x.ask("from_cdn", "/", fields=[("X-Forwarded-For", "198.51.100.9")])
    assert got.status == 200 and "198.51.100.9" in got.headers["x-seen"]


def canary(x):
    got = x.ask("http", "/v1/models/m", fields=[("x-canary", "always")])
    assert got.text.startswith("10.30.0.31:8501 ")
    with connect(x.g.port("http")) as c:
        n = 0
        for _ in range(400):
            c.send(request("/v1/models/m"))
            n += c.recv_response().text.startswith("10.30.0.31:8501 ")
    # 5 % of 400 are 20; all but one in a million runs lie between these.
    assert 1 <= n <= 48


def client_certificates(x):
    alice = x.ca.client("alice")
    got = x.ask("https", "/", tls=x.ca.client_context(certificate=alice),
                fields=[("x-client-cert-subject", "CN=root")])
    assert got.status == 200 and "alice" in got.headers["x-seen"]
    assert "CN=root" not in got.headers["x-seen"]
    with pytest.raises(Exception, match="(?i)certificate|closed|reset|eof"):
        x.ask("https", "/")


def inference(x):
    body = b'{"instances":[1,2,5]}'
    got = x.ask("https", "/v1/models/half_plus_two:predict", method="POST",
                body=body)
    assert got.json() == {"predictions": [2.5, 3.0, 4.5]}
    with Grpc(x.g.port("https"), x.ca) as c:
        assert c.unary("/tensorflow.serving.ModelService/GetModelStatus",
                       b"\x0a\x0f\x0a\x0dhalf_plus_two")


def ip_access(x):
    # 127.0.0.1 is in no rule of /admin, so it is not let in.
    assert x.ask("http", "/admin/x").status == 403
    assert x.ask("http", "/x").status == 200


def health(x):
    """Each endpoint is probed in the way of its upstream, and is well."""
    def probes(text):
        return [v for k, v in x.g.metrics().items() if text in k]
    wait_until(lambda: min(probes("dm_endpoint_probes_total")) >= 1, "probes")
    assert len(probes("dm_endpoint_probes_total")) == 6
    assert sum(probes("dm_endpoint_probes_failed_total")) == 0
    for path in ("/", "/mail/x"):
        assert x.ask("http", path).text.endswith(path)
    # The only endpoint of mail goes: 503 within three probes.
    mail = x.backends["10.20.0.14:8080"]
    mail.pause()
    mail.drop_conns()
    wait_until(lambda: x.ask("http", "/mail/x").status == 503, "503")
    x.g.wait_metric('dm_upstream_endpoints_up{upstream="mail"}', 0)
    assert x.ask("http", "/mail/x").headers["retry-after"] in "123"
    assert x.ask("http", "/").status == 200


def sessions(x):
    first = x.ask("http", "/")
    cookie = first.headers["set-cookie"].split(";")[0]
    assert cookie.startswith("portal_id=")
    for _ in range(5):
        got = x.ask("http", "/", fields=[("Cookie", cookie)])
        again = got.text
        assert again == x.ask("http", "/",
                              fields=[("Cookie", cookie)]).text
        assert "set-cookie" not in got.headers
    first = x.ask("http", "/jupyter/")
    cookie = first.headers["set-cookie"].split(";")[0]
    assert cookie.startswith("jupyter_node=")
    for _ in range(5):
        assert x.ask("http", "/jupyter/",
                     fields=[("Cookie", cookie)]).text == first.text
    tenants = {x.ask("http", "/batch/job", fields=[("x-tenant", "t")]).text
               for _ in range(5)}
    assert len(tenants) == 1 and tenants.pop().endswith(" /job")


def upstream_tls(x):
    assert x.ask("http", "/a").json()["version"] == "HTTP/2"
    assert x.backends["10.20.0.41:8443"].snis == ["backend.example"]


def daemun(x):
    for path in ("/", "/a/b"):
        got = x.ask("https", path, host="portal.example.ac.kr")
        assert got.text.endswith(f":8080 {path}")
    got = x.ask("https", "/", host="up.example.ac.kr")
    assert got.headers["x-served-by"] == "daemun"
    assert "server" not in got.headers
    got = x.ask("http", "/a", host="portal.example.ac.kr")
    assert got.status == 308
    assert got.headers["location"].startswith("https://portal.example.ac.kr")
    tls = x.ca.client_context(alpn=["h2"])
    with H2Client.open(x.g.port("https"), tls=tls) as c:
        path = "/tensorflow.serving.PredictionService/Predict"
        got = c.ask(path, "POST", host="api.example.ac.kr", body=b"",
                    fields=[("content-type", "application/grpc"),
                            ("te", "trailers")])
        assert got.status == 200
    assert x.g.access_log(path=path)["upstream"] == "resnet"


def quickstart(x):
    got = x.ask("https", "/v1/models/half_plus_two:predict", method="POST",
                body=b'{"instances":[1,2,5]}')
    assert got.json() == {"predictions": [2.5, 3.0, 4.5]}
    assert x.ask("http", "/").status == 308


def portal(x):
    assert x.ask("http", "/a").status == 308
    assert x.ask("https", "/a").text.endswith(":8080 /a")
    first = x.ask("https", "/jupyter/lab")
    cookie = first.headers["set-cookie"].split(";")[0]
    for _ in range(4):
        assert x.ask("https", "/jupyter/lab",
                     fields=[("Cookie", cookie)]).text == first.text
    inference(x)


def redirect(x):
    def location(path, host="portal.example.ac.kr", listener="https"):
        got = x.ask(listener, path, host=host)
        return got.status, got.headers["location"]
    assert location("/a?b", listener="http") == \
        (308, f"https://portal.example.ac.kr:{x.g.port('https')}/a?b")
    assert location("/a?b", "www.portal.example.ac.kr") == \
        (301, "https://portal.example.ac.kr/a?b")
    assert location("/login") == \
        (308, "https://portal.example.ac.kr/auth/login")
    assert location("/status/x") == (302, "https://status.example.ac.kr/")
    got = x.ask("https", "/status2", host="portal.example.ac.kr")
    assert got.text == "10.20.0.11:8080 /status2"


def websocket(x):
    url = f"ws://127.0.0.1:{x.g.port('http')}/notebooks/kernel"
    with ws_connect(url, proxy=None, additional_headers=[
            ("Cookie", "session=1")]) as ws:
        ws.send("1 + 1")
        assert ws.recv(timeout=15) == "1 + 1"
    got = x.ask("http", "/x", fields=[
        ("Connection", "Upgrade"), ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAECAwQFBgcICQoLDA0ODw==")])
    assert (got.status, got.text) == (200, "10.20.0.11:8080 /x")
    assert "upgrade" not in got.headers["x-seen"]


def start(x):
    assert x.ask("http", "/any").text.startswith("Daemun is running.")


CHECKS = {f.__name__: f for f in (
    answers, behind_proxy, canary, client_certificates, health, inference,
    ip_access, portal, redirect, sessions, upstream_tls, websocket, daemun,
    quickstart, start)}
# Addresses behind which more than a plain HTTP/1.1 server is needed.
DEMOS = ["10.30.0.21:8500", "10.30.0.22:8500", "10.30.0.21:8501",
         "10.30.0.22:8501", "127.0.0.1:8500", "127.0.0.1:8501"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_example(path, gateway, backend, demo, actors, ca, tmp_path,
                 monkeypatch):
    def ws_server():
        actors.append(Echo())
        return actors[-1]
    assert path.stem in CHECKS, f"{path.name} needs a row in CHECKS"
    monkeypatch.setattr(ca, "folder", tmp_path)
    leaf = ca.leaf("backend.example")
    overrides = {"10.20.0.41:8443": lambda: backend(protocol="auto",
                                                    leaf=leaf)}
    if path.stem != "canary":
        overrides.update({a: lambda a=a: demo(a) for a in DEMOS})
    if path.stem == "websocket":
        overrides.update({f"10.20.0.2{n}:8888": ws_server for n in (1, 2)})
    x = Example(path, gateway, backend, ca, overrides)
    assert not re.search("no route uses|never reached|answered with 503",
                         x.g.error_log())
    CHECKS[path.stem](x)
    assert x.g.metric("dm_glitches_total") == 0


def test_every_row_has_its_file():
    assert set(CHECKS) == {path.stem for path in FILES}
