"""`make install`: every file at its place with its mode; conf, examples and
units name what was installed; an administrator's files are kept; the unit is
what systemd takes, and hardened; logrotate's rules make it write anew."""
import grp
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest

from lib.client import ask
from lib.gateway import ROOT, simple
from lib.wait import PATIENCE, wait_until

VARIANT = os.environ.get("DAEMUN_VARIANT", "release")
CC = os.environ.get("DAEMUN_CC", "gcc")
# systemd's own scale: "OK" ends at 5, "MEDIUM" begins; ours is held lower.
EXPOSURE_MAX = 2.2
NO_EDITS = ["answers", "behind_proxy", "canary", "health", "ip_access",
            "sessions", "start", "websocket"]

LAYOUT = """
0755 usr/bin/daemun
0755 usr/lib/daemun/modules/ip_access.so
0644 usr/lib/systemd/system/daemun.service
0644 usr/lib/systemd/system/daemun.socket
0644 usr/lib/sysusers.d/daemun.conf
0644 usr/share/doc/daemun/faults.md
0644 usr/share/doc/daemun/metrics.md
0644 usr/share/doc/daemun/modules.md
0644 usr/share/doc/daemun/settings.md
0644 etc/daemun/daemun.conf
0644 etc/logrotate.d/daemun
"""


def make_install(**variables):
    """`make install` with these variables; a umask must not matter."""
    # The build is finished; a jobserver of an outer make is not ours.
    env = {k: v for k, v in os.environ.items() if k != "MAKELEVEL"}
    env["MAKEFLAGS"] = " ".join(
        word for word in env.get("MAKEFLAGS", "").split()
        if not word.startswith(("-j", "--jobserver")))
    return subprocess.run(
        ["make", "-C", ROOT, "install", f"VARIANT={VARIANT}", f"CC={CC}",
         *(f"{k}={v}" for k, v in variables.items())], env=env, check=True,
        capture_output=True, text=True, umask=0o077,
        timeout=20 * PATIENCE).stdout


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """What a package is made of: the files of PREFIX=/usr under DESTDIR."""
    path = tmp_path_factory.mktemp("staged")
    make_install(DESTDIR=path, PREFIX="/usr")
    return path


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """Installed to be used: a prefix of its own, nothing moved after."""
    path = tmp_path_factory.mktemp("placed")
    make_install(PREFIX=path)
    return path


def test_every_file_is_there(staged):
    expected = dict(line.split()[::-1] for line in LAYOUT.split("\n") if line)
    for header in pathlib.Path(ROOT, "include/daemun").glob("*.h"):
        expected[f"usr/include/daemun/{header.name}"] = "0644"
    for folder in ("conf", "conf/examples"):
        for conf in pathlib.Path(ROOT, folder).glob("*.conf"):
            expected[f"usr/share/daemun/examples/{conf.name}"] = "0644"
    found = {str(path.relative_to(staged)): f"{path.stat().st_mode & 0o7777:04o}"
             for path in staged.rglob("*") if path.is_file()}
    assert found == expected
    for path in staged.rglob("*"):
        if path.is_dir():
            secret = path == staged / "etc/daemun/certs"
            assert path.stat().st_mode & 0o777 == (0o700 if secret else 0o755)


def test_nothing_names_the_build_or_a_placeholder(staged):
    for path in staged.rglob("*"):
        if path.is_file() and path.suffix not in (".so", ".h", ".md", "") or \
                path.parent.name == "logrotate.d":
            text = path.read_text()
            assert not re.search(r'@[A-Z]+@|"[^"]*build/|"\.\./', text), path
            assert str(staged) not in text and ROOT not in text, path
            for word in re.findall(r'"([^"]*/?certs/[^"]*)"', text):
                assert word.startswith("/etc/daemun/certs/") or \
                    path.name in ("start.conf", "daemun.conf"), path


@pytest.mark.parametrize("prefix, conf", [
    ("/usr", "/etc"), ("/usr/local", "/etc"), ("/opt/daemun",
                                               "/opt/daemun/etc")])
