"""Taking away what nobody needs: hidden records, and the objects that no record names.

Safe beside others who write. Every removal happens under the lock under which a record gets its row, and a record gets
its row only if all that it names is there. So a writer whose objects were taken is told, never deceived; and so that it
need not be told, objects that no record names stay for a day unless nobody else has the store open for writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import recovery
from .objects import YOUNG_SECONDS
from .store import Store

AT_A_TIME = 200
"""Objects looked at under one hold of the lock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What was taken away. `waiting`: bytes that nobody names and that stay because others may be about to."""

    records: int
    objects: int
    bytes: int
    waiting: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What forgetting took away; `shared`: object that stays -> (kind, id, address) of the records that need it."""

    collected: Collected
    shared: dict[str, list[tuple[str, str, str]]]


def forget(store: Store, addresses: Sequence[str], *, reason: str = "") -> Forgotten:
    """Hide records for good, then take away them, the names that mean them and what only they needed."""
    needed = sorted({ref for address in addresses for ref in store.entry(address).refs})
    store.tombstone(*addresses, reason=reason)
    collected = collect(store)
    shared = {ref: users for ref in needed if (users := store.catalogue.dependents(ref))}
    return Forgotten(collected=collected, shared=shared)


def collect(store: Store) -> Collected:
    """Take away hidden records and the objects that no record names. Raises StoreError; what was done by then holds."""
    store.writable()
    with store.alone() as alone:
        older_than = 0.0 if alone else YOUNG_SECONDS
        records, record_bytes = _hidden_records(store)
        named = store.catalogue.needed()
        unnamed = [address for address in store.objects.addresses() if address not in named]
        objects, freed, waiting = remove_unnamed(store, unnamed, older_than=older_than)
    return Collected(records=records, objects=objects, bytes=record_bytes + freed, waiting=waiting)


def _hidden_records(store: Store) -> tuple[int, int]:
    """Rows first, files before the commit: what a kill leaves of them is hidden still, and the next time takes it."""
    freed = 0
    with store.catalogue.transaction():
        recovery.rescue(store)
        recovery.take_in(store)
        hidden = sorted(store.catalogue.dead())
        for address in hidden:
            store.catalogue.remove(address)
        for address in hidden:
            freed += store.record_files.size(address) or 0
            store.record_files.remove(address)
    return len(hidden), freed


def remove_unnamed(store: Store, addresses: Iterable[str], *, older_than: float) -> tuple[int, int, int]:
    """Remove those of these objects that no record names and that are old enough: number, bytes, and bytes left."""
    todo = sorted(addresses)
    objects = freed = waiting = 0
    for begin in range(0, len(todo), AT_A_TIME):
        with store.catalogue.transaction():
            for address in todo[begin : begin + AT_A_TIME]:
                size = store.objects.size(address)
                if size is None or store.catalogue.is_needed(address):
                    continue
                if store.objects.remove(address, older_than=older_than):
                    objects, freed = objects + 1, freed + size
                else:
                    waiting += size
    return objects, freed, waiting
