"""5.6: the chunked coding."""
from row import CLOSED, Row, Saw, broken, chunked, good

LAST = b"0\r\n\r\n"


def saw(body=b"", **kw):
    return Saw("POST /", body=body, framing="chunked", **kw)


def sent(name, rule, data, body=b"", **kw):
    """Chunks that are sound: the backend sees their data."""
    return good(name, rule, chunked(data), saw(body), **kw)


def wrong(name, rule, data, body=b"", **kw):
    """Chunks that are not; `body`: what stood before the fault."""
    return broken(name, rule, chunked(data), saw(body), **kw)


def cut(name, data, body):
    """The client leaves in the middle of it."""
    return Row(name, "R-LEN-9", chunked(data), (), CLOSED,
               (saw(body, is_cut=True),), eof=True)


# Behind the size of a chunk of five; those that end soundly, and those that
# do not.
EXTENSIONS = {
    "name": ";a", "value": ";a=b", "two": ";a=b;c=d", "quoted": ';a="b c"',
    "quoted-empty": ';a=""', "quoted-semicolon": ';a="b;c=d"',
    "quoted-escape": ';a="b\\"c\\\\"', "quoted-8-bit": ';a="\xe9"',
    "quoted-tab": ';a="\t"', "escape-blank": ';a="\\ "',
    "blank-before": " ;a", "blank-behind-semicolon": "; a",
    "blanks-around-equals": ";a = b", "tabs": "\t;\ta\t=\tb",
    "all-tchar": ";!#$%&'*+-.^_`|~=!#$%&'*+-.^_`|~",
    "digits": ";1=2", "two-blanks-between": ";a=b ; c",
    "quoted-then-name": ';a="b";c', "looks-like-framing":
    ";Transfer-Encoding=chunked", "quoted-looks-like-chunk": ';a="0"',
    "256-bytes": ";" + "a" * (256 - 4),
}
NO_EXTENSIONS = {
    "semicolon": ";", "semicolon-blank": "; ", "semicolons": ";;a",
    "semicolon-last": ";a;", "equals": ";a=", "equals-first": ";=a",
    "equals-twice": ";a==b", "equals-blank": ";a= ",
    "no-semicolon": "=b", "blank-only": " ", "tab-only": "\t",
    "blanks-then-name": " a", "comma": ",a", "colon": ":a",
    "blank-in-name": ";a b", "blank-in-value": ";a=b c",
    "blank-at-end": ";a ", "blank-behind-value": ";a=b ",
    "quote-open": ';a="b', "quote-alone": ';a="', "quote-in-token": ';a=b"c"',
    "quote-for-name": ';"a"=b', "text-behind-quote": ';a="b"c',
    "escape-last": ';a="b\\', "separator-in-name": ";a/b",
    "separator-in-value": ";a=b@c", "8-bit-name": ";\xe9",
    "8-bit-value": ";a=\xe9", "nul": ";a\0", "nul-quoted": ';a="\0"',
    "nul-escaped": ';a="\\\0"', "control-quoted": ';a="\x01"',
    "del-quoted": ';a="\x7f"', "vertical-tab": ";\x0ba",
    # CVE-2026-24033: CR and LF in a quoted value.
    "cr-quoted": ';a="\r"', "lf-quoted": ';a="\n"',
    "crlf-quoted": ';a="\r\n"', "lf-escaped": ';a="\\\n"',
    "cr": ";a\rb", "lf": ";a\nb",
    "257-bytes": ";" + "a" * (257 - 4), "1000-bytes": ";" + "a" * 1000,
    "256-digits-of-blanks": " " * 300,
}
NO_SIZES = {
    "empty": "", "minus": "-5", "minus-0": "-0", "plus": "+5", "hex": "0x5",
    "hex-capital": "0X5", "h": "5h", "hash": "#5", "dollar": "$5",
    "blank-first": " 5", "tab-first": "\t5", "blank-last": "5 ",
    "blank-inside": "1 0", "underscore": "1_0", "underscore-first": "_5",
    "comma": "1,0", "dot": "5.0", "g": "g", "8-bit": "\xb5", "nul": "5\0",
    "nul-first": "\0005", "quoted": '"5"', "semicolon-first": ";a",
    "vertical-tab": "\x0b5", "form-feed": "5\x0c", "del": "5\x7f",
    "percent": "%35", "full-width": "\xef\xbc\x95",
    # nginx 1.29.4, fixed 2026-08: sizes at the ends of integers.
    "2^63": "8000000000000000", "2^64-1": "ffffffffffffffff",
    "2^64-5": "fffffffffffffffb", "17-digits": "10000000000000005",
    "17-zeros": "00000000000000005", "2^64": "10000000000000000",
    "30-digits": "f" * 30, "300-digits": "0" * 300 + "5",
}
BODY = b"12345"

