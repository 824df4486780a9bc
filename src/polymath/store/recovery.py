"""What the next open does for writers that died, and for a machine that lost its power.

A record on disk without a row is adopted, one that is whole and still has its temporary name gets its name, and what
was never finished is set aside. So nothing that was acknowledged depends on anybody having closed the store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import disk, records, writing
from .errors import MissingObject, StoreError
from .records import Record

if TYPE_CHECKING:
    from .store import Store

RECORD = ".record"
"""Ending of the temporary name of a record."""


def records_on_disk(
    store: Store,
    *,
    known: frozenset[str] | set[str] = frozenset(),
) -> Iterator[tuple[Record, dict[str, int]]]:
    """Every sound record whose file is there and not `known`, with the sizes of its objects, for the index.

    A damaged one is left out here and named by `verify`.
    """
    for address in store.record_files.addresses():
        if address not in known:
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
    """Give rows to the records of processes that died between writing the file and the row."""
    if next(records_on_disk(store, known=store.catalogue.addresses()), None) is not None:
        with store.catalogue.transaction():
            take_in(store)


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
