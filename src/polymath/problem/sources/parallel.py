"""Parallel files: the same texts line by line, one file for each language or side: train.en, train.de."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...spec import BadInput
from .delimited import encoding_of
from .folders import ORDER, looks_like_text, split_of
from .rows import Origins, Tally
from .walk import File

LONGEST_LINE = 20_000
"""Characters of a line that is still a text beside another: longer ones are broken files."""
LONGEST_ENDING = 10


@dataclass(frozen=True)
class Parallel:
    """Lines that stand beside each other, one column for each ending."""

    table: pa.Table
    origins: Origins
    named: tuple[File, ...]
    given_split: str | None


def parallel(files: Sequence[File], *, folder: Path, tally: Tally) -> Parallel | None:
    """The lines of a folder's files as columns; None where its files are anything else.

    Raises BadInput where two files that belong together have unlike numbers of lines.
    """
    if any(len(file.parts) > 1 or file.kind not in ("other", "text") for file in files):
        return None
    named: dict[str, dict[str, File]] = {}
    for file in files:
        stem, dot, ending = file.parts[0].rpartition(".")
        if not dot or not stem or not ending.isalnum() or len(ending) > LONGEST_ENDING:
            return None
        named.setdefault(stem, {})[ending] = file
    endings = [tuple(sorted(sides)) for sides in named.values()]
    if len(endings[0]) < 2 or set(endings) != {endings[0]} or not all(looks_like_text(Path(f.path)) for f in files):
        return None
    words = {stem: split_of(sides[endings[0][0]]) for stem, sides in named.items()}
    split = "train" in words.values() and len(set(words.values())) > 1 and "" not in words.values()
    stems = sorted(named, key=lambda stem: (ORDER.index(words[stem]), stem))
    columns: dict[str, list[str]] = {ending: [] for ending in endings[0]}
    index: list[int] = []
    numbers: list[int] = []
    splits: list[str] = []
    for place, stem in enumerate(stems):
        lines = _lines(named[stem], folder, tally)
        for row in range(len(lines[0])):
            texts = [side[row].strip() for side in lines]
            if reason := _unusable(texts):
                tally.row(named[stem][endings[0][0]].path, row + 1, reason, min(texts, key=len)[:80])
                continue
            for ending, text in zip(endings[0], texts, strict=True):
                columns[ending].append(text)
            index.append(place)
            numbers.append(row + 1)
            splits.append(words[stem])
    if not index:
        raise BadInput(
            "no line has a text in every file", file=folder, remedy="Give files whose lines belong together."
        )
    made = {name: pa.array(column, pa.string()) for name, column in columns.items()}
    table = pa.table({**made, "split": pa.array(splits, pa.string())} if split else made)
    origins = Origins(tuple(named[stem][endings[0][0]].path for stem in stems), np.array(index), np.array(numbers))
    return Parallel(table, origins, tuple(files), "split" if split else None)


def _lines(sides: dict[str, File], folder: Path, tally: Tally) -> list[list[str]]:
    """The lines of files that belong together, in the order of their endings. Only a line feed ends a line."""
    found = {}
    for ending in sorted(sides):
        path = Path(sides[ending].path)
        encoding = encoding_of(path, tally).removesuffix("-damaged")
        text = path.read_bytes().decode(encoding, errors="replace").removeprefix("\ufeff")
        found[ending] = text.removesuffix("\n").split("\n") if text else []
    counts = {ending: len(lines) for ending, lines in found.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{sides[ending].parts[0]} has {count:,}" for ending, count in counts.items())
        remedy = "The same line of each must hold the same text."
        raise BadInput(f"parallel files have unlike numbers of lines: {told}", file=folder, remedy=remedy)
    return list(found.values())


def _unusable(texts: Sequence[str]) -> str:
    """Why lines that stand beside each other are not used; "" if they are."""
    if not all(texts):
        return "a line is empty in one of the parallel files"
    if max(map(len, texts)) > LONGEST_LINE:
        return f"a line has more than {LONGEST_LINE:,} characters"
    return ""
