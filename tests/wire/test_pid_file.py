"""The pid file holds the process number while the gateway runs. Afterwards it
is gone, or empty where it cannot be removed: as another user than root, in a
folder of root's. A number that stays would be another process's one day."""
import os
import shutil

import pytest

from lib.gateway import simple
from test_wrong_input import daemun

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "run"
    made.mkdir()
    return made


def running(gateway, backend, path):
    g = gateway(simple(backend(), more=f'user = "nobody";\n'
                                       f'pid_file = "{path}";'))
    assert path.read_text() == f"{g.process.pid}\n"
    return g


def test_folder_of_the_user(gateway, backend, folder):
    if IS_ROOT:
        shutil.chown(folder, "nobody")
    g = running(gateway, backend, folder / "x.pid")
    g.stop()
    assert not (folder / "x.pid").exists()


def test_folder_of_the_one_who_started_it(gateway, backend, folder):
    path = folder / "x.pid"
    g = running(gateway, backend, path)
    g.stop()
    if IS_ROOT:
        assert path.read_bytes() == b""
        # The next start takes it.
        running(gateway, backend, path).stop()
    else:
        assert not path.exists()


def test_longer_number_of_before(gateway, backend, folder):
    (folder / "x.pid").write_text("1234567890123\n")
    running(gateway, backend, folder / "x.pid").stop()


@pytest.mark.parametrize("owner", ["user", "starter"])
def test_file_of_another_gateway(gateway, backend, folder, owner):
    """One that was put there since is not ours to remove."""
    if IS_ROOT and owner == "user":
        shutil.chown(folder, "nobody")
    path = folder / "x.pid"
    g = running(gateway, backend, path)
    path.rename(folder / "old.pid")
    path.write_text("1\n")
    g.stop()
    assert path.read_text() == "1\n"


def test_a_start_that_fails(gateway, backend, folder):
    """Whose admin address is taken."""
    path = folder / "x.pid"
    taken = gateway(simple(backend())).port("admin")
    conf = folder / "d.conf"
    conf.write_text(f'''listeners = ( {{ name = "l"; address =
  "unix:{folder}/socket"; }} );
pid_file = "{path}"; admin = {{ address = "127.0.0.1:{taken}"; }};''')
    got = daemun("-c", conf)
    assert got.returncode == 1
    assert f"{conf}:3: admin.address: 127.0.0.1:{taken}: another process " \
        in got.stderr
    assert not path.exists()
