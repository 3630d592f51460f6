"""The demo model server answers bytes that are no request with 400 and closes
the connection, and serves the next client as before."""
import os
import random
import re
import socket
import subprocess

import pytest

DEMO = os.environ.get("DEMO_BIN", "build/demo-server")
CHUNKED = b"POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
BAD = [
    b"GET /echo\r\n\r\n",
    b"GET /echo HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET /echo HTTP/1.1\r\n\r\n",
    b"GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G\x00T /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: a\nb: c\r\n\r\n",
    b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Content-Length: 1\r\n\r\nx",
    CHUNKED + b"Content-Length: 1\r\n\r\n0\r\n\r\n",
    CHUNKED.replace(b"chunked", b"gzip, chunked") + b"\r\n0\r\n\r\n",
    CHUNKED + b"\r\n-1\r\n\r\n",
    CHUNKED + b"\r\n1\r\nxx\r\n0\r\n\r\n",
    CHUNKED + b"\r\n1000000000000000\r\n",
    b"GET /" + b"a" * 70000,
]


@pytest.fixture(scope="module")
def port():
    with subprocess.Popen([DEMO, "--listen", "127.0.0.1:0"],
                          stdout=subprocess.PIPE, text=True) as demo:
        yield int(re.search(r"port (\d+)", demo.stdout.readline()).group(1))
        demo.terminate()
        assert demo.wait(10) == 0


def exchange(port, sent):
    """What comes back until the server closes; a reset ends it too."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(sent)
        s.shutdown(socket.SHUT_WR)
        try:
            while piece := s.recv(65536):
                got += piece
        except ConnectionResetError:
            pass
    return got


def assert_alive(port):
    good = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert exchange(port, good).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", BAD, ids=range(len(BAD)))
def test_refuses(port, sent):
    got = exchange(port, sent)
    assert got.startswith(b"HTTP/1.1 400 "), got
    assert b"\r\nconnection: close\r\n" in got
    assert got.count(b"HTTP/1.1 ") == 1
    assert_alive(port)


@pytest.mark.parametrize("preface", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_survives_noise(port, preface):
    noise = random.Random(1)
    for _ in range(200):
        exchange(port, preface + noise.randbytes(noise.randrange(1, 400)))
    assert_alive(port)
