"""Fingerprints: whether content is the same as last time, found out quickly."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

WHOLE_BYTES = 64 << 20
"""Files up to this size together are hashed whole; of larger ones the size, time and samples."""
WHOLE_FILES = 3_000
NUM_SAMPLES, SAMPLE_BYTES = 64, 1 << 16


def of_files(files: Iterable[tuple[str, str | Path]]) -> str:
    """Fingerprint of named files. Small data are hashed whole, so a copy has the same fingerprint."""
    known = sorted((_Known.of(name, path) for name, path in files), key=lambda one: one.name)
    whole = len(known) <= WHOLE_FILES and sum(one.size for one in known) <= WHOLE_BYTES
    digest = hashlib.sha256()
    for one in known:
        digest.update(f"{one.name}\0{one.size}\0".encode("utf-8", "surrogateescape"))
        if whole:
            digest.update(hashlib.sha256(Path(one.path).read_bytes()).digest())
        else:
            digest.update(f"{one.time}\0".encode())
            if len(known) <= NUM_SAMPLES:
                digest.update(samples(Path(one.path), one.size))
    return digest.hexdigest()


class _Known(NamedTuple):
    """A file in a quarter of a kilobyte: of 60,000 pictures, `Path` and all that `stat` tells took 60 MB."""

    name: str
    path: str | Path
    size: int
    time: int

    @classmethod
    def of(cls, name: str, path: str | Path) -> _Known:
        stat = os.stat(path)
        return cls(name, path, stat.st_size, stat.st_mtime_ns)


def samples(path: Path, size: int) -> bytes:
    """Hash of evenly spread pieces of a large file, its start and end among them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for i in range(NUM_SAMPLES):
            file.seek(max(0, size - SAMPLE_BYTES) * i // (NUM_SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.digest()


def of_table(table: pa.Table) -> str:
    """Fingerprint of a table in memory: names, types and all values."""

    class Hashing:
        closed = False

        def write(self, data: memoryview) -> int:
            digest.update(data)
            return len(data)

        def flush(self) -> None: ...
        def close(self) -> None: ...

    digest = hashlib.sha256()
    plain = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(Hashing(), mode="w"), plain.schema) as writer:
        writer.write_table(plain)
    return digest.hexdigest()


def join(*fingerprints: str) -> str:
    """Fingerprint of several contents in order."""
    return hashlib.sha256("".join(fingerprints).encode()).hexdigest()
