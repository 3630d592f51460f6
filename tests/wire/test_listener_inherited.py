"""A listener starts from descriptors that the service manager opened
(LISTEN_FDS), and a client that connected before the start is served."""
import os
import socket

import pytest

from lib.client import ask, request
from lib.gateway import simple
from lib.stream import Stream


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
