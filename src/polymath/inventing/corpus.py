"""Real text as numbers, for cells to learn: by characters or by words, cut into parts that do not overlap.

The text of a search ships with Python: the topics of its manual (465,000 characters of English prose and code examples;
Python Software Foundation licence). Benchmarks bring other texts, which no search has seen.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.abc import SourceLoader
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..spec import BadInput, sha256

MANUAL, MANUAL_WORDS, PROGRAMS = "python manual", "words of the python manual", "python programs"
"""Names of texts that are always there: the first is for searches, the others judge what they found."""
MODULES = ("argparse", "difflib", "ipaddress", "pickletools", "statistics", "tarfile", "turtle", "zipfile")
"""Of the standard library: 600,000 characters of programs."""
Part = Literal["held", "judged"]
WORD = re.compile(r"\w+|[^\w\s]|\n")
OTHER, MOST_SYMBOLS = 0, 255
"""Number of all symbols that are too rare for one of their own, and how many of those there are at most."""


@dataclass(frozen=True)
class Corpus:
    """Symbols in three parts: a cell learns from `train`; a search sees `held`; a final judgement reads `judged`."""

    name: str
    train: NDArray[np.int64]
    held: NDArray[np.int64]
    judged: NDArray[np.int64]
    num_symbols: int
    unit: str = "character"


@cache
def corpus(source: str = MANUAL) -> Corpus:
    """A text that ships with Python, by its name, or the characters of a file in UTF-8.

    80 % to learn from, twice 10 % held out.
    """
    if source == MANUAL:
        return characters(source, *_parts(_manual()))
    if source == MANUAL_WORDS:
        return words(source, *_parts(_manual()))
    if source == PROGRAMS:
        return characters(source, *_parts("".join(map(_program, MODULES))))
    return characters(source, *_parts(_read(source)))


def _manual() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        remedy = "Give a file of text to learn from."
        raise BadInput("this Python comes without its manual's topics", remedy=remedy) from error
    return "\n".join(topics[name] for name in sorted(topics, key=lambda name: sha256(name.encode())))


def _program(module: str) -> str:
    """Its text, unimported: `turtle` would ask for a screen."""
    found = find_spec(module)
    assert found is not None and isinstance(found.loader, SourceLoader)
    return str(found.loader.get_source(module))


def _parts(text: str) -> tuple[str, str, str]:
    first, second = len(text) * 8 // 10, len(text) * 9 // 10
    return text[:first], text[first:second], text[second:]


def _read(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"this text cannot be read ({error})", file=file) from error
    if len(text) < 50_000:
        raise BadInput(
            "is too short to learn from", file=file, value=len(text), remedy="Give 50,000 characters or more."
        )
    return text


def characters(name: str, train: str, held: str, judged: str) -> Corpus:
    """Every character of the training text that occurs 10 times or more is a symbol."""
    known = [symbol for symbol, count in Counter(train).most_common(MOST_SYMBOLS) if count >= 10]
    return _numbered(name, known, (list(train), list(held), list(judged)), unit="character")


def words(name: str, train: str, held: str, judged: str, *, most: int = 2000) -> Corpus:
    """The `most` most frequent words, marks and line ends of the training text are symbols."""
    parts = tuple(WORD.findall(part.lower()) for part in (train, held, judged))
    known = [symbol for symbol, _ in Counter(parts[0]).most_common(most - 1)]
    return _numbered(name, known, parts, unit="word")


def _numbered(name: str, known: list[str], parts: tuple[list[str], ...], *, unit: str) -> Corpus:
    number = {symbol: i + 1 for i, symbol in enumerate(known)}
    train, held, judged = (np.array([number.get(s, OTHER) for s in part], dtype=np.int64) for part in parts)
    return Corpus(name, train, held, judged, len(known) + 1, unit)
