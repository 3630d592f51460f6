"""A certificate that changed on disk is shown from the next handshake on,
after SIGHUP or by itself; open connections live on; a broken one changes
nothing."""
import pytest

from lib.client import connect, request
from lib.gateway import secure
from lib.wait import wait_until

pytestmark = pytest.mark.reload


def shown(g, ca):
    with connect(g.port("https"), tls=ca.client_context()) as c:
        return c.sock.getpeercert(binary_form=True)


@pytest.fixture
def folder(ca, tmp_path, monkeypatch):
    """This test's own files."""
    monkeypatch.setattr(ca, "folder", tmp_path)


def test_by_signal(gateway, backend, ca, folder):
    first = ca.leaf(file="site")
    g = gateway(secure(backend(), first))
    old = connect(g.port("https"), tls=ca.client_context())
    old.send(request("/1"))
    assert old.recv_response().status == 200
    second = ca.leaf(file="site")
    assert shown(g, ca) == first.der
    g.reload()
    assert shown(g, ca) == second.der
    old.send(request("/2"))
    assert old.recv_response().status == 200
    old.close()


@pytest.mark.parametrize("way", ["write", "rename"])
def test_by_itself(gateway, backend, ca, folder, tmp_path, way):
    first = ca.leaf(file="site")
    g = gateway(secure(backend(), first, more="watch_files = true;"))
    assert shown(g, ca) == first.der
    if way == "write":
        second = ca.leaf(file="site")
    else:
        second = ca.leaf(file="fresh")
        second.key.replace(first.key)
        second.chain.replace(first.chain)
    wait_until(lambda: shown(g, ca) == second.der, "the new certificate")


@pytest.mark.parametrize("file, text, message", [
    ("chain", "rubbish\n", "site.pem"), ("key", "rubbish\n", "site.key"),
    ("chain", None, "site.pem"), ("key", None, "site.key")])
def test_broken_one_changes_nothing(gateway, backend, ca, folder, file, text,
                                    message):
    first = ca.leaf(file="site")
    g = gateway(secure(backend(), first))
    path = getattr(first, file)
    good = path.read_bytes()
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    g.reload(ok=False)
    g.error_log(f"error .*{message}")
    assert shown(g, ca) == first.der
    path.write_bytes(good)
    g.reload()


def test_key_of_another_certificate(gateway, backend, ca, folder):
    first = ca.leaf(file="site")
    g = gateway(secure(backend(), first))
    other = ca.leaf(file="other")
    first.key.write_bytes(other.key.read_bytes())
    g.reload(ok=False)
    g.error_log(r"error .*site\.key: the key does not belong")
    assert shown(g, ca) == first.der
