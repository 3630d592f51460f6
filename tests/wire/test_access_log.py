"""The access log: one line for each request, whole and right whatever the
request was; nothing that a client sends can forge a line; a log that cannot be
written costs lines, never traffic."""
import json
import os
import pathlib
import re
import shutil
import signal
import tempfile
import threading

import pytest

from lib.client import Grpc, H2Client, ask, connect, request
from lib.gateway import secure, simple
from lib.ports import free_port
from lib.server import reply
from lib.wait import wait_until

NAMES = ["time", "request_id", "client", "listener", "sni", "client_subject",
         "protocol", "method", "host", "path", "status", "grpc_status",
         "route", "upstream", "endpoint", "picked_by", "attempts", "fault",
         "detail", "received_bytes", "sent_bytes", "duration_us", "pick_us",
         "connect_us", "wait_us", "body_us", "user_agent"]
NUMBERS = {"status", "attempts", "received_bytes", "sent_bytes",
           "duration_us", "pick_us", "connect_us", "wait_us", "body_us"}


def check_line(line):
    """What is true of every line."""
    assert list(line) == NAMES
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
                        line["time"])
    for name, value in line.items():
        if name == "grpc_status":
            assert value is None or 0 <= value <= 16
        elif name in NUMBERS:
            assert isinstance(value, int) and value >= 0, name
        else:
            assert isinstance(value, str) and value, name
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line["client"])


def test_ok(gateway, backend):
    origin = backend(lambda r: reply(200, "hello"))
    g = gateway(simple(origin, route='name = "all";'))
    ask(g.port(), "/a/b?c=d", "POST", host="example.org", body=b"12345",
        fields=[("User-Agent", "tester/1")])
    line = g.access_log()
    check_line(line)
    assert line == {**line, **{
        "request_id": origin.requests[0].headers["x-request-id"],
        "listener": "http",
        "sni": "-", "client_subject": "-", "protocol": "http/1.1",
        "method": "POST", "host": "example.org", "path": "/a/b?c=d",
        "status": 200, "grpc_status": None, "route": "all", "upstream": "u",
        "endpoint": origin.address, "attempts": 1, "fault": "-",
        "detail": "-", "received_bytes": 5, "sent_bytes": 5,
        "user_agent": "tester/1"}}
    parts = sum(line[n] for n in ("pick_us", "connect_us", "wait_us",
                                  "body_us"))
    assert parts <= line["duration_us"]


def test_tls_client_certificate_and_h2(gateway, backend, ca, leaf):
    alice = ca.client("alice")
    g = gateway(secure(backend(), leaf, tls=f'client_auth = "required"; '
                       f'client_ca = "{ca.path}";'))
    tls = ca.client_context(alpn=["h2"], certificate=alice)
    with H2Client.open(g.port("https"), tls=tls) as c:
        assert c.ask("/").status == 200
    line = g.access_log()
    check_line(line)
    assert line["sni"] == "localhost" and line["protocol"] == "h2"
    assert "alice" in line["client_subject"]


def test_fault(gateway, backend):
    g = gateway(simple("127.0.0.1:%d" % free_port()))
    assert ask(g.port(), "/x").status in (502, 503)
    line = g.access_log()
    check_line(line)
    assert line["fault"] != "-" and line["status"] in (502, 503)
    assert line["upstream"] == "u" and line["attempts"] >= 1


def test_no_route(gateway, backend):
    g = gateway(simple(backend()).replace('path_prefix = "/"',
                                          'path_prefix = "/only"'))
    assert ask(g.port(), "/else").status == 404
    line = g.access_log()
    check_line(line)
    assert line["route"] == line["upstream"] == line["endpoint"] == "-"
    assert line["attempts"] == 0 and line["fault"] != "-"


def test_bad_request(gateway, backend):
    g = gateway(simple(backend()))
    with connect(g.port()) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert c.recv_response().status == 400
    line = g.access_log()
    check_line(line)
    assert line["status"] == 400 and line["fault"] != "-"


def test_retry(gateway, backend):
    good = backend(name="good")
    bad = free_port()
    g = gateway(simple(f'127.0.0.1:{bad}"; }}, {{ address = "{good}',
                       upstream="retries_max = 3;", more="workers = 1;"))
    for i in range(2):  # one of them begins at the bad one
        assert ask(g.port(), f"/{i}").status == 200
    line = wait_until(lambda: [x for x in g.access_lines()
                               if x["attempts"] > 1], "a retry")[0]
    check_line(line)
    assert line["attempts"] == 2 and line["endpoint"] == good.address
    assert line["fault"] == "-" and line["status"] == 200


def test_grpc(gateway, demo):
    origin = demo("d")
    g = gateway(simple(origin, upstream='protocol = "h2c";'))
    with Grpc(g.port()) as c:
        assert list(c.stream("/daemun.demo.Echo/Stream", [b"a", b"b"])) == \
            [b"a", b"b"]
    line = g.access_log(protocol="grpc")
    check_line(line)
    assert line["grpc_status"] == 0 and line["status"] == 200
    assert line["path"] == "/daemun.demo.Echo/Stream"
    assert line["received_bytes"] == line["sent_bytes"] == 12


def test_redirect_and_answer(gateway, backend):
    g = gateway(simple(backend()).replace(
        "routes = (", 'routes = ( { path = "/r"; redirect = { to = "/x"; }; },'
        ' { path = "/a"; answer = { status = 203; body = "abc"; }; },'))
    assert ask(g.port(), "/r").status == 308
    assert ask(g.port(), "/a").status == 203
    for path, status, sent in (("/r", 308, None), ("/a", 203, 3)):
        line = g.access_log(path=path)
        check_line(line)
        assert line["status"] == status and line["fault"] == "-"
        assert line["upstream"] == line["endpoint"] == "-"
        assert line["attempts"] == 0
        assert sent is None or line["sent_bytes"] == sent


