"""Started as root, the gateway becomes another user once its sockets are
open: no thread is root, workers have no capability at all, and a reload still
reads keys that only root may read. Started as anybody else, `user` means
nothing."""
import os
import pathlib
import pwd

import pytest

from lib.client import ask, connect
from lib.gateway import secure, simple
from lib.wait import wait_until

IS_ROOT = os.geteuid() == 0
# CAP_DAC_READ_SEARCH and CAP_NET_BIND_SERVICE.
KEPT = 1 << 2 | 1 << 10


def threads(g):
    """For each thread the fields of its status, by name."""
    found = []
    for task in pathlib.Path(f"/proc/{g.process.pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        found.append(dict(line.split(":\t", 1) for line in lines
                          if ":\t" in line))
    return found


def caps(thread, kind):
    return int(thread[f"Cap{kind}"], 16)


@pytest.mark.parametrize("user", ["nobody", "daemon"])
def test_every_thread(gateway, backend, user):
    g = gateway(simple(backend(), more=f'user = "{user}";\nworkers = 3;'))
    assert ask(g.port()).status == 200
    who = pwd.getpwnam(user) if IS_ROOT else pwd.getpwuid(os.geteuid())
    # A worker gives up what it was born with before it serves anything.
    if IS_ROOT:
        wait_until(lambda: not any(caps(t, "Prm") for t in threads(g)
                                   if t["Pid"] != str(g.process.pid)),
                   "workers give up their capabilities")
    all_threads = threads(g)
    assert len(all_threads) >= 4
    for t in all_threads:
        assert set(t["Uid"].split()) == {str(who.pw_uid)}, t["Name"]
        assert set(t["Gid"].split()) == {str(who.pw_gid)}, t["Name"]
        is_control = t["Pid"] == str(g.process.pid)
        allowed = KEPT if is_control else 0
        if IS_ROOT:
            assert caps(t, "Eff") & ~allowed == 0, t["Name"]
            assert caps(t, "Prm") & ~allowed == 0, t["Name"]
    if IS_ROOT:
        workers = [t for t in all_threads if t["Pid"] != str(g.process.pid)]
        assert {t["CapEff"] for t in workers} == {"0" * 16}
        control = next(t for t in all_threads
                       if t["Pid"] == str(g.process.pid))
        assert control["NoNewPrivs"] == "1"
        assert "0" not in control["Groups"].split()


def test_reload_reads_what_only_root_may_read(gateway, backend, ca, tmp_path,
                                              monkeypatch):
    monkeypatch.setattr(ca, "folder", tmp_path)
    first = ca.leaf(file="site")
    first.key.chmod(0o600)
    assert first.key.stat().st_uid == os.geteuid()
    origin = backend()
    g = gateway(secure(origin, first, more='user = "nobody";'))
    second = ca.leaf(file="site")
    g.conf_path.chmod(0o600)
    g.reload()
    with connect(g.port("https"), tls=ca.client_context()) as c:
        assert c.sock.getpeercert(binary_form=True) == second.der


def test_reload_keeps_writing_the_logs(gateway, backend):
    g = gateway(simple(backend(), more='user = "nobody";'))
    ask(g.port(), "/1")
    g.reload()
    ask(g.port(), "/2")
    g.access_log(path="/2")
    assert "error " not in g.error_log()


def test_reload_opens_a_low_port(gateway, backend):
    """What the kept capability is for; who is not root gets told why not."""
    origin = backend()
    conf = simple(origin, more='user = "nobody";')
    low = conf.replace("} );\nupstreams", "}, { name = \"low\"; address = "
                       "\"127.0.0.9:81\"; } );\nupstreams")
    assert low != conf
    g = gateway(conf)
    start = int(pathlib.Path(
        "/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if IS_ROOT or start <= 81:
        g.reload(low)
        assert ask(81, address="127.0.0.9").status == 200
    else:
        g.reload(low, ok=False)
        g.error_log(r"127\.0\.0\.9:81: ")
