"""Union of two stores. Nothing about the other one is trusted: every byte is hashed, every record checked.

The other store's catalogue is never opened, and nothing is written there. What cannot be used is left out, with all
that needs it, and counted. Ours changes in one step at the end, or not at all.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..spec import BadInput, printable
from . import place, records
from .collect import AT_A_TIME, remove_unnamed
from .errors import CorruptObject, MissingObject, StoreError
from .objects import ADDRESS, Folder, Objects
from .records import EXACT_INTEGER, HEAD, TOMBSTONE, Record
from .remote import Remote, is_address
from .store import Store
from .writing import own_sizes

MOST_RECORDS = 1_000_000
FAR = EXACT_INTEGER >> 1
"""Clocks and fences beyond this are nobody's honest ones, and would leave us none to go on with."""

Examine = Callable[[Record], Collection[str]]
"""Which of the objects that a record names must be sound finite tensors; ValueError if it is not what its kind says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """What a merge brought. `left_out`: reason -> address of each thing that could not be used, and details."""

    records: int
    objects: int
    bytes: int
    healed: int
    """Damaged objects and records of ours of which the other store had a good copy."""
    heads: dict[str, tuple[str | None, str | None]]
    """Name -> the record that it meant and the one that it means now, where they differ."""
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @property
    def num_left_out(self) -> int:
        return sum(map(len, self.left_out.values()))


def merge(store: Store, other: str | Path, *, examine: Examine | None = None) -> Merged:
    """Take in all records of the store at `other` that are not hidden, and the objects that they name.

    Of two records with one kind and id, and so of two meanings of a name, the later written counts (see `records`),
    whichever store it came from; the other stays. What either store has forgotten stays forgotten. Raises BadInput if
    `other` is no store, StoreError; then nothing of ours has changed.
    """
    store.writable()
    source = Source(other)
    survey = Survey(source, ours=store, examine=examine or (lambda record: ()))
    taken, objects = survey.records(), survey.objects()
    before = store.heads()
    healed = sum(store.size(address) is not None for address in [*objects, *taken])
    if store.remote is None:
        room(store.path, sum(objects.values()))
    fresh = [address for address in taken if store.record_files.size(address) is None]
    put: list[str] = []
    try:
        for address in objects:
            put.append(address)
            store.objects.put([source.objects.read(address)])
        _add(store, source, taken)
    except BaseException:
        _undo(store, fresh, put)
        raise
    after = store.heads()
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Merged(
        records=len(taken),
        objects=len(objects),
        bytes=sum(objects.values()),
        healed=healed,
        heads={name: (before.get(name), after.get(name)) for name in changed},
        left_out=survey.left_out,
    )


def _add(store: Store, source: Source, taken: list[str]) -> None:
    """Files of records, then all rows in one transaction, in which everything that they name is still there."""
    for begin in range(0, len(taken), AT_A_TIME):
        some = taken[begin : begin + AT_A_TIME]
        store.record_files.put_all({address: [source.records.read(address)] for address in some})
    with store.catalogue.transaction():
        store.catalogue.adopt(_with_sizes(store, taken))


def _with_sizes(store: Store, taken: list[str]) -> Iterator[tuple[Record, dict[str, int]]]:
    for address in taken:
        record = records.read(store.record_files.read(address))
        sizes = {ref: store.size(ref) for ref in record.refs}
        known = {ref: size for ref, size in sizes.items() if size is not None}
        if len(known) < len(sizes):
            raise StoreError(errno.EAGAIN, "Something was collected while it was merged: run the merge again.")
        yield record, own_sizes(record, known)


def _undo(store: Store, fresh: list[str], put: list[str]) -> None:
    """Take back records, then objects; these only if nobody else may have come to rely on them."""
    with store.catalogue.transaction():
        for address in fresh:
            store.record_files.remove(address)
            store.catalogue.remove(address)
    with store.alone() as alone:
        if alone:
            remove_unnamed(store, put, older_than=0.0)


class Source:
    """The files of a store that somebody else may be writing to, for reading alone."""

    objects: Objects
    records: Objects

    def __init__(self, other: str | Path) -> None:
        """Raises BadInput if there is no store that this version reads."""
        self.where = str(other)
        if is_address(other):
            remote = Remote(str(other), create=False)
            self.objects, self.records = remote.objects, remote.records
            return
        path = Path(other)
        place.look(path)
        nowhere = path / "nowhere"  # nothing is ever written
        self.objects = Folder(path / "objects", temporary=nowhere, quarantine=nowhere)
        self.records = Folder(
            path / "records", temporary=nowhere, quarantine=nowhere, max_bytes=records.MAX_RECORD_BYTES
        )

    def addresses(self) -> list[str]:
        """Of all records. Raises BadInput where there is no end of them."""
        found: list[str] = []
        for address in self.records.addresses():
            found.append(address)
            if len(found) > MOST_RECORDS:
                raise BadInput(
                    "the store holds more records than can be honest",
                    file=self.where,
                    value=f"more than {MOST_RECORDS:,}",
                    remedy="Copy single tasks from it with `polymath copy`.",
                )
        return found


@dataclass(frozen=True, slots=True)
class _Row:
    """What a survey keeps of a record. `finite`: the objects that must be sound tensors."""

    kind: str
    written: int
    refs: tuple[str, ...]
    target: str
    finite: frozenset[str]


class Survey:
    """What of another store can be used, and what is left out and why."""

    def __init__(self, source: Source, *, ours: Store, examine: Examine) -> None:
        self.left_out: dict[str, list[str]] = {}
        self._source, self._ours, self._examine = source, ours, examine
        self._mine = ours.catalogue.addresses()
        self._rows: dict[str, _Row] = {}
        self._sizes: dict[str, int] = {}  # of sound objects there
        self._verdicts: dict[tuple[str, str], bool] = {}
        for address in source.addresses():
            self._read(address)
        gone = {row.target for row in self._rows.values() if row.kind == TOMBSTONE} | ours.catalogue.tombstones()
        kept = [
            (row.written, address)
            for address, row in self._rows.items()
            if address not in gone and not (row.kind == HEAD and row.target in gone)
        ]
        usable = {address for _, address in kept if self._can(address)}
        todo = list(usable)
        while todo:  # what is hidden and needed all the same
            new = {ref for ref in self._rows[todo.pop()].refs if ref in self._rows} - usable
            usable |= new
            todo += new
        self._usable = sorted(usable, key=lambda address: (self._rows[address].written, address))

    def records(self) -> list[str]:
        """The usable records that we do not have, in the order in which they were written."""
        return [address for address in self._usable if not self._is_ours(address, self._ours.record_files)]

    def objects(self) -> dict[str, int]:
        """Sizes of the objects that usable records name and that we do not have, or have damaged."""
        refs = {ref for address in self._usable for ref in self._rows[address].refs}
        return {ref: self._sizes[ref] for ref in sorted(refs & self._sizes.keys())}

    def _refuse(self, address: str, reason: str, detail: object = "") -> None:
        said = printable(str(detail).partition("\n")[0], limit=100)
        self.left_out.setdefault(reason, []).append(f"{address}: {said}" if said else address)

    def _once(self, what: str, address: str, find: Callable[[], bool]) -> bool:
        if (what, address) not in self._verdicts:
            self._verdicts[what, address] = find()
        return self._verdicts[what, address]

    def _read(self, address: str) -> None:
        try:
            record = records.read(self._source.records.read(address))
            _check(record)
            finite = frozenset(self._examine(record))
            if not finite <= {*record.refs}:
                raise ValueError("it uses objects that it does not name among its needs")
        except CorruptObject:
            self._refuse(address, "records whose bytes do not hash to their address")
        except StoreError:
            self._refuse(address, "records that cannot be read")
        except ValueError as error:
            self._refuse(address, "records that are not what they should be", error)
        else:
            target = str(record.body["record"]) if record.kind in (HEAD, TOMBSTONE) else ""
            self._rows[address] = _Row(record.kind, record.written, record.refs, target, finite)

    def _can(self, address: str) -> bool:
        """Whether a record and all that it needs can be used. A record names earlier ones, so there is no circle."""
        todo = [address]
        while todo:
            refs = self._rows[todo[-1]].refs
            new = [ref for ref in refs if ref in self._rows and ("usable", ref) not in self._verdicts]
            if new and ("usable", todo[-1]) not in self._verdicts:
                todo += new
            else:
                one = todo.pop()
                self._once("usable", one, lambda one=one: self._judge(one))  # type: ignore[misc]
        return self._verdicts["usable", address]

    def _judge(self, address: str) -> bool:
        row = self._rows[address]
        good = all([self._good(ref, finite=ref in row.finite) for ref in row.refs])
        if not good:
            self._refuse(address, "records that need what is missing or bad", row.kind)
        return good

    def _good(self, address: str, *, finite: bool) -> bool:
        """Whether something that a record names is sound, here or there."""
        if address in self._mine or self._verdicts.get(("usable", address), False):
            return not finite
        if address in self._rows:
            return False
        here = self._is_ours(address, self._ours.objects)
        there = not here and self._once("there", address, lambda: self._is_there(address))
        folder = self._ours.objects if here else self._source.objects
        return (here or there) and (not finite or self._once("finite", address, lambda: self._finite(address, folder)))

    def _is_ours(self, address: str, folder: Objects) -> bool:
        """Whether we have it unharmed; a damaged one is as if it were not here, and so it is healed."""

        def find() -> bool:
            try:
                folder.read(address)
            except StoreError:
                return False
            return folder is self._ours.objects or address in self._mine

        return self._once("ours", address, find)

    def _is_there(self, address: str) -> bool:
        try:
            size = self._source.objects.size(address) or 0
            if size > _memory() // 2:
                self._refuse(address, "objects that do not fit into the memory of this machine")
                return False
            self._sizes[address] = len(self._source.objects.read(address))
        except MissingObject:
            self._refuse(address, "objects that are missing")
        except CorruptObject:
            self._refuse(address, "objects whose bytes do not hash to their address")
        except StoreError:
            self._refuse(address, "objects that cannot be read")
        return address in self._sizes

    def _finite(self, address: str, folder: Objects) -> bool:
        from . import tensors

        try:
            tensors.decode(folder.read(address), finite=True)
        except ValueError as error:
            self._refuse(address, "weights that are no sound tensors", error)
            return False
        return True


def _check(record: Record) -> None:
    """What a record must be beyond being one, so that it can do no harm among ours. Raises ValueError."""
    if record.written > FAR or record.fence > FAR:
        raise ValueError("a clock from the far future")
    if record.kind == HEAD:
        if record.body != {"name": record.id, "record": record.refs[0] if len(record.refs) == 1 else None}:
            raise ValueError("a head that means no one record")
        if not is_plain_name(record.id):
            raise ValueError("a name that could lead out of a folder")
    if record.kind == TOMBSTONE:
        target = record.body.get("record")
        if not isinstance(target, str) or not ADDRESS.fullmatch(target) or record.refs:
            raise ValueError("a tombstone that names no record")


def is_plain_name(name: str) -> bool:
    """Whether each part of a name is a text that is safe as the name of a file, should somebody use it as one."""
    parts = name.split("/")
    return all(part and not part.startswith(".") and part.isprintable() and "\\" not in part for part in parts)


def _memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def room(path: Path, size: int) -> None:
    """Raise StoreError if so many bytes do not fit; better before the first one than in the middle."""
    free = shutil.disk_usage(path).free
    if size > free:
        raise StoreError(
            errno.ENOSPC,
            f"{path} has room for {free:,} bytes; {size:,} are needed. Nothing was changed: free some space.",
        )
