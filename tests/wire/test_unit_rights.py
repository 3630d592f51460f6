"""The systemd unit's user and capabilities suffice: with exactly these, and no
other right of root, the gateway binds port 443, reads a key that only root may
read, and reads the next one at a reload; its workers have no capability.

The service manager is stood in for by setpriv, in a network namespace of its
own where ports below 1024 are privileged and free."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from lib.gateway import BAD_WORDS, BIN, ROOT
from lib.wait import PATIENCE, wait_until

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
NOBODY = "65534"
CONF = """
listeners = ( { name = "https"; address = "127.0.0.1:443";
                tls = { certificates = ( { chain = "site.pem";
                                           key = "site.key"; } ); }; } );
routes = ( { path_prefix = "/"; answer = { status = 200; body = "served"; }; } );
workers = 2;
watch_files = false;
"""


def unit(key):
    """The values of a key of the unit, in one list."""
    text = pathlib.Path(ROOT, "conf/daemun.service").read_text()
    lines = re.findall(rf"^{key}=(.*)$", text, re.M)
    assert lines, key
    return " ".join(lines).split()


def caps(key):
    return ",".join(["-all"] + ["+" + name.removeprefix("CAP_").lower()
                                for name in unit(key)])


class Service:
    """The gateway as the unit starts it."""

    def __init__(self, folder, bounding):
        self.folder = folder
        self.log = open(folder / "stderr", "w+b")
        self.process = subprocess.Popen(
            [*AS_ROOT, "unshare", "--net", "sh", "-c",
             'ip link set lo up && exec "$@"', "sh",
             "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
             "--clear-groups", f"--bounding-set={bounding}",
             f"--inh-caps={caps('AmbientCapabilities')}",
             f"--ambient-caps={caps('AmbientCapabilities')}",
             "--no-new-privs", BIN, "-c", str(folder / "daemun.conf")],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))

    def said(self):
        return (self.folder / "stderr").read_text(errors="replace")

    def inside(self, *command):
        """Runs a program in the same network."""
        return subprocess.run(
            [*AS_ROOT, "nsenter", f"--net=/proc/{self.pid()}/ns/net", *command],
            capture_output=True, text=True, check=False, timeout=PATIENCE)

    def pid(self):
        """That of the gateway: sudo stays in front of what it starts."""
        if not AS_ROOT:
            return self.process.pid
        children = pathlib.Path(f"/proc/{self.process.pid}/task/"
                                f"{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def is_live(self):
        assert self.process.poll() is None, self.said()
        return "is live" in self.said()

    def serial(self):
        """The serial number of the certificate that is served."""
        got = self.inside("openssl", "s_client", "-connect", "127.0.0.1:443")
        made = subprocess.run(
            ["openssl", "x509", "-noout", "-serial"], input=got.stdout,
            capture_output=True, text=True, check=True).stdout
        return int(made.strip().removeprefix("serial="), 16)

    def signal(self, number):
        subprocess.run([*AS_ROOT, "kill", f"-{number.name}",
                        str(self.pid())], check=True)

    def threads(self):
        """For each thread the fields of its status."""
        tasks = pathlib.Path(f"/proc/{self.pid()}/task").iterdir()
        return [dict(line.split(":\t", 1) for line in
                     (task / "status").read_text().splitlines()
                     if ":\t" in line) for task in tasks]

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            self.process.wait(timeout=PATIENCE)
        self.log.close()


def give_to_root(path):
    subprocess.run([*AS_ROOT, "chown", "0:0", path], check=True)
    subprocess.run([*AS_ROOT, "chmod", "0600", path], check=True)


@pytest.fixture
def folder(ca, monkeypatch):
    """Where another user can go, and read all but the key."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="daemun-unit-"))
    path.chmod(0o755)
    monkeypatch.setattr(ca, "folder", path)
    (path / "daemun.conf").write_text(CONF)
    (path / "daemun.conf").chmod(0o644)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def service(folder, actors):
    def start(bounding):
        actors.append(Service(folder, bounding))
        return actors[-1]
    return start


def test_key_port_and_reload(service, folder, ca):
    first = ca.leaf(file="site")
    give_to_root(first.key)
    s = service(caps("CapabilityBoundingSet"))
    wait_until(s.is_live, "the gateway is live")
    assert s.inside("curl", "-sk", "https://127.0.0.1/").stdout == "served"
    assert s.serial() == first.serial
    # The next key: written by root beside it, then put in its place.
    first.key.rename(folder / "old.key")
    second = ca.leaf(file="site")
    give_to_root(second.key)
    s.signal(signal.SIGHUP)
    wait_until(lambda: "generation 2 is live" in s.said(), "the reload")
    assert s.serial() == second.serial
    s.stop()
    assert s.process.returncode == 0, s.said()
    assert not any(word in s.said() for word in BAD_WORDS), s.said()


def test_only_the_control_thread_has_them(service, ca):
    give_to_root(ca.leaf(file="site").key)
    s = service(caps("CapabilityBoundingSet"))
    wait_until(s.is_live, "the gateway is live")
    allowed = {"CAP_NET_BIND_SERVICE": 1 << 10, "CAP_DAC_READ_SEARCH": 1 << 2}
    kept = sum(allowed[name] for name in unit("AmbientCapabilities"))

    def workers():
        return [t for t in s.threads() if t["Pid"] != str(s.pid())]
    wait_until(lambda: len(workers()) >= 3 and not any(
        int(t["CapPrm"], 16) for t in workers()),
        "all threads but one give up their capabilities")
    for t in s.threads():
        assert t["Uid"].split() == [NOBODY] * 4
        assert t["NoNewPrivs"] == "1"
        assert int(t["CapBnd"], 16) == kept
        mine = kept if t["Pid"] == str(s.pid()) else 0
        for kind in ("Prm", "Eff", "Inh", "Amb"):
            assert int(t[f"Cap{kind}"], 16) == mine, (t["Name"], kind)


@pytest.mark.parametrize("missing, message", [
    ("dac_read_search", "site.key"),
    ("net_bind_service", "ports below 1024 need the capability "
     "CAP_NET_BIND_SERVICE")])
def test_each_of_them_is_needed(service, ca, missing, message, monkeypatch):
    """Else the tests above would prove nothing. The message says which."""
    give_to_root(ca.leaf(file="site").key)
    whole = caps("AmbientCapabilities")
    monkeypatch.setitem(globals(), "caps", lambda key: whole.replace(
        f",+{missing}", ""))
    s = service(whole)
    wait_until(lambda: s.process.poll() is not None, "the gateway gives up")
    assert s.process.returncode == 1
    assert message in s.said()
    assert s.said().endswith("daemun: 1 problem\n")