def test_the_unit_finds_its_conf_and_binary(tmp_path, prefix, conf):
    make_install(DESTDIR=tmp_path, PREFIX=prefix)
    unit = (tmp_path / prefix[1:] /
            "lib/systemd/system/daemun.service").read_text()
    start = re.search(r"^ExecStart=(\S+) -c (\S+)$", unit, re.M)
    assert start[1] == f"{prefix}/bin/daemun"
    assert start[2] == f"{conf}/daemun/daemun.conf"
    for path in start.groups():
        assert os.path.isfile(f"{tmp_path}{path}")
    document = re.search(r"^Documentation=file:(\S+)$", unit, re.M)[1]
    assert os.path.isfile(f"{tmp_path}{document}")


def test_what_an_administrator_wrote_is_kept(tmp_path):
    files = [tmp_path / "etc/daemun/daemun.conf",
             tmp_path / "etc/logrotate.d/daemun"]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_text("mine\n")
        path.chmod(0o600)
    (tmp_path / "etc/daemun/certs").mkdir(mode=0o750)
    said = make_install(DESTDIR=tmp_path, PREFIX="/usr")
    for path in files:
        assert path.read_text() == "mine\n"
        assert path.stat().st_mode & 0o777 == 0o600
        assert f"kept: {path}" in said
    assert (tmp_path / "etc/daemun/certs").stat().st_mode & 0o777 == 0o750


def check(binary, path):
    return subprocess.run([binary, "-t", "-c", path], capture_output=True,
                          text=True, check=False, timeout=PATIENCE)


@pytest.mark.parametrize("name", NO_EDITS)
def test_example_is_good_as_installed(placed, name):
    path = placed / f"share/daemun/examples/{name}.conf"
    got = check(placed / "bin/daemun", path)
    assert (got.returncode, got.stdout) == (0, f"{path}: good\n"), got.stderr


def test_other_examples_lack_certificates_only(placed, ca, tmp_path,
                                               monkeypatch):
    """Each is good once the operator's files are where it says."""
    names = {path.stem for path in
             (placed / "share/daemun/examples").glob("*.conf")}
    monkeypatch.setattr(ca, "folder", tmp_path)
    leaf = ca.leaf()
    certs = placed / "etc/daemun/certs"
    for name in sorted(names - set(NO_EDITS)):
        path = placed / f"share/daemun/examples/{name}.conf"
        got = check(placed / "bin/daemun", path)
        assert got.returncode == 1
        wanted = set(re.findall(rf'= "{certs}/([^"]+)"', path.read_text()))
        assert wanted, name
        for file in wanted:
            source = leaf.key if file.endswith(".key") else \
                ca.path if "ca" in file else leaf.chain
            shutil.copy(source, certs / file)
        got = check(placed / "bin/daemun", path)
        assert (got.returncode, got.stderr) == (0, ""), name
        for file in wanted:
            (certs / file).unlink()


def test_the_first_conf_is_good_and_served(placed, gateway, monkeypatch):
    """As the unit starts it: what the README promises answers."""
    from lib import gateway as library
    path = placed / "etc/daemun/daemun.conf"
    assert check(placed / "bin/daemun", path).returncode == 0
    monkeypatch.setattr(library, "BIN", str(placed / "bin/daemun"))
    text = path.read_text().replace("0.0.0.0:8080", "127.0.0.1:@http@") \
        .replace("127.0.0.1:9901", "127.0.0.1:@admin@")
    g = gateway(text)
    assert ask(g.port()).text.startswith("Daemun is running.")


def test_systemd_takes_the_units(placed):
    units = [placed / f"lib/systemd/system/daemun.{kind}"
             for kind in ("service", "socket")]
    got = subprocess.run(["systemd-analyze", "verify", "--man=no", *units],
                         capture_output=True, text=True, check=False,
                         timeout=4 * PATIENCE)
    said = [line for line in (got.stdout + got.stderr).splitlines()
            if "daemun" in line]
    assert (got.returncode, said) == (0, [])


