"""The order in which a record is written: its file, then its row, in a transaction in which all that it names is there.

A record counts for nobody before its row is committed. What is left of a writer that died in between is a file, for
`recovery`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from . import records
from .errors import StoreError, missing
from .records import Draft, Record

if TYPE_CHECKING:
    from .store import Store


def add(store: Store, drafts: Sequence[Draft], *, fence: int = 0) -> list[str] | None:
    """Records to files, then rows in one transaction in which every ref is still there.

    With a `fence` the drafts finish the trials of their ids; None if that fence is no longer the current one.
    """
    store.writable()
    written = store.catalogue.last_written()
    made = [records.make(draft, written=written + index, fence=fence) for index, draft in enumerate(drafts, 1)]
    made = [_known(store, record) or record for record in made]
    fresh = {record.address: record for record in made if store.catalogue.text(record.address) is None}
    sizes(store, fresh.values())
    if not fresh:
        return [record.address for record in made]
    if fence and not all(current(store, record) for record in fresh.values()):
        return None
    store.record_files.put_all({address: [record.text.encode()] for address, record in fresh.items()})
    with store.catalogue.transaction():
        # Raised only after the commit: a roll-back would bring back rows that another process gave these records.
        trouble = _trouble(store, fresh)
        late = bool(fence) and trouble is None and not all(current(store, record) for record in fresh.values())
        if trouble is not None or late:
            _discard(store, fresh)
        else:
            for record in fresh.values():
                store.catalogue.insert(record, sizes=own_sizes(record, sizes(store, [record])))
                for lease in store.catalogue.leases(record.id) if fence else ():
                    store.catalogue.update_lease(lease, progress=lease.progress, held=False)
    if trouble is not None:
        raise trouble
    if late:
        return None
    return [record.address for record in made]


def _known(store: Store, record: Record) -> Record | None:
    """The record that already counts and says the same, if there is one."""
    found = store.catalogue.winner(record.kind, record.id)
    if found is None or store.record_files.size(found) is None:
        return None
    old = store.entry(found)
    return old if old.fence == record.fence and old.same_content(record) else None


def _trouble(store: Store, fresh: Mapping[str, Record]) -> StoreError | None:
    """What keeps these records from counting: one was taken back by another process, or what it needs is gone."""
    try:
        for address in fresh:
            if store.record_files.size(address) is None:
                raise missing(address)
        sizes(store, fresh.values())
    except StoreError as error:
        return error
    return None


def sizes(store: Store, made: Iterable[Record]) -> dict[str, int]:
    """The size of every object that these records need. Raises MissingObject."""
    found: dict[str, int] = {}
    for record in made:
        for ref in record.refs:
            size = store.size(ref)
            if size is None:
                raise missing(ref, needed_by=f"the {record.kind} {record.id!r}")
            found[ref] = size
    return found


def current(store: Store, record: Record) -> bool:
    """Whether its fence may finish its trial: nobody claimed it later, nobody as late has finished it."""
    if any(lease.fence != record.fence for lease in store.catalogue.leases(record.id)):
        return False
    found = store.catalogue.winner(record.kind, record.id)
    # Its own row is there if another process opened the store just now and took its writer for dead.
    return found is None or found == record.address or store.entry(found).fence < record.fence


def _discard(store: Store, fresh: Mapping[str, Record]) -> None:
    """Take back record files that nobody was told of. Within the transaction."""
    for address in fresh:
        store.catalogue.remove(address)
        store.record_files.remove(address)


def own_sizes(record: Record, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes of one record and its objects."""
    own = {ref: sizes[ref] for ref in record.refs if ref in sizes}
    return {**own, record.address: len(record.text.encode())}
