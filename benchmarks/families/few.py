"""A task from which few examples of each class are taken: rows to learn from, rows that are asked, the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

MOST_ASKED = 600
"""Rows that are asked, where there are more."""


@dataclass(frozen=True)
class Task:
    """One task of a family. Columns are pictures [N, H, W] or [N, H, W, 3], texts or what a table holds."""

    name: str
    form: str
    """pictures, texts or columns: which cold methods read it."""
    columns: Mapping[str, Any]
    labels: np.ndarray
    asked: Mapping[str, Any]
    truth: np.ndarray

    @property
    def classes(self) -> int:
        return len(np.unique(self.labels))

    def few(self, each: int) -> np.ndarray:
        """Numbers of the first `each` rows of every class, or of all that it has."""
        place = np.zeros(len(self.labels), dtype=int)
        for label in np.unique(self.labels):
            mine = self.labels == label
            place[mine] = np.arange(mine.sum())
        return np.flatnonzero(place < each)

    def table(self, rows: np.ndarray) -> pa.Table:
        """Rows to learn from, as Polymath is given them."""
        return pa.table({**taken(self.columns, rows), "label": self.labels[rows].tolist()})

    def question(self, most: int | None = None) -> pa.Table:
        """The rows that are asked, or the first `most` of them."""
        return pa.table(taken(self.asked, np.arange(len(self.truth))[:most]))


def taken(columns: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Some rows of columns, pictures as tensors of Arrow."""
    found: dict[str, Any] = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim > 1:
            found[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values[rows]))
        else:
            found[name] = [values[row] for row in rows]
    return found


def cut(
    name: str,
    *,
    form: str,
    columns: Mapping[str, Any],
    labels: Sequence[str],
    asked: np.ndarray,
    most: int = MOST_ASKED,
) -> Task:
    """A task from all rows, `asked` [N] saying which are for the test; they come in an order drawn by the name."""
    truth = np.asarray(labels).astype(str)
    order = np.random.default_rng([len(truth), *name.encode()]).permutation(len(truth))
    known, test = order[~asked[order]], order[asked[order]][:most]

    def part(rows: np.ndarray) -> dict[str, Any]:
        return {
            column: values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
            for column, values in columns.items()
        }

    return Task(name, form, part(known), truth[known], part(test), truth[test])
