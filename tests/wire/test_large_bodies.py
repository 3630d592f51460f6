"""Bodies of more than 4 GiB pass both ways, whole, and the memory of the
gateway stays flat."""
import os
import subprocess

import pytest

from lib.gateway import simple

MIB = 1024 * 1024
IS_RELEASE = os.environ.get("DAEMUN_VARIANT", "release") == "release"
SIZE = 5 * 1024 * MIB if IS_RELEASE else 256 * MIB
GROWTH_MAX = (8 if IS_RELEASE else 24) * MIB
RSS = "process_resident_memory_bytes"


@pytest.fixture(autouse=True)
def small_quarantine(monkeypatch):
    """ASan keeps freed blocks, 256 MiB of them by default: not to be taken
    for memory of the gateway."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=1:exitcode=99:"
                                       "quarantine_size_mb=1:"
                                       "thread_local_quarantine_size_kb=64")


def run(*args):
    """curl -> (what it printed, with bodies going to /dev/null)."""
    done = subprocess.run(["curl", "-sS", "--max-time", "110", *args],
                          capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def through(gateway, demo):
    """The gateway, after one small request, so that it is warm."""
    g = gateway(simple(demo(), route="max_body_bytes = 0;"))
    run(g.url(path="/bytes/100000"), "-o", "/dev/null")
    return g


def test_download(through):
    before = through.metric(RSS)
    told = run("-o", "/dev/null", "-w", "%{http_code} %{size_download}",
               through.url(path=f"/bytes/{SIZE}"))
    assert told == f"200 {SIZE}"
    assert through.metric(RSS) - before < GROWTH_MAX
    line = through.access_log(path=f"/bytes/{SIZE}")
    assert line["sent_bytes"] == SIZE


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upload(through, tmp_path, framing):
    hole = tmp_path / "hole"
    size = SIZE if framing == "length" else SIZE // 4
    with open(hole, "wb") as f:
        f.truncate(size)
    before = through.metric(RSS)
    fields = ["-H", "Expect:"]
    if framing == "chunked":
        fields += ["-H", "Transfer-Encoding: chunked"]
    told = run("-X", "POST", "-T", str(hole), *fields,
               "-w", " %{http_code}", through.url(path="/sink"))
    # The backend's own count: curl's includes the framing of the chunks.
    assert told == f'{{"bytes":{size}}} 200'
    assert through.metric(RSS) - before < GROWTH_MAX
    line = through.access_log(path="/sink")
    assert line["received_bytes"] == size
