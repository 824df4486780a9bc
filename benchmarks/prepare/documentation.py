"""The help pages of LibreOffice in English and German, paragraph by paragraph: `data.csv` with page, split, en, de.

Paragraphs are the same where their page and their id are: translators work through them one by one.
"""

from __future__ import annotations

import csv
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from prepare.packages import Source, deb

IDS = ("par_id", "hd_id")
"""What the ids of paragraphs and headings begin with."""
VOID = {"br", "img", "input", "link", "meta", "hr", "col", "source", "track", "wbr"}
FEWEST_WORDS, MOST_WORDS, MOST_RATIO = 3, 60, 3.0
PARTS = ("test", "validation", *["train"] * 18)
"""A page belongs to one of 20 parts, by its name: a paragraph never stands beside others of its page in another part."""


class _Paragraphs(HTMLParser):
    """Texts by id; what is hidden (the words for another system) is left out."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, str] = {}
        self._open: list[tuple[str, str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        given = dict(attrs)
        name = given.get("id") or ""
        paragraph = name if name.startswith(IDS) else self._open[-1][1] if self._open else ""
        hidden = "hidden" in given or bool(self._open and self._open[-1][2])
        self._open.append((tag, paragraph, hidden))

    def handle_endtag(self, tag: str) -> None:
        places = [place for place, one in enumerate(self._open) if one[0] == tag]
        if places:  # what was left open within ends as well
            del self._open[places[-1] :]

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][1] and not self._open[-1][2]:
            name = self._open[-1][1]
            self.found[name] = self.found.get(name, "") + data


def paragraphs(page: str) -> dict[str, str]:
    """Texts of a page by the id of their paragraph, blanks as a reader sees them."""
    parser = _Paragraphs()
    parser.feed(page)
    return {name: " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split()) for name, text in parser.found.items()}


def part(page: str) -> str:
    """train, validation or test, by the name of the page alone."""
    return PARTS[hashlib.sha256(page.encode()).digest()[0] % len(PARTS)]


def _pages(source: Source, language: str) -> dict[str, Path]:
    folder = source.folder / "usr" / "share" / "libreoffice" / "help" / language / "text"
    return {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*.html"))}


def _fits(english: str, german: str) -> bool:
    """A sentence or so on both sides, neither a copy of the other nor a part of it."""
    words = len(english.split()), len(german.split())
    if english == german or not all(FEWEST_WORDS <= number <= MOST_WORDS for number in words):
        return False
    return max(words) <= MOST_RATIO * min(words)


def build(folder: Path, *, cache: Path) -> dict[str, object]:
    """Distinct English paragraphs with their German: a text that stands in many pages is kept in the first one only."""
    sources = [deb(f"libreoffice-help-{language}", cache=cache) for language in ("en-us", "de")]
    english, german = _pages(sources[0], "en-US"), _pages(sources[1], "de")
    seen: set[str] = set()
    rows = []
    for page in sorted(english.keys() & german.keys()):
        ours, theirs = (paragraphs(pages[page].read_text(encoding="utf-8")) for pages in (english, german))
        for name, text in ours.items():
            if name in theirs and _fits(text, theirs[name]) and text not in seen:
                seen.add(text)
                rows.append((page, part(page), text, theirs[name]))
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("page", "split", "en", "de"))
        writer.writerows(rows)
    return {"sources": [source.record() for source in sources], "targets": ["de"], "kind": "text"}
