"""Texts of many tasks, each cut by a vocabulary of its own: put together again and cut by one that all have in common.

What a task's own cutting lost stays lost: capitals where it made them small, characters that it did not know, and the
end of the longest in a hundred. A task that reads the trunk has lost the same before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from ...problem import Problem
from ...problem.features import Text
from ...problem.subwords import UNKNOWN, Pieces
from .base import GIVEN, HELD_OUT, Joined, Kind, Source, drawn, target


class Texts(Kind):
    """One text per row, in any language."""

    one, several = "text", "texts"

    def port(self, problem: Problem) -> str | None:
        first, *others = problem.inputs
        return problem.port_of(first) if isinstance(first, Text) and not others else None

    def joined(self, sources: Sequence[Source], name: str) -> Joined:
        """Tasks may share their texts: one that any task holds out is learned from for none."""
        held = {text for one in sources for text in _texts(one, one.dataset.validation(HELD_OUT))}
        rows = [
            (text, label, one.part)
            for one in drawn(sources)
            for text, label in zip(_texts(one.source, one.rows), one.labels, strict=True)
            if text and (one.part == "validation" or text not in held)
        ]
        texts, labels, parts = (list(column) for column in zip(*rows, strict=True))
        table = pa.table({"text": texts, "class": labels, "part": parts})
        text = Text(name="text", lower=any(_subwords(one).lower for one in sources))
        return Joined(table, Problem(name=name, inputs=(text,), outputs=(target(labels),), split=GIVEN))


def _texts(source: Source, rows: Iterable[int] | np.ndarray) -> Iterator[str]:
    """The texts of rows, without the characters that the task's vocabulary does not know."""
    subwords = _subwords(source)
    for row in np.asarray(rows):
        ids = np.asarray(source.values[row])
        yield subwords.decode(ids[ids != UNKNOWN])


def _subwords(source: Source) -> Pieces:
    (feature,) = source.dataset.problem.inputs
    assert isinstance(feature, Text) and feature.subwords is not None
    return feature.subwords
