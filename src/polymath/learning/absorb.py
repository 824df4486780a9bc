"""Absorb: features learned from pictures, texts or a table without a target, stored as frozen genes to build upon.

What is absorbed is no task. It stands beside what is imported, and every later task that can read it tries cheap heads
on it, and nets that begin with it; it is used only where that is better on validation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as Folder
from typing import Any

import numpy as np

from ..importing import Imported, publish
from ..model.path import Path
from ..problem import columns as look
from ..problem.dataset import encoded_once
from ..problem.features import Feature, Image, Text
from ..problem.form import Form
from ..problem.inference import as_input, check_names, check_types, make_feature
from ..problem.sources import Rows, read
from ..spec import BadInput
from ..store import Store
from . import unlabelled
from .wishes import DEFAULT_BUDGET, Listener, Wishes, interruptible, name_of

MOST_PICTURES, MOST_TEXTS, MOST_ROWS = 50_000, 100_000, 50_000
"""More tell little that is new and cost memory: an even sample of more rows is taken."""
RESERVE_SHARE, RESERVE_SECONDS = 0.1, 3.0
"""Kept back of the budget for the last step, which cannot be cut short."""


@dataclass(frozen=True)
class _Found:
    """A path, what it reads, and from how many rows it was learned."""

    ports: dict[str, Form]
    path: Path
    rows: int
    features: tuple[Feature, ...] = ()


def absorb(data: Any, *, store: Store, wishes: Wishes, listener: Listener) -> Imported:
    """Learns features from rows and stores them under `absorbed/NAME`; the record is written last, in one step.

    The target of the data, if they have one, is not looked at. Of `wishes` count: name, types, ignore, budget, seed,
    memory and cache. Stopped by Ctrl-C it ends with the rows seen so far, or with nothing where they are too few.
    Raises BadInput when the data hold nothing to learn features from.
    """
    begin = wishes.begin if wishes.begin is not None else time.monotonic()
    budget = wishes.budget_seconds or DEFAULT_BUDGET
    end = begin + budget - min(RESERVE_SECONDS + RESERVE_SHARE * budget, 0.5 * budget)
    cache = Folder(wishes.cache) if wishes.cache else Folder.home() / ".cache" / "polymath"
    rows = read(data, memory_bytes=wishes.memory_bytes, cache=cache)
    name = wishes.name or name_of(rows.source)
    features = _features(rows, wishes)
    with interruptible() as stopped:
        call = _Call(rows, store.put_tensors, lambda: not stopped() and time.monotonic() < end, wishes.seed, cache)
        found = _chosen(features)(call, features, listener)
        if stopped():
            listener.say("Stopping: what was seen so far is stored.")
        path = found.path
        return publish(
            store,
            Imported(
                name=name,
                way="absorbed",
                features=tuple(feature.model_dump(mode="json") for feature in found.features),
                ports=found.ports,
                path=path.model_dump(mode="json"),
                parameters=sum(sum(t.size for t in store.get_tensors(a).values()) for a in path.addresses),
                rows=found.rows,
                classes=path.forms(found.ports)[next(iter(path.outputs.values()))].width,
                source=rows.source,
                licence="",
                file_digest=rows.fingerprint,
            ),
        )


@dataclass(frozen=True)
class _Call:
    """One call: rows, where weights go, whether there is time for more."""

    rows: Rows
    put: unlabelled.Put
    more: unlabelled.More
    seed: int
    cache: Folder

    def sample(self, most: int) -> np.ndarray:
        """Numbers of at most so many rows, evenly spread."""
        count = len(self.rows)
        return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


_How = Callable[["_Call", Sequence[Feature], Listener], _Found]


def _features(rows: Rows, wishes: Wishes) -> list[Feature]:
    """A raw feature for every column that can be read; the target, by the layout of the data, is none of them."""
    names = rows.table.column_names
    check_names(names, {"type": wishes.types, "ignore": wishes.ignore})
    check_types(wishes.types, inputs=True)
    found = []
    for name in names:
        if name in wishes.ignore or name == rows.target_hint:
            continue
        told = wishes.types.get(name)
        role, kind, _ = ("input", told, "") if told else as_input(rows, look.Column.of(rows.table[name], name))
        if role == "input" and kind is not None:
            found.append(make_feature(kind, name, from_file=name in rows.file_columns))
    return found


def _chosen(features: Sequence[Feature]) -> _How:
    """Pictures before texts before columns: what is dearest to label is worth most."""
    if any(isinstance(one, Image) for one in features):
        return _pictures
    return _texts if any(isinstance(one, Text) for one in features) else _columns


def _pictures(call: _Call, features: Sequence[Feature], listener: Listener) -> _Found:
    feature = _only(features, Image, listener)
    once = encoded_once(call.rows, feature, call.cache / "data")
    kept = call.sample(MOST_PICTURES)
    bad = {one.row for one in once.bad}
    kept = kept[~np.isin(kept, sorted(bad))] if bad else kept
    _enough(len(kept), call, "pictures", len(bad))
    listener.say(f"{len(kept):,} pictures, {once.feature.form}; {len(bad):,} cannot be read")
    ports = {feature.name: once.feature.form}
    array = once.array if len(kept) == len(once.array) else np.asarray(once.array[kept])
    path, rows = unlabelled.pictures(
        array, once.feature.form, port=feature.name, put=call.put, more=call.more, seed=call.seed
    )
    return _Found(ports, path, rows)


def _texts(call: _Call, features: Sequence[Feature], listener: Listener) -> _Found:
    feature = _only(features, Text, listener)
    kept = call.rows.table[feature.name].take(call.sample(MOST_TEXTS))
    measured = feature.measure(kept)
    ids = measured.encode(kept).array
    ids = ids[ids.any(axis=1)]
    _enough(len(ids), call, "texts that are not empty", 0)
    assert isinstance(measured, Text) and measured.subwords is not None
    listener.say(f"{len(ids):,} texts, {measured.subwords.size:,} subwords")
    path, rows = unlabelled.texts(ids, measured.form, port=feature.name, put=call.put)
    return _Found({feature.name: measured.form}, path, rows, (measured,))


def _columns(call: _Call, features: Sequence[Feature], listener: Listener) -> _Found:
    if not features:
        raise BadInput(
            "there is nothing to learn features from: no pictures, no texts, no columns of numbers or categories",
            file=call.rows.source,
            remedy="Use --type COLUMN=TYPE for a column that was left out.",
        )
    table = call.rows.table.take(call.sample(MOST_ROWS))
    measured = [one.measure(table[one.name]) for one in features]
    measured = [one for one in measured if one.form.kind == "vector"]
    row, form = unlabelled.joined(
        [one.encode(table[one.name]).array for one in measured], [one.form for one in measured]
    )
    _enough(len(row), call, "rows", 0)
    listener.say(f"{len(row):,} rows, {len(measured):,} columns")
    path, rows = unlabelled.columns(row, form, port="row", put=call.put, seed=call.seed)
    return _Found({"row": form}, path, rows, tuple(measured))


def _only(features: Sequence[Feature], kind: type[Feature], listener: Listener) -> Any:
    """The first feature of a kind; the others are named."""
    one, *others = sorted(features, key=lambda feature: not isinstance(feature, kind))
    if others:
        listener.say(f"Features of column {one.name!r}; not looked at: {', '.join(other.name for other in others)}")
    return one


def _enough(count: int, call: _Call, what: str, bad: int) -> None:
    if count < unlabelled.FEWEST:
        raise BadInput(
            f"{count} {what} are too few to learn features from; it takes {unlabelled.FEWEST}"
            + (f" ({bad:,} cannot be read)" if bad else ""),
            file=call.rows.source,
            remedy="Give more rows; they need no target.",
        )
