"""A conf file that is wrong changes nothing: each problem is logged with its
place and its mending, and the next good file is taken. Listeners come, go and
change by reload, and so do endpoints."""
import os
import shutil
import socket

import pytest

from lib.client import ask, connect, request
from lib.gateway import secure, simple
from lib.server import reply
from lib.wait import wait_until
from test_tls_resumption import key_line, visit

pytestmark = pytest.mark.reload


def state(g):
    """What a failed reload must not change."""
    m = g.metrics()
    return (g.admin_get("/config"), m["dm_snapshot_generation"],
            m["dm_snapshots"], m["dm_reload_timestamp_seconds"])


def test_wrong_file(gateway, backend):
    origin = backend()
    g = gateway(simple(origin))
    with connect(g.port()) as old:
        old.send(request("/1"))
        assert old.recv_response().status == 200
        fds = g.metric("process_open_fds")
        before = state(g)
        g.reload("""
listeners = ( { name = "http"; address = "127.0.0.1:@http@"; },
              { name = "new"; address = "127.0.0.1:@new@"; } );
upstreams = { web = { endpoints = ( { address = "127.0.0.1:9"; wieght = 1; } );
              retries_max = 11; }; };
routes = ( { path_prefix = "/"; upstream = "webb"; } );
""", ok=False)
        for line, text in [
                (4, r'upstreams\.web\.endpoints\[0\]\.wieght: unknown key; '
                    r'did you mean "weight"\?'),
                (5, r"upstreams\.web\.retries_max: .*\b10\b"),
                (6, r'routes\[0\]\.upstream: there is no upstream "webb"; '
                    r'did you mean "web"\?')]:
            g.error_log(rf"error .*daemun\.conf:{line}: {text}")
        g.error_log("reload: 3 problems; generation 1 goes on serving")
        assert g.metric("dm_reloads_failed_total") == 1
        assert state(g) == before
        assert g.metric("process_open_fds") == fds
        old.send(request("/2"))
        assert old.recv_response().status == 200
        assert ask(g.port(), "/3").status == 200
    g.reload(simple(origin, route='name = "good";'))
    assert ask(g.port()).status == 200
    assert g.metric("dm_snapshot_generation") == 2
    assert g.metric("dm_reloads_failed_total") == 1


@pytest.mark.parametrize("way", ["folder", "dangling", "gone", "unreadable",
                                 "empty", "binary"])
def test_unreadable_file(gateway, backend, way):
    origin = backend()
    g = gateway(simple(origin))
    before = state(g)
    good = g.conf_path.read_bytes()
    g.conf_path.unlink()
    words = {"folder": "is a folder", "empty": "listeners",
             "dangling": "cannot be opened: No such file",
             "gone": "cannot be opened: No such file",
             "binary": r"daemun\.conf:1: has a NUL byte",
             "unreadable": "cannot be opened: Permission denied"}[way]
    if way == "folder":
        g.conf_path.mkdir()
    elif way == "dangling":
        g.conf_path.symlink_to("nowhere")
    elif way == "empty":
        g.conf_path.touch()
    elif way == "binary":
        g.conf_path.write_bytes(bytes(range(256)))
    elif way == "unreadable" and os.geteuid() == 0:
        # The gateway keeps the right to read what only root can, so nothing
        # but a link to itself is out of its reach.
        g.conf_path.symlink_to(g.conf_path.name)
        words = "cannot be opened: Too many levels"
    elif way == "unreadable":
        g.conf_path.write_bytes(good)
        g.conf_path.chmod(0)
    g.reload(ok=False)
    g.error_log(rf"error .*{words}")
    assert state(g) == before
    assert ask(g.port()).status == 200
    if g.conf_path.is_dir():
        g.conf_path.rmdir()
    g.conf_path.unlink(missing_ok=True)
    g.conf_path.write_bytes(good)
    g.reload()


def listeners(*names):
    each = ", ".join(f'{{ name = "{n}"; address = "127.0.0.1:@{n}@"; }}'
                     for n in names)
    return f"""listeners = ( {each} );
routes = ( {{ path_prefix = "/"; answer = {{ status = 200;
  body = "hello"; }}; }} );
"""


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_listener_added_and_removed(gateway):
    g = gateway(listeners("a", "b"))
    with connect(g.port("a")) as kept, connect(g.port("b")) as old:
        for c in (kept, old):
            c.send(request())
            assert c.recv_response().text == "hello"
        g.reload(listeners("b", "c"), settle=False)
        assert ask(g.port("c")).text == "hello"
        assert ask(g.port("b")).text == "hello"
        wait_until(lambda: refuses(g.port("a")), "a is closed")
        # Who came by it is served for as long as they like.
        for c in (kept, old, kept):
            c.send(request())
            assert c.recv_response().text == "hello"
    g.wait_metric("dm_snapshots", 1)
    g.reload(listeners("a", "c"))
    assert ask(g.port("a")).text == "hello"


def test_listener_changed(gateway, ca, leaf):
    """The same address with TLS now: new connections speak it, the old one
    goes on as it was."""
    plain = listeners("a")
    tls = plain.replace('@a@";', f'@a@"; tls = {{ certificates = ( '
                                 f'{leaf.conf} ); }};')
    g = gateway(plain)
    with connect(g.port("a")) as old:
        old.send(request())
        assert old.recv_response().text == "hello"
        g.reload(tls, settle=False)
        got = ask(g.port("a"), tls=ca.client_context())
        assert got.text == "hello"
        old.send(request())
        assert old.recv_response().text == "hello"


