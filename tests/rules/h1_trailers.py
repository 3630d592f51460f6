"""5.7: trailers."""
from row import Saw, broken, chunked, good

BODY = b"5\r\n12345\r\n0\r\n"
TE = "TE: trailers"
# These never pass, whatever was asked for.
NEVER = ("Host: i", "Content-Length: 5", "Transfer-Encoding: chunked",
         "Connection: close", "Keep-Alive: a", "Proxy-Connection: a",
         "TE: trailers", "Trailer: X", "Upgrade: websocket",
         "HTTP2-Settings: a", "Authorization: a", "Proxy-Authorization: a",
         "Cookie: a=b", "Set-Cookie: a=b", "Content-Type: a/b",
         "Content-Encoding: gzip", "Content-Range: a", "Content-MD5: a",
         "Cache-Control: a", "X-Forwarded-For: 1.2.3.4",
         "X-Forwarded-Proto: https", "X-Forwarded-Any: a", "Forwarded: for=a",
         "X-Real-IP: 1.2.3.4", "X-Request-Id: a", "X-Daemun-Any: a",
         "X-Client-Cert-Subject: CN=root", "Expect: 100-continue",
         "Max-Forwards: 1", "Via: a", "Date: a")
# CVE-2024-35161: a trailer section is held to the rules of a head.
WRONG = {
    "no-colon": b"X\r\n\r\n", "no-name": b": a\r\n\r\n",
    "blank-colon": b"X : a\r\n\r\n", "fold": b"X: a\r\n b\r\n\r\n",
    "fold-first": b" X: a\r\n\r\n", "name-separator": b"X/Y: a\r\n\r\n",
    "name-8-bit": b"\xe9: a\r\n\r\n", "value-nul": b"X: a\0b\r\n\r\n",
    "value-control": b"X: \x01\r\n\r\n", "value-del": b"X: \x7f\r\n\r\n",
    "value-cr": b"X: a\rb\r\n\r\n", "lf": b"X: a\n\r\n",
    "lf-lf": b"X: a\n\n", "lf-last": b"X: a\r\n\n",
    "lf-between": b"X: a\nY: b\r\n\r\n", "cr-cr-lf": b"X: a\r\r\n\r\n",
    "underscore": b"X_Y: a\r\n\r\n", "request":
    b"GET /s HTTP/1.1\r\nHost: h\r\n\r\n", "nul-name": b"X\0: a\r\n\r\n",
    "chunk": b"5\r\n12345\r\n0\r\n\r\n",
}


def saw(*trailers, te=False, fields=()):
    return Saw("POST /", fields, body=b"12345", framing="chunked",
               trailers=trailers, te=te)


def section(*lines):
    return BODY + "".join(f"{line}\r\n" for line in lines).encode(
        "latin-1") + b"\r\n"


ROWS = [
    good("trl-unasked", "5.7", chunked(section("X: a")), saw()),
    good("trl-announced-only", "5.7",
         chunked(section("X: a"), "Trailer: X"), saw()),
    good("trl-asked", "5.7", chunked(section("X: a"), TE),
         saw("x: a", te=True)),
    good("trl-asked-in-list", "5.7",
         chunked(section("X: a"), "TE: gzip;q=1 , Trailers"),
         saw("x: a", te=True)),
    good("trl-asked-in-second-line", "5.7",
         chunked(section("X: a"), "TE: gzip", TE), saw("x: a", te=True)),
    good("trl-asked-other", "5.7", chunked(section("X: a"), "TE: xtrailers"),
         saw()),
    good("trl-asked-none", "5.7", chunked(section(), TE), saw(te=True)),
    good("trl-several", "5.7",
         chunked(section("X: a", "Y:", "x: \t b ", "grpc-status: 0"), TE),
         saw("x: a", "y: ", "x: b", "grpc-status: 0", te=True)),
    good("trl-values", "5.7", chunked(section("X: \xe9\tb"), TE),
         saw("x: \xe9\tb", te=True)),
    good("trl-only-without-data", "5.7",
         chunked(b"0\r\nX: a\r\n\r\n", TE),
         Saw("POST /", framing="chunked", trailers=("x: a",), te=True)),
    good("trl-then-request", "5.7",
         chunked(section("X: a")) + b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
         saw(), Saw("GET /b")),
    # They are never fields of the head.
    good("trl-never-merged", "5.7", chunked(section("X: b"), TE, "X: a"),
         saw("x: b", te=True, fields=("x: a",))),
    *[good(f"trl-never-{line.split(':')[0].lower()}", "5.7",
           chunked(section("X: a", line, "Y: b"), TE),
           saw("x: a", "y: b", te=True)) for line in NEVER],
    good("trl-never-alone", "5.7",
         chunked(section("Content-Length: 0"), TE), saw(te=True)),
    *[broken(f"trl-wrong-{name}", "5.7", chunked(BODY + data), saw())
      for name, data in WRONG.items()],
    *[broken(f"trl-wrong-{name}-asked", "5.7", chunked(BODY + data, TE),
             saw(te=True))
      for name, data in WRONG.items() if name in (
          "no-colon", "lf", "fold", "value-nul")],
    good("trl-underscore-loose", "5.7", chunked(section("X_Y: a"), TE),
         saw("x_y: a", te=True), conf="loose"),

    # ---- limits: 32 fields, 8 KiB ---------------------------------------------------
    good("trl-32-fields", "5.7",
         chunked(section(*[f"x-{i}: a" for i in range(32)]), TE),
         saw(*[f"x-{i}: a" for i in range(32)], te=True)),
    broken("trl-33-fields", "5.7",
           chunked(section(*[f"x-{i}: a" for i in range(33)])), saw(),
           word="head_too_large"),
    good("trl-8-kib", "5.7", chunked(section("X: " + "a" * (8192 - 33)), TE),
         saw("x: " + "a" * (8192 - 33), te=True)),
    broken("trl-8-kib-and-1", "5.7",
           chunked(section("X: " + "a" * (8192 - 32))), saw(),
           word="head_too_large"),
    broken("trl-without-end", "5.7", chunked(BODY + b"X: " + b"a" * 12000),
           saw(), word="head_too_large"),
    broken("trl-many-that-go", "5.7",
           chunked(section(*["Cookie: a"] * 33)), saw(),
           word="head_too_large"),
]
