"""One walk over a folder: its files by kind, without opening any."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...spec import BadInput
from .rows import Tally

IMAGES = frozenset(
    f".{end}"
    for end in (
        *("png", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "dib", "webp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
        *("ico", "tga", "avif", "pcx", "sgi"),
    )
)
TEXTS = frozenset((".txt", ".text", ".md", ".rst", ".eml", ".html", ".htm", ".log", ".tex", ".asc"))
TABLES = frozenset(
    f".{end}" for end in ("csv", "tsv", "tab", "parquet", "pq", "json", "jsonl", "ndjson", "arrow", "feather", "ipc")
)
MOST_DEEP = 32


@dataclass(frozen=True, slots=True)
class File:
    """One regular file: its path below the folder walked, as parts."""

    parts: tuple[str, ...]
    path: str
    size: int

    @property
    def kind(self) -> str:
        """'image', 'text', 'table' or 'other', by the end of the name."""
        return kind_of(self.parts[-1])


def kind_of(name: str) -> str:
    """'image', 'text', 'table' or 'other', by the end of a file name."""
    stem, end = os.path.splitext(name.lower())
    if end == ".gz":
        end = os.path.splitext(stem)[1]
        return "table" if end in TABLES else "other"
    return "image" if end in IMAGES else "text" if end in TEXTS else "table" if end in TABLES else "other"


def walk(folder: Path, tally: Tally) -> list[File]:
    """All files below `folder`, sorted by name. Hidden ones are left out; what cannot be used is counted."""
    root = os.path.realpath(folder)
    files: list[File] = []
    waiting: list[tuple[str, tuple[str, ...]]] = [(root, ())]
    while waiting:
        place, parts = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError as error:
            if not parts:
                raise BadInput(f"the folder cannot be read: {error.strerror}", file=folder) from error
            tally.row(place, None, f"folder cannot be read: {error.strerror}")
            continue
        while entries:
            entry = entries.pop()  # let go of at once: it keeps all that `stat` told, half a kilobyte
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            inner = (*parts, entry.name)
            if not is_utf8(entry.name):
                tally.row(os.fsencode(entry.path).decode("latin-1"), None, "file name is not valid UTF-8")
            elif entry.is_dir(follow_symlinks=False):
                if len(inner) > MOST_DEEP:
                    tally.row(entry.path, None, f"folder is more than {MOST_DEEP} levels deep")
                else:
                    waiting.append((entry.path, inner))
            elif reason := refusal(entry, root):
                tally.row(entry.path, None, reason)
            else:
                files.append(File(inner, entry.path, entry.stat().st_size))
    files.sort(key=lambda file: file.parts)
    return files


def refusal(entry: os.DirEntry[str], root: str) -> str:
    """Why a directory entry is not a file to read; "" if it is one."""
    if entry.is_symlink():
        if not os.path.exists(entry.path):
            return "link leads nowhere"
        if not inside(os.path.realpath(entry.path), root):
            return "link leads out of the folder"
        if os.path.isdir(entry.path):
            return "link to a folder is not followed"
    if not entry.is_file():
        return "not a regular file"
    return ""


def inside(path: str, root: str) -> bool:
    """Whether a real path lies in the folder `root`."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def is_utf8(name: str) -> bool:
    """Whether a file name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
