"""The gateway under test: one process, its conf file, its logs, its admin
pages. Placeholders of the conf text: @name@ is what the fixture was given
under that name, else a free port (the same one each time)."""
import json
import os
import re
import signal as signals
import subprocess
import urllib.error
import urllib.request

from lib.ports import Port
from lib.wait import PATIENCE, note, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..",
                                    ".."))
BIN = os.environ.get("DAEMUN_BIN", os.path.join(ROOT, "build", "daemun"))
BAD_WORDS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer",
             "runtime error:", "CHECK failed", "check failed")
SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$')


def simple(backend, listener="", upstream="", route="", more=""):
    """The shortest conf there is: a listener "http", an upstream "u", a route
    for everything. The arguments are conf text for each of them."""
    return f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; {listener} }} );
upstreams = {{ u = {{ endpoints = ( {{ address = "{backend}"; }} );
  {upstream} }}; }};
routes = ( {{ path_prefix = "/"; upstream = "u"; {route} }} );
{more}
"""


def secure(backend, leaf, tls="", upstream="", route="", more=""):
    """As simple(), the listener "https" on port @https@ speaking TLS with
    `leaf` (of lib/tls.py)."""
    return f"""
listeners = ( {{ name = "https"; address = "127.0.0.1:@https@";
  tls = {{ certificates = ( {leaf.conf} ); {tls} }}; }} );
upstreams = {{ u = {{ endpoints = ( {{ address = "{backend}"; }} );
  {upstream} }}; }};
