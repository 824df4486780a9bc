"""Rows: what every kind of data becomes, and the count of everything in it that could not be used.

A row is one example. Row numbers shown to people count data rows from 1: neither the header nor blank lines count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from ...spec import printable

MOST_UNUSED = 1_000
"""So many unused rows or values are kept one by one; the counts are complete."""


@dataclass(frozen=True)
class Unused:
    """A row (`column` is None) or a value (`column` is a name; it counts as missing) that could not be used."""

    file: str
    row: int | None
    column: str | None
    value: str
    reason: str


@dataclass(frozen=True)
class Origins:
    """Where each row came from. `file_index` None: all from the first file; `row_numbers` None: 1, 2, 3, ..."""

    files: tuple[str, ...]
    file_index: np.ndarray | None = None
    row_numbers: np.ndarray | None = None

    def __getitem__(self, i: int) -> tuple[str, int]:
        file = 0 if self.file_index is None else int(self.file_index[i])
        return self.files[file], i + 1 if self.row_numbers is None else int(self.row_numbers[i])

    def take(self, indices: np.ndarray) -> Origins:
        file_index = None if self.file_index is None else self.file_index[indices]
        row_numbers = indices + 1 if self.row_numbers is None else self.row_numbers[indices]
        return Origins(self.files, file_index, row_numbers)


@dataclass(frozen=True)
class Rows:
    """Examples as a table, and all that is known about where they came from."""

    table: pa.Table
    """One row per usable example. Columns listed in `file_columns` hold absolute paths."""
    source: str
    """What the user gave, printable."""
    fingerprint: str
    """Changes when the content changes, 64 hexadecimal digits."""
    origins: Origins
    file_columns: dict[str, str] = field(default_factory=dict)
    """Column -> 'image' | 'text', for columns that hold paths of files."""
    given_split: str | None = None
    """Column that holds 'train', 'validation' or 'test', where the data come split."""
    target_hint: str | None = None
    """Column that the layout says is to be predicted, as the class of class folders."""
    class_names: dict[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    """Column of masks -> mask value and name of each class, where a file says so."""
    unused: tuple[Unused, ...] = ()
    """The first thousand rows and values that could not be used."""
    unused_counts: dict[str, int] = field(default_factory=dict)
    """Reason -> rows that could not be used, complete."""
    value_counts: dict[str, int] = field(default_factory=dict)
    """Reason -> single values that count as missing, complete; their rows are used."""
    notes: tuple[str, ...] = ()
    """What was decided while reading that a person may want to overrule, one sentence each."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def num_unused(self) -> int:
        """How many rows could not be used."""
        return sum(self.unused_counts.values())

    def origin(self, i: int) -> tuple[str, int]:
        """File and number of the data row (from 1; the header and blank lines do not count) of row `i`."""
        return self.origins[i]

    def take(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """The rows at `indices`, in that order. Counts of unused rows stay those of the whole."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(self, table=self.table.take(pa.array(chosen)), origins=self.origins.take(chosen))


class Tally:
    """Counts what cannot be used while data are being read."""

    def __init__(self) -> None:
        self.entries: list[Unused] = []
        self.rows: Counter[str] = Counter()
        self.values: Counter[str] = Counter()
        self.notes: list[str] = []

    @classmethod
    def of(cls, entries: Sequence[Unused], rows: Counter[str], values: Counter[str], notes: Sequence[str]) -> Tally:
        """A tally that counted this before."""
        tally = cls()
        tally.entries, tally.rows, tally.values, tally.notes = list(entries), rows, values, list(notes)
        return tally

    def row(self, file: object, row: int | None, reason: str, value: str = "") -> None:
        """One row of `file` cannot be used."""
        self.rows[reason] += 1
        self._keep(Unused(str(file), row, None, printable(value), reason))

    def value(self, file: object, row: int | None, column: str, value: str, reason: str) -> None:
        """One value counts as missing."""
        self.values[reason] += 1
        self._keep(Unused(str(file), row, column, printable(value), reason))

    def note(self, sentence: str) -> None:
        """Remember a decision, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def add(self, other: Tally) -> None:
        """Take over what another tally counted."""
        self.rows.update(other.rows)
        self.values.update(other.values)
        for entry in other.entries:
            self._keep(entry)
        for sentence in other.notes:
            self.note(sentence)

    def _keep(self, entry: Unused) -> None:
        if len(self.entries) < MOST_UNUSED:
            self.entries.append(entry)
