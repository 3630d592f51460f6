#!/usr/bin/env python3
"""No function over 100 lines, no .c over 800, no .h over 250. Exceptions stand
in sizes.allow, one a line, with the reason: `path[:function] reason`."""
import re
from source import code, files, finish, read

FUNCTION_MAX = 100
FILE_MAX = {"c": 800, "h": 250}


def allowed():
    exceptions = {}
    for line in read("tests/lint/sizes.allow").split("\n"):
        name, _, reason = line.partition(" ")
        if name and not name.startswith("#") and reason.strip():
            exceptions[name] = reason
    return exceptions


def functions(lines):
    """(name, first line, number of lines) of each function body."""
    begun = None
    head = ""
    for number, line in enumerate(lines, 1):
        if re.match(r"\w.*\(", line):
            head = line
        if line == "{":
            begun = number
        elif line.startswith("}") and begun is not None:
            match = re.search(r"(\w+)\s*\(", head)
            yield match.group(1) if match else "?", begun, number - begun
            begun = None


allow = allowed()
used = set()
findings = []
for path in files("src/**/*.[ch]", "include/**/*.h", "modules/**/*.[ch]",
                  "demo/*.[ch]"):
    lines = code(path)
    sizes = [(path, 1, len(lines) - 1, FILE_MAX[path[-1]],
              "split it by what its parts are about")]
    sizes += [(f"{path}:{name}", begun, n, FUNCTION_MAX,
               "give a part of it a name of its own")
              for name, begun, n in functions(lines)]
    for name, begun, n, most, advice in sizes:
        if n > most and name not in allow:
            findings.append(f"{path}:{begun}: {name} has {n} lines, "
                            f"at most {most}: {advice}")
        elif n > most:
            used.add(name)
for name in sorted(set(allow) - used):
    findings.append(f"tests/lint/sizes.allow: {name} needs no exception: "
                    "remove the line")
finish(findings)
