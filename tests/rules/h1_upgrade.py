"""5.11: upgrades. Only a sound WebSocket handshake is one; everything else is
an ordinary request without the fields of an upgrade."""
from row import KEPT, TUNNEL, Row, Saw, bad, chunked, get, good, head, post

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
V13 = "Sec-WebSocket-Version: 13"
UP = "Upgrade: websocket"
CU = "Connection: Upgrade"
SEEN = ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version: 13")


def tunnel(name, data, fields=SEEN, line="GET /"):
    """Switched: AFTER goes through the tunnel and comes back."""
    return Row(f"upg-{name}", "5.11", data, (101,), TUNNEL,
               (Saw(line, fields, framing="upgrade"),), only="h1")


def plain(name, data, *fields, **kw):
    """No upgrade at all: an ordinary request, and its fields go on."""
    return good(f"upg-{name}", "5.11", data, Saw("GET /", fields), **kw)


def key(text):
    return f"Sec-WebSocket-Key: {text}"


ROWS = [
    # ---- sound ------------------------------------------------------------------------
    tunnel("websocket", get(CU, UP, KEY, V13)),
    tunnel("websocket-case", get("connection: uPGRADE", "upgrade: WebSocket",
                                 KEY, V13)),
    tunnel("websocket-in-lists",
           get("Connection: keep-alive, Upgrade", "Upgrade: h2c, websocket",
               KEY, V13)),
    tunnel("websocket-in-second-lines",
           get("Connection: keep-alive", CU, "Upgrade: h2c", UP, KEY, V13)),
    tunnel("websocket-protocol",
           get(CU, UP, KEY, V13, "Sec-WebSocket-Protocol: a, b"),
           (*SEEN, "sec-websocket-protocol: a, b")),
    tunnel("websocket-length-0", get(CU, UP, KEY, V13, "Content-Length: 0")),
    tunnel("websocket-path", get(CU, UP, KEY, V13, target="/a/../b?c"),
           line="GET /b?c"),
    # An HTTP/2 upstream takes no upgrade.
    plain("websocket-to-h2", get(CU, UP, KEY, V13), *SEEN, only="h2c"),
    plain("websocket-route-forbids", get(CU, UP, KEY, V13), *SEEN,
          conf="no_websocket"),

    # ---- not sound in one part: no upgrade (CVE-2026-2833) -----------------------------
    plain("no-connection", get(UP, KEY, V13), *SEEN),
    plain("connection-other", get("Connection: x", UP, KEY, V13), *SEEN),
    plain("connection-close-only",
          get("Connection: close", UP, KEY, V13), *SEEN, fate="closed"),
    plain("no-upgrade", get(CU, KEY, V13), *SEEN),
    plain("upgrade-empty", get(CU, "Upgrade:", KEY, V13), *SEEN),
    plain("upgrade-suffix", get(CU, "Upgrade: websocketx", KEY, V13), *SEEN),
    plain("upgrade-version", get(CU, "Upgrade: websocket/13", KEY, V13),
          *SEEN),
    plain("upgrade-quoted", get(CU, 'Upgrade: "websocket"', KEY, V13), *SEEN),
    plain("no-key", get(CU, UP, V13), SEEN[1]),
    plain("key-empty", get(CU, UP, key(""), V13), "sec-websocket-key: ",
          SEEN[1]),
    plain("key-short", get(CU, UP, key("dGhlIHNhbXBsZSBub25j"), V13),
          "sec-websocket-key: dGhlIHNhbXBsZSBub25j", SEEN[1]),
    plain("key-long", get(CU, UP, key("dGhlIHNhbXBsZSBub25jZQAA=="), V13),
          "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQAA==", SEEN[1]),
    plain("key-no-padding", get(CU, UP, key("dGhlIHNhbXBsZSBub25jZQAA"), V13),
          "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQAA", SEEN[1]),
    plain("key-no-base64", get(CU, UP, key("dGhlIHNhbXBsZSBub25j*Q=="), V13),
          "sec-websocket-key: dGhlIHNhbXBsZSBub25j*Q==", SEEN[1]),
    plain("key-loose-bits", get(CU, UP, key("dGhlIHNhbXBsZSBub25jZR=="), V13),
          "sec-websocket-key: dGhlIHNhbXBsZSBub25jZR==", SEEN[1]),
    plain("key-twice", get(CU, UP, KEY, KEY, V13), SEEN[0], *SEEN),
    plain("no-version", get(CU, UP, KEY), SEEN[0]),
    plain("version-12", get(CU, UP, KEY, "Sec-WebSocket-Version: 12"),
          SEEN[0], "sec-websocket-version: 12"),
    plain("version-013", get(CU, UP, KEY, "Sec-WebSocket-Version: 013"),
          SEEN[0], "sec-websocket-version: 013"),
    plain("version-list", get(CU, UP, KEY, "Sec-WebSocket-Version: 13, 8"),
          SEEN[0], "sec-websocket-version: 13, 8"),
    plain("version-twice", get(CU, UP, KEY, V13, V13), *SEEN, SEEN[1]),
    plain("1.0", get(CU, UP, KEY, V13, version="HTTP/1.0"), *SEEN,
          fate="closed"),
    good("upg-head", "5.11", head("HEAD / HTTP/1.1", CU, UP, KEY, V13),
         Saw("HEAD /", SEEN), head=True),
    good("upg-small-get", "5.11", head("get / HTTP/1.1", CU, UP, KEY, V13),
         Saw("get /", SEEN)),
    good("upg-post", "5.11", post(CU, UP, KEY, V13), Saw("POST /", SEEN)),
    good("upg-post-body", "5.11",
         post(CU, UP, KEY, V13, "Content-Length: 2", body=b"ab"),
         Saw("POST /", SEEN, body=b"ab", framing="length")),
    good("upg-post-chunked", "5.11",
         chunked(b"2\r\nab\r\n0\r\n\r\n", CU, UP, KEY, V13),
         Saw("POST /", SEEN, body=b"ab", framing="chunked")),
    # A body on GET is what it is without the upgrade.
    Row("upg-get-body", "5.11",
        get(CU, UP, KEY, V13, "Content-Length: 2") + b"ab",
        ("body_unwanted",), KEPT),
    bad("upg-get-chunked", "5.11",
        get(CU, UP, KEY, V13, "Transfer-Encoding: chunked") +
        b"2\r\nab\r\n0\r\n\r\n", "body_unwanted"),
    bad("upg-doubt-goes-first", "5.11",
        get(CU, UP, KEY, V13, "Content-Length: 0", "Content-Length: 0")),

    # ---- other protocols (CVE-2022-41721, CVE-2025-49812, CVE-2026-73548) ---------------
    plain("h2c", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
                     "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")),
    # HAProxy 2026-05: the token in a second line.
    plain("h2c-second-line", get(CU, "Upgrade: x", "Upgrade: h2c",
                                 "HTTP2-Settings: AAMAAABk")),
    plain("h2c-list", get(CU, "Upgrade: x, h2c")),
    plain("h2", get(CU, "Upgrade: h2")),
    plain("tls", get(CU, "Upgrade: TLS/1.3, HTTP/1.1")),
    plain("unknown", get(CU, "Upgrade: foo/2")),
    plain("connect-udp", get(CU, "Upgrade: connect-udp",
                             "Capsule-Protocol: ?1"), "capsule-protocol: ?1"),
    good("upg-tls-options", "5.11",
         head("OPTIONS /x HTTP/1.1", CU, "Upgrade: TLS/1.0"),
         Saw("OPTIONS /x")),
    good("upg-h2c-body", "5.11",
         post(CU, "Upgrade: h2c", "HTTP2-Settings: AAMAAABk",
              "Content-Length: 24",
              body=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
         Saw("POST /", body=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
             framing="length")),
]