ROWS = [
    # ---- R-CHK-1: the size ----------------------------------------------------------
    *[wrong(f"chk-size-{name}", "R-CHK-1",
            text.encode("latin-1") + b"\r\n" + BODY + b"\r\n" + LAST)
      for name, text in NO_SIZES.items()],
    wrong("chk-size-second-empty", "R-CHK-1",
          b"5\r\n12345\r\n\r\n" + LAST, BODY),
    wrong("chk-size-second-minus", "R-CHK-1",
          b"5\r\n12345\r\n-1\r\n" + LAST, BODY),
    wrong("chk-size-second-line-empty-first", "R-CHK-1",
          b"\r\n5\r\n12345\r\n" + LAST),
    sent("chk-size-one-digit", "R-CHK-1", b"5\r\n12345\r\n" + LAST, BODY),
    sent("chk-size-16-digits", "R-CHK-1",
         b"0000000000000005\r\n12345\r\n" + LAST, BODY),
    sent("chk-size-lower-hex", "R-CHK-1", b"a\r\n1234567890\r\n" + LAST,
         b"1234567890"),
    sent("chk-size-upper-hex", "R-CHK-1", b"1A\r\n" + b"x" * 26 + b"\r\n" +
         LAST, b"x" * 26),
    sent("chk-size-mixed-hex", "R-CHK-1", b"fF\r\n" + b"x" * 255 + b"\r\n" +
         LAST, b"x" * 255),
    # 64-bit sizes are sizes; the client leaves before the end of the chunk.
    cut("chk-size-2^31", b"80000000\r\nabc", b"abc"),
    cut("chk-size-2^32", b"100000000\r\nabc", b"abc"),
    cut("chk-size-2^32+3", b"100000003\r\nabc\r\n0\r\n\r\n",
        b"abc\r\n0\r\n\r\n"),
    cut("chk-size-2^63-1", b"7fffffffffffffff\r\nabc", b"abc"),

    # ---- R-CHK-2, -3: extensions go -----------------------------------------------------
    *[sent(f"chk-ext-{name}", "R-CHK-2",
           b"5" + text.encode("latin-1") + b"\r\n12345\r\n" + LAST, BODY)
      for name, text in EXTENSIONS.items()],
    *[wrong(f"chk-ext-{name}", "R-CHK-3",
            b"5" + text.encode("latin-1") + b"\r\n12345\r\n" + LAST)
      for name, text in NO_EXTENSIONS.items()],
    sent("chk-ext-of-last", "R-CHK-2", b"5\r\n12345\r\n0;a=b\r\n\r\n", BODY),
    wrong("chk-ext-of-last-bad", "R-CHK-3", b"5\r\n12345\r\n0;\r\n\r\n", BODY),
    wrong("chk-ext-lf-ends", "R-CHK-3", b"5;a\n12345\r\n" + LAST),
    wrong("chk-ext-quoted-lf-ends", "R-CHK-3", b'5;a="b"\n12345\r\n' + LAST),
    wrong("chk-ext-cr-cr-lf", "R-CHK-3", b"5;a\r\r\n12345\r\n" + LAST),

    # ---- R-LIN-2, R-CHK-4: CR LF behind lines and data -----------------------------------
    # CVE-2025-22871, HAProxy 2024-01
    wrong("chk-line-lf", "R-LIN-2", b"5\n12345\r\n" + LAST),
    wrong("chk-line-cr", "R-LIN-2", b"5\r12345\r\n" + LAST),
    wrong("chk-line-cr-cr-lf", "R-LIN-2", b"5\r\r\n12345\r\n" + LAST),
    wrong("chk-line-lf-cr", "R-LIN-2", b"5\n\r12345\r\n" + LAST),
    # CVE-2025-30346, CVE-2025-47905
    wrong("chk-data-no-crlf", "R-CHK-4", b"5\r\n123450\r\n\r\n", BODY),
    wrong("chk-data-lf", "R-CHK-4", b"5\r\n12345\n" + LAST, BODY),
    wrong("chk-data-cr", "R-CHK-4", b"5\r\n12345\r" + LAST, BODY),
    wrong("chk-data-lf-cr", "R-CHK-4", b"5\r\n12345\n\r" + LAST, BODY),
    wrong("chk-data-blank", "R-CHK-4", b"5\r\n12345 \r\n" + LAST, BODY),
    wrong("chk-data-longer", "R-CHK-4", b"5\r\n123456\r\n" + LAST, BODY),
    wrong("chk-data-shorter", "R-CHK-4", b"5\r\n1234\r\n" + LAST,
          b"1234\r"),
    wrong("chk-data-two-crlf", "R-CHK-4", b"5\r\n12345\r\n\r\n" + LAST, BODY),
    wrong("chk-data-nul", "R-CHK-4", b"5\r\n12345\0\n" + LAST, BODY),
    wrong("chk-last-lf", "R-LIN-2", b"5\r\n12345\r\n0\n\r\n", BODY),
    wrong("chk-last-lf-only", "R-LIN-2", b"5\r\n12345\r\n0\n\n", BODY),
    wrong("chk-end-lf", "R-LIN-1", b"5\r\n12345\r\n0\r\n\n", BODY),
    wrong("chk-end-cr-cr", "R-LIN-3", b"5\r\n12345\r\n0\r\n\r\r\n\r\n", BODY),

    # ---- R-CHK-5: overhead (CVE-2023-39326) ------------------------------------------------
    wrong("chk-overhead", "R-CHK-5",
          (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100 + LAST, b"x" * 100),
    wrong("chk-overhead-digits-free", "R-CHK-5",
          (b"1;" + b"a" * 240 + b"\r\nx\r\n") * 300 + LAST, b"x" * 300),
    sent("chk-overhead-small-body", "R-CHK-5",
         (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 20 + LAST, b"x" * 20),
    sent("chk-one-byte-chunks", "R-CHK-5", b"1\r\nx\r\n" * 4000 + LAST,
         b"x" * 4000),

    # ---- R-CHK-6: chunks are made anew --------------------------------------------------------
    sent("chk-three-chunks", "R-CHK-6",
         b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n" + LAST, b"abcdef"),
    sent("chk-data-is-crlf", "R-CHK-6", b"2\r\n\r\n\r\n" + LAST, b"\r\n"),
    sent("chk-data-is-last-chunk", "R-CHK-6",
         b"5\r\n0\r\n\r\n\r\n" + LAST, b"0\r\n\r\n"),
    sent("chk-data-is-request", "R-CHK-6",
         b"1c\r\nGET /s HTTP/1.1\r\nHost: h\r\n\r\n\r\n" + LAST,
         b"GET /s HTTP/1.1\r\nHost: h\r\n\r\n"),
    sent("chk-data-every-byte", "R-CHK-6",
         b"100\r\n" + bytes(range(256)) + b"\r\n" + LAST, bytes(range(256))),
    sent("chk-large", "R-CHK-6",
         b"9c40\r\n" + b"0123456789" * 4000 + b"\r\n" + LAST,
         b"0123456789" * 4000),
    good("chk-then-request", "R-CHK-6",
         chunked(b"5\r\n12345\r\n" + LAST) +
         b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n", saw(BODY), Saw("GET /b")),

    # ---- R-CHK-7: the last chunk ------------------------------------------------------------------
    good("chk-empty", "R-CHK-7", chunked(LAST),
         Saw("POST /", framing="empty")),
    good("chk-empty-000", "R-CHK-7", chunked(b"000\r\n\r\n"),
         Saw("POST /", framing="empty")),
    good("chk-empty-16-zeros", "R-CHK-7", chunked(b"0" * 16 + b"\r\n\r\n"),
         Saw("POST /", framing="empty")),
    sent("chk-last-00", "R-CHK-7", b"5\r\n12345\r\n00\r\n\r\n", BODY),
    wrong("chk-last-17-zeros", "R-CHK-7",
          b"5\r\n12345\r\n" + b"0" * 17 + b"\r\n\r\n", BODY),
    Row("chk-last-without-crlf", "R-CHK-7",
        chunked(b"5\r\n12345\r\n0\r\n"), (), CLOSED,
        (saw(BODY, is_cut=True),), eof=True),
    Row("chk-last-twice", "R-CHK-7", chunked(b"5\r\n12345\r\n" + LAST + LAST),
        (200, "bad_request"), CLOSED, (saw(BODY),)),

    # ---- the client leaves ------------------------------------------------------------------------
    cut("chk-end-before-size", b"", b""),
    cut("chk-end-in-size", b"5", b""),
    cut("chk-end-behind-size", b"5\r", b""),
    cut("chk-end-before-data", b"5\r\n", b""),
    cut("chk-end-in-data", b"5\r\n123", b"123"),
    cut("chk-end-behind-data", b"5\r\n12345", b"12345"),
    cut("chk-end-between-chunks", b"5\r\n12345\r\n", b"12345"),
    cut("chk-end-in-last", b"5\r\n12345\r\n0", b"12345"),
    cut("chk-end-in-trailers", b"5\r\n12345\r\n0\r\nX: a\r\n", b"12345"),
    # ---- what the route takes ------------------------------------------------------------------------
    # More may come without end: the connection is not kept for it.
    wrong("chk-over-route", "R-CHK-1",
          b"9\r\n123456789\r\n1\r\nx\r\n" + LAST, b"123456789",
          word="body_too_large", conf="small"),
    good("chk-at-route", "R-CHK-1",
         chunked(b"4\r\n1234\r\n4\r\n5678\r\n" + LAST), saw(b"12345678"),
         conf="small"),
]
