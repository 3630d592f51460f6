#!/usr/bin/env python3
"""Text of every kept file: no unfinished business, no tabs in C, no blanks at
the end of a line, a line feed at the end, no C line over 80 columns."""
import re
import subprocess
from source import finish, read

# Spelled apart, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
TEXT = (".c", ".h", ".def", ".py", ".sh", ".md", ".conf", ".txt", ".proto")

listed = subprocess.run(
    ["git", "ls-files", "-co", "--exclude-standard"], check=True,
    capture_output=True, text=True).stdout.split("\n")
findings = []
for path in sorted(set(listed)):
    if not path.endswith(TEXT):
        continue
    try:
        text = read(path)
    except FileNotFoundError:
        continue
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path}:{number}: "
        if UNFINISHED.search(line):
            findings.append(where + "unfinished: do it, or write an issue")
        if line != line.rstrip():
            findings.append(where + "blanks at the end of the line")
        if path.endswith((".c", ".h")) and "\t" in line:
            findings.append(where + "a tab: indent by 4 spaces")
        if path.endswith(".def") and len(line) > 80:
            findings.append(where + "over 80 columns: break the line")
    if text and not text.endswith("\n"):
        findings.append(f"{path}: no line feed at the end")
finish(findings)