def log(path, more=""):
    return f'log = {{ access = "{path}"; error = "off"; {more} }};'


def test_format(gateway, backend, tmp_path):
    path = tmp_path / "a.log"
    path.touch()
    path.chmod(0o666)
    g = gateway(simple(backend(), more="\n" + log(
        path, 'access_format = "<${method}> ${path} $x ${status}'
              ' ${user_agent}$";')))
    ask(g.port(), "/p", fields=[("user-agent", 'a"b\\')])
    wait_until(path.read_text, "a line")
    assert path.read_text() == '<GET> /p $x 200 a\\"b\\\\$\n'


INJECTIONS = ['x"}\\', 'x","status":200,"y":"', "\t",
              "\xff\xfe\x80", "caf\xe9", "\\u0000\\n", "%0d%0a{}", "'", "<b>"]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection(gateway, backend, text):
    g = gateway(simple(backend()))
    ask(g.port(), "/first", fields=[("User-Agent", f"a{text}b")])
    ask(g.port(), "/second")
    g.access_log(path="/second")
    raw = g.access_path.read_bytes()
    assert raw.count(b"\n") == 2 and raw.isascii()
    for line in raw.splitlines():
        check_line(json.loads(line))
    first = g.access_log(path="/first")
    assert first["user_agent"] == f"a{text}b" and first["status"] == 200


def test_long_values_leave_the_line_whole(gateway, backend):
    g = gateway(simple(backend()))
    ask(g.port(), "/" + "p" * 7000, host="h" * 200 + ".example",
        fields=[("User-Agent", '"' * 8000)])
    line = wait_until(g.access_lines, "a line")[0]
    check_line(line)
    assert line["path"].startswith("/ppp") and line["status"] == 200


@pytest.fixture
def log_folder():
    """A folder in which the gateway's user may make files."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        yield pathlib.Path(folder)


def test_reopen(gateway, backend, log_folder):
    """What logrotate does: rename, SIGUSR1, and nothing is lost."""
    folder = log_folder
    path = folder / "access.log"
    g = gateway(simple(backend(), more="\n" + log(path)))
    old = folder / "access.log.1"

    def paths(file):
        return [json.loads(line)["path"] for line in
                file.read_text().splitlines()]
    ask(g.port(), "/1")
    wait_until(lambda: paths(path) == ["/1"], "the first line")
    path.rename(old)
    ask(g.port(), "/2")
    wait_until(lambda: paths(old) == ["/1", "/2"], "the second line")
    g.signal(signal.SIGUSR1)
    wait_until(path.exists, "the new file")
    ask(g.port(), "/3")
    wait_until(lambda: paths(path) == ["/3"], "the third line")
    assert paths(old) == ["/1", "/2"]


def test_reopen_of_what_is_gone_is_said(gateway, backend, log_folder):
    path = log_folder / "access.log"
    g = gateway(simple(backend(), more=f"""
log = {{ access = "{path}"; error = "@error@"; }};"""),
                error=log_folder / "error.log")
    g.error_path = log_folder / "error.log"
    path.unlink()
    path.mkdir()
    g.signal(signal.SIGUSR1)
    g.error_log(rf"error .*{path}")
    assert ask(g.port()).status == 200


def burst(g, n):
    with connect(g.port()) as c:
        for i in range(n):
            c.send(request(f"/{i}"))
            assert c.recv_response().status == 200


def test_full_disk(gateway, backend):
    g = gateway(simple(backend(), more="\n" + log("/dev/full")))
    burst(g, 100)
    g.wait_metric("dm_log_dropped_access_total", 100)
    burst(g, 10)
    g.wait_metric("dm_log_dropped_access_total", 110)


def test_pipe_whose_reader_stopped(gateway, backend, tmp_path):
    """The pipe fills up and nobody reads: requests go on, lines are dropped
    and counted; a reader that comes back gets whole lines."""
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o666)
    path.chmod(0o666)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    g = gateway(simple(backend(), more="\n" + log(path)))
    burst(g, 3000)
    g.wait_metric("dm_log_dropped_access_total", lambda n: n > 0)
    burst(g, 50)
    assert g.metric("dm_responses_2xx_total") == 3050
    got = []
    is_over = threading.Event()

    def read():
        while not is_over.is_set():
            try:
                got.append(os.read(reader, 65536))
            except BlockingIOError:
                is_over.wait(0.01)
    thread = threading.Thread(target=read)
    thread.start()
    try:
        wait_until(lambda: [burst(g, 1)] and b'"/0"' in b"".join(got)[-2000:],
                   "new lines arrive")
    finally:
        is_over.set()
        thread.join()
    os.close(reader)
    lines = b"".join(got).split(b"\n")[:-1]
    whole = [x for x in lines if x.startswith(b"{") and x.endswith(b"}")]
    # At most the line at which the pipe was full is cut.
    assert len(lines) - len(whole) <= 2
    for line in whole:
        check_line(json.loads(line))


def test_off(gateway, backend):
    g = gateway(simple(backend(), more="\n" + log("off")))
    burst(g, 10)
    assert g.metric("dm_log_dropped_access_total") == 0


def test_relative_to_the_conf_file(gateway, backend):
    g = gateway(simple(backend(), more="\n" + log("here.log")))
    path = g.conf_path.with_name("here.log")
    ask(g.port(), "/1")
    wait_until(lambda: path.exists() and path.read_text(), "a line")
