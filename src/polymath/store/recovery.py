"""What the next open does for writers that died, and for a machine that lost its power.

A record on disk without a row is adopted, one that is whole and still has its temporary name gets its name, and what
was never finished is set aside. So nothing that was acknowledged depends on anybody having closed the store.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from . import disk, records, writing
from .catalogue import Shelf
from .database import Damaged
from .errors import MissingObject, StoreError
from .records import Record

if TYPE_CHECKING:
    from .store import Store

RECORD = ".record"
"""Ending of the temporary name of a record."""
WORTH_NOTING = 16
"""Shelves: to look into fewer takes less time than to write that one need not."""


def records_on_disk(
    store: Store,
    *,
    known: frozenset[str] | set[str] = frozenset(),
) -> Iterator[tuple[Record, dict[str, int]]]:
    """Every sound record whose file is there and not `known`, with the sizes of its objects, for the index.

    A damaged one is left out here and named by `verify`.
    """
    return _read(store, (address for address in store.record_files.addresses() if address not in known))


def _read(store: Store, addresses: Iterable[str]) -> Iterator[tuple[Record, dict[str, int]]]:
    for address in addresses:
        with contextlib.suppress(ValueError, StoreError):
            record = records.read(store.record_files.read(address))
            sizes = {ref: size for ref in record.refs if (size := store.size(ref)) is not None}
            yield record, writing.own_sizes(record, sizes)


def rescue(store: Store) -> None:
    """Give their names to whole records of dead processes that still, or after a power cut again, have none."""
    for source in sorted((store.path / "tmp").glob(f"*{RECORD}")):
        if disk.of_the_dead(source):
            # Not whole: the sweep takes it. Not there: another process is opening the store too.
            with contextlib.suppress(ValueError, FileNotFoundError), open(disk.open_regular(source), "rb") as file:
                record = records.read(file.read(records.MAX_RECORD_BYTES + 1))
                store.local_records.take(source, record.address)


def drop_incomplete(store: Store) -> None:
    """Once after every start of the machine: remove the objects of a scratch store that are not what they say."""
    noted, boot = store.path / "boot", disk.boot_identity()
    if not noted.exists() or noted.read_text(errors="replace") != boot:
        for address in store.objects.addresses():
            try:
                store.objects.read(address)
            except StoreError:
                store.objects.remove(address)
    noted.write_text(boot)


def adopt(store: Store) -> None:
    """Give rows to the records of processes that died between writing the file and the row.

    Shelves that have not changed since all their records had rows are not looked into, as long as there are as many
    rows as they need: opening a store then costs the same however much it holds.
    """
    shelves = set(store.record_files.shelves().items())
    noted = store.catalogue.settled()
    same = {shelf: number for shelf, number in noted.items() if shelf in shelves}
    found = list(store.record_files.addresses(but={name for name, _ in same}))
    if len(found) + sum(same.values()) > store.catalogue.count():
        same, found = {}, list(store.record_files.addresses())
    known = store.catalogue.addresses() if found else set()
    if next(_read(store, (one for one in found if one not in known)), None) is not None:
        with store.catalogue.transaction():
            take_in(store)
        return
    waiting = {address[:2] for address in found if address not in known}
    counted = Counter(address[:2] for address in found)
    settled = same | {(name, stamp): counted[name] for name, stamp in shelves if name in counted.keys() - waiting}
    if len(settled.keys() - noted.keys()) >= WORTH_NOTING:
        _note(store, settled)


def _note(store: Store, settled: Mapping[Shelf, int]) -> None:
    """Saves the next open some work. Where nothing can be written (a full disk) it has that work again."""
    try:
        with store.catalogue.transaction():
            store.catalogue.settle(settled)
    except Damaged:
        raise
    except StoreError:
        return


def take_in(store: Store) -> None:
    """Rows for all records without one. One that needs what is not there goes to the quarantine: it was never
    finished, for its writer died or is about to be told that somebody collected what it names.
    """
    sound = []
    found = records_on_disk(store, known=store.catalogue.addresses())
    for record, _ in sorted(found, key=lambda one: (one[0].written, one[0].address)):
        try:
            sound.append((record, writing.own_sizes(record, writing.sizes(store, [record]))))
        except MissingObject:
            store.record_files.set_aside(record.address)
    store.catalogue.adopt(sound)
