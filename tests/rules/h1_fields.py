"""5.4: header fields."""
from row import Saw, bad, get, good, head, post

# Each of these bytes is a decision of its own in the table of names.
SEPARATORS = {"paren-open": "(", "paren-close": ")", "comma": ",",
              "slash": "/", "semicolon": ";", "less": "<", "equals": "=",
              "greater": ">", "question": "?", "at": "@",
              "bracket-open": "[", "backslash": "\\", "bracket-close": "]",
              "brace-open": "{", "brace-close": "}", "dquote": '"',
              "blank": " ", "tab": "\t", "del": "\x7f", "x80": "\x80",
              "xff": "\xff", "vertical-tab": "\x0b", "form-feed": "\x0c",
              "x01": "\x01", "x1f": "\x1f"}
# Controls in a value, where the parser looks at eight bytes at once and where
# it does not. (NUL, LF and CR are in h1_lines.)
CONTROLS = [c for c in range(0x01, 0x20) if c not in (9, 10, 13)] + [0x7f]
TEXT = "".join(map(chr, [9, *range(0x20, 0x7f), *range(0x80, 0x100)])).strip()
NAMES = "!#$%&'*+-.^`|~09azAZ"


def field_of(n):
    """A line of n bytes of value, as the limit counts them."""
    return f"X: {'a' * n}"


def many(n):
    return [f"x-{i}: {i}" for i in range(n)]


