"""The file of a UNIX socket: who may connect is `socket_mode` (everybody who
reaches its folder, if not given); a reload changes it; at the stop the file is
removed where the folder lets us; a restart takes the place of a file that
nobody listens on, and of no other."""
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile

import pytest

from lib.client import request
from lib.gateway import BIN
from lib.stream import Stream
from lib.wait import PATIENCE

IS_ROOT = os.geteuid() == 0
USER = pwd.getpwnam("nobody") if IS_ROOT else pwd.getpwuid(os.geteuid())
CONF = """
listeners = ( { name = "path"; address = "unix:@path@"; @mode@ } );
routes = ( { path_prefix = "/"; answer = { status = 200; body = "ok"; }; } );
user = "nobody";
"""
# As somebody else: connect, ask, print the first line.
CLIENT = """
import os, socket, sys
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65533)
    os.setuid(65533)
s = socket.socket(socket.AF_UNIX)
s.settimeout(15)
s.connect(sys.argv[1])
s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(s.recv(100).split(b"\\r")[0].decode())
"""


@pytest.fixture
def folder():
    """A folder that everybody may enter and only its owner may write."""
    path = tempfile.mkdtemp(prefix="daemun-socket-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


def with_mode(mode):
    return CONF.replace("@mode@", f'socket_mode = "{mode}";' if mode else "")


def mode_of(path):
    st = os.lstat(path)
    assert stat.S_ISSOCK(st.st_mode)
    return stat.S_IMODE(st.st_mode)


def asks(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    with Stream(sock, "client") as c:
        c.send(request("/"))
        return c.recv_response().text


def stranger(path):
    return subprocess.run(["python3", "-c", CLIENT, path], check=False,
                          capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode, expected", [
    (None, 0o666), ("0660", 0o660), ("600", 0o600), ("0777", 0o777)])
def test_mode(gateway, folder, mode, expected, umask):
    path = f"{folder}/socket"
    gateway(with_mode(mode), path=path,
            popen={"preexec_fn": lambda: os.umask(umask)})
    assert mode_of(path) == expected
    st = os.stat(path)
    assert (st.st_uid, st.st_gid) == (USER.pw_uid, USER.pw_gid)
    assert asks(path) == "ok"
    got = stranger(path)
    if IS_ROOT and not expected & 0o002:
        assert "PermissionError" in got.stderr
    else:
        assert got.stdout == "HTTP/1.1 200 OK\n", got.stderr


def test_reload_changes_it(gateway, folder):
    path = f"{folder}/socket"
    g = gateway(with_mode("0600"), path=path)
    inode = os.stat(path).st_ino
    g.reload(with_mode("0660"))
    assert mode_of(path) == 0o660
    g.reload(with_mode(None))
    assert mode_of(path) == 0o666
    assert os.stat(path).st_ino == inode
    assert asks(path) == "ok"
    # A reload that fails changes nothing.
    g.reload(with_mode("0600") + '\nmodules = [ "none.so" ];', ok=False)
    assert mode_of(path) == 0o666
    assert "takes a restart" not in g.error_log()


def test_reload_that_cannot_says_so(gateway, folder):
    """The file is gone, so there is none to change."""
    path = f"{folder}/socket"
    g = gateway(with_mode("0600"), path=path)
    os.rename(path, path + ".old")
    with open(path, "w", encoding="ascii"):
        os.chmod(path, 0o640)
    g.reload(with_mode("0660"))
    g.error_log(r"listener path: socket_mode: that takes a restart: unix:")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    g.stop()
    assert os.path.exists(path), "another's file was removed"


def test_removed_at_the_stop_where_that_is_allowed(gateway, folder):
    os.chown(folder, USER.pw_uid, USER.pw_gid)
    g = gateway(with_mode(None), path=f"{folder}/socket")
    assert asks(f"{folder}/socket") == "ok"
    g.stop()
    assert os.listdir(folder) == []


def test_restart_replaces_what_nobody_listens_on(gateway, folder):
    """Root was given up, and the folder is root's: the file stays."""
    path = f"{folder}/socket"
    first = gateway(with_mode(None), path=path)
    first.stop()
    assert os.path.exists(path) == IS_ROOT
    second = gateway(with_mode("0640"), path=path)
    assert mode_of(path) == 0o640
    second.process.kill()
    second.process.wait()
    second.is_checked = True
    assert os.path.exists(path)
    gateway(with_mode(None), path=path)
    assert asks(path) == "ok"


def test_restart_refuses_what_somebody_listens_on(gateway, folder, tmp_path):
    path = f"{folder}/socket"
    g = gateway(with_mode("0600"), path=path)
    conf = tmp_path / "second.conf"
    conf.write_text(with_mode(None).replace("@path@", path) +
                    'admin = { address = "off"; };\n')
    got = subprocess.run([BIN, "-c", str(conf)], capture_output=True,
                         text=True, timeout=PATIENCE, check=False)
    assert got.returncode == 1
    assert (f"{conf}:2: listeners[0]: unix:{path}: another process listens "
            "there (`ss -xlp` names it)") in got.stderr
    assert mode_of(path) == 0o600
    assert asks(path) == "ok"
    g.stop()
