"""`read`: whatever the user gives becomes `Rows`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pyarrow as pa

from ...spec import BadInput, printable
from . import fingerprint, folders
from .delimited import read_delimited
from .rows import Origins, Rows, Tally
from .walk import walk


def read(
    data: object,
    *,
    memory_bytes: int | None = None,
    cache: Path | None = None,
    test: object = None,
    validation: object = None,
) -> Rows:
    """Rows of a file, a folder, a table or arrays. Raises BadInput where there is nothing to learn from."""
    if isinstance(data, (str, os.PathLike)):
        return read_path(Path(data))
    raise BadInput(f"cannot learn from a {type(data).__name__}")


def read_path(path: Path) -> Rows:
    """Rows of a file or folder."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", file=path, remedy="Check the path.") from error
    except ValueError as error:  # a NUL in the name
        raise BadInput(f"is no path: {error}", file=path) from error
    if stat.S_ISDIR(mode):
        return read_folder(path)
    if not stat.S_ISREG(mode):
        raise BadInput("is not a regular file", file=path, remedy="Save its content to a file first.")
    tally = Tally()
    converted = read_delimited(path.absolute(), tally)
    table = pa.Table.from_batches(converted.batches, converted.schema)
    origins = Origins((str(path),), None, converted.numbers)
    return finish(table, str(path), fingerprint.of_files([(path.name, path)]), origins, tally)


def read_folder(path: Path) -> Rows:
    """Rows of a folder."""
    tally = Tally()
    files = walk(path, tally)
    found = folders.listing(files, folder=path, tally=tally)
    import numpy as np

    count = len(found.files)
    origins = Origins(found.files, np.arange(count), np.ones(count, dtype=np.int64))
    mark = fingerprint.of_files(("/".join(file.parts), Path(file.path)) for file in files)
    return finish(
        pa.table(found.columns),
        str(path),
        mark,
        origins,
        tally,
        file_columns={found.kind: found.kind},
        given_split=found.given_split,
        target_hint=found.target_hint,
    )


def finish(table: pa.Table, source: str, mark: str, origins: Origins, tally: Tally, **hints: object) -> Rows:
    return Rows(
        table,
        printable(source, limit=300),
        mark,
        origins,
        unused=tuple(tally.entries),
        unused_counts=dict(tally.rows),
        value_counts=dict(tally.values),
        notes=tuple(tally.notes),
        **hints,
    )
