"""The one growing model as a store holds it: the union of the paths of all its tasks, read without their weights."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING

from .importing import Imported, imports
from .model.union import Share, Stored, Union
from .predicting import HEAD, TaskRecord
from .problem import Problem

if TYPE_CHECKING:
    from .store import Store

__all__ = ["Share", "Stored", "Union", "num_values", "union"]


def union(store: Store) -> Union:
    """All paths of a store, the oldest task first, so that what builds upon another stands after it."""
    records = {address: name for name, address in store.heads(HEAD).items()}
    begun: dict[str, int] = {}
    found: dict[str, TaskRecord] = {}
    for place, (address, body) in enumerate(store.records("task")):
        begun.setdefault(str(body["name"]), place)
        if address in records:
            found[str(body["name"])] = TaskRecord.model_validate(body)
    ordered = [found[name] for name in sorted(found, key=lambda name: begun[name])]
    wild = [_brought(one) for one in imports(store)]
    return Union([*wild, *map(_stored, ordered)], count=lambda address: num_values(store, address))


def _stored(record: TaskRecord) -> Stored:
    return Stored(
        name=record.name,
        path=record.path,
        ports=Problem.model_validate(record.problem).all_ports,
        built_on=record.built_on,
        note=_note(record),
    )


def _brought(one: Imported) -> Stored:
    return Stored(
        name=one.head,
        path=one.path,
        ports=one.ports,
        imported=one.way == "imported",
        absorbed=one.way == "absorbed",
        note=one.source,
    )


def _note(record: TaskRecord) -> str:
    """Its score, and its state where that is not 'done'."""
    summary = record.summary
    value = summary.test if summary.test is not None else summary.validation
    score = [] if value is None else [f"{summary.metric} {value:.4g}"]
    return ", ".join(score + ([record.state] if record.state != "done" else []))


def num_values(store: Store, address: str) -> int:
    """How many numbers the tensors at an address hold; read from their header, so the cost does not grow with them."""
    (length,) = struct.unpack("<Q", store.objects.beginning(address, 8))
    header = json.loads(store.objects.beginning(address, 8 + length)[8:])
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
