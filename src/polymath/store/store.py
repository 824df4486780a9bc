"""The store: objects, records, names and leases of one folder, and the order in which they are written.

Object -> fsync -> rename -> fsync of the directory -> record -> fsync -> rename -> row -> COMMIT -> only then the
caller hears of it. A record on disk without a row (the process died in between, or a power cut took the row) is adopted
when the store is next opened; so is one that is whole and still has its temporary name.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..spec import sha256
from . import disk, locks, place, records
from .catalogue import Catalogue, Damaged, Lease
from .errors import MissingObject, StoreError, corrupt, from_os, missing
from .objects import ADDRESS, Folder, Objects, Sync, checked
from .records import HEAD, TOMBSTONE, Draft, Record

if TYPE_CHECKING:
    import numpy as np

LATE = "late"
RECORD = ".record"
"""Ending of the temporary name of a record."""
RESERVED = {HEAD, TOMBSTONE, LATE}


class Store:
    """A folder of knowledge. Any number of processes and threads of one machine may use it at once.

    >>> import tempfile
    >>> store = Store.open(tempfile.mkdtemp())
    >>> layer = store.put(b"weights")
    >>> address = store.add_record("task", {"name": "flowers"}, refs=[layer])
    >>> store.set_head("task/flowers", address)
    >>> store.record(store.head("task/flowers"))
    {'name': 'flowers'}
    """

    def __init__(
        self, path: Path, *, identity: str, read_only: bool, scratch: bool, places: tuple[Objects, Objects] | None
    ) -> None:
        """Use `Store.open`."""
        self.path, self.identity, self.read_only = path, identity, read_only
        temporary, quarantine = path / "tmp", path / "quarantine"
        sync = Sync.NOTHING if scratch else Sync.NAME
        objects = Folder(path / "objects", temporary=temporary, quarantine=quarantine, sync=sync)
        self._record_folder = Folder(
            path / "records",
            temporary=temporary,
            quarantine=quarantine,
            max_bytes=records.MAX_RECORD_BYTES,
            sync=Sync.BYTES,
            ending=RECORD,
        )
        self.objects: Objects
        self.record_files: Objects
        self.objects, self.record_files = places or (objects, self._record_folder)
        self.catalogue = Catalogue(path / "catalog.db", lock=None if read_only else path / "locks" / "write")
        self.presence: locks.Presence | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: bool = True,
        read_only: bool = False,
        scratch: bool = False,
        mounts: Path = place.MOUNTS,
        places: tuple[Objects, Objects] | None = None,
    ) -> Self:
        """Open the store at `path`, or make one in a new or empty folder.

        Raises BadInput for what the user can mend (no store, newer format, network file system, no permission) and
        StoreError for what the disk refuses. A damaged catalogue is set aside and built again from the records.
        `read_only` writes nothing, so it also opens a store on read-only media. The objects of a `scratch` store can be
        made again: they survive the death of any process, but are not waited for until the disk has them. After the
        machine has started anew the next open removes those that a power cut left incomplete. `places`: where the
        objects and the records are, if not in the folder (see `cloud`).
        """
        folder = Path(path)
        found = place.settle(folder, create=create and not read_only, mounts=mounts)
        store = cls(folder, identity=found.store, read_only=read_only, scratch=scratch, places=places)
        if read_only:
            try:
                store.catalogue.open()
            except StoreError:
                store.catalogue = Catalogue.in_memory(store.records_on_disk())
            return store
        try:
            for name in ("tmp", "locks"):
                (folder / name).mkdir(exist_ok=True)
            store.presence = locks.Presence(folder / "locks" / "users")
            store._rescue()
            disk.sweep(folder / "tmp")
            if scratch:
                store._drop_incomplete()
        except OSError as error:
            raise from_os(error, f"Opening the store {folder}") from error
        try:
            store.catalogue.open()
        except Damaged:
            store.rebuild_catalogue(only_if_damaged=True)
        try:
            store._adopt()
        except Damaged:
            store.rebuild_catalogue()
        return store

    def close(self) -> None:
        """Let go of the catalogue. What was acknowledged is durable with or without this."""
        self.catalogue.close()
        if self.presence is not None:
            self.presence.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Objects

    def put(self, data: bytes | bytearray | memoryview) -> str:
        """Store bytes; their address. Durable when this returns; the same bytes are stored once."""
        self.writable()
        return self.objects.put([data])

    def get(self, address: str) -> bytes:
        """The bytes at an address, checked against it. Raises MissingObject, CorruptObject."""
        return bytes(self.objects.read(address))

    def has(self, address: str) -> bool:
        """Whether an object is here. If so `collect` lets it be for a day: its record may be about to be written."""
        return self.objects.size(address) is not None if self.read_only else self.objects.keep(address)

    def discard(self, address: str) -> bool:
        """Remove an object that no record refers to, as a scratch store does in the end; was it there?"""
        self.writable()
        if self.dependents(address) or not self.has(address):
            return False
        self.objects.remove(address)
        return True

    def put_tensors(self, tensors: Mapping[str, np.ndarray[Any, Any]]) -> str:
        """Store named arrays as one safetensors object; equal arrays have equal addresses."""
        from . import tensors as tensors_

        self.writable()
        return self.objects.put([tensors_.encode(tensors)])

    def get_tensors(self, address: str, *, finite: bool = False) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays at an address, writable and the caller's own. Raises MissingObject, CorruptObject.

        `finite=True` also refuses NaN and infinity.
        """
        from . import tensors as tensors_

        data = self.objects.read(address)
        try:
            return tensors_.decode(data, finite=finite)
        except ValueError as error:
            raise corrupt(address, str(error)) from error

    # Records

    def add_record(self, kind: str, body: dict[str, Any], *, refs: Sequence[str] = (), id: str | None = None) -> str:
        """Add one record (see `add_records`); its address."""
        return self.add_records([Draft(kind=kind, body=body, refs=refs, id=id)])[0]

    def add_records(self, drafts: Sequence[Draft]) -> list[str]:
        """Add records in one durable step, all or none, in this order; their addresses.

        A later record with the kind and id of an earlier one takes its place (the earlier one stays on disk). Adding
        what already counts changes nothing. Raises ValueError for what is no record, MissingObject for a ref that is
        not in the store, StoreError.
        """
        for draft in drafts:
            if draft.kind in RESERVED:
                raise ValueError(f"Records of kind {draft.kind!r} are written by the store itself.")
        addresses = self._add(drafts)
        assert addresses is not None
        return addresses

    def record(self, address: str) -> dict[str, Any]:
        """The body of a record. Raises MissingObject, CorruptObject."""
        return self.entry(address).body

    def entry(self, address: str) -> Record:
        """A record with its kind, id, refs, fence and logical time."""
        return self._parsed(checked(address), self.catalogue.text(address))

    def find(self, kind: str, id: str) -> str | None:
        """The address of the visible record with this kind and id."""
        found = self.catalogue.winner(kind, id)
        return None if found is None else believable(found)

    def records(self, kind: str, *, where: Mapping[str, str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Address and body of every visible record of a kind, oldest first; the order survives a rebuild.

        `where` keeps those whose body has these texts in these top-level fields.
        """
        return self._listed(kind, where=where or {}, prefix="")

    def versions(self, kind: str, *, where: Mapping[str, str]) -> list[str]:
        """The addresses of all records that `where` asks for, also of those that later ones took the place of."""
        return [believable(address) for address in self.catalogue.versions(kind, where=where)]

    def _listed(self, kind: str, *, where: Mapping[str, str], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        after = (-1, "")
        while page := self.catalogue.page(kind, where=where, after=after, prefix=prefix):
            for written, address, text in page:
                after = (written, address)
                # What hashes to its address was checked when it was added: a plain parse is enough, and fast.
                if is_text_of(text, address):
                    yield address, json.loads(text)["body"]
                elif self.record_files.size(believable(address)) is not None:
                    yield address, self._parsed(address, None).body
                else:
                    raise Damaged(f"its row {address} does not hash to its address")

    def _parsed(self, address: str, text: str | None) -> Record:
        """A record from the index if it is what the address says, else from its file."""
        data: str | bytearray | None = text
        if not is_text_of(text, address):
            data = self.record_files.read(address)
        assert data is not None
        try:
            return records.read(data)
        except ValueError as error:
            raise corrupt(address, str(error)) from error

    def tombstone(self, *addresses: str, reason: str = "") -> list[str]:
        """Hide records from `records`, `find` and heads, for good and in one step; `collect` removes their files."""
        for address in addresses:
            self.entry(address)
        added = self._add([Draft(kind=TOMBSTONE, body={"record": one, "reason": reason}, id=one) for one in addresses])
        assert added is not None
        return added

    def dependents(self, address: str) -> list[tuple[str, str]]:
        """Kind and id of every record that needs an object."""
        return [(kind, name) for kind, name, _ in self.catalogue.dependents(checked(address))]

    # Names

    def set_head(self, name: str, address: str) -> None:
        """Let `name` mean this record. Earlier meanings stay in the history of records."""
        self._add([Draft(kind=HEAD, body={"name": name, "record": checked(address)}, refs=[address], id=name)])

    def head(self, name: str) -> str | None:
        """The record that `name` means, or None if it means none or that one has a tombstone."""
        return self.heads(name).get(name)

    def heads(self, prefix: str = "") -> dict[str, str]:
        """Every name that begins with `prefix` -> the record it means, by name."""
        found = {body["name"]: body["record"] for _, body in self._listed(HEAD, where={}, prefix=prefix)}
        return {name: found[name] for name in sorted(found)}

    # Leases

    def claim(self, trial: str, owner: str, *, takeover: bool = False) -> int | None:
        """Take a trial to work on: a fence, the number to finish with. None if somebody else who lives holds it.

        `takeover=True` takes it all the same (its holder made no progress); whatever the old holder finishes is late.
        """
        with self.catalogue.transaction():
            for lease in self.catalogue.leases(trial):
                mine = (lease.owner, lease.process) == (owner, os.getpid())
                if lease.alive and not mine and not takeover:
                    return None
            fence = self.catalogue.next_fence()
            self.catalogue.put_lease(
                Lease(
                    trial=trial,
                    fence=fence,
                    owner=owner,
                    boot=disk.boot_identity(),
                    process=os.getpid(),
                    progress=0,
                    held=True,
                )
            )
        return fence

    def renew(self, trial: str, fence: int, *, progress: int) -> bool:
        """Report progress; False if the trial is no longer yours and work on it should stop."""
        return self._set_lease(trial, fence, progress=progress, held=True)

    def release(self, trial: str, fence: int) -> bool:
        """Give a trial back unfinished; False if it was no longer yours."""
        return self._set_lease(trial, fence, progress=None, held=False)

    def leases(self) -> list[Lease]:
        """Every trial somebody holds."""
        return self.catalogue.leases()

    def finish(
        self, trial: str, fence: int, body: dict[str, Any], *, kind: str = "experiment", refs: Sequence[str] = ()
    ) -> str | None:
        """Record the result of a claimed trial, exactly once; its address, or None if it came too late.

        Too late means that the trial was claimed again meanwhile. Such a result is kept as a record of kind `late`,
        which nothing counts. Repeating a finish that succeeded returns the same address.
        """
        if kind in RESERVED:
            raise ValueError(f"Records of kind {kind!r} are written by the store itself.")
        address = self._add([Draft(kind=kind, body=body, refs=refs, id=trial)], fence=fence)
        if address is None:
            what = {"kind": kind, "trial": trial, "fence": fence, "body": body}
            self._add([Draft(kind=LATE, body=what, refs=refs)])
            return None
        return address[0]

    def _current(self, record: Record) -> bool:
        """Whether its fence may finish its trial: nobody claimed it later, nobody as late has finished it."""
        if any(lease.fence != record.fence for lease in self.catalogue.leases(record.id)):
            return False
        found = self.catalogue.winner(record.kind, record.id)
        # Its own row is there if another process opened the store just now and took its writer for dead.
        return found is None or found == record.address or self.entry(found).fence < record.fence

    def _set_lease(self, trial: str, fence: int, *, progress: int | None, held: bool) -> bool:
        with self.catalogue.transaction():
            for old in self.catalogue.leases(trial):
                if old.fence == fence and old.held:
                    now = old.progress if progress is None else progress
                    self.catalogue.put_lease(replace(old, progress=now, held=held))
                    return True
        return False

    # The write protocol

    def writable(self) -> None:
        """Raise StoreError if nothing can be written here."""
        if self.read_only:
            raise StoreError(errno.EROFS, f"The store {self.path} was opened for reading only.")
        for folder in (self.objects, self.record_files):
            if folder.failed is not None:
                raise folder.failed

    def _add(self, drafts: Sequence[Draft], *, fence: int = 0) -> list[str] | None:
        """Records to files, then rows in one transaction in which every ref is still there.

        With a `fence` the drafts finish the trials of their ids; None if that fence is no longer the current one.
        """
        self.writable()
        written = self.catalogue.last_written()
        made = [records.make(draft, written=written + index, fence=fence) for index, draft in enumerate(drafts, 1)]
        made = [self._known(record) or record for record in made]
        fresh = {record.address: record for record in made if self.catalogue.text(record.address) is None}
        self._sizes(fresh.values())
        if not fresh:
            return [record.address for record in made]
        if fence and not all(map(self._current, fresh.values())):
            return None
        self.record_files.put_all({address: [record.text.encode()] for address, record in fresh.items()})
        with self.catalogue.transaction():
            # Raised only after the commit: a roll-back would bring back rows that another process gave these records.
            gone = self._gone(fresh)
            late = bool(fence) and gone is None and not all(map(self._current, fresh.values()))
            if gone is not None or late:
                self._discard(fresh)
            else:
                for record in fresh.values():
                    self.catalogue.insert(record, sizes=own_sizes(record, self._sizes([record])))
                    for lease in self.catalogue.leases(record.id) if fence else ():
                        self.catalogue.put_lease(replace(lease, held=False))
        if gone is not None:
            raise gone
        if late:
            return None
        return [record.address for record in made]

    def _known(self, record: Record) -> Record | None:
        """The record that already counts and says the same, if there is one."""
        found = self.catalogue.winner(record.kind, record.id)
        if found is None or self.record_files.size(found) is None:
            return None
        old = self.entry(found)
        return old if old.fence == record.fence and old.same_content(record) else None

    def _gone(self, fresh: Mapping[str, Record]) -> StoreError | None:
        """What keeps these records from counting: one was taken back by another process, or what it needs is gone."""
        try:
            for address in fresh:
                if self.record_files.size(address) is None:
                    raise missing(address)
            self._sizes(fresh.values())
        except StoreError as error:
            return error
        return None

    def _sizes(self, made: Iterable[Record]) -> dict[str, int]:
        """The size of every object that these records need. Raises MissingObject."""
        sizes: dict[str, int] = {}
        for record in made:
            for ref in record.refs:
                size = self.size(ref)
                if size is None:
                    raise missing(ref, needed_by=f"the {record.kind} {record.id!r}")
                sizes[ref] = size
        return sizes

    def size(self, address: str) -> int | None:
        """Bytes of an object or record, or None if it is not in the store."""
        size = self.objects.size(address)
        return self.record_files.size(address) if size is None else size

    def _discard(self, fresh: Mapping[str, Record]) -> None:
        """Take back record files that nobody was told of. Within the transaction."""
        for address in fresh:
            self.catalogue.remove(address)
            self.record_files.remove(address)

    # Opening and rebuilding

    def records_on_disk(
        self,
        *,
        known: frozenset[str] | set[str] = frozenset(),
    ) -> Iterator[tuple[Record, dict[str, int]]]:
        """Every sound record whose file is there and not `known`, with the sizes of its objects, for the index.

        A damaged one is left out here and named by `verify`.
        """
        for address in self.record_files.addresses():
            if address not in known:
                with contextlib.suppress(ValueError, StoreError):
                    record = records.read(self.record_files.read(address))
                    sizes = {ref: size for ref in record.refs if (size := self.size(ref)) is not None}
                    yield record, own_sizes(record, sizes)

    def _rescue(self) -> None:
        """Give their names to whole records of dead processes that still, or after a power cut again, have none."""
        for source in sorted((self.path / "tmp").glob(f"*{RECORD}")):
            if disk.of_the_dead(source):
                # Not whole: the sweep takes it. Not there: another process is opening the store too.
                with contextlib.suppress(ValueError, FileNotFoundError), open(disk.open_regular(source), "rb") as file:
                    record = records.read(file.read(records.MAX_RECORD_BYTES + 1))
                    self._record_folder.take(source, record.address)

    def _drop_incomplete(self) -> None:
        """Once after every start of the machine: remove the objects of a scratch store that are not what they say."""
        noted, boot = self.path / "boot", disk.boot_identity()
        if not noted.exists() or noted.read_text(errors="replace") != boot:
            for address in self.objects.addresses():
                try:
                    self.objects.read(address)
                except StoreError:
                    self.objects.remove(address)
        noted.write_text(boot)

    def _adopt(self) -> None:
        """Give rows to the records of processes that died between writing the file and the row."""
        if next(self.records_on_disk(known=self.catalogue.addresses()), None) is not None:
            with self.catalogue.transaction():
                self._take_in()

    def _take_in(self) -> None:
        """Rows for all records without one. One that needs what is not there goes to the quarantine: it was never
        finished, for its writer died or is about to be told that somebody collected what it names.
        """
        sound = []
        found = self.records_on_disk(known=self.catalogue.addresses())
        for record, _ in sorted(found, key=lambda one: (one[0].written, one[0].address)):
            try:
                sound.append((record, own_sizes(record, self._sizes([record]))))
            except MissingObject:
                self.record_files.set_aside(record.address)
        self.catalogue.adopt(sound)

    def aside(self) -> Path:
        """A fresh name among the temporary files; what is there when its process has died goes at the next open."""
        return disk.temporary(self.path / "tmp")

    def take_in_all(self) -> None:
        """Give names and rows to all records that the disk holds, the dead's too. Within a transaction."""
        self._rescue()
        self._take_in()

    def rebuild_catalogue(self, *, only_if_damaged: bool = False) -> None:
        """Build the catalogue again from the record files and put it in the place of the old one."""
        self.writable()
        path, temporary = self.path / "catalog.db", self.path / "tmp"
        fresh, old = disk.temporary(temporary), disk.temporary(temporary)
        self.catalogue.close()
        with self.catalogue.exclusive():
            good = sound(path)
            if good and only_if_damaged:
                return
            try:
                Catalogue.build(fresh, self.records_on_disk())
                aside = temporary if good or not path.exists() else self.path / "quarantine"
                aside.mkdir(exist_ok=True)
                # The log goes with its file: one that stayed would be replayed into the new catalogue.
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        disk.rename(Path(f"{path}{suffix}"), aside / f"{old.name}.catalog.db{suffix}")
                disk.rename(fresh, path)
                disk.sync_directory(self.path)
            except StoreError:
                raise
            except OSError as error:
                raise from_os(error, "Rebuilding the catalogue") from error
            finally:
                for leftover in [*temporary.glob(f"{fresh.name}*"), *temporary.glob(f"{old.name}*")]:
                    disk.unlink_if_there(leftover)
        self.catalogue.open()


def is_text_of(text: object, address: str) -> bool:
    """Whether this, from a row of the catalogue, is the record with that address."""
    return isinstance(text, str) and sha256(text.encode()) == address


def believable(address: str) -> str:
    """An address from a row of the catalogue. Raises Damaged if it cannot be one."""
    if not isinstance(address, str) or not ADDRESS.fullmatch(address):
        raise Damaged("a row holds an address that is none")
    return address


def own_sizes(record: Record, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes of one record and its objects."""
    own = {ref: sizes[ref] for ref in record.refs if ref in sizes}
    return {**own, record.address: len(record.text.encode())}


def sound(path: Path) -> bool:
    """Whether there is a catalogue of ours at `path`."""
    probe = Catalogue(path)
    try:
        probe.open()
    except StoreError:
        return False
    finally:
        probe.close()
    return True
