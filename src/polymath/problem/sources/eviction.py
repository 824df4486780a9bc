"""Keeps a cache of decoded data from growing for ever: what was used least recently is removed.

An entry is a folder, or a file with a note beside it, that is made anew when it is missing. It was last used when its
note was last touched. An entry is never removed on the day of its use, nor while a process of this machine has mapped
its files: it would keep them until it ends, but its workers could not open them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 20_000_000_000
MOST_SECONDS = 30 * 86_400.0
FRESH_SECONDS = 86_400.0


@dataclass(frozen=True)
class Entry:
    """What is kept or removed as one: the note first, whose absence says that there is nothing."""

    note: Path
    files: tuple[Path, ...]
    """Files or folders, in the order in which they are removed."""
    last_used: float

    @property
    def num_bytes(self) -> int:
        found = 0
        for path in self.files:
            for file in path.rglob("*") if path.is_dir() else (path,):
                with contextlib.suppress(FileNotFoundError):  # another process removes it too
                    found += file.stat().st_size
        return found


def used(note: Path) -> bool:
    """Whether there is an entry with this note; if so, it is used now."""
    try:
        os.utime(note)
    except FileNotFoundError:
        return False
    return True


def folders(folder: Path, note: str) -> list[Entry]:
    """The folders in `folder` that hold a file called `note`, as entries."""
    found = []
    for one in folder.glob(f"*/{note}"):
        with contextlib.suppress(FileNotFoundError):
            found.append(Entry(one, (one.parent,), one.stat().st_mtime))
    return found


def evict(entries: Sequence[Entry], *, most_bytes: int = MOST_BYTES, most_seconds: float = MOST_SECONDS) -> list[Entry]:
    """Remove what was not used for long, and what does not fit beside what was used later; gives what it removed."""
    now, size, removed = time.time(), 0, []
    mapped: set[str] | None = None
    for entry in sorted(entries, key=lambda one: -one.last_used):
        size += entry.num_bytes
        age = now - entry.last_used
        if age < FRESH_SECONDS or (age <= most_seconds and size <= most_bytes):
            continue
        mapped = mapped_files() if mapped is None else mapped
        places = [str(path.resolve()) for path in entry.files]
        if not any(name == place or name.startswith(f"{place}/") for place in places for name in mapped):
            remove(entry)
            removed.append(entry)
    return removed


def remove(entry: Entry) -> None:
    """The note, or the folder with it, goes in one step, so that nobody takes a part for the whole."""
    for path in entry.files:
        with contextlib.suppress(FileNotFoundError):
            if path.is_dir():
                aside = path.with_name(f".draft-{uuid.uuid4().hex}")
                path.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                path.unlink()


def mapped_files() -> set[str]:
    """Files that processes of this user have mapped into memory; none where the system does not tell."""
    found: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            found |= {line[line.index("/") :] for line in maps.read_text(errors="replace").splitlines() if "/" in line}
    return found
