"""What a forwarded answer gets on its way to the client: a Date and the id of
the request where the backend sent none, and nothing else; what the backend
sent stays as it is."""
import datetime
import email.utils
import re

import pytest

from lib.client import H2Client, ask, connect, request
from lib.gateway import simple
from lib.server import reply

ID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
OWN = [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("x-request-id", "its-own")]


def get(g, client, path="/"):
    if client == "http1":
        return ask(g.port(), path)
    with H2Client.open(g.port()) as c:
        return c.ask(path)


def values(got, name):
    return [v for n, v in got.fields if n.lower() == name]


@pytest.mark.parametrize("client", ["http1", "h2"])
@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_what_lacks_is_added(gateway, backend, client, protocol):
    b = backend(lambda r: reply(200, b"ok"), protocol=protocol)
    kind = "h2c" if protocol == "h2" else "http1"
    g = gateway(simple(b, upstream=f'protocol = "{kind}";'))
    got = get(g, client, "/x")
    dates = values(got, "date")
    assert len(dates) == 1
    then = email.utils.parsedate_to_datetime(dates[0])
    now = datetime.datetime.now(datetime.timezone.utc)
    assert abs((now - then).total_seconds()) < 60
    ids = values(got, "x-request-id")
    assert len(ids) == 1 and ID.match(ids[0])
    assert ids == [b.requests[0].headers["x-request-id"]]
    assert g.access_log(path="/x")["request_id"] == ids[0]


@pytest.mark.parametrize("client", ["http1", "h2"])
@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_what_is_there_stays(gateway, backend, client, protocol):
    b = backend(lambda r: reply(200, b"ok", OWN), protocol=protocol)
    kind = "h2c" if protocol == "h2" else "http1"
    g = gateway(simple(b, upstream=f'protocol = "{kind}";'))
    got = get(g, client)
    assert values(got, "date") == [OWN[0][1]]
    assert values(got, "x-request-id") == [OWN[1][1]]


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_every_final_status_gets_them(gateway, backend, status):
    g = gateway(simple(backend(lambda r: reply(status))))
    got = ask(g.port())
    assert got.status == status
    assert len(values(got, "date")) == len(values(got, "x-request-id")) == 1


def test_interim_answers_get_nothing(gateway, server):
    def script(conn):
        conn.recv_request()
        conn.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
                  "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        conn.recv_all()
    g = gateway(simple(server(script)))
    with connect(g.port()) as c:
        c.send(request())
        got = c.recv_response()
    assert [m.status for m in got.informational] == [103]
    assert got.informational[0].fields == [("link", "</a>")]


def test_the_client_reads_the_id_that_a_trusted_peer_gave(gateway, backend):
    b = backend(lambda r: reply(200))
    g = gateway(simple(b, listener='trusted_proxies = [ "127.0.0.1/32" ];'))
    got = ask(g.port(), fields=[("X-Request-Id", "mine-1")])
    assert values(got, "x-request-id") == ["mine-1"]


def test_a_route_may_take_them_away(gateway, backend):
    b = backend(lambda r: reply(200))
    g = gateway(simple(
        b, route='response_headers = { remove = [ "x-request-id" ]; };'))
    got = ask(g.port())
    assert not values(got, "x-request-id") and len(values(got, "date")) == 1
