"""A kind of input that many tasks can share a trunk for, and the rows of its tasks as they are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...predicting import TaskRecord
from ...problem import Category, Dataset, Problem, Split

HELD_OUT = 0
"""The fold of every task that the trunk never learns from."""
MOST_ROWS = 400_000
"""Of all tasks together; of larger ones an even sample of each."""
MOST_JUDGED = 5_000
"""Held-out rows on which the trunk itself is judged while it is trained."""


@dataclass(frozen=True)
class Source:
    """A task whose rows are still in the cache."""

    record: TaskRecord
    dataset: Dataset
    port: str
    output: str

    @property
    def values(self) -> np.ndarray:
        """What its rows are, encoded."""
        return self.dataset.inputs[self.port]

    @property
    def size(self) -> tuple[int, ...]:
        return self.dataset.problem.ports[self.port].size


@dataclass(frozen=True)
class Joined:
    """Rows of many tasks: a table with the columns `class` (TASK/CLASS) and `part`, and what is learned from it."""

    table: pa.Table
    problem: Problem


@dataclass(frozen=True)
class Drawn:
    """Rows of one part of one task."""

    source: Source
    part: str
    """`train` or `validation`."""
    rows: np.ndarray
    labels: list[str]


class Kind(ABC):
    """One kind of input. Whoever adds one lists it in `KINDS`."""

    one: str
    """What a row of a task must be."""
    several: str

    @abstractmethod
    def port(self, problem: Problem) -> str | None:
        """The port that such a task reads; None where it reads anything else."""

    def unlike(self, sources: Sequence[Source]) -> dict[str, str]:
        """Tasks whose rows cannot be joined with those of the others -> why."""
        return {}

    @abstractmethod
    def joined(self, sources: Sequence[Source], name: str) -> Joined:
        """All rows as one table, and the problem called `name`."""


def drawn(sources: Sequence[Source], *, most: int = MOST_ROWS) -> Iterator[Drawn]:
    """The rows of all tasks, those that train and those that judge; at most so many, evenly spread."""
    total = sum(len(source.dataset.training()) for source in sources)
    held = sum(len(source.dataset.validation(HELD_OUT)) for source in sources)
    for source in sources:
        feature = source.dataset.problem.outputs[0]
        assert isinstance(feature, Category)
        classes = feature.classes
        assert classes is not None
        for part, rows, share in (
            ("train", source.dataset.training(HELD_OUT), most / total),
            ("validation", source.dataset.validation(HELD_OUT), MOST_JUDGED / max(held, 1)),
        ):
            codes = np.asarray(source.dataset.targets[source.output][rows]).reshape(-1)
            kept = _even(rows[codes >= 0], share)
            codes = np.asarray(source.dataset.targets[source.output][kept]).reshape(-1)
            yield Drawn(source, part, kept, [f"{source.record.name}/{classes[code]}" for code in codes])


def _even(rows: np.ndarray, share: float) -> np.ndarray:
    """At most this share of the rows, evenly spread; one at least."""
    if share >= 1 or not len(rows):
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, max(1, int(share * len(rows)))).astype(np.int64)])


def target(labels: Sequence[str]) -> Category:
    """The joint answer; its classes are named, for there may be more than a column's."""
    return Category(name="class", classes=tuple(sorted(set(labels))))


GIVEN = Split(kind="given", column="part", test_fraction=0.0)
"""How the joined rows are divided."""
