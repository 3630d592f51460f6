#!/usr/bin/env python3
"""The tables (*.def): the comment on top names the columns, `ROW(id, name)`;
ids, and the column after it when it is a name, are unique; where the comment
says `Sorted by <column>` the rows are in the byte order of that column."""
import re
from source import files, finish, read

ROW = re.compile(r"^([A-Z_]+)\(\s*([^()]*(?:\([^()]*\)[^()]*)*)\)", re.M)
ITEM = re.compile(r'"(?:\\.|[^"\\])*"|[^,\s][^,]*')


def rows(text, macro):
    for match in ROW.finditer(re.sub(r"/\*.*?\*/", lambda m: re.sub(
            r"[^\n]", " ", m.group(0)), text, flags=re.S)):
        if match.group(1) == macro:
            line = text.count("\n", 0, match.start()) + 1
            yield line, [item.strip().strip('"')
                         for item in ITEM.findall(match.group(2))]


def check(path):
    text = read(path)
    top = text[:text.find("*/")]
    form = re.search(r"\b([A-Z_]+)\(([a-z_, .*\n]+)\)", top)
    if not text.startswith("/*") or not form:
        yield 1, "the comment on top must name the columns: ROW(id, name, ...)"
        return
    columns = [c.strip(" *\n") for c in form.group(2).split(",")]
    by = re.search(r"[Ss]orted by\s+(?:\*\s+)?(?:the\s+)?(\w+)", top)
    at = columns.index(by.group(1)) if by and by.group(1) in columns else None
    if by and at is None:
        yield 1, f"sorted by {by.group(1)}, which is no column of {columns}"
    seen = {}
    before = ""
    for line, cells in rows(text, form.group(1)):
        if cells[0] in seen:
            yield line, f"{cells[0]} stands in line {seen[cells[0]]} too"
        seen[cells[0]] = line
        if at is not None and cells[at] < before:
            yield line, f"{cells[at]} comes before {before}: sort the rows"
        before = cells[at] if at is not None else ""
    if not seen:
        yield 1, f"no rows of {form.group(1)}(...) were found"


finish([f"{path}:{line}: {told}" for path in files("src/**/*.def")
        for line, told in check(path)])
