"""A changed file reloads by itself: the conf file, written or replaced; a
certificate; and the link "..data" that Kubernetes swaps under mounted files,
again and again."""
import os

import pytest

from lib.client import ask, connect
from lib.gateway import secure, simple
from lib.wait import wait_until
from test_tls_resumption import key_line

pytestmark = pytest.mark.reload

WATCH = "watch_files = true;"


def answer(body):
    return f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }} );
routes = ( {{ path_prefix = "/"; answer = {{ status = 200;
  body = "{body}"; }}; }} );
{WATCH}
"""


def says(g, body):
    wait_until(lambda: ask(g.port()).text == body, f"the answer {body}")


@pytest.mark.parametrize("way", ["write", "rename"])
def test_conf_file(gateway, way):
    g = gateway(answer("old"))
    says(g, "old")
    for i in range(3):
        text = g.conf_path.read_text().replace(
            "old" if i == 0 else f"new{i - 1}", f"new{i}")
        if way == "write":
            g.conf_path.write_text(text)
        else:
            fresh = g.conf_path.with_name("fresh.conf")
            fresh.write_text(text)
            fresh.replace(g.conf_path)
        says(g, f"new{i}")
    assert g.metric("dm_reloads_failed_total") == 0


def test_touch_is_a_reload_and_other_files_are_none(gateway):
    g = gateway(answer("old"))
    g.conf_path.with_name("unrelated").write_text("x")
    g.conf_path.write_text(g.conf_path.read_text())
    g.wait_metric("dm_reloads_total", 1)
    g.conf_path.with_name("unrelated").write_text("y")
    g.conf_path.write_text(g.conf_path.read_text())
    g.wait_metric("dm_reloads_total", 2)
    g.wait_metric("dm_snapshot_generation", 3)


def test_included_file(gateway):
    conf = answer("old")
    at = conf.index("routes")
    g = gateway(conf)
    part = g.conf_path.with_name("part.conf")
    part.write_text(conf[at:])
    g.conf_path.write_text(g.conf_path.read_text().replace(
        conf[at:], '@include "part.conf"\n'))
    g.wait_metric("dm_snapshot_generation", 2)
    before = g.metric("dm_reloads_total")
    part.write_text(conf[at:].replace("old", "new"))
    says(g, "new")
    assert g.metric("dm_reloads_total") > before
    part.write_text("nonsense = 1;\n" + conf[at:])
    g.error_log(r"error .*part\.conf:1: nonsense: unknown key")


def test_watching_is_switched_on_and_off_by_reload(gateway):
    g = gateway(answer("old").replace(WATCH, "watch_files = false;"))
    g.reload(answer("on"))
    g.conf_path.write_text(g.conf_path.read_text().replace('"on"', '"seen"'))
    says(g, "seen")
    before = g.metric("dm_reloads_total")
    g.reload(answer("off").replace(WATCH, "watch_files = false;"))
    # The rewriting itself was seen as well, or not, by then.
    assert g.metric("dm_reloads_total") - before in (1, 2)
    says(g, "off")


def shown(g, ca):
    with connect(g.port("https"), tls=ca.client_context()) as c:
        return c.sock.getpeercert(binary_form=True)


def test_certificate_file(gateway, backend, ca, tmp_path, monkeypatch):
    monkeypatch.setattr(ca, "folder", tmp_path)
    first = ca.leaf(file="site")
    g = gateway(secure(backend(), first, more=WATCH))
    assert shown(g, ca) == first.der
    for _ in range(3):
        fresh = ca.leaf(file="fresh")
        fresh.key.replace(first.key)
        fresh.chain.replace(first.chain)
        wait_until(lambda new=fresh: shown(g, ca) == new.der,
                   "the new certificate")


def swap(folder, name):
    """The way Kubernetes does it: a new link takes the place of ..data, then
    the folder that it named goes away."""
    old = os.readlink(folder / "..data") if \
        (folder / "..data").is_symlink() else None
    (folder / "..data_tmp").symlink_to(name)
    (folder / "..data_tmp").replace(folder / "..data")
    if old is not None:
        for path in (folder / old).iterdir():
            path.unlink()
        (folder / old).rmdir()


def test_conf_in_a_mounted_volume(gateway):
    """daemun.conf -> ..data/daemun.conf, ..data -> ..1"""
    g = gateway(answer("v0").replace(WATCH, "watch_files = false;"))
    folder = g.conf_path.parent / "volume"
    folder.mkdir()
    text = g.conf_path.read_text().replace("watch_files = false;", WATCH)

    def put(i):
        (folder / f"..{i}").mkdir()
        (folder / f"..{i}" / "daemun.conf").write_text(
            text.replace('"v0"', f'"v{i}"'))
        swap(folder, f"..{i}")
    put(1)
    (folder / "daemun.conf").symlink_to("..data/daemun.conf")
    g.stop()
    g.conf_path = folder / "daemun.conf"
    g.is_checked = False
    g._spawn()
    assert g._wait_ready()
    says(g, "v1")
    for i in range(2, 5):
        put(i)
        says(g, f"v{i}")
    assert g.metric("dm_reload_last_ok") == 1


def test_certificates_in_a_mounted_volume(gateway, backend, ca, tmp_path,
                                          monkeypatch):
    folder = tmp_path / "secret"
    folder.mkdir()

    def put(i):
        (folder / f"..{i}").mkdir()
        monkeypatch.setattr(ca, "folder", folder / f"..{i}")
        leaf = ca.leaf(file="tls")
        swap(folder, f"..{i}")
        return leaf
    first = put(1)
    for name in ("tls.pem", "tls.key"):
        (folder / name).symlink_to(f"..data/{name}")
    first.chain, first.key = folder / "tls.pem", folder / "tls.key"
    g = gateway(secure(backend(), first, more=WATCH))
    assert shown(g, ca) == first.der
    for i in range(2, 5):
        leaf = put(i)
        wait_until(lambda new=leaf: shown(g, ca) == new.der,
                   f"certificate {i}")


def test_wrong_file_then_good_one(gateway, backend):
    origin = backend()
    g = gateway(simple(origin, more=WATCH))
    good = g.conf_path.read_text()
    g.conf_path.write_text(good + "\nnonsense = 1;\n")
    g.wait_metric("dm_reloads_failed_total", 1)
    assert ask(g.port()).status == 200
    g.conf_path.write_text(good)
    g.wait_metric("dm_reload_last_ok", 1)
    g.wait_metric("dm_snapshot_generation", 2)


def refused(g, add, front=""):
    """Rewrites the conf file with something more in it, which is refused."""
    before = g.metric("dm_reloads_failed_total")
    g.conf_path.write_text(front + g.conf_path.read_text() + add)
    g.wait_metric("dm_reloads_failed_total", lambda n: n > before)


@pytest.mark.parametrize("first", [None, "nonsense = 1;", "listeners = ("])
def test_include_of_a_refused_file_is_mended(gateway, first):
    """Missing, wrong, or not even syntax: the include is mended, the conf
    file itself is not touched."""
    g = gateway(answer("old"))
    part = g.conf_path.parent / "parts" / "part.conf"
    part.parent.mkdir()
    if first is not None:
        part.write_text(first)
    refused(g, '@include "parts/part.conf"\n')
    assert g.metric("dm_snapshot_generation") == 1
    part.write_text("limits = { streams_max = 7; };\n")
    g.wait_metric("dm_snapshot_generation", 2)
    assert g.metric("dm_reload_last_ok") == 1
    assert "streams_max = 7;" in g.admin_get("/config")[1]


def test_certificate_of_a_refused_file_is_mended(gateway, backend, ca,
                                                 tmp_path, monkeypatch):
    g = gateway(answer("old"))
    folder = tmp_path / "certs"
    folder.mkdir()
    monkeypatch.setattr(ca, "folder", folder)
    leaf = ca.leaf(file="site")
    key = leaf.key.read_bytes()
    leaf.key.write_text("rubbish")
    text = g.conf_path.read_text().replace(
        '"; } );\nroutes', f'"; tls = {{ certificates = ( {leaf.conf} ); }}; '
        '} );\nroutes')
    assert leaf.conf in text
    g.conf_path.write_text(text)
    g.wait_metric("dm_reloads_failed_total", 1)
    leaf.key.write_bytes(key)
    g.wait_metric("dm_snapshot_generation", 2)
    got = ask(g.port(), tls=ca.client_context())
    assert got.text == "old"


def test_ticket_keys_of_a_refused_file_are_mended(gateway, tmp_path):
    g = gateway(answer("old"))
    keys = tmp_path / "secret" / "keys"
    keys.parent.mkdir()
    refused(g, f'tls = {{ ticket_key_file = "{keys}"; }};\n')
    keys.write_text(key_line())
    g.wait_metric("dm_snapshot_generation", 2)


def test_live_files_stay_watched_after_a_refusal(gateway, backend, ca,
                                                 tmp_path, monkeypatch):
    """The refused file does not name the certificate that is served."""
    monkeypatch.setattr(ca, "folder", tmp_path)
    leaf = ca.leaf(file="site")
    g = gateway(secure(backend(), leaf, more=WATCH))
    good = g.conf_path.read_text()
    g.conf_path.write_text("nonsense = 1;\n")
    g.wait_metric("dm_reloads_failed_total", 1)
    leaf.chain.write_bytes(leaf.chain.read_bytes())
    g.wait_metric("dm_reloads_failed_total", 2)
    g.conf_path.write_text(good)
    g.wait_metric("dm_snapshot_generation", 2)
