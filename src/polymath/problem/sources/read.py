"""`read`: whatever the user gives becomes `Rows`."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...spec import BadInput, printable
from . import fingerprint, folders, pairs, parallel
from .binary import read_arrow, read_parquet
from .delimited import read_delimited
from .join import Part, joined
from .jsonish import read_json
from .memory import from_memory, kind_name
from .paths import Finder, resolve
from .rows import Origins, Rows, Tally
from .spill import Loaded, Room, give_back
from .walk import File, kind_of, walk

MANY_FILES = 10_000
"""Names of so many files leave holes that Python keeps as long as a few freed tuples lie there: of 60,000, 20 MB."""


def read(
    data: object,
    *,
    memory_bytes: int | None = None,
    cache: Path | None = None,
    test: object = None,
    validation: object = None,
) -> Rows:
    """Rows of a path, a table or arrays. docs/data.md says what `data` may be.

    `test` and `validation` are further data of the same kind, for those splits. Tables larger than a quarter of
    `memory_bytes` go to the folder `cache` and are memory-mapped.
    Raises BadInput, with file, row, column, value and remedy as far as they apply, when there is nothing to use.
    """
    tally, room = Tally(), Room.of(memory_bytes, cache)
    source = described(data)
    part = read_one(data, tally, room)
    others = [(word, one) for word, one in (("validation", validation), ("test", test)) if one is not None]
    if others:
        parts = [("train", part), *((word, read_one(one, tally, room)) for word, one in others)]
        part = joined(parts, tally)
    rows = finished(part, source, tally)
    if rows.file_columns and len(rows) >= MANY_FILES:
        gc.collect()
    give_back()
    return rows


def described(data: object) -> str:
    """The data as the user would name them."""
    if isinstance(data, (str, os.PathLike)):
        return printable(os.fspath(data) if isinstance(data, str) else str(data), limit=300)
    return printable(kind_name(data), limit=300)


def read_one(data: object, tally: Tally, room: Room) -> Part:
    """One path or object."""
    if isinstance(data, (str, os.PathLike)):
        if not os.fspath(data):
            raise BadInput("the path is empty", remedy="Give the path of a file or folder.")
        return read_path(Path(os.fsdecode(data)), tally, room)
    if isinstance(data, (list, tuple)) and data and all(isinstance(one, (str, os.PathLike)) for one in data):
        return read_files([Path(os.fsdecode(one)) for one in data], tally)
    given = from_memory(data, tally)
    origins = Origins((kind_name(data),))
    return Part(given.table, origins, fingerprint.of_table(given.table), target_hint=given.target_hint)


def read_path(path: Path, tally: Tally, room: Room) -> Part:
    """A file or a folder."""
    mode = mode_of(path)
    if stat.S_ISDIR(mode):
        return read_folder(path, tally, room)
    if kind_of(path.name) in ("image", "text"):
        return read_files([path], tally)
    part = read_table(path, tally, room)
    return with_paths(part, Finder(os.path.dirname(os.path.abspath(path)), anywhere=True), path, tally)


def mode_of(path: Path) -> int:
    """Kind of a file. Raises BadInput if there is none, or one that is neither a folder nor a regular file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise BadInput("there is no such file or folder", file=path, remedy="Check the path.") from error
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInput(f"cannot be read: {what}", file=path, remedy="Check the path.") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise BadInput("is neither a folder nor a regular file", file=path, remedy="Save its content to a file first.")
    return mode


def read_table(path: Path, tally: Tally, room: Room) -> Part:
    """A file that holds a table, by what its name and its first bytes say."""
    if path.stat().st_size == 0:
        raise BadInput("the file is empty", file=path, remedy="Give a file with a header line and data rows.")
    mark = opened(path, lambda: fingerprint.of_files([(path.name, path)]))
    loaded: Loaded = opened(path, lambda: reader_of(path)(path, tally, room=room, mark=mark))
    return Part(loaded.table, Origins((str(path),), None, loaded.numbers), mark)


def opened(path: Path, action: Any) -> Any:
    """The result of `action`; what the system says about the file as BadInput."""
    try:
        return action()
    except PermissionError as error:
        raise BadInput("may not be read", file=path, remedy="Change its permissions, or give another file.") from error
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror or error}", file=path, remedy="Check the file.") from error


