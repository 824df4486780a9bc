"""Columns that name files: relative to where the table lies, inside that folder, existing."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .rows import Tally
from .walk import inside, kind_of

NAMED = "file_name"
"""Column of the imagefolder convention; `x_file_name` names a file for `x`."""
LOOKED_AT = 100


@dataclass
class Finder:
    """Finds files below one folder; lists each folder once."""

    base: str
    anywhere: bool
    """Whether absolute paths may lead out of the folder: in a table the user pointed to, not in a folder of files."""
    listed: dict[str, dict[str, str]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def find(self, name: str) -> tuple[str, str]:
        """Absolute path of a file and "", or "" and the reason why it cannot be used."""
        if "\0" in name:
            return "", "file name holds a NUL byte"
        path = os.path.normpath(os.path.join(self.base, name.replace("\\\\", "/")))
        if not inside(path, self.base) and not (self.anywhere and os.path.isabs(name)):
            return "", "file lies outside the folder"
        folder, last = os.path.split(path)
        if folder not in self.listed:
            self.listed[folder] = self._list(folder)
        reason = self.listed[folder].get(last, "file does not exist")
        if not reason:
            self.used.add(path)
        return ("", reason) if reason else (path, "")

    def below(self, path: str) -> str:
        """An absolute path as seen from the folder."""
        start = self.base.rstrip(os.sep) + os.sep
        return path[len(start) :] if path.startswith(start) else os.path.relpath(path, self.base)

    def _list(self, folder: str) -> dict[str, str]:
        """Name -> why it cannot be used, "" if it can."""
        try:
            real = os.path.realpath(folder)
            if inside(folder, self.base) and not inside(real, os.path.realpath(self.base)):
                return {}
            return {entry.name: self._refusal(entry) for entry in os.scandir(folder)}
        except OSError:
            return {}

    def _refusal(self, entry: os.DirEntry[str]) -> str:
        if entry.is_symlink() and not inside(os.path.realpath(entry.path), os.path.realpath(self.base)):
            return "link leads out of the folder"
        if not entry.is_file():
            return "not a regular file"
        return "" if entry.stat().st_size else "file is empty"


@dataclass(frozen=True)
class Resolved:
    """A table whose file columns hold absolute paths, and the rows of the given table that are left."""

    table: pa.Table
    file_columns: dict[str, str]
    kept: np.ndarray


def resolve(table: pa.Table, finder: Finder, *, file: Path, numbers: np.ndarray | None, tally: Tally) -> Resolved:
    """Replace names of files by absolute paths. Rows whose file cannot be used are counted and left out."""
    kinds = {name: kind for name in table.column_names if (kind := file_kind(table[name], name, finder, tally, file))}
    kept = np.ones(table.num_rows, dtype=bool)
    for name, kind in kinds.items():
        found: list[str | None] = []
        for i, value in enumerate(table[name].to_pylist()):
            path, reason = finder.find(value) if value is not None else ("", "")
            if not reason and path and kind == "image" and kind_of(path) in ("table", "text"):
                path, reason = "", "not an image"
            if reason and kept[i]:
                kept[i] = False
                tally.row(file, i + 1 if numbers is None else int(numbers[i]), reason, value)
            found.append(path or None)
        position = table.column_names.index(name)
        table = table.set_column(position, name, pa.array(found, pa.string()))
    names = [new_name(name, kinds, table.column_names) for name in table.column_names]
    renamed = {new: kinds[old] for old, new in zip(table.column_names, names, strict=True) if old in kinds}
    table = table.rename_columns(names)
    return Resolved(table if kept.all() else table.filter(pa.array(kept)), renamed, np.flatnonzero(kept))


def file_kind(column: pa.ChunkedArray, name: str, finder: Finder, tally: Tally, file: Path) -> str:
    """'image' or 'text' for a column that names such files; "" for others."""
    if not pa.types.is_string(column.type):
        return ""
    values = column.drop_null()
    if len(values) == 0:
        return ""
    look = values.take(pa.array(np.unique(np.linspace(0, len(values) - 1, LOOKED_AT).astype(np.int64)))).to_pylist()
    kinds = Counter(kind_of(value) for value in look)
    kind = "image" if kinds["image"] >= kinds["text"] else "text"
    if is_named(name):
        return kind if kinds[kind] else "text"
    if kinds[kind] < 0.8 * len(look) or pc.max(pc.utf8_length(values)).as_py() > 4_096:
        return ""
    if any(not finder.find(value)[1] for value in look):
        return kind
    tally.note(f"Column {name!r} looks like paths of files, but none of the first ones exists beside {file.name}.")
    return ""


def is_named(name: str) -> bool:
    """Whether a column names files by convention."""
    return name == NAMED or name.endswith("_" + NAMED)


def new_name(name: str, kinds: dict[str, str], names: list[str]) -> str:
    """`file_name` becomes image or text, `left_file_name` becomes left; unless that name is taken."""
    if name not in kinds or not is_named(name):
        return name
    short = kinds[name] if name == NAMED else name.removesuffix("_" + NAMED)
    return name if short in names else short