def test_listener_whose_port_is_taken(gateway):
    g = gateway(listeners("a"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        before = state(g)
        port = taken.getsockname()[1]
        g.reload(listeners("a", "b").replace("@b@", str(port)), ok=False)
        g.error_log(rf"error .*daemun\.conf:1: listeners\[1\]\S*: "
                    rf".*127\.0\.0\.1:{port}.*(in use|another process)")
        assert state(g) == before
        assert ask(g.port("a")).text == "hello"
    g.reload(listeners("a", "b"))


def test_endpoints_changed(gateway, backend):
    one, two = (backend(lambda r, n=n: reply(200, n)) for n in "12")
    g = gateway(simple(one))
    assert ask(g.port()).text == "1"
    g.reload(simple(two))
    assert {ask(g.port()).text for _ in range(4)} == {"2"}
    both = f'{one}"; }}, {{ address = "{two}'
    g.reload(simple(both))
    assert {ask(g.port()).text for _ in range(8)} == {"1", "2"}
    g.reload(simple(both).replace(f'{one}";', f'{one}"; weight = 0;'))
    assert {ask(g.port()).text for _ in range(4)} == {"2"}


def test_running_request_ends_at_an_endpoint_that_is_gone(gateway, server,
                                                          backend):
    def script(conn):
        conn.recv_request()
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nold ")
        conn.recv_until(b"never")
    old = server(script)
    new = backend(lambda r: reply(200, "new"))
    g = gateway(simple(old))
    with connect(g.port()) as c:
        c.send(request("/old"))
        head = c.recv_response_head()
        assert head.status == 200 and c.recv_exact(4) == b"old "
        g.reload(simple(new), settle=False)
        assert ask(g.port()).text == "new"
        assert g.metric("dm_snapshots") == 2
        old.conns[0].send(b"gone")
        assert c.recv_exact(4) == b"gone"
    g.wait_metric("dm_snapshots", 1)


def test_what_takes_a_restart_is_said(gateway):
    g = gateway(listeners("a") + "workers = 2;")
    g.reload(listeners("a") + "workers = 3;")
    g.error_log("warn .*workers was changed: that takes a restart")
    assert g.metric("dm_workers") == 2


# What is opened beside the snapshot: (the good one, a bad one, its problem).
BESIDE = {
    "ticket keys": ("new.keys", "no.keys", r"tls\.ticket_key_file: "
                    r"\S+/no\.keys: cannot be read: No such file"),
    "ticket keys that are none": (
        "new.keys", "rubbish", r"tls\.ticket_key_file: \S+/rubbish: ticket "
        "keys must be "),
    "error log": ("logs/new-error.log", "no/e.log", r"log\.error: "
                  r"\S+/no/e\.log: cannot be opened for writing: No such"),
    "access log": ("logs/new-access.log", "logs", r"log\.access: \S+/logs: "
                   "cannot be opened for writing: Is a directory"),
    "user": ("nobody", "nosuchuser", 'user: there is no user "nosuchuser"'),
    "certificate": ("@chain@", "no.pem", r"listeners\[0\]\.tls: "
                    r"\S+/no\.pem: cannot be read: "),
}


@pytest.mark.parametrize("bad", BESIDE)
def test_nothing_is_half_applied(gateway, backend, leaf, tmp_path, bad):
    """One of many changes is bad: none is made."""
    conf = secure(backend(), leaf).replace(str(leaf.chain), "@chain@")
    beside = """
tls = { ticket_key_file = "%s"; };
user = "nobody";
log = { error = "%s"; access = "%s"; level = "debug"; };
"""
    folder = tmp_path / "gateway-conf"
    g = gateway(conf + beside % ("@keys@", "@error@", "@access@"),
                name="gateway-conf", chain=leaf.chain, keys=old_keys(tmp_path),
                error=folder / "error.log", access=folder / "access.log")
    logs = folder / "logs"
    logs.mkdir()
    if os.geteuid() == 0:
        shutil.chown(logs, "nobody")
    (folder / "new.keys").write_text(key_line())
    (folder / "rubbish").write_text("rubbish\n")
    session = tmp_path / "session"
    assert not visit(g, "-tls1_2", session, is_first=True)
    before = state(g)
    after = conf + beside % ("new.keys", "logs/new-error.log",
                             "logs/new-access.log")
    good, wrong, problem = BESIDE[bad]
    assert after.count(f'"{good}"') == 1
    g.reload(after.replace(f'"{good}"', f'"{wrong}"'), ok=False)
    g.error_log(rf" error .*daemun\.conf:\d+: {problem}")
    g.error_log("reload: 1 problem; generation 1 goes on serving")
    assert state(g) == before
    assert g.metric("dm_reloads_failed_total") == 1
    assert not any(logs.iterdir())
    # The old keys open the old session, the old file gets the line.
    assert visit(g, "-tls1_2", session)
    g.access_log(n=2)
    g.reload(after)
    assert not visit(g, "-tls1_2", session)
    g.access_path = logs / "new-access.log"
    g.access_log()
    g.error_path = logs / "new-error.log"
    assert "generation 2" not in (folder / "access.log").read_text()


def old_keys(tmp_path):
    path = tmp_path / "old.keys"
    path.write_text(key_line())
    return path