ROWS = [
    # ---- R-HDR-1: names -------------------------------------------------------
    *[bad(f"hdr-name-{name}", "R-HDR-1", get(f"X{c}Y: a"))
      for name, c in SEPARATORS.items()],
    # CVE-2023-25725: an empty name ends no list of fields.
    bad("hdr-name-empty", "R-HDR-1", get(": a")),
    bad("hdr-name-empty-before-framing", "R-HDR-1",
        post(": a", "Content-Length: 5", body=b"12345")),
    bad("hdr-name-empty-behind-framing", "R-HDR-1",
        post("Content-Length: 5", ":", body=b"12345")),
    bad("hdr-colon-alone", "R-HDR-1", get(":")),
    bad("hdr-colon-missing", "R-HDR-1", get("X a")),
    bad("hdr-name-alone", "R-HDR-1", get("X")),
    bad("hdr-colon-first", "R-HDR-1", get(":X: a")),
    bad("hdr-pseudo", "R-HDR-1", get(":path: /a")),
    bad("hdr-first-line-without-colon", "R-HDR-1",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n"),
    good("hdr-name-all-tchar", "R-HDR-1", get(f"{NAMES}: a"),
         Saw("GET /", (f"{NAMES.lower()}: a",))),
    good("hdr-name-long", "R-HDR-1", get("X" * 4000 + ": a"),
         Saw("GET /", ("x" * 4000 + ": a",))),
    good("hdr-name-digits", "R-HDR-1", get("123: a"),
         Saw("GET /", ("123: a",))),
    good("hdr-name-one-byte", "R-HDR-1", get("~: a"), Saw("GET /", ("~: a",))),

    # ---- R-HDR-2: nothing between name and colon --------------------------------
    bad("hdr-blank-colon", "R-HDR-2", get("X : a")),
    bad("hdr-tab-colon", "R-HDR-2", get("X\t: a")),
    bad("hdr-blank-colon-length", "R-HDR-2",
        post("Content-Length : 5", body=b"12345")),
    bad("hdr-blank-colon-coding", "R-HDR-2",
        post("Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    bad("hdr-blank-colon-host", "R-HDR-2", get("Host : h", host=None)),

    # ---- R-HDR-3: no folding (CVE-2025-32094) -----------------------------------
    bad("hdr-fold-blank", "R-HDR-3", get("X: a", " b")),
    bad("hdr-fold-tab", "R-HDR-3", get("X: a", "\tb")),
    bad("hdr-fold-empty", "R-HDR-3", get("X: a", " ")),
    bad("hdr-fold-empty-value", "R-HDR-3", get("X:", " a")),
    bad("hdr-fold-host", "R-HDR-3",
        b"GET / HTTP/1.1\r\nHost:\r\n h\r\n\r\n"),
    bad("hdr-fold-length", "R-HDR-3",
        post("Content-Length:", " 5", body=b"12345")),
    bad("hdr-fold-coding", "R-HDR-3",
        post("Transfer-Encoding:", "\tchunked", body=b"0\r\n\r\n")),
    bad("hdr-fold-hides-field", "R-HDR-3",
        post("X: a", " Content-Length: 5", body=b"12345")),
    bad("hdr-fold-options-expect", "R-HDR-3",
        head("OPTIONS / HTTP/1.1", "Expect:", " 100-continue",
             "Content-Length: 1") + b"x"),
    bad("hdr-fold-last", "R-HDR-3", get("X: a", " b", " c")),

    # ---- R-HDR-4: values ------------------------------------------------------------
    *[bad(f"hdr-value-x{c:02x}", "R-HDR-4", get(f"X: {chr(c)}"))
      for c in CONTROLS],
    # The same where the eight-byte step runs, at each of its places.
    *[bad(f"hdr-value-control-at-{at}", "R-HDR-4",
          get(f"X: {'a' * at}{chr(c)}{'b' * 20}"))
      for at, c in zip(range(7, 17), (0x01, 0x1f, 0x7f, 0x08, 0x0b, 0x0c, 0x1b,
                                      0x7f, 0x10, 0x0e))],
    bad("hdr-value-control-before-bad-neighbours", "R-HDR-4",
        get("X: aaaaaaaa\x80\xff\x7f\x80aaaaaaaa")),
    good("hdr-value-every-byte", "R-HDR-4", get(f"X: {TEXT}"),
         Saw("GET /", (f"x: {TEXT}",))),
    good("hdr-value-8-bit-words", "R-HDR-4", get("X: " + "\x80\xff\xfe" * 20),
         Saw("GET /", ("x: " + "\x80\xff\xfe" * 20,))),
    good("hdr-value-tab-in-word", "R-HDR-4", get("X: aaa\taaaaaaaaaaaa\tb"),
         Saw("GET /", ("x: aaa\taaaaaaaaaaaa\tb",))),
    good("hdr-value-empty", "R-HDR-4", get("X:"), Saw("GET /", ("x: ",))),
    good("hdr-value-blanks", "R-HDR-4", get("X: \t "), Saw("GET /", ("x: ",))),
    good("hdr-value-trimmed", "R-HDR-4", get("X: \t a b \t "),
         Saw("GET /", ("x: a b",))),
    good("hdr-value-no-blank", "R-HDR-4", get("X:a"), Saw("GET /", ("x: a",))),
    good("hdr-value-colons", "R-HDR-4", get("X: a:b: c"),
         Saw("GET /", ("x: a:b: c",))),
    good("hdr-value-of-7", "R-HDR-4", get("X: 1234567"),
         Saw("GET /", ("x: 1234567",))),
    good("hdr-value-of-8", "R-HDR-4", get("X: 12345678"),
         Saw("GET /", ("x: 12345678",))),
    good("hdr-value-of-9", "R-HDR-4", get("X: 123456789"),
         Saw("GET /", ("x: 123456789",))),
    good("hdr-value-utf-8", "R-HDR-4", get("X: \xe2\x82\xac"),
         Saw("GET /", ("x: \xe2\x82\xac",))),
    good("hdr-value-quotes", "R-HDR-4", get('X: "a\\"b", c=d;e'),
         Saw("GET /", ('x: "a\\"b", c=d;e',))),
    good("hdr-value-looks-like-request", "R-HDR-4",
         get("X: GET / HTTP/1.1"), Saw("GET /", ("x: GET / HTTP/1.1",))),

    # ---- R-HDR-5, -6: the underscore -------------------------------------------------
    bad("hdr-underscore", "R-HDR-5", get("X_Y: a")),
    bad("hdr-underscore-first", "R-HDR-5", get("_x: a")),
    bad("hdr-underscore-last", "R-HDR-5", get("x_: a")),
    bad("hdr-underscore-alone", "R-HDR-5", get("_: a")),
    bad("hdr-underscore-length", "R-HDR-6",
        post("Content_Length: 5", body=b"12345")),
    bad("hdr-underscore-coding", "R-HDR-6",
        post("Transfer_Encoding: chunked", body=b"0\r\n\r\n")),
    bad("hdr-underscore-host", "R-HDR-6", get("HTTP_HOST: i")),
    bad("hdr-underscore-forwarded", "R-HDR-6", get("X_Forwarded_For: 1.2.3.4")),
    good("hdr-underscore-in-value", "R-HDR-5", get("X: a_b"),
         Saw("GET /", ("x: a_b",))),
    good("hdr-underscore-loose", "R-HDR-5", get("X_Y: a"),
         Saw("GET /", ("x_y: a",)), conf="loose"),
    good("hdr-underscore-loose-is-no-framing", "R-HDR-6",
         get("Content_Length: 5"), Saw("GET /", ("content_length: 5",)),
         conf="loose"),
    # CVE-2019-18277: a name of framing with a control behind it.
    bad("hdr-coding-vertical-tab-name", "R-HDR-6",
        post("Transfer-Encoding\x0b: chunked", body=b"0\r\n\r\n")),
    bad("hdr-length-8-bit-name", "R-HDR-6",
        post("Content-Length\xa0: 5", body=b"12345")),
    bad("hdr-coding-tab-first", "R-HDR-6",
        post("X: a", "\tTransfer-Encoding: chunked", body=b"0\r\n\r\n")),
    good("hdr-length-longer-name", "R-HDR-6", get("Content-Lengthx: 5"),
         Saw("GET /", ("content-lengthx: 5",))),
    good("hdr-coding-shorter-name", "R-HDR-6", get("Transfer-Encodin: chunked"),
         Saw("GET /", ("transfer-encodin: chunked",))),

    # ---- R-HDR-7: those that stand once ------------------------------------------------
    bad("hdr-two-content-type", "R-HDR-7",
        get("Content-Type: a/b", "Content-Type: a/b")),
    bad("hdr-two-authorization", "R-HDR-7",
        get("Authorization: Basic a", "authorization: Basic b")),
    bad("hdr-two-proxy-authorization", "R-HDR-7",
        get("Proxy-Authorization: a", "Proxy-Authorization: a")),
    bad("hdr-two-expect", "R-HDR-7",
        post("Expect: 100-continue", "Expect: 100-continue",
             "Content-Length: 1", body=b"x")),
    bad("hdr-two-content-type-apart", "R-HDR-7",
        get("Content-Type: a/b", "X: a", "CONTENT-TYPE: c/d")),
    bad("hdr-two-authorization-one-empty", "R-HDR-7",
        get("Authorization:", "Authorization: Basic a")),
    # CVE-2026-26308: lines of one name stay lines, in their order.
    good("hdr-repeated", "R-HDR-7", get("X: a", "Y: b", "x: c", "X: a"),
         Saw("GET /", ("x: a", "y: b", "x: c", "x: a"))),
    good("hdr-repeated-accept", "R-HDR-7", get("Accept: a/b", "Accept: c/d"),
         Saw("GET /", ("accept: a/b", "accept: c/d"))),
    good("hdr-common-request", "R-HDR-7",
         get("User-Agent: curl/8.0", "Accept: */*", "Cookie: a=b; c=d",
             "Authorization: Bearer x.y.z", "Cache-Control: no-cache",
             "If-None-Match: W/\"a\"", "Range: bytes=0-1", "Origin: http://h",
             "Accept-Encoding: gzip, br"),
         Saw("GET /", ("user-agent: curl/8.0", "accept: */*",
                       "cookie: a=b; c=d", "authorization: Bearer x.y.z",
                       "cache-control: no-cache", 'if-none-match: W/"a"',
                       "range: bytes=0-1", "origin: http://h",
                       "accept-encoding: gzip, br"))),
    good("hdr-cookie-lines-h1", "R-HDR-7", get("Cookie: a=b", "Cookie: c=d"),
         Saw("GET /", ("cookie: a=b", "cookie: c=d"))),

    # ---- R-HDR-8: limits ----------------------------------------------------------------
    good("hdr-100-fields", "R-HDR-8", get(*many(99)),
         Saw("GET /", tuple(many(99)))),
    bad("hdr-101-fields", "R-HDR-8", get(*many(100)), "head_too_large"),
    bad("hdr-1000-fields", "R-HDR-8", get(*["a: b"] * 1000),
        "head_too_large"),
    bad("hdr-101-fields-that-go", "R-HDR-8", get(*["Connection: x"] * 4,
                                                 *["TE: a"] * 96),
        "head_too_large"),
    good("hdr-value-of-16-kib", "R-HDR-8", get(field_of(16384)),
         Saw("GET /", ("x: " + "a" * 16384,))),
    bad("hdr-value-one-more", "R-HDR-8", get(field_of(16385)),
        "head_too_large"),
    # Host counts: 4 + 1 + 32; x: 1 + n + 32 for each.
    good("hdr-head-of-32-kib", "R-HDR-8",
         get(field_of(16384), field_of(32768 - 37 - 33 - 16384 - 33)),
         Saw("GET /", ("x: " + "a" * 16384,
                       "x: " + "a" * (32768 - 37 - 33 - 16384 - 33)))),
    bad("hdr-head-one-more", "R-HDR-8",
        get(field_of(16384), field_of(32768 - 37 - 33 - 16384 - 32)),
        "head_too_large"),
    bad("hdr-name-of-33-kib", "R-HDR-8", get("X" * 33000 + ": a"),
        "head_too_large"),
    bad("hdr-head-without-end", "R-HDR-8",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: aaaaaaaaaaaaaa\r\n" * 2600,
        "head_too_large"),
    bad("hdr-line-without-end", "R-HDR-8",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 50000,
        "head_too_large"),
    # CVE-2021-40346: a name that does not fit where its length is kept.
    bad("hdr-name-of-integer-overflow", "R-HDR-8",
        post("Content-Length0" + "a" * 255 + ":", "Content-Length: 5",
             "Content-Length: 60", body=b"12345")),
    good("hdr-name-of-270", "R-HDR-8",
         post("Content-Length0" + "a" * 255 + ":", "Content-Length: 5",
              body=b"12345"),
         Saw("POST /", ("content-length0" + "a" * 255 + ": ",),
             body=b"12345", framing="length")),
    # CVE-2025-58186: thousands of cookies in one line are one field.
    good("hdr-thousands-of-cookies", "R-HDR-8",
         get("Cookie: " + "; ".join(["a=b"] * 3000)),
         Saw("GET /", ("cookie: " + "; ".join(["a=b"] * 3000),))),
    # CVE-2019-14241: cookies that begin with a delimiter.
    good("hdr-cookie-delimiters", "R-HDR-8", get("Cookie: ;;; ;=;=a;,"),
         Saw("GET /", ("cookie: ;;; ;=;=a;,",))),

    # ---- R-HDR-9: Max-Forwards -----------------------------------------------------------
    good("hdr-max-forwards", "R-HDR-9",
         head("OPTIONS /x HTTP/1.1", "Max-Forwards: 5"),
         Saw("OPTIONS /x", ("max-forwards: 4",))),
    good("hdr-max-forwards-1", "R-HDR-9",
         head("OPTIONS /x HTTP/1.1", "Max-Forwards: 1"),
         Saw("OPTIONS /x", ("max-forwards: 0",))),
    good("hdr-max-forwards-get", "R-HDR-9", get("Max-Forwards: 5"),
         Saw("GET /", ("max-forwards: 5",))),
    good("hdr-max-forwards-large", "R-HDR-9",
         head("OPTIONS /x HTTP/1.1", "Max-Forwards: 4294967296"),
         Saw("OPTIONS /x", ("max-forwards: 4294967295",))),
    good("hdr-max-forwards-word", "R-HDR-9",
         head("OPTIONS /x HTTP/1.1", "Max-Forwards: x"),
         Saw("OPTIONS /x", ("max-forwards: x",))),
]
