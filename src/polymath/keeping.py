"""What it takes to live with a store, where tasks and the ledger are known: forget a task, take in another store."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import store as stores
from .importing import ABSORBED, Imported, checked
from .importing import HEAD as IMPORTED
from .importing import KIND as BROUGHT
from .predicting import HEAD, KIND, TaskRecord, load_record, needed
from .spec import BadInput
from .store import Collected, Copied, Merged, Record, Store


@dataclass(frozen=True, kw_only=True)
class Gone:
    """What forgetting a task took away."""

    task: str
    versions: int
    objects: int
    bytes: int
    """Freed, the scratch folder of its experiments included."""
    waiting: int
    """Bytes that nobody needs and that stay for a day, because another process has the store open for writing."""
    shared: dict[str, int]
    """Other task -> number of layers of the forgotten one that stay because this one uses them."""
    experiments: int
    """That stay in the ledger, without weights and predictions."""


def forget(store: Store, name: str) -> Gone:
    """See `Polymath.forget`."""
    if name.startswith((IMPORTED, ABSORBED)) and store.head(name) is not None:
        versions = {at for at, body in store.records(BROUGHT) if Imported.model_validate(body).head == name}
    else:
        load_record(store, name)  # says what there is instead
        current = store.head(HEAD + name)
        versions = {*store.versions(KIND, where={"name": name}), *([current] if current else ())}
    freed = _without_scratch(store, name)
    done = stores.forget(store, sorted(versions), reason="forgotten")
    shared: dict[str, set[str]] = {}
    for layer, users in done.shared.items():
        for kind, _, address in users:
            if kind == KIND:
                shared.setdefault(str(store.record(address).get("name")), set()).add(layer)
    return Gone(
        task=name,
        versions=len(versions),
        objects=done.collected.objects,
        bytes=freed + done.collected.bytes,
        waiting=done.collected.waiting,
        shared={other: len(layers) for other, layers in sorted(shared.items())},
        experiments=sum(1 for _ in store.records("experiment", where={"task": name})),
    )


def collect(store: Store, *, old: bool) -> Collected:
    """See `Polymath.collect`."""
    versions = _old_versions(store) if old else []
    if versions:
        store.tombstone(*versions, reason="old version")
    return stores.collect(store)


def _old_versions(store: Store) -> list[str]:
    """Versions of tasks that their name no longer means. One written after it was given may be about to get it."""
    found = []
    for head in store.heads(HEAD):
        name = head.removeprefix(HEAD)
        given = store.find("head", head)
        assert given is not None
        meant, when = store.entry(given).body["record"], store.entry(given).written
        for address in store.versions(KIND, where={"name": name}):
            if address != meant and store.entry(address).written < when:
                found.append(address)
    return found


def _without_scratch(store: Store, name: str) -> int:
    """Removes what experiments of a task left beside the ledger; bytes. Raises BadInput while they are made."""
    folder = store.path / "scratch" / name
    if not stores.is_plain_name(name) or "/" in name or folder.is_symlink() or not folder.is_dir():
        return 0  # only what `learn` made
    size = sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
    with Store.open(folder, scratch=True) as scratch:
        assert scratch.presence is not None
        with scratch.presence.alone() as alone:
            if not alone:
                raise BadInput(
                    "this task is being learned at this moment",
                    value=name,
                    remedy="Stop that first (Ctrl-C), then forget.",
                )
            gone = store.aside()
            folder.rename(gone)
    shutil.rmtree(gone)
    return size


def merge(store: Store, other: str | Path) -> Merged:
    """See `Polymath.merge`."""
    return stores.merge(store, other, examine=_examine)


def _examine(record: Record) -> Collection[str]:
    """The weights that a foreign record brings; ValueError if it is not what its kind says: its readers would stop."""
    if record.kind == KIND:
        task = TaskRecord.model_validate(record.body)
        if not stores.is_plain_name(task.name) or "/" in task.name:
            raise ValueError("a name that could lead out of a folder")
        return needed(task)
    if record.kind == "experiment":
        from .search.ledger import Entry

        Entry.model_validate(record.body)
    elif record.kind == BROUGHT:
        return checked(Imported.model_validate(record.body)).addresses
    elif record.kind in ("invented", "rule", "cell"):
        from .inventing import Invented, python_of

        python_of(Invented.model_validate(record.body))  # reads the rule or the cell; nothing of it is run
    elif record.kind == "memory":
        return [str(record.body.get("tensors"))]
    return ()


def copy(store: Store, name: str, other: str | Path) -> Copied:
    """See `Polymath.copy`. Raises BadInput when the other store has another task of that name."""
    record = load_record(store, name)
    address = store.head(HEAD + name)
    assert address is not None
    with Store.open(other) as target:
        there = target.head(HEAD + name)
        if there is not None and _digest(target.record(there)) != record.summary.result_digest:
            raise BadInput(
                "the other store holds another task of this name",
                file=target.where,
                value=name,
                remedy=f"Forget that one first: polymath forget {name} --store {target.where}",
            )
        return stores.copy(store, target, address, head=HEAD + name)


def _digest(body: dict[str, Any]) -> str:
    return TaskRecord.model_validate(body).summary.result_digest
