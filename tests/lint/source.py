"""What the lint checks share: the C files, and their text without comments
and literals. Every check prints `file:line: finding: what to do` lines and
exits 1 when there was one."""
import glob
import re
import sys

PIECE = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def files(*patterns):
    """The files that match, sorted, with forward paths from the top."""
    found = set()
    for pattern in patterns:
        found.update(glob.glob(pattern, recursive=True))
    return sorted(found)


def blank(text):
    """Comments and literals become blanks; lines keep their numbers."""
    def keep_lines(match):
        piece = match.group(0)
        edge = piece[0] if piece[0] in "\"'" else " "
        return edge + re.sub(r"[^\n]", " ", piece[1:-1]) + edge
    return PIECE.sub(keep_lines, text)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def code(path):
    """The file's lines without comments and literals."""
    return blank(read(path)).split("\n")


def finish(findings):
    for line in findings:
        print(line)
    sys.exit(1 if findings else 0)
