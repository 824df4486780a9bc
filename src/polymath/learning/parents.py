"""Which stored paths a new task may build upon, the most promising first."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..model.path import Path
from ..model.prefix import END, grafted, matching, prefixes
from ..predicting import HEAD, TaskRecord, load_record
from ..problem import Problem
from ..search.spaces.parents import Parent
from ..store import Store

MOST = 12
"""Parents offered to one search."""


def parents(store: Store, problem: Problem, *, but: str, most: int = MOST) -> tuple[Parent, ...]:
    """Prefixes of all tasks of the store that fit the ports of this problem; `but`: the task that is learned now.

    Tasks that are private are left out. Of equal prefixes (tasks that share them) the first counts.
    """
    found: dict[str, Parent] = {}
    for record in _records(store, but=but):
        own = Problem.model_validate(record.problem)
        path = Path.model_validate(record.path)
        for part in prefixes(path, own.ports):
            ports = matching(part, own.ports, problem.ports)
            if ports is None:
                continue
            placed = grafted(part, ports=ports, name=record.name)
            end = placed.outputs[END]
            width = placed.forms(problem.ports)[end].width
            parent = Parent(task=record.name, path=placed, width=width, promise=_promise(record, own, problem))
            found.setdefault(placed.identities()[end], parent)
    return tuple(sorted(found.values(), key=lambda parent: (-parent.promise, parent.name))[:most])


def fetch(found: tuple[Parent, ...], *, store: Store, scratch: Store) -> None:
    """Puts the weights of parents where experiments look for weights."""
    for address in sorted({address for parent in found for address in parent.path.addresses}):
        if not scratch.has(address):
            scratch.put(store.get(address))


def _records(store: Store, *, but: str) -> Iterator[TaskRecord]:
    for head in sorted(store.heads(HEAD)):
        name = head.removeprefix(HEAD)
        record = load_record(store, name) if name != but else None
        if record is not None and record.state != "learning" and not record.private:
            yield record


def _promise(record: TaskRecord, own: Problem, problem: Problem) -> float:
    """Before anything was tried: many rows and many classes make good features, and alike forms make likely ones."""
    alike = sum(form in own.ports.values() for form in problem.ports.values()) / max(len(problem.ports), 1)
    classes = sum(output.head_width for output in own.outputs)
    return math.log10(1 + record.summary.rows_used) + math.log10(1 + classes) + alike