routes = ( {{ path_prefix = "/"; upstream = "u"; {route} }} );
{more}
"""


class Gateway:
    """Options (all by keyword): values for placeholders; `env` more
    environment; `popen` more arguments of Popen (pass_fds, preexec_fn ...);
    `defaults` False: nothing is added to the conf text."""

    def __init__(self, conf, tmp_path, name="gateway", env=None, popen=None,
                 defaults=True, **values):
        self.name = name
        self.tmp_path = tmp_path / name
        self.tmp_path.mkdir()
        self.conf_path = self.tmp_path / "daemun.conf"
        self.access_path = self.tmp_path / "access.log"
        self.error_path = self.tmp_path / "error.log"
        self.env = env or {}
        self.popen = popen or {}
        self.defaults = defaults
        self.values = values
        self.ports = {}
        self.process = None
        self.exit_status = None
        self.is_checked = False
        self._start(conf)

    # ---- start -------------------------------------------------------------

    def _start(self, conf):
        for attempt in range(3):
            self._write(conf)
            self._spawn()
            if self._wait_ready():
                return
            taken = "another process" in self.stderr()
            self.process = None
            if not taken or attempt == 2:
                self.is_checked = True
                raise AssertionError(
                    f"{self.name} did not start (exit {self.exit_status}):\n"
                    f"{self.stderr()}\n{self.conf_path.read_text()}")
            self._release_ports()

    def _release_ports(self):
        for port in self.ports.values():
            port.release()
        self.ports.clear()

    def _fill(self, found):
        name = found.group(1)
        if name in self.values:
            return str(self.values[name])
        if name not in self.ports:
            self.ports[name] = Port()
        return str(self.ports[name].number)

    def _write(self, conf):
        """The conf text with defaults and placeholders filled in. A new file
        takes the place of the old one at once, as an editor does it."""
        def lacks(key):
            return self.defaults and not re.search(rf"^\s*{key}\s*=", conf,
                                                   re.M)
        if lacks("admin"):
            conf += '\nadmin = { address = "127.0.0.1:@admin@"; };\n'
        if lacks("log"):
            conf += (f'log = {{ access = "{self.access_path}"; '
                     f'error = "{self.error_path}"; level = "debug"; }};\n')
        if lacks("workers"):
            conf += "workers = 2;\n"
        if lacks("watch_files"):
            conf += "watch_files = false;\n"
        conf = re.sub(r"@(\w+)@", self._fill, conf)
        fresh = self.conf_path.with_suffix(".new")
        fresh.write_text(conf)
        fresh.replace(self.conf_path)

    def _spawn(self):
        for port in self.ports.values():
            port.give()
        env = dict(os.environ, **self.env)
        # The leak check needs ptrace; a leak is a failure like any other.
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1:exitcode=99")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        env.setdefault("TSAN_OPTIONS", "exitcode=99")
        self.stderr_path = self.tmp_path / "stderr"
        self.process = subprocess.Popen(
            [BIN, "-c", str(self.conf_path)], env=env,
            stdin=subprocess.DEVNULL,
            stdout=open(self.tmp_path / "stdout", "wb"),
            stderr=open(self.stderr_path, "wb"), **self.popen)
        note(self.name, f"started, process {self.process.pid}")

    def _is_ready(self):
        if self.process.poll() is not None:
            return True
        try:
            return self.admin_get("/readyz")[0] == 200
        except OSError:
            return False

    def _wait_ready(self):
        wait_until(self._is_ready, f"{self.name} is ready")
        self.exit_status = self.process.poll()
        return self.exit_status is None

    # ---- addresses ---------------------------------------------------------

    def port(self, name="http"):
        """The port of placeholder @name@."""
        return self.ports[name].number

    def url(self, name="http", path="/", host="127.0.0.1"):
        scheme = "https" if name.startswith("https") else "http"
        return f"{scheme}://{host}:{self.port(name)}{path}"

    # ---- the admin pages ---------------------------------------------------

    def admin_get(self, path):
        """(status, text) of an admin page."""
        url = f"http://127.0.0.1:{self.port('admin')}{path}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self):
        """{'dm_x_total': 1.0, 'dm_y{a="b"}': 2.0, ...}, as /metrics says."""
        found = {}
        for line in self.admin_get("/metrics")[1].splitlines():
            sample = SAMPLE.match(line)
            if sample:
                found[sample.group(1)] = float(sample.group(2))
        return found

    def metric(self, name, default=0.0):
        return self.metrics().get(name, default)

    def wait_metric(self, name, value, timeout=None):
        """Waits until metric `name` is `value` (a number or a function of
        one)."""
        is_it = value if callable(value) else lambda got: got == value
        last = []

        def check():
            last[:] = [self.metric(name)]
            return is_it(last[0])
        try:
            wait_until(check, f"{name} is {value}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; {name} is {last[0]}") from None
        return last[0]

    # ---- logs --------------------------------------------------------------

    def access_lines(self):
        """The complete lines of the access log, now, as dicts."""
        try:
            text = self.access_path.read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.split("\n")[:-1] if line]

    def access_log(self, n=1, **fields):
        """Waits for `n` access lines that have these values; returns the
        last one of them. access_log(path="/x", status=200)["endpoint"]"""
        def match():
            hits = [line for line in self.access_lines()
                    if all(line.get(k) == v for k, v in fields.items())]
            return hits if len(hits) >= n else None
        return wait_until(match, f"access log: {n} lines with {fields}")[-1]

    def error_log(self, pattern=None):
        """The error log as text. With a regular expression: waits for it and
        returns the match."""
        if pattern is None:
            return self._read(self.error_path)
        return wait_until(
            lambda: re.search(pattern, self._read(self.error_path), re.M),
            f"error log: {pattern}")

    def stderr(self):
        return self._read(self.stderr_path)

    @staticmethod
    def _read(path):
        try:
            return path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    # ---- change and end ----------------------------------------------------

    def signal(self, number):
        note(self.name, f"signal {signals.Signals(number).name}")
        self.process.send_signal(number)

    def reload(self, conf=None, ok=True, settle=True):
        """Writes `conf` (None: the file stays as it is), sends SIGHUP and
        waits until the reload is done and `ok` or not. `settle`: waits until
        no worker uses the old snapshot; give False where a request runs."""
        before = self.metrics()
        if conf is not None:
            self._write(conf)
            for port in self.ports.values():
                port.give()
        self.signal(signals.SIGHUP)
        self.wait_metric("dm_reloads_total",
                         lambda n: n > before["dm_reloads_total"])
        after = self.metrics()
        assert after["dm_reload_last_ok"] == (1 if ok else 0), \
            self.error_log()
        moved = after["dm_snapshot_generation"] - \
            before["dm_snapshot_generation"]
        assert (moved > 0) == ok, f"generation moved by {moved}"
        if settle:
            self.wait_metric("dm_snapshots", 1)

    def wait_exit(self, timeout=None):
        """Waits until the process ends by itself; the exit status."""
        wait_until(lambda: self.process.poll() is not None,
                   f"{self.name} ends", timeout)
        self.exit_status = self.process.returncode
        note(self.name, f"ended: {self.exit_status}")
        return self.exit_status

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, number=signals.SIGINT, timeout=None):
        """Ends the gateway (SIGINT: quick, SIGTERM: drain) and checks how it
        ended: status 0, nothing from a sanitizer."""
        if self.is_checked:
            return
        if self.is_running():
            self.signal(number)
        try:
            self.wait_exit(timeout)
        except AssertionError:
            self.process.kill()
            self.process.wait()
            self.is_checked = True
            raise
        finally:
            for port in self.ports.values():
                port.release()
        self.check_end()

    def check_end(self, status=0):
        self.is_checked = True
        text = self.stderr()
        assert not any(word in text for word in BAD_WORDS), text[-8000:]
        assert self.exit_status == status, \
            f"{self.name} ended with {self.exit_status}:\n{text[-8000:]}"

    def tell(self, to):
        """Puts what the logs say into the transcript `to`."""
        for line in self.error_log().splitlines()[-300:]:
            stamp, _, text = line.partition(" ")
            to.note(self.name, text, stamp)
        for line in self.access_lines()[-100:]:
            to.note(self.name, "access: " + json.dumps(line), line["time"])
        for line in self.stderr().splitlines()[-200:]:
            to.note(self.name, "stderr: " + line, "9999-12-31T23:59:59.999Z")


def check_conf(text, tmp_path, **values):
    """daemun -t on this text: (exit status, what it printed)."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = tmp_path / "check.conf"
    path.write_text(text)
    done = subprocess.run([BIN, "-t", "-c", str(path)], capture_output=True,
                          text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr
