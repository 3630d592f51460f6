"""Log files change hands: at SIGUSR1, and by a reload that names others.
Started as root, the gateway is another user by then, who may write files but
perhaps not make them: what logrotate makes for that user is taken; without it
the open file goes on being written, and the error log says what to do. Started
as anybody else, it makes its files itself."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from lib.client import ask
from lib.gateway import simple
from lib.wait import wait_until

IS_ROOT = os.geteuid() == 0


@pytest.fixture(params=[0o755, 0o700], ids=["755", "700"])
def folder(request):
    """A folder of the one who starts the gateway."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, request.param)
        yield pathlib.Path(name)


def logging(gateway, backend, folder, access="access.log"):
    error = folder / "error.log"
    g = gateway(simple(backend(), more=f'''user = "nobody";
log = {{ access = "{folder / access}"; error = "{error}"; }};'''))
    g.error_path = error
    return g


def make_for_user(path):
    path.touch(0o640)
    if IS_ROOT:
        shutil.chown(path, "nobody")


def paths(file):
    return [json.loads(line)["path"] for line in
            file.read_text().splitlines()] if file.exists() else []


def see(g, path, file):
    """A request, and its line in the file."""
    ask(g.port(), path)
    wait_until(lambda: path in paths(file), f"{path} in {file}")


def test_the_start_warns(gateway, backend, folder):
    g = logging(gateway, backend, folder)
    g.error_log("generation 1 is live")
    warned = [line for line in g.error_log().splitlines() if " warn " in line]
    if IS_ROOT:
        assert len(warned) == 1, warned
        assert (f"{g.conf_path}:7: log.error: the user nobody cannot make "
                f"files in {folder}, so that after a rotation (SIGUSR1) "
                f"{folder}/error.log cannot be opened again; run `chown "
                f"nobody {folder}`, or let logrotate make the file (create "
                "0640 nobody)") in warned[0]
    else:
        assert warned == []


def test_no_warning_where_the_user_can_make_files(gateway, backend, folder):
    if IS_ROOT:
        shutil.chown(folder, "nobody")
    g = logging(gateway, backend, folder)
    g.error_log("generation 1 is live")
    assert " warn " not in g.error_log()


def test_files_made_by_logrotate(gateway, backend, folder):
    g = logging(gateway, backend, folder)
    new, old = folder / "access.log", folder / "access.log.1"
    see(g, "/1", new)
    new.rename(old)
    make_for_user(new)
    see(g, "/2", old)
    g.signal(signal.SIGUSR1)

    def lands():
        ask(g.port(), "/3")
        return "/3" in paths(new)
    wait_until(lands, "lines in the new file")
    assert paths(old)[:2] == ["/1", "/2"]
    assert " error " not in g.error_log()


def test_no_file_made_for_the_user(gateway, backend, folder):
    g = logging(gateway, backend, folder)
    new, old = folder / "access.log", folder / "access.log.1"
    see(g, "/1", new)
    new.rename(old)
    g.signal(signal.SIGUSR1)
    if not IS_ROOT:
        wait_until(new.exists, "the new file")
        see(g, "/2", new)
        return
    g.error_log(rf" error .*daemun\.conf:7: log\.access: {new}: cannot be "
                r"opened for writing: Permission denied; create it for the "
                rf"user first: install -o nobody -m 640 /dev/null {new}$")
    g.error_log(" error .*the log file that was open goes on being written; "
                "send SIGUSR1 again$")
    see(g, "/2", old)
    assert not new.exists()
    subprocess.run(["install", "-o", "nobody", "-m", "640", "/dev/null",
                    str(new)], check=True)
    g.signal(signal.SIGUSR1)

    def lands():
        ask(g.port(), "/3")
        return "/3" in paths(new)
    wait_until(lands, "lines in the new file")


@pytest.mark.reload
def test_reload_to_a_new_file(gateway, backend, folder):
    g = logging(gateway, backend, folder)
    old, new = folder / "access.log", folder / "other.log"
    see(g, "/1", old)
    conf = g.conf_path.read_text().replace("access.log", "other.log")
    if IS_ROOT:
        g.reload(conf, ok=False)
        g.error_log(rf" error .*daemun\.conf:7: log\.access: {new}: cannot be "
                    r"opened for writing: Permission denied; create it for "
                    r"the user first: install -o nobody -m 640 /dev/null "
                    rf"{new}$")
        see(g, "/2", old)
        make_for_user(new)
    g.reload(conf)
    see(g, "/3", new)
    assert "/3" not in paths(old)


@pytest.mark.reload
def test_a_reload_leaves_the_same_files_open(gateway, backend, folder):
    """Another file's turn comes with SIGUSR1, even if this one has gone."""
    g = logging(gateway, backend, folder)
    new, old = folder / "access.log", folder / "access.log.1"
    see(g, "/1", new)
    new.rename(old)
    g.reload()
    see(g, "/2", old)
    assert not new.exists()
