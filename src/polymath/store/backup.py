"""Copies: one record into another store, or all of a store into a folder, while others write.

A backup is a store itself, without a catalogue until it is first opened as one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..spec import BadInput
from . import disk, place, records
from . import remote as remote_
from .errors import CorruptObject, MissingObject, StoreError
from .merge import room
from .objects import Folder, Objects
from .remote import is_address
from .store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What was copied; `left_out`: reason -> addresses of what is damaged here."""

    records: int
    objects: int
    bytes: int
    left_out: dict[str, list[str]] = field(default_factory=dict)


def copy(source: Store, target: Store, address: str, *, head: str) -> Copied:
    """Copy one record with the objects that it names; in the target `head` then means it.

    Objects come first, so whatever fails, the name means what it meant before. Raises CorruptObject, StoreError.
    """
    record = source.entry(address)
    missing = [ref for ref in record.refs if not target.has(ref)]
    if target.remote is None:
        room(target.path, sum(source.size(ref) or 0 for ref in missing))
    copied = 0
    for ref in missing:
        data = source.get(ref)
        target.put(data)
        copied += len(data)
    target.set_head(head, target.add_record(record.kind, record.body, refs=record.refs))
    return Copied(records=2, objects=len(missing), bytes=copied)


def backup(store: Store, path: str | Path) -> Copied:
    """Copy what is not hidden and not yet in the folder or bucket; a later backup adds to it.

    Whole at every moment: a record is copied after all that it needs. What cannot be read here is left out, with the
    records that need it, and named. What was forgotten since the last backup is hidden there too, not removed. Raises
    BadInput, StoreError.
    """
    if is_address(path):
        remote = remote_.copy_of(str(path), store.identity)
        return _copied(_Backup(store, remote.objects, remote.records))
    folder = Path(path)
    if store.path.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise BadInput("lies in the store itself", file=folder, remedy="Name a folder outside, best on another disk.")
    place.copy_of(folder, store.identity)
    (folder / "tmp").mkdir(exist_ok=True)
    disk.sweep(folder / "tmp")
    temporary, quarantine = folder / "tmp", folder / "quarantine"
    objects = Folder(folder / "objects", temporary=temporary, quarantine=quarantine)
    written = Folder(folder / "records", temporary=temporary, quarantine=quarantine)
    return _copied(_Backup(store, objects, written, folder=folder))


def _copied(found: _Backup) -> Copied:
    found.run()
    return Copied(records=found.records, objects=found.objects, bytes=found.bytes, left_out=found.left_out)


class _Backup:
    """One run: what was copied so far, and what could not be."""

    def __init__(self, store: Store, objects: Objects, records: Objects, *, folder: Path | None = None) -> None:
        """`folder`: on a disk that could be full."""
        self.store, self.folder = store, folder
        self._objects, self._records = objects, records
        self.records = self.objects = self.bytes = 0
        self.left_out: dict[str, list[str]] = {}
        self._bad: set[str] = set()

    def run(self) -> None:
        """Records are listed first: what they need is there already, whoever writes meanwhile."""
        store, dead = self.store, self.store.catalogue.dead()
        listed = sorted(set(store.record_files.addresses()) | store.catalogue.addresses())
        refs: dict[str, tuple[str, ...]] = {}
        for address in listed:
            if address not in dead and (record := self._sound(address)) is not None:
                refs[address] = record.refs
        needed = sorted({ref for some in refs.values() for ref in some} - refs.keys())
        if self.folder is not None:
            fresh = (ref for ref in needed if self._objects.size(ref) is None)
            room(self.folder, sum(store.objects.size(ref) or 0 for ref in fresh))
        for address in needed:
            self._take_object(address)
        self._spread(refs)
        for address in refs:
            if address not in self._bad and self._records.size(address) is None:
                text = store.entry(address).text.encode()
                self._records.put([text])
                self.records, self.bytes = self.records + 1, self.bytes + len(text)

    def _sound(self, address: str) -> records.Record | None:
        try:
            return self.store.entry(address)
        except StoreError:
            self._refuse(address, "records that cannot be read")
            return None

    def _spread(self, refs: dict[str, tuple[str, ...]]) -> None:
        """Records that need what is bad are bad."""
        while new := [one for one, needed in refs.items() if one not in self._bad and self._bad.intersection(needed)]:
            for address in new:
                self._refuse(address, "records that need what is missing or damaged")

    def _take_object(self, address: str) -> None:
        if self._objects.size(address) is not None:
            return
        try:
            data = self.store.objects.read(address)
        except MissingObject:
            self._refuse(address, "objects that are missing")
        except CorruptObject:
            self._refuse(address, "objects that are damaged")
        else:
            self._objects.put([data])
            self.objects, self.bytes = self.objects + 1, self.bytes + len(data)

    def _refuse(self, address: str, reason: str) -> None:
        self._bad.add(address)
        self.left_out.setdefault(reason, []).append(address)
