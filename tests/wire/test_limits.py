"""Limits of the whole gateway: TLS handshakes in progress and their rate, and
descriptors."""
import resource
import socket
import time

import pytest

from lib.client import ask, connect, request
from lib.gateway import secure, simple
from lib.server import reply
from lib.wait import wait_until


def silent(port):
    """A client that opens a connection and says nothing."""
    return socket.create_connection(("127.0.0.1", port), 10)


def is_closed(sock):
    sock.settimeout(10)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_handshakes_in_progress(gateway, backend, ca, leaf):
    """A further one ends the oldest; whoever is through is not among them."""
    b = backend()
    more = "workers = 1; limits = { tls_handshakes_max = 4; };"
    g = gateway(secure(b, leaf, more=more))
    port = g.port("https")
    with connect(port, tls=ca.client_context()) as through:
        # A client of TLS 1.3 is done before we are: an answer tells that both
        # are.
        through.send(request())
        assert through.recv_response().status == 200
        waiting = [silent(port) for _ in range(4)]
        g.wait_metric("dm_client_connections", 5)
        assert g.metric("dm_tls_handshakes_evicted_total") == 0
        waiting.append(silent(port))
        assert is_closed(waiting[0])
        assert g.metric("dm_tls_handshakes_evicted_total") == 1
        # In the middle of it is not safe either, but new ones get through.
        assert ask(port, tls=ca.client_context()).status == 200
        assert is_closed(waiting[1])
        through.send(request())
        assert through.recv_response().status == 200
    g.error_log("the oldest of 4 .*limits.tls_handshakes_max")
    for sock in waiting:
        sock.close()


def test_rate_of_handshakes(gateway, backend, ca, leaf):
    """Above it clients wait; none is refused. Plain listeners do not wait."""
    b = backend()
    more = "workers = 1; limits = { tls_handshakes_per_second = 20; };"
    g = gateway(secure(b, leaf, more=more))
    began = time.monotonic()
    for _ in range(25):
        assert ask(g.port("https"), tls=ca.client_context()).status == 200
    # Two at once (what 100 ms bring), and the rest at the rate.
    assert time.monotonic() - began >= 22 / 20
    assert g.metric("dm_tls_accept_pauses_total") > 0
    assert g.metric("dm_client_refused_total") == 0


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))


def test_out_of_descriptors(gateway, backend):
    """Idle clients make room for new ones, those with a request stay, and the
    admin page, a reload and its files still have descriptors."""
    b = backend()
    conf = simple(b, more="limits = { connections_max = 10000; };")
    g = gateway(conf, popen={"preexec_fn": few_descriptors})
    busy = connect(g.port())
    busy.send(b"POST / HTTP/1.1\r\nhost: localhost\r\n"
              b"content-length: 4\r\n\r\nab")
    idle = []
    for _ in range(250):
        c = connect(g.port())
        c.send(request())
        assert c.recv_response().status == 200
        idle.append(c)
    assert g.metric("dm_client_shed_total") > 0
    g.reload(conf + "watch_files = true;", settle=False)
    busy.send(b"cd")
    assert busy.recv_response().json()["body"] == "abcd"
    assert ask(g.port()).status == 200


def test_no_descriptor_for_an_upstream(gateway, backend):
    """Our own lack: 503 overload, and the endpoint is not to blame."""
    b = backend(lambda got: reply(200, b"ok"))
    conf = simple(b, upstream="ejection = { consecutive_failures = 1; };",
                  more="limits = { connections_max = 10000; };\n"
                       "workers = 1;")
    g = gateway(conf, popen={"preexec_fn": few_descriptors})
    held = []
    # Clients in the middle of a request cannot be shed.
    for _ in range(400):
        c = connect(g.port())
        c.send(b"GET / HTTP/1.1\r\nhost:")
        held.append(c)
        if "out of descriptors" in g.error_log():
            break
    held[0].send(b" localhost\r\n\r\n")
    got = held[0].recv_response()
    assert got.status == 503
    assert g.access_log(status=503)["fault"] == "overload"
    for c in held[1:]:
        c.close()
    wait_until(lambda: ask(g.port()).status == 200, "it serves again")
