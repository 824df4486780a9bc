"""Finding out how a table of text is written: what separates the values, whether a header names the columns."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable
from pathlib import Path

from ...spec import BadInput
from . import values

DELIMITERS = (",", "\t", ";", "|")
NO_DELIMITER = "\x1f"  # a file of one column: a character that no text holds
MOST_COLUMNS = 20_000
"""More columns than this is a table lying on its side; a description of the problem could not be read by anyone."""
MOST_HEADER_BYTES = 1 << 26


def is_line(head: bytes) -> bool:
    """Whether bytes hold a whole line, or so many that there will be none."""
    return b"\n" in head or b"\r" in head or len(head) > MOST_HEADER_BYTES


def records(text: str, delimiter: str, most: int) -> list[list[str]]:
    """The first records of a text, blank lines left out."""
    return parsed(io.StringIO(text.replace("\0", ""), newline=""), delimiter, most, longest=len(text))


def parsed(lines: Iterable[str], delimiter: str, most: int, *, longest: int) -> list[list[str]]:
    """At most `most` records of lines, blank ones left out; cells may have `longest` characters."""
    before = csv.field_size_limit(max(longest, 1) + 1)
    try:
        return list(itertools.islice((row for row in csv.reader(lines, delimiter=delimiter) if row), most))
    finally:
        csv.field_size_limit(before)


def find_delimiter(text: str, *, prefer: str) -> str:
    """The delimiter that gives most rows the width of the first, and more than one column."""
    best, best_share = NO_DELIMITER, 0.0
    for delimiter in sorted(DELIMITERS, key=lambda d: d != prefer):
        found = records(text, delimiter, 100)
        width = len(found[0])
        if width < 2:
            continue
        share = sum(len(row) == width for row in found) / len(found)
        if share > best_share + 0.1 or (share >= best_share and width > len(records(text, best, 1)[0])):
            best, best_share = delimiter, share
    return best


def is_header(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns, and is not a row like those below it.

    A word above numbers is a name. Numbers above numbers are values, unless they count the columns (0, 1, 2, ... as
    pandas writes them, or years). Where there are words only, they are values if most come again below.
    """
    head, body = rows[0], rows[1:]
    columns = [[row[i].strip() for row in body if len(row) == len(head)] for i in range(len(head))]
    numeric = [is_numeric(cells) for cells in columns]
    named = [
        (name.strip(), below) for name, below in zip(head, numeric, strict=True) if name.strip() not in values.MISSING
    ]
    if not body or any(below and not is_number(name) for name, below in named):
        return True
    if any(below for _, below in named):
        whole = [int(name) for name, _ in named if name.isdecimal() and len(name) < 10]
        return len(whole) > 2 and whole == list(range(whole[0], whole[0] + len(whole))) and len(whole) >= len(named) - 1
    again = sum(name.strip() in cells for name, cells in zip(head, columns, strict=True))
    return again < len(head) / 2 or head in body


def is_numeric(cells: list[str]) -> bool:
    """Whether nearly all cells that are not missing are numbers."""
    known = [cell for cell in cells if cell not in values.MISSING]
    return sum(map(is_number, known)) > 0.9 * len(known)


def is_number(text: str) -> bool:
    """Whether a cell reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def clean_names(names: list[str], path: Path | None) -> tuple[str, ...]:
    """Column names: trimmed, empty ones called after their position. Raises BadInput when one comes twice."""
    cleaned = [" ".join(name.split()) or f"column {i}" for i, name in enumerate(names, start=1)]
    seen: dict[str, int] = {}
    for position, name in enumerate(cleaned, start=1):
        if name in seen:
            raise BadInput(
                f"the header names columns {seen[name]} and {position} alike",
                file=path,
                column=name,
                remedy="Rename one of them.",
            )
        seen[name] = position
    return tuple(cleaned)
