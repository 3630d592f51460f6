#!/usr/bin/env python3
"""Includes go strictly downward. A file of src/ may include its own layer and
those below it; a module and include/ see include/ alone."""
import re
from source import files, finish, read

LAYERS = ["base", "net", "http", "upstream", "proxy", "control", "kube"]
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def problem(path, quote, name):
    parts = path.split("/")
    first = name.split("/")[0]
    if parts[0] in ("modules", "include"):
        if first in LAYERS:
            return (f"includes {name}: {parts[0]}/ sees include/daemun only; "
                    "what is missing there belongs into the module API")
        return None
    if first in LAYERS and quote == "<":
        return f'includes <{name}>: write "{name}"'
    if quote == '"' and first not in LAYERS and first != "daemun":
        return f'includes "{name}": name it from src/, as "base/str.h"'
    if first not in LAYERS or len(parts) < 3:
        return None
    if LAYERS.index(first) > LAYERS.index(parts[1]):
        return (f"includes {name}: {parts[1]}/ is below {first}/; declare in "
                f"{parts[1]}/ the call that it makes, and let {first}/ "
                "implement it")
    return None


findings = []
for path in files("src/**/*.[ch]", "include/**/*.h", "modules/**/*.[ch]"):
    for number, line in enumerate(read(path).split("\n"), 1):
        match = INCLUDE.match(line)
        told = match and problem(path, *match.groups())
        if told:
            findings.append(f"{path}:{number}: {told}")
finish(findings)
