"""The store: objects, records, names and leases of one folder, and how it is opened.

What is written, in this order (see `writing`): object -> fsync -> rename -> fsync of the directory -> record -> fsync
-> rename -> row -> COMMIT -> only then the caller hears of it. A record on disk without a row (the process died in
between, or a power cut took the row) is adopted when the store is next opened (see `recovery`); so is one that is whole
and still has its temporary name.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..spec import sha256
from . import disk, opening, place, records, recovery, writing
from .catalogue import Catalogue, Lease
from .database import Damaged, Database, Presence, Version
from .errors import StoreError, corrupt, from_os
from .objects import ADDRESS, Folder, Objects, Sync, checked
from .records import HEAD, TOMBSTONE, Draft, Record
from .remote import Remote, is_address
from .sqlite import Sqlite

if TYPE_CHECKING:
    import numpy as np

LATE = "late"
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
        self,
        path: Path,
        *,
        identity: str,
        database: Database,
        read_only: bool,
        scratch: bool,
        places: tuple[Objects, Objects] | None,
        remote: Remote | None,
    ) -> None:
        """Use `Store.open`."""
        self.path, self.identity, self.read_only, self.remote = path, identity, read_only, remote
        temporary, quarantine = path / "tmp", path / "quarantine"
        sync = Sync.NOTHING if scratch else Sync.NAME
        objects = Folder(path / "objects", temporary=temporary, quarantine=quarantine, sync=sync)
        self.local_records = Folder(
            path / "records",
            temporary=temporary,
            quarantine=quarantine,
            max_bytes=records.MAX_RECORD_BYTES,
            sync=Sync.BYTES,
            ending=recovery.RECORD,
        )
        self.objects: Objects
        self.record_files: Objects
        self.objects, self.record_files = places or (objects, self.local_records)
        self.catalogue = Catalogue(database)
        self.presence: Presence | None = None

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
        catalogue: str | None = None,
    ) -> Self:
        """Open the store at `path`, or make one in a new or empty folder; `path` may be an address (see `remote`).

        Raises BadInput for what the user can mend (no store, newer format, network file system, no permission) and
        StoreError for what the disk refuses. A damaged catalogue is set aside and built again from the records.
        `read_only` writes nothing, so it also opens a store on read-only media. The objects of a `scratch` store can be
        made again: they survive the death of any process, but are not waited for until the disk has them. After the
        machine has started anew the next open removes those that a power cut left incomplete. `places`: where the
        objects and the records are, if not in the folder (see `cloud`). `catalogue`: the address of a PostgreSQL
        database for the catalogue of a new store, which remembers it; `move_catalogue` is for old ones.
        """
        create = create and not read_only
        name = opening.store_of(catalogue) if catalogue is not None else None
        remote = Remote(str(path), create=create, name=name) if is_address(path) else None
        if remote is not None:
            places, path, create, name = (remote.objects, remote.records), remote.folder, True, remote.format.store
        folder = Path(path)
        found = place.settle(folder, create=create, mounts=mounts, name=name)
        here = None if read_only else opening.entered(folder)
        where = opening.agreed(folder, remote, catalogue=catalogue, remember=not read_only)
        database = opening.database(where, folder, name=found.store, read_only=read_only)
        store = cls(
            folder,
            identity=found.store,
            database=database,
            read_only=read_only,
            scratch=scratch,
            places=places,
            remote=remote,
        )
        if here is None:
            try:
                store.catalogue.open()
            except StoreError:
                in_memory = Sqlite.build(None, lambda fresh: Catalogue(fresh).adopt(recovery.records_on_disk(store)))
                store.catalogue = Catalogue(in_memory)
            return store
        store.presence = database.presence(here)
        try:
            recovery.rescue(store)
            disk.sweep(folder / "tmp")
            if scratch:
                recovery.drop_incomplete(store)
        except StoreError:
            raise
        except OSError as error:
            raise from_os(error, f"Opening the store {folder}") from error
        try:
            store.catalogue.open()
        except Damaged:
            store.rebuild_catalogue(only_if_damaged=True)
        try:
            recovery.adopt(store)
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

    @property
    def where(self) -> str:
        """What messages call it: its folder, or the address of its bucket."""
        return str(self.path) if self.remote is None else self.remote.url

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else has the store open for writing; who opens it meanwhile waits until this ends.

        Of a bucket that has no common catalogue this is never known: other machines may have it open.
        """
        assert self.presence is not None
        with self.presence.alone() as alone:
            yield alone and (self.remote is None or not isinstance(self.catalogue.database, Sqlite))

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
        addresses = writing.add(self, drafts)
        assert addresses is not None
        return addresses

    def record(self, address: str) -> dict[str, Any]:
        """The body of a record. Raises MissingObject, CorruptObject."""
        text = self.catalogue.text(checked(address))
        # What hashes to its address was checked when it was added: a plain parse is enough, and fast.
        return body_of(text) if is_text_of(text, address) else self._parsed(address, None).body

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
                if is_text_of(text, address):
                    yield address, body_of(text)
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
        added = writing.add(
            self, [Draft(kind=TOMBSTONE, body={"record": one, "reason": reason}, id=one) for one in addresses]
        )
        assert added is not None
        return added

    def dependents(self, address: str) -> list[tuple[str, str]]:
        """Kind and id of every record that needs an object."""
        return [(kind, name) for kind, name, _ in self.catalogue.dependents(checked(address))]

    # Names

    def set_head(self, name: str, address: str) -> None:
        """Let `name` mean this record. Earlier meanings stay in the history of records."""
        writing.add(self, [Draft(kind=HEAD, body={"name": name, "record": checked(address)}, refs=[address], id=name)])

    def head(self, name: str) -> str | None:
        """The record that `name` means, or None if it means none or that one has a tombstone."""
        found = self.find(HEAD, name)
        if found is None:
            return None
        body = self.record(found)
        if body.get("name") != name:
            raise Damaged(f"its row of the name {name!r} is that of another")
        return str(body["record"])

    def heads(self, prefix: str = "") -> dict[str, str]:
        """Every name that begins with `prefix` -> the record it means, by name."""
        found = {body["name"]: body["record"] for _, body in self._listed(HEAD, where={}, prefix=prefix)}
        return {name: found[name] for name in sorted(found)}

    def version(self) -> Version | None:
        """Another one after any change by anybody, so that what was looked up need not be again; None: ask again."""
        return self.catalogue.database.version()

    # Leases

    def claim(self, trial: str, owner: str, *, takeover: bool = False) -> int | None:
        """Take a trial to work on: a fence, the number to finish with. None if somebody else who lives holds it.

        `takeover=True` takes it all the same (its holder made no progress); whatever the old holder finishes is late.
        """
        with self.catalogue.transaction():
            for lease in self.catalogue.leases(trial):
                mine = lease.mine and lease.owner == owner
                if lease.alive and not mine and not takeover:
                    return None
            return self.catalogue.give(trial, owner)

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
        address = writing.add(self, [Draft(kind=kind, body=body, refs=refs, id=trial)], fence=fence)
        if address is None:
            what = {"kind": kind, "trial": trial, "fence": fence, "body": body}
            writing.add(self, [Draft(kind=LATE, body=what, refs=refs)])
            return None
        return address[0]

    def _set_lease(self, trial: str, fence: int, *, progress: int | None, held: bool) -> bool:
        with self.catalogue.transaction():
            for old in self.catalogue.leases(trial):
                if old.fence == fence and old.held:
                    now = old.progress if progress is None else progress
                    self.catalogue.update_lease(old, progress=now, held=held)
                    return True
        return False

    def writable(self) -> None:
        """Raise StoreError if nothing can be written here."""
        if self.read_only:
            raise StoreError(
                errno.EROFS, f"The store {self.where} was opened for reading only: nothing can be written there."
            )
        for folder in (self.objects, self.record_files):
            if folder.failed is not None:
                raise folder.failed

    def size(self, address: str) -> int | None:
        """Bytes of an object or record, or None if it is not in the store."""
        size = self.objects.size(address)
        return self.record_files.size(address) if size is None else size

    def aside(self) -> Path:
        """A fresh name among the temporary files; what is there when its process has died goes at the next open."""
        return disk.temporary(self.path / "tmp")

    def rebuild_catalogue(self, *, only_if_damaged: bool = False) -> None:
        """Build the catalogue again from the record files and put it in the place of the old one."""
        self.writable()
        self.catalogue.renew(lambda: recovery.records_on_disk(self), only_if_damaged=only_if_damaged)

    def move_catalogue(self, where: str | None) -> None:
        """Keep the catalogue in the PostgreSQL database at this address from now on, or (None) in the folder.

        It is built there from the records; leases are dropped. Raises StoreError if others have the store open.
        """
        self.writable()
        assert self.presence is not None
        with self.presence.alone() as alone:
            if not alone:
                raise StoreError(
                    errno.EBUSY, f"Others have the store {self.where} open: try again when they have closed it."
                )
            database = opening.database(where, self.path, name=self.identity, read_only=False)
            fresh = Catalogue(database)
            fresh.renew(lambda: recovery.records_on_disk(self))
            opening.note(self.path, self.remote, catalogue=where)
            self.catalogue.close()
        self.presence.close()
        self.catalogue, self.presence = fresh, database.presence(opening.entered(self.path))


def is_text_of(text: object, address: str) -> bool:
    """Whether this, from a row of the catalogue, is the record with that address."""
    return isinstance(text, str) and sha256(text.encode()) == address


def body_of(text: object) -> dict[str, Any]:
    """The body of a record from a row that hashes to its address."""
    assert isinstance(text, str)
    body: dict[str, Any] = json.loads(text)["body"]
    return body


def believable(address: str) -> str:
    """An address from a row of the catalogue. Raises Damaged if it cannot be one."""
    if not isinstance(address, str) or not ADDRESS.fullmatch(address):
        raise Damaged("a row holds an address that is none")
    return address
