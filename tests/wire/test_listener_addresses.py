"""A listener serves on IPv4, IPv6 and a Unix socket, plain and with TLS, and
several serve side by side."""
import socket

import pytest

from lib.client import ask, request
from lib.stream import Stream

CONF = """
listeners = (
  { name = "v4"; address = "127.0.0.1:@v4@"; },
  { name = "v6"; address = "[::1]:@v6@"; },
  { name = "all6"; address = "[::]:@all6@"; },
  { name = "tls4"; address = "0.0.0.0:@tls4@"; tls = { certificates =
    ( @leaf@ ); }; },
  { name = "tls6"; address = "[::1]:@tls6@"; tls = { certificates =
    ( @leaf@ ); }; },
  { name = "path"; address = "unix:@path@"; }
);
upstreams = { u = { endpoints = ( { address = "@backend@"; } ); }; };
routes = ( { path_prefix = "/"; upstream = "u"; } );
"""


@pytest.fixture
def running(gateway, backend, leaf, tmp_path):
    return gateway(CONF, backend=backend(), leaf=leaf.conf,
                   path=tmp_path / "sock")


@pytest.mark.parametrize("name, address, is_tls", [
    ("v4", "127.0.0.1", False), ("v6", "::1", False), ("all6", "::1", False),
    ("tls4", "127.0.0.1", True), ("tls6", "::1", True)])
def test_serves(running, ca, name, address, is_tls):
    got = ask(running.port(name), "/where", address=address,
              tls=ca.client_context() if is_tls else None)
    assert got.status == 200
    seen = got.json()["headers"]
    assert seen["x-forwarded-for"] == address
    assert seen["x-forwarded-proto"] == ("https" if is_tls else "http")
    line = running.access_log(listener=name)
    assert line["client"].startswith(
        f"[{address}]:" if ":" in address else f"{address}:")


def test_unix_socket(gateway, running, tmp_path):
    """Also after a process that left its socket file behind: one that gave
    its rights up cannot remove it."""
    def serves():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(tmp_path / "sock"))
        with Stream(sock, "client") as c:
            c.send(request("/unix"))
            got = c.recv_response()
            told = dict(got.json()["fields"])
            assert told["x-forwarded-for"] == "unknown"
            return got.status == 200
    assert serves()
    running.access_log(listener="path")
    running.stop()
    gateway(CONF, **running.values)
    assert serves()


def test_all_at_once(running, ca):
    for name, address, tls in [("v4", "127.0.0.1", None), ("v6", "::1", None),
                               ("tls4", "127.0.0.1", ca.client_context())]:
        assert ask(running.port(name), tls=tls, address=address).status == 200
