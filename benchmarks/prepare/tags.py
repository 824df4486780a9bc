"""What Debian says of its packages besides their section: tags, by facet; and sentences of GNOME's help by language."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from pathlib import Path

from .packages import apt_index, deb
from .texts import _clean, _stanzas

FACETS = ("implemented-in", "interface", "made-of", "network", "role", "suite", "uitoolkit", "use", "works-with")
FEWEST = 100
"""Packages of a value: with fewer it is no class."""
LANGUAGES = ("ca", "cs", "de", "es", "fr", "gl", "hr", "hu", "id", "it", "nl", "pl", "pt", "ro", "sl", "sv")
"""Languages in Latin letters: others are told by one letter."""
SHARE = 4
"""One in so many rows is for the test, by a hash of its text, or of its page: the same in every task."""

Rows = list[tuple[str, str, bool]]
"""Text, label, whether it is for the test."""


def for_test(mark: str) -> bool:
    return zlib.crc32(mark.encode()) % SHARE == 0


def facets(*, cache: Path) -> dict[str, Rows]:
    """Facet -> descriptions of the packages with exactly one tag of it; small values left out."""
    lists = apt_index(cache)
    tags = {
        entry["Description-md5"]: _by_facet(entry["Tag"])
        for entry in _stanzas(lists, "*bookworm_main*Packages*")
        if "Tag" in entry and "Description-md5" in entry
    }
    found: dict[str, dict[str, str]] = {facet: {} for facet in FACETS}
    for entry in _stanzas(lists, "*bookworm_main*Translation-en*"):
        text = _clean(re.sub(r"\n\.(?=\n|$)", "\n", entry.get("Description-en", "")))
        for facet, values in tags.get(entry.get("Description-md5", ""), {}).items():
            if facet in found and len(values) == 1 and text:
                found[facet].setdefault(text, next(iter(values)))
    return {facet: _large(rows) for facet, rows in found.items()}


def _by_facet(tags: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for tag in tags.replace("\n", " ").split(","):
        facet, _, value = tag.strip().partition("::")
        if value and value != "TODO":
            found.setdefault(facet, set()).add(value)
    return found


def _large(rows: dict[str, str]) -> Rows:
    counts = Counter(rows.values())
    return [(text, value, for_test(text)) for text, value in sorted(rows.items()) if counts[value] >= FEWEST]


def languages(*, cache: Path) -> Rows:
    """Descriptions and paragraphs of 40 to 200 letters of GNOME's help; what stands in two languages is left out."""
    root = deb("gnome-user-docs", cache=cache).folder / "usr" / "share" / "help"
    said: dict[str, set[tuple[str, bool]]] = {}
    for language in LANGUAGES:
        for file in sorted((root / language / "gnome-help").glob("*.page")):
            page = file.read_text(encoding="utf-8")
            for words in re.findall(r"<(?:desc|p)>(.*?)</(?:desc|p)>", page, re.DOTALL):
                text = _clean(re.sub(r"\s+", " ", re.sub(r"<[^>]*>|&[a-z]+;", " ", words)))
                if 40 <= len(text) <= 200:
                    said.setdefault(text, set()).add((language, for_test(file.name)))
    return [(text, *next(iter(where))) for text, where in sorted(said.items()) if len(where) == 1]
