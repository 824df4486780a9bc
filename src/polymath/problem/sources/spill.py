"""Where a table goes while it is read: into memory, or, when it is large, into a file that is memory-mapped."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...spec import BadInput, canonical, sha256
from .eviction import evict, folders, used
from .rows import Tally, Unused

FORMAT = 2
"""Changes when the same file would give other rows."""


@dataclass(frozen=True)
class Loaded:
    """A table from one file, and the number of each row in it; None: 1, 2, 3, ..."""

    table: pa.Table
    numbers: np.ndarray | None = None


@dataclass(frozen=True)
class Room:
    """How much memory there is, and where to put what does not fit."""

    memory_bytes: int
    cache: Path | None = None

    @classmethod
    def of(cls, memory_bytes: int | None, cache: Path | None) -> Room:
        """Half of the machine's memory unless said otherwise."""
        if memory_bytes is None:
            memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        return cls(memory_bytes, None if cache is None else Path(cache))

    def basket(self, path: Path, need_bytes: int, *, mark: str) -> Basket:
        """Where a table of about `need_bytes` goes. Raises BadInput when there is room for it nowhere."""
        if need_bytes <= self.memory_bytes / 4 or (self.cache is None and need_bytes <= self.memory_bytes):
            return Basket(None)
        if self.cache is None:
            raise BadInput(
                f"the table would take about {need_bytes / 1e9:.1f} GB, more than the memory allowed",
                file=path,
                remedy="Allow more with --memory, or give fewer rows.",
            )
        self.cache.mkdir(parents=True, exist_ok=True)
        if need_bytes > 0.9 * shutil.disk_usage(self.cache).free:
            raise BadInput(
                f"the table would take about {need_bytes / 1e9:.1f} GB, more than there is on the disk of {self.cache}",
                file=path,
                remedy="Make room, or give fewer rows.",
            )
        key = sha256(canonical([FORMAT, pa.__version__, str(path.absolute()), mark]).encode())
        return Basket(self.cache / "rows" / key)


def give_back() -> None:
    """Return to the system what is free in this process: after work on a large table as much again as a third of it."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":  # the system's pool of pyarrow does not do it; only glibc's allocator can
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


class Basket:
    """Takes batches of one schema and gives them back as one table."""

    def __init__(self, place: Path | None) -> None:
        self.place = place
        self.batches: list[pa.RecordBatch] = []
        self.numbers: list[np.ndarray] = []
        self.writer: pa.ipc.RecordBatchFileWriter | None = None

    def found(self, tally: Tally) -> Loaded | None:
        """The table if it was written before; what was counted then is added to `tally`."""
        if self.place is None or not used(self.place / "tally.json"):
            return None
        counted = json.loads((self.place / "tally.json").read_text(encoding="utf-8"))
        tally.add(
            Tally.of(
                [Unused(**one) for one in counted["entries"]],
                Counter(counted["rows"]),
                Counter(counted["values"]),
                counted["notes"],
            )
        )
        return self._open()

    def put(self, batch: pa.RecordBatch, numbers: np.ndarray | None = None) -> None:
        """Add a batch, and the numbers of its rows in the file."""
        if numbers is not None:
            self.numbers.append(numbers)
        if self.place is None:
            self.batches.append(batch)
            return
        if self.writer is None:
            self.draft = self.place.with_name(f".{self.place.name}.{os.getpid()}")
            shutil.rmtree(self.draft, ignore_errors=True)
            self.draft.mkdir(parents=True)
            self.writer = pa.ipc.new_file(str(self.draft / "table.arrow"), batch.schema)
        self.writer.write_batch(batch)

    def done(self, schema: pa.Schema, tally: Tally) -> Loaded:
        """The table. `tally` is kept beside it for the next time."""
        numbers = None if count_on(self.numbers) else np.concatenate(self.numbers)
        if self.writer is None:
            return Loaded(pa.Table.from_batches(self.batches, schema), numbers)
        assert self.place is not None
        self.writer.close()
        if numbers is not None:
            np.save(self.draft / "numbers.npy", numbers)
        counted = {
            "entries": [vars(one) for one in tally.entries],
            "rows": dict(tally.rows),
            "values": dict(tally.values),
            "notes": tally.notes,
        }
        (self.draft / "tally.json").write_text(json.dumps(counted), encoding="utf-8")
        if self.place.exists():  # another process was first, with the same content
            shutil.rmtree(self.draft)
        else:
            self.draft.rename(self.place)
        evict(folders(self.place.parent, "tally.json"))
        return self._open()

    def _open(self) -> Loaded:
        assert self.place is not None
        table = pa.ipc.open_file(pa.memory_map(str(self.place / "table.arrow"))).read_all()
        numbers = self.place / "numbers.npy"
        return Loaded(table, np.load(numbers) if numbers.exists() else None)


def count_on(parts: Sequence[np.ndarray]) -> bool:
    """Whether the parts in order hold 1, 2, 3, ... and nothing else, which needs no memory."""
    begins = np.cumsum([1, *map(len, parts)])
    return all(np.array_equal(part, np.arange(i, i + len(part))) for i, part in zip(begins, parts, strict=False))
