"""Trunks: tasks that were learned from the rows of other tasks, for later ones to build upon (see `consolidate`)."""

from __future__ import annotations

from collections.abc import Iterator

from ..predicting import HEAD, TaskRecord, load_record
from ..store import Store

TRUNK = "consolidates"
"""In the origin of a trunk: the tasks that it was learned from."""
NAMED = "trunk-"
"""How the name of every trunk begins; a number follows."""


def trunks(store: Store) -> Iterator[TaskRecord]:
    """Those of the store, in the order of their names."""
    for head in sorted(store.heads(HEAD + NAMED)):
        record = load_record(store, head.removeprefix(HEAD))
        if TRUNK in record.origin:
            yield record


def free_name(store: Store) -> str:
    """For the next trunk."""
    taken = store.heads(HEAD)
    return next(name for name in (f"{NAMED}{n}" for n in range(1, len(taken) + 2)) if HEAD + name not in taken)
