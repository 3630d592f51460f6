"""All rows about HTTP/1 requests: a module for each section of the rules."""
import collections
import importlib

MODULES = ("lines", "target", "host", "fields", "length", "chunked",
           "trailers", "path", "hop", "expect", "upgrade", "reuse",
           "forwarded")
ROWS = [row for name in MODULES
        for row in importlib.import_module(f"h1_{name}").ROWS]

_twice = [name for name, n in collections.Counter(
    row.id for row in ROWS).items() if n > 1]
assert not _twice, f"rows of one name: {_twice}"


def rows_for(kind):
    return [row for row in ROWS if row.only in (None, kind)]
