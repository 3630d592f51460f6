"""A listener starts from descriptors that the service manager opened
(LISTEN_FDS), a client that connected before the start is served, and the
sockets outlive the gateway."""
import os
import signal
import socket
import stat
import subprocess

import pytest

from lib.client import ask, request
from lib.gateway import BAD_WORDS, BIN, simple
from lib.ports import Port
from lib.stream import Stream
from lib.wait import PATIENCE


def inherit(*sockets):
    """What Popen needs to hand these over as descriptors 3, 4, ... of a
    process whose LISTEN_PID is its own."""
    def place():
        kept = [os.dup(s.fileno()) for s in sockets]
        high = [os.dup2(fd, 100 + i) for i, fd in enumerate(kept)]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)
        os.environ["LISTEN_FDS"] = str(len(sockets))
    return {"preexec_fn": place, "close_fds": False}


# Sets LISTEN_PID to the process that exec turns into the gateway.
SHIM = "#!/bin/sh\nexport LISTEN_PID=$$\nexec \"$DAEMUN_REAL\" \"$@\"\n"


@pytest.fixture
def shim(tmp_path, monkeypatch):
    from lib import gateway as library
    path = tmp_path / "shim"
    path.write_text(SHIM)
    path.chmod(0o755)
    real = os.path.abspath(library.BIN)
    monkeypatch.setattr(library, "BIN", str(path))
    return {"DAEMUN_REAL": real}


def listening(address="127.0.0.1"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family)
    s.bind((address, 0))
    s.listen(16)
    return s


def test_serves_on_it(gateway, backend, shim):
    with listening() as first, listening("::1") as second:
        ports = [s.getsockname()[1] for s in (first, second)]
        early = Stream(socket.create_connection(("127.0.0.1", ports[0])),
                       "early client")
        early.send(request("/early"))
        conf = simple(backend(), more="").replace(
            '"127.0.0.1:@http@"', f'"127.0.0.1:{ports[0]}"').replace(
            "listeners = (", 'listeners = ( { name = "six"; '
            f'address = "[::1]:{ports[1]}"; }},')
        g = gateway(conf, env=dict(shim, LISTEN_FDS="2"),
                    popen=inherit(first, second))
    assert early.recv_response().json()["path"] == "/early"
    for _ in range(8):  # every worker shares the one socket
        assert ask(ports[0], "/late").status == 200
    assert ask(ports[1], address="::1").status == 200
    early.close()
    g.access_log(listener="six", status=200)


def test_not_ours_is_ignored(gateway, backend):
    """LISTEN_PID of another process: the descriptors are not touched."""
    g = gateway(simple(backend()), env={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert ask(g.port()).status == 200


ANSWER = """
listeners = ( { name = "http"; address = "%s"; },
              { name = "path"; address = "unix:%s"; } );
routes = ( { path_prefix = "/"; answer = { status = 200; body = "served"; }; } );
"""


def curl(*args):
    return subprocess.run(["curl", "-s", "--max-time", str(PATIENCE), *args],
                          capture_output=True, text=True,
                          check=False).stdout


def test_systemd_starts_it(tmp_path):
    """systemd-socket-activate listens, and becomes the gateway when the first
    client comes; that client is served too."""
    port = Port()
    path = tmp_path / "socket"
    conf = tmp_path / "daemun.conf"
    address = f"127.0.0.1:{port.number}"
    conf.write_text(ANSWER % (address, path) +
                    'admin = { address = "off"; };\n')
    port.give()
    with open(tmp_path / "stderr", "wb") as log, subprocess.Popen(
            ["systemd-socket-activate", "-l", address, "-l", str(path), BIN,
             "-c", str(conf)], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log) as process:
        try:
            # curl tries again while the service manager does not listen yet.
            assert curl("--retry", "10", "--retry-connrefused",
                        f"http://{address}/") == "served"
            for _ in range(4):
                assert curl(f"http://{address}/") == "served"
                assert curl("--unix-socket", str(path),
                            "http://x/") == "served"
            inode = path.stat().st_ino
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            port.release()
    said = (tmp_path / "stderr").read_text()
    assert process.returncode == 0, said
    assert not any(word in said for word in BAD_WORDS), said
    # The file is the service manager's, who may hand it over again.
    assert path.stat().st_ino == inode and stat.S_ISSOCK(path.stat().st_mode)


def test_the_sockets_outlive_it(gateway, shim, tmp_path):
    """Between two gateways nobody is refused: clients wait for the next."""
    path = str(tmp_path / "socket")
    with listening() as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen(16)
        mode = os.stat(path).st_mode
        port = tcp.getsockname()[1]
        conf = ANSWER % (f"127.0.0.1:{port}", path)

        def start():
            return gateway(conf, env=dict(shim, LISTEN_FDS="2"),
                           popen=inherit(tcp, unix))

        def served(client):
            with client:
                return client.recv_response().text == "served"
        start().stop(signal.SIGTERM)
        assert os.stat(path).st_mode == mode
        waiting = [Stream(socket.create_connection(("127.0.0.1", port)),
                          "tcp client"),
                   Stream(socket.socket(socket.AF_UNIX), "unix client")]
        waiting[1].sock.connect(path)
        for client in waiting:
            client.send(request("/"))
        start()
        assert all([served(client) for client in waiting])


def test_another_address_does_not_match(shim, tmp_path):
    """The message names what was handed over."""
    with socket.socket() as wide:
        wide.bind(("0.0.0.0", 0))
        wide.listen(16)
        port = wide.getsockname()[1]
        conf = tmp_path / "daemun.conf"
        conf.write_text(ANSWER % (f"127.0.0.1:{port}", tmp_path / "s"))
        got = subprocess.run(
            [str(tmp_path / "shim"), "-c", str(conf)], capture_output=True,
            text=True, check=False, timeout=PATIENCE,
            env=dict(os.environ, **shim, LISTEN_FDS="1"), **inherit(wide))
    assert got.returncode == 1
    assert (f"127.0.0.1:{port}: another process listens on port {port} (`ss "
            f"-ltnp sport = :{port}` names it); the inherited socket "
            f"0.0.0.0:{port} is taken by a listener with exactly that "
            "address") in got.stderr