def reader_of(path: Path) -> Any:
    """The reader for a file."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == b"PAR1":
        return read_parquet
    if head[:6] == b"ARROW1" or head[:4] == b"\xff\xff\xff\xff":
        return read_arrow
    end = path.suffixes[-2:] if path.suffix.lower() == ".gz" else [path.suffix]
    word = end[0].lower() if end else ""
    if word in (".parquet", ".pq"):
        return read_parquet
    if word in (".arrow", ".feather", ".ipc"):
        return read_arrow
    if word in (".json", ".jsonl", ".ndjson"):
        return read_json
    refuse_others(path, head)
    return read_delimited


KNOWN_OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel or NumPy file; save the table as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel file; save the table as CSV",
    b"\x93NUMPY": "a NumPy file; load it and give the array in Python",
    b"SQLite f": "a database; export the table as CSV",
    b"\x89HDF\r\n": "an HDF5 file; export the table as CSV or Parquet",
    b"BZh": "compressed by bzip2; unpack it",
    b"\xfd7zXZ": "compressed by xz; unpack it",
    b"(\xb5/\xfd": "compressed by zstd; unpack it",
    b"%PDF": "a PDF; export the table as CSV",
    b"\x80\x04": "a pickle, which is never opened; save the data as CSV or Parquet",
    b"FEA1": "a Feather file of version 1; write it again with version 2",
    b"ORC": "an ORC file; write it as Parquet",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"\x7fELF": "a program",
}


def refuse_others(path: Path, head: bytes) -> None:
    """Raise BadInput for kinds of files that are no text."""
    for start, what in KNOWN_OTHERS.items():
        if head.startswith(start):
            kind, _, remedy = what.partition("; ")
            remedy = (remedy[:1].upper() + remedy[1:] or "Give a CSV file") + "."
            raise BadInput(f"is {kind}", file=path, remedy=remedy)


def read_files(paths: Sequence[Path], tally: Tally) -> Part:
    """Some image or text files, without labels."""
    files = []
    for path in paths:
        if stat.S_ISDIR(mode_of(path)):
            raise BadInput("is a folder in a list of files", file=path, remedy="Give one folder, or files only.")
        full = os.path.abspath(path)
        files.append(File((os.path.basename(full),), full, path.stat().st_size))
    found = folders.listing(files, folder=Path(files[0].path), tally=tally)
    mark = fingerprint.of_files((str(i), file.path) for i, file in enumerate(files))
    return from_listing(found, mark)


def from_listing(found: folders.Listing, mark: str) -> Part:
    """Rows of files."""
    count = len(found.files)
    return Part(
        pa.table(found.columns),
        Origins(found.files, np.arange(count), np.ones(count, dtype=np.int64)),
        mark,
        file_columns={found.kind: found.kind},
        given_split=found.given_split,
        target_hint=found.target_hint,
    )


def read_folder(path: Path, tally: Tally, room: Room) -> Part:
    """A folder, whatever its layout."""
    files = walk(path, tally)
    if not files:
        raise BadInput("the folder holds no files", file=path, remedy=folders.FOLDER_REMEDY)
    if part := read_pairs(files, path, tally) or read_parallel(files, path, tally):
        return part
    layout = folders.layout(files)
    if layout.tables and (part := read_tables(layout, path, tally, room)):
        return part
    mark = opened(path, lambda: fingerprint.of_files(("/".join(file.parts), file.path) for file in files))
    return from_listing(folders.listing(files, folder=path, tally=tally), mark)


def read_pairs(files: Sequence[File], folder: Path, tally: Tally) -> Part | None:
    """Pictures and their masks; None where a folder holds none, or a table that says what its files are."""
    if any(file.kind == "table" and folders.stem(file) == folders.METADATA for file in files):
        return None
    if (found := pairs.pairs(files, folder=folder, tally=tally)) is None:
        return None
    count = len(found.files)
    plain = pa.types.is_string(found.table[found.mask].type)
    return Part(
        found.table,
        Origins(found.files, np.arange(count), np.ones(count, dtype=np.int64)),
        opened(folder, lambda: fingerprint.of_files(("/".join(file.parts), file.path) for file in found.named)),
        file_columns={"image": "image"} | ({found.mask: "image"} if plain else {}),
        given_split=found.given_split,
        target_hint=found.mask,
        class_names={found.mask: found.classes} if found.classes else {},
    )


def read_parallel(files: Sequence[File], folder: Path, tally: Tally) -> Part | None:
    """Files whose lines stand beside each other; None where a folder holds anything else."""
    found = opened(folder, lambda: parallel.parallel(files, folder=folder, tally=tally))
    if found is None:
        return None
    mark = opened(folder, lambda: fingerprint.of_files(("/".join(file.parts), file.path) for file in found.named))
    return Part(found.table, found.origins, mark, given_split=found.given_split)


def read_tables(layout: folders.Layout, folder: Path, tally: Tally, room: Room) -> Part | None:
    """The tables of a folder as one; None when they have nothing to do with the images or texts beside them."""
    inner = Tally()
    parts: list[tuple[str, Part]] = []
    used: set[str] = set()
    for word, file in layout.tables:
        finder = Finder(os.path.dirname(file.path), anywhere=False)
        part = read_table(Path(file.path), inner, room)
        parts.append((word, with_paths(part, finder, Path(file.path), inner)))
        used |= finder.used
    names_files = bool(parts[0][1].file_columns)
    if layout.media and not names_files:
        if any(len(file.parts) > 1 for file in layout.media):
            return None
        raise BadInput(
            "the table beside the files has no column that names them",
            file=layout.tables[0][1].path,
            remedy="Add a column file_name with paths relative to the table.",
        )
    tally.add(inner)
    for file in layout.media if names_files else ():
        if file.path not in used:
            tally.row(file.path, None, "file is not named in the table")
    for file in layout.left_out:
        tally.note(f"{'/'.join(file.parts)} was left out: another table says what the rows are.")
    if not parts[0][0]:
        check_alike(parts, folder)
    return parts[0][1] if len(parts) == 1 else joined(parts, tally)


def check_alike(parts: Sequence[tuple[str, Part]], folder: Path) -> None:
    """Raise BadInput when tables that should be pieces of one have different columns."""
    for _, part in parts[1:]:
        first = parts[0][1]
        if set(part.table.column_names) != set(first.table.column_names):
            raise BadInput(
                f"the folder holds tables with different columns: {first.origins.files[0]} and {part.origins.files[0]}",
                file=folder,
                remedy="Give the path of the one to learn from, or name them train.csv and test.csv.",
            )


def with_paths(part: Part, finder: Finder, path: Path, tally: Tally) -> Part:
    """The part with absolute paths in columns that name files."""
    done = resolve(part.table, finder, file=path, numbers=part.origins.row_numbers, tally=tally)
    if not done.file_columns:
        return part
    if done.table.num_rows == 0:
        first = tally.entries[-1]
        raise BadInput(
            f"no row names a file that can be used; the last one: {first.reason}",
            file=path,
            row=first.row,
            value=first.value,
            remedy="Names are relative to the folder of the table.",
        )
    files = list(done.file_columns)
    content = {p for name in files for p in done.table[name].to_pylist() if p is not None}
    named = fingerprint.of_files((finder.below(p), p) for p in content)
    mark = fingerprint.join(part.fingerprint, named)
    return Part(done.table, part.origins.take(done.kept), mark, file_columns=done.file_columns)


def finished(part: Part, source: str, tally: Tally) -> Rows:
    """Rows of what was read, with all that was counted."""
    split = part.given_split
    if split is None and (split := split_column(part.table)):
        tally.note(f"Column {split!r} says which rows are for training, validation and testing.")
    return Rows(
        table=part.table,
        source=source,
        fingerprint=part.fingerprint,
        origins=part.origins,
        file_columns=part.file_columns,
        given_split=split,
        target_hint=part.target_hint,
        class_names=part.class_names,
        unused=tuple(tally.entries),
        unused_counts=dict(tally.rows),
        value_counts=dict(tally.values),
        notes=tuple(tally.notes),
    )


def split_column(table: pa.Table) -> str | None:
    """A column called split that holds nothing but words for splits."""
    for name in table.column_names:
        if name.strip().lower() == "split" and pa.types.is_string(table[name].type):
            words = pc.unique(table[name])
            meanings = {folders.SPLITS.get(str(word).strip().lower()) for word in words[:20].to_pylist()}
            if len(words) <= 20 and None not in meanings and "train" in meanings and len(meanings) > 1:
                return str(name)
    return None
