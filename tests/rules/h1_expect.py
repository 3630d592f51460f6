"""5.10: Expect (what backends answer is in the tables of responses)."""
from row import CLOSED, Row, Saw, bad, chunked, get, good, head, post

E = "Expect: 100-continue"
REQUEST = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


def saw(body=b"12345", method="POST"):
    return Saw(f"{method} /", body=body, framing="length")


def fails(name, value, **kw):
    return bad(f"exp-{name}", "R-EXP-1",
               post(f"Expect:{value}", "Content-Length: 5", body=b"12345"),
               "bad_expectation", **kw)


ROWS = [
    # ---- R-EXP-1 ------------------------------------------------------------------
    good("exp-continue", "R-EXP-2", post(E, "Content-Length: 5",
                                         body=b"12345"),
         saw(), interim=(100,)),
    good("exp-continue-case", "R-EXP-1",
         post("Expect: 100-CONTINUE", "Content-Length: 5", body=b"12345"),
         saw(), interim=(100,)),
    good("exp-continue-blanks-around", "R-EXP-1",
         post("Expect: \t100-continue ", "Content-Length: 5", body=b"12345"),
         saw(), interim=(100,)),
    good("exp-continue-chunked", "R-EXP-2",
         chunked(b"5\r\n12345\r\n0\r\n\r\n", E),
         Saw("POST /", body=b"12345", framing="chunked"), interim=(100,)),
    good("exp-continue-put", "R-EXP-2",
         head("PUT / HTTP/1.1", E, "Content-Length: 5") + b"12345",
         saw(method="PUT"), interim=(100,)),
    # CVE-2025-32094: the method changes nothing.
    good("exp-continue-options", "R-EXP-2",
         head("OPTIONS / HTTP/1.1", E, "Content-Length: 5") + b"12345",
         saw(method="OPTIONS"), interim=(100,)),
    good("exp-continue-delete", "R-EXP-2",
         head("DELETE / HTTP/1.1", E, "Content-Length: 5") + b"12345",
         saw(method="DELETE"), interim=(100,)),
    good("exp-listed-in-connection", "R-EXP-2",
         post(E, "Connection: Expect", "Content-Length: 5", body=b"12345"),
         saw(), interim=(100,)),
    fails("other", " 200-ok"), fails("101", " 101-continue"),
    fails("empty", ""), fails("number", " 100"),
    fails("suffix", " 100-continued"), fails("prefix", " x100-continue"),
    fails("list", " 100-continue, x"),
    fails("list-twice", " 100-continue, 100-continue"),
    fails("comma", " 100-continue,"), fails("comma-first", " ,100-continue"),
    fails("parameter", " 100-continue;q=1"),
    fails("quoted", ' "100-continue"'), fails("blank", " 100 continue"),
    fails("underscore", " 100_continue"), fails("8-bit", " 100-continu\xe9"),
    bad("exp-no-body", "R-EXP-1", get(E), "bad_expectation"),
    bad("exp-length-0", "R-EXP-1", post(E, "Content-Length: 0"),
        "bad_expectation"),
    bad("exp-post-neither", "R-EXP-1", post(E), "bad_expectation"),
    bad("exp-other-without-body", "R-EXP-1", get("Expect: x"),
        "bad_expectation"),
    bad("exp-doubt-goes-first", "R-EXP-1",
        post("Expect: x", "Content-Length: 5", "Content-Length: 5",
             body=b"12345")),
    bad("exp-head-with-body", "R-EXP-1",
        head("HEAD / HTTP/1.1", E, "Content-Length: 5") + b"12345",
        "bad_request", head=True),
    # ---- HTTP/1.0: ignored and removed
    good("exp-1.0", "R-EXP-1",
         head("POST / HTTP/1.0", E, "Content-Length: 5") + b"12345",
         saw(), fate=CLOSED),
    good("exp-1.0-other", "R-EXP-1",
         head("POST / HTTP/1.0", "Expect: x", "Content-Length: 5") +
         b"12345", saw(), fate=CLOSED),
    good("exp-1.0-no-body", "R-EXP-1", head("GET / HTTP/1.0", E),
         Saw("GET /"), fate=CLOSED),

    # ---- R-EXP-3, -4: what stands behind the head is its body (CVE-2025-55702) ----
    good("exp-body-is-request", "R-EXP-4",
         post(E, f"Content-Length: {len(REQUEST)}", body=REQUEST),
         saw(REQUEST), interim=(100,)),
    bad("exp-refused-body-is-request", "R-EXP-4",
        post("Expect: x", f"Content-Length: {len(REQUEST)}", body=REQUEST),
        "bad_expectation"),
    # Whether the body comes nobody knows: the connection is not kept for it.
    bad("exp-over-route", "R-EXP-3",
        post(E, "Content-Length: 9", body=b"123456789"), "body_too_large",
        conf="small"),
    bad("exp-get-body", "R-EXP-3",
        get(E, f"Content-Length: {len(REQUEST)}") + REQUEST,
        "body_unwanted"),
    Row("exp-end-before-body", "R-EXP-2", post(E, "Content-Length: 5"), (),
        CLOSED, (Saw("POST /", framing="length", length=5, is_cut=True),),
        interim=(100,), eof=True),
]
