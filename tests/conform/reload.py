"""Reloads a gateway's configuration five times a second, each time another
one: reload.py CONF PID ADMIN_PORT, until SIGTERM. Where CONF has the comments
/*listener*/, /*upstream*/ and /*route*/, settings are written that differ from
turn to turn. The gateway's own metrics say how many became live; fewer than
4.5 a second, or a refused one, is a failure.
"""

import os
import re
import signal
import sys
import threading
import time
import urllib.request

PERIOD_S = 0.2
PER_SECOND_MIN = 4.5
PATIENCE_S = 10


def conf_of_turn(text, turn):
    """Another limit of the listener, another age of idle connections (which
    makes the upstream anew), another route in front of the others."""
    settings = {
        "listener": f"connections_max = {10000 + turn};",
        "upstream": f"keep_alive_idle_ms = {30000 + turn};",
        "route": f'{{ path = "/reload-{turn}"; answer = {{ status = 204; }}; }},',
    }
    for name, setting in settings.items():
        mark = f"/*{name}*/"
        if mark not in text:
            raise SystemExit(f"the conf file has no {mark}")
        text = text.replace(mark, setting)
    return text


class Reloader:
    def __init__(self, conf, pid, admin_port):
        self.conf, self.pid = conf, pid
        self.url = f"http://127.0.0.1:{admin_port}/metrics"
        with open(conf) as f:
            self.text = f.read()
        self.n_sent = 0
        self.stopped = threading.Event()
        self.first = self.counts()
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def counts(self):
        """(number of the live generation, refused reloads)"""
        with urllib.request.urlopen(self.url, timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        return tuple(
            int(float(re.search(rf"^{name} (\S+)$", text, re.M)[1]))
            for name in ("dm_snapshot_generation", "dm_reloads_failed_total")
        )

    def run(self):
        while not self.stopped.wait(
            max(0, self.began + self.n_sent * PERIOD_S - time.monotonic())
        ):
            self.n_sent += 1
            with open(self.conf + ".new", "w") as f:
                f.write(conf_of_turn(self.text, self.n_sent))
            os.rename(self.conf + ".new", self.conf)
            try:
                os.kill(self.pid, signal.SIGHUP)
            except ProcessLookupError:
                return

    def stop(self):
        """(reloads that became live, seconds, what was wrong or "")"""
        seconds = time.monotonic() - self.began
        self.stopped.set()
        self.thread.join()
        deadline = time.monotonic() + PATIENCE_S
        wanted = int(seconds * PER_SECOND_MIN)
        while True:  # the last one may still be on its way
            n_live, n_refused = (
                now - then for now, then in zip(self.counts(), self.first)
            )
            if n_live >= wanted or time.monotonic() > deadline:
                break
            time.sleep(PERIOD_S / 10)
        why = ""
        if n_refused:
            why = f"{n_refused} reloads were refused"
        elif n_live < wanted or n_live == 0:
            why = f"{n_live} reloads became live in {seconds:.1f} s"
        return n_live, seconds, why


def main():
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    reloader = Reloader(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    stopping.wait()
    n_live, seconds, why = reloader.stop()
    print(f"{n_live} reloads in {seconds:.1f} s")
    if why:
        raise SystemExit(why)


if __name__ == "__main__":
    main()
