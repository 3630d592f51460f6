"""Sessions are resumed by tickets: on another worker, after a reload, and by
another gateway that has the same ticket key file; not after the key is gone."""
import base64
import os

import pytest

from lib.client import s_client
from lib.gateway import secure

VERSIONS = ["-tls1_2", "-tls1_3"]
REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def visit(g, version, session, is_first=False):
    """Whether this connection resumed the session that the file holds."""
    status, text = s_client(
        g.port("https"), version, "-servername", "localhost", "-ign_eof",
        "-sess_out" if is_first else "-sess_in", str(session), send=REQUEST)
    assert status == 0 and "HTTP/1.1 200" in text, text
    return "\nReused, " in text


def key_line():
    return base64.b64encode(os.urandom(80)).decode() + "\n"


def shared(path):
    return f'tls = {{ ticket_key_file = "{path}"; }};'


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed_on_any_worker(gateway, backend, leaf, tmp_path, version):
    g = gateway(secure(backend(), leaf))
    session = tmp_path / "session"
    assert not visit(g, version, session, is_first=True)
    for _ in range(6):
        assert visit(g, version, session)
    g.wait_metric("dm_tls_resumed_total", 6)


@pytest.mark.reload
@pytest.mark.parametrize("version", VERSIONS)
def test_resumed_after_a_reload(gateway, backend, leaf, tmp_path, version):
    conf = secure(backend(), leaf)
    g = gateway(conf)
    session = tmp_path / "session"
    visit(g, version, session, is_first=True)
    g.reload(conf + "# changed\n")
    assert visit(g, version, session)


@pytest.mark.parametrize("version", VERSIONS)
def test_replicas_share_a_key_file(gateway, backend, leaf, tmp_path, version):
    keys = tmp_path / "keys"
    keys.write_text(key_line())
    b = backend()
    conf = secure(b, leaf, more=shared(keys))
    one, two = gateway(conf), gateway(conf)
    session = tmp_path / "session"
    visit(one, version, session, is_first=True)
    assert visit(two, version, session)
    alone = gateway(secure(b, leaf))
    assert not visit(alone, version, session)


@pytest.mark.reload
def test_key_file_rotation(gateway, backend, leaf, tmp_path):
    """A second key keeps old tickets good; without it they are not."""
    old, new = key_line(), key_line()
    keys = tmp_path / "keys"
    keys.write_text(old)
    g = gateway(secure(backend(), leaf, more=shared(keys)))
    session = tmp_path / "session"
    visit(g, "-tls1_2", session, is_first=True)
    keys.write_text(new + old)
    g.reload()
    assert visit(g, "-tls1_2", session)
    keys.write_text(new)
    g.reload()
    assert not visit(g, "-tls1_2", session)
