"""A row of the rule table: bytes that a client sends, and what must follow.

Behind the input of every row stands a sound request, AFTER. It is answered,
and seen by the backend, only where the row says that the connection is KEPT;
where it is CLOSED the client gets the answers of the row, then the end, and
no backend sees anything but what the row says. In a TUNNEL it comes back."""
import dataclasses
import os
import re

KEPT, CLOSED, TUNNEL = "kept", "closed", "tunnel"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


@dataclasses.dataclass(frozen=True)
class Saw:
    """A request as the backend must see it, but for the fields that the
    gateway makes. `line`: method and target; `fields`, `trailers`: lines
    "name: value". `framing`: None (no body, and nothing said about one),
    "length", "chunked" (HTTP/1.1; in HTTP/2 nothing is said), "empty" (a
    chunked body without data: either of the two), "upgrade". `te`: in HTTP/2,
    "te: trailers" goes on. `is_cut`: the body breaks off: the backend sees
    nothing, or the head with a beginning of the body, but never an end.
    `host` None: the address of the backend, for the client named none."""
    line: str
    fields: tuple = ()
    host: str = "h"
    body: bytes = b""
    framing: str = None
    trailers: tuple = ()
    te: bool = False
    is_cut: bool = False
    length: int = None  # announced, where the body does not have it


@dataclasses.dataclass(frozen=True)
class Row:
    """`answer`: statuses, or the words of faults (base/fault.def); `backend`:
    what it sees, in order; `interim`: 1xx in front of the first answer;
    `eof`: the client ends its side behind the input, AFTER is not sent;
    `conf`: which gateway ("plain", or see bench.CONFS); `only`: the one
    backend protocol for which this holds; `tls`: runs through TLS as it is;
    `head`: the answers are to HEAD; `connection`: what the field of that name
    says in answers behind which the connection stays."""
    id: str
    rule: str
    input: bytes
    answer: tuple
    fate: str
    backend: tuple = ()
    interim: tuple = ()
    eof: bool = False
    conf: str = "plain"
    only: str = None
    tls: bool = True
    head: bool = False
    connection: str = None


AFTER = b"GET /after HTTP/1.1\r\nHost: after\r\n\r\n"
AFTER_SAW = Saw("GET /after", host="after")


def fault_rows():
    """{word: (status, text)} of base/fault.def."""
    path = os.path.join(ROOT, "src", "base", "fault.def")
    with open(path, encoding="ascii") as file:
        found = re.findall(
            r'^FAULT\(\w+, "(\w+)", (\d+),[^"]*((?:"(?:[^"\\]|\\.)*"\s*)+)\)',
            file.read(), re.M)
    return {word: (int(status), c_text(text)) for word, status, text in found}


def c_text(literals):
    """The text of C string literals that stand side by side."""
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"', literals)
    return re.sub(r"\\(.)", r"\1", "".join(parts))


# ---- how rows are written -------------------------------------------------

def raw(text):
    """Text as bytes; each "\\n" becomes CR LF."""
    return text.replace("\n", "\r\n").encode("latin-1")


def head(line, *fields, host="h"):
    """The bytes of a head; `host` None: no Host."""
    lines = [line] + ([f"Host: {host}"] if host is not None else [])
    return "".join(f"{text}\r\n" for text in (*lines, *fields)).encode(
        "latin-1") + b"\r\n"


def get(*fields, target="/", host="h", version="HTTP/1.1"):
    return head(f"GET {target} {version}", *fields, host=host)


def post(*fields, body=b"", target="/"):
    return head(f"POST {target} HTTP/1.1", *fields) + body


def chunked(body, *fields):
    return post("Transfer-Encoding: chunked", *fields, body=body)


def bad(name, rule, data, word="bad_request", **kw):
    """Refused before a backend hears of it, and the connection is closed."""
    return Row(name, rule, data, (word,), CLOSED, **kw)


def good(name, rule, data, *saw, fate=KEPT, answer=None, **kw):
    """Served, one answer for each request that the backend sees."""
    return Row(name, rule, data, answer or (200,) * len(saw), fate, saw, **kw)


def broken(name, rule, data, saw, word="bad_request", **kw):
    """The head is sound, the body is not: it never comes to an end."""
    return Row(name, rule, data, (word,), CLOSED,
               (dataclasses.replace(saw, is_cut=True),), **kw)
