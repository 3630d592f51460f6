"""Waiting for something to become true, bounded; and the transcript, where
every actor of a test writes down what it did and when."""
import datetime
import os
import threading
import time

# A sanitizer build on a busy machine is slow; a bound is there to fail, not
# to be reached.
PATIENCE = float(os.environ.get("DAEMUN_WIRE_PATIENCE", "15"))


def wait_until(fn, what, timeout=None):
    """Calls fn until what it returns is true, and returns that. Fails after
    `timeout` seconds, saying `what` did not come."""
    end = time.monotonic() + (timeout or PATIENCE)
    pause = 0.001
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}; last: {value!r}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


class Transcript:
    """What the actors of one test did, in time order."""

    MAX_LINES = 2000

    def __init__(self):
        self.lines = []
        self.lock = threading.Lock()

    def note(self, actor, text, when=None):
        stamp = when or datetime.datetime.now(datetime.timezone.utc).strftime(
            "%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        with self.lock:
            if len(self.lines) < self.MAX_LINES:
                self.lines.append((stamp, actor, text))

    def show(self):
        with self.lock:
            lines = sorted(self.lines, key=lambda line: line[0])
        return "\n".join(f"{stamp[11:]} {actor:<10} {text}"
                         for stamp, actor, text in lines)


# The transcript of the test that runs now; conftest.py puts a new one here.
transcript = Transcript()


def note(actor, text):
    transcript.note(actor, text if len(text) < 400 else text[:400] + "...")


def new_transcript():
    global transcript
    transcript = Transcript()
    return transcript