def test_the_unit_is_hardened(placed):
    got = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager",
         placed / "lib/systemd/system/daemun.service"], check=True,
        capture_output=True, text=True, timeout=4 * PATIENCE).stdout
    exposure = re.search(r"Overall exposure level for daemun.service: "
                         r"([\d.]+)", got)
    assert 0 < float(exposure[1]) <= EXPOSURE_MAX, got


def test_the_socket_unit_opens_what_the_first_conf_listens_on(placed):
    """An inherited socket is taken by the very same address only."""
    socket = (placed / "lib/systemd/system/daemun.socket").read_text()
    conf = (placed / "etc/daemun/daemun.conf").read_text()
    assert re.findall(r"^ListenStream=(.*)$", socket, re.M) == \
        re.findall(r'^ *\{ name = "\w+"; address = "([^"]+)"', conf, re.M)


def test_the_user_can_be_made(staged):
    """What systemd-sysusers makes is who the unit and logrotate name."""
    root = staged.parent / "sysusers"
    (root / "etc").mkdir(parents=True)
    # Where nothing is there yet, the new user's line is all there is.
    source = staged / "usr/lib/sysusers.d/daemun.conf"
    subprocess.run(["systemd-sysusers", f"--root={root}", source], check=True,
                   capture_output=True, timeout=PATIENCE)
    users = [line.split(":")[0] for line in
             (root / "etc/passwd").read_text().splitlines()]
    groups = [line.split(":")[0] for line in
              (root / "etc/group").read_text().splitlines()]
    unit = (staged / "usr/lib/systemd/system/daemun.service").read_text()
    assert re.findall(r"^User=(\S+)$", unit, re.M) == users == ["daemun"]
    assert re.findall(r"^Group=(\S+)$", unit, re.M) == groups
    rules = (staged / "etc/logrotate.d/daemun").read_text()
    assert re.findall(r"^ *(?:su|create 0640) (\S+) (\S+)$", rules, re.M) == \
        [("daemun", "daemun")] * 2


@pytest.fixture
def logs():
    """A folder that another user can reach."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="daemun-logs-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_logrotate_makes_it_write_anew(staged, gateway, backend, tmp_path,
                                       logs):
    """The shipped rules, but for the folder, the user, and how the signal
    goes to the process (there is no service manager here)."""
    conf = simple(backend(), more=f'log = {{ access = "{logs}/access.log"; '
                  f'error = "{logs}/error.log"; }};')
    g = gateway(conf)
    g.access_path = logs / "access.log"
    ask(g.port(), "/before")
    g.access_log(path="/before")
    st = os.stat(g.access_path)
    rules = (staged / "etc/logrotate.d/daemun").read_text()
    text = rules.replace("/var/log/daemun", str(logs)).replace(
        "su daemun daemun\n", "su @me@\n").replace(
        "create 0640 daemun daemun", "create 0640 @me@").replace(
        "systemctl kill -s USR1 daemun.service",
        f"kill -s USR1 {g.process.pid}")
    assert text.count("@me@") == 2 and str(g.process.pid) in text
    owner = pwd.getpwuid(st.st_uid).pw_name
    group = grp.getgrgid(st.st_gid).gr_name
    if os.geteuid() == 0:
        shutil.chown(logs, owner, group)
    path = tmp_path / "rules"
    path.write_text(text.replace("@me@", f"{owner} {group}"))
    path.chmod(0o644)
    subprocess.run(["logrotate", "--force", "--state", tmp_path / "state",
                    path], check=True, timeout=PATIENCE)
    kept = logs / "access.log.1"
    assert "/before" in kept.read_text()

    def comes_to_the_new_file():
        ask(g.port(), "/after")
        return "/after" in g.access_path.read_text()
    wait_until(comes_to_the_new_file, "the new access log has a line")
    assert g.access_path.stat().st_mode & 0o777 == 0o640
    assert os.stat(g.access_path).st_uid == st.st_uid
    # Nothing goes to the old file once something went to the new one.
    size = kept.stat().st_size
    ask(g.port(), "/last")
    g.access_log(path="/last")
    assert kept.stat().st_size == size
