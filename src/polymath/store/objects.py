"""Immutable bytes under their SHA-256: `root/ab/<64 hexadecimal digits>`.

`Objects` is all that a store asks of a place for bytes, `Folder` such a place: one tree of files. Another kind of place
can stand in for it if it passes `kit.check_objects`. None knows records or tensors.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Protocol

from . import disk
from .disk import Buffer
from .errors import CorruptObject, StoreError, SyncFailed, corrupt, from_os, missing

ADDRESS = re.compile(r"[0-9a-f]{64}", re.ASCII)
YOUNG_SECONDS = 24 * 3600.0
"""An object that was put or asked for so lately may be about to get its record."""
SETTLED_NANOSECONDS = 2_000_000_000
"""A folder that has not changed for so long will have another time after its next change, on any file system."""


def checked(address: str) -> str:
    """`address` itself, if it is one. Raises ValueError: no other text ever becomes part of a path."""
    if not isinstance(address, str) or not ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is not an address: expected 64 hexadecimal digits.")
    return address


def address_of(chunks: Iterable[Buffer]) -> str:
    """The address of the bytes of all chunks in a row."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


class Sync(Enum):
    """What the disk has when `put` returns."""

    NAME = "name"
    """The bytes and their name."""
    BYTES = "bytes"
    """The bytes, perhaps under the temporary name: a power cut may undo a renaming, and the next open repeats it."""
    NOTHING = "nothing"
    """What the system has written by then: killing a process loses nothing, a power cut the last half minute or so."""


class Objects(Protocol):
    """A place for immutable bytes. Addresses are checked before they become names: ValueError for what is none.

    Every failed call raises one StoreError. When `put` and `put_all` return, every other process sees the objects, and
    they are as durable as the place was told to make them. The same bytes are stored once.
    """

    failed: SyncFailed | None
    """Why nothing can be put any more, once the disk has refused to make something durable."""

    def put(self, chunks: Sequence[Buffer]) -> str:
        """Store the bytes of all chunks as one object; its address."""

    def put_all(self, objects: Mapping[str, Sequence[Buffer]]) -> None:
        """Store several objects under the addresses of their bytes."""

    def read(self, address: str) -> bytearray:
        """The bytes of an object, checked. Raises MissingObject, CorruptObject."""

    def beginning(self, address: str, count: int) -> bytes:
        """The first bytes of an object, not checked: to look at, not to use. Raises MissingObject."""

    def size(self, address: str) -> int | None:
        """Bytes of an object, or None if it is not here."""

    def keep(self, address: str) -> bool:
        """Whether an object is here; if so it is young from now on."""

    def addresses(self, *, but: Collection[str] = ()) -> Iterator[str]:
        """Every address here, in order; without those of some shelves."""

    def shelves(self) -> dict[str, int]:
        """Shelf -> a number that is another one after objects came or went. None that is not sure to tell."""

    def remove(self, address: str, *, older_than: float = 0.0) -> bool:
        """Take an object away if it is so many seconds old; False if not. True if it was gone."""

    def set_aside(self, address: str) -> None:
        """No longer serve an object, without losing its bytes."""

    def forget_checks(self) -> None:
        """Hash everything again at the next read."""


class Folder:
    """Content-addressed files in a local directory, as durable as `sync` says when `put` returns.

    The hash of an object is checked the first time this process reads it and again whenever the file has changed since.
    """

    def __init__(
        self,
        root: Path,
        *,
        temporary: Path,
        quarantine: Path,
        max_bytes: int | None = None,
        sync: Sync = Sync.NAME,
        ending: str = "",
    ) -> None:
        """`ending` is that of the temporary names of its files."""
        self._max_bytes, self._sync, self._ending = max_bytes, sync, ending
        self.root, self._temporary, self._quarantine = root, temporary, quarantine
        self.failed: SyncFailed | None = None
        self._settled: set[Path] = set()
        self._seen: dict[str, tuple[int, int, int]] = {}

    def path(self, address: str) -> Path:
        return self.root / checked(address)[:2] / address

    def put(self, chunks: Sequence[Buffer]) -> str:
        """Store the bytes of all chunks as one object; its address."""
        address = address_of(chunks)
        self.put_all({address: chunks})
        return address

    def put_all(self, objects: Mapping[str, Sequence[Buffer]]) -> None:
        """Store several objects, each durable when this returns; every directory is synced once."""
        if self.failed is not None:
            raise self.failed
        try:
            for address, chunks in objects.items():
                if not self._holds(address, sum(memoryview(chunk).nbytes for chunk in chunks)):
                    self._write(address, chunks)
            # Also after a hit: whoever wrote the file may not have come to this line yet.
            for directory in {self.path(address).parent for address in objects} if self._sync is Sync.NAME else ():
                disk.sync_directory(directory)
        except SyncFailed as error:
            self.failed = error
            raise
        except StoreError:
            raise
        except OSError as error:
            raise from_os(error, f"Writing to {self.root}") from error

    def _write(self, address: str, chunks: Sequence[Buffer]) -> None:
        target = self.path(address)
        self._settle(target.parent)
        source = disk.temporary(self._temporary, ending=self._ending)
        disk.write_new(source, chunks, durable=self._sync is not Sync.NOTHING)
        try:
            disk.rename(source, target)
        except BaseException:
            disk.unlink_if_there(source)
            raise

    def take(self, source: Path, address: str) -> None:
        """Give a file that was written elsewhere, whose bytes have this address, its name here."""
        self._settle(self.path(address).parent)
        disk.rename(source, self.path(address))

    def _settle(self, directory: Path) -> None:
        """Make sure `directory` exists durably; another process may have made it and not synced its parent yet."""
        for made in (self.root, directory):
            if made not in self._settled:
                made.mkdir(exist_ok=True)
                if self._sync is Sync.NAME:
                    disk.sync_directory(made.parent)
                self._settled.add(made)

    def _holds(self, address: str, size: int) -> bool:
        """Whether a good copy is there already. A damaged one is kept aside: the new bytes heal the store."""
        if self.size(address) is None:
            return False
        try:
            good = len(self.read(address)) == size
        except CorruptObject:
            good = False
        if not good:
            self._keep_damaged(address)
        else:
            self._settle(self.path(address).parent)
        return good and self.keep(address)

    def keep(self, address: str) -> bool:
        """Whether an object is here, and young from now on so that it is not collected.

        False also for what this user cannot make young: then it is written once more.
        """
        path = self.path(address)
        try:
            before = os.lstat(path)
            if time.time() - before.st_mtime > YOUNG_SECONDS / 2:
                os.utime(path, follow_symlinks=False)
                if self._seen.get(address) == _stamp(before):
                    self._seen[address] = _stamp(os.lstat(path))
        except (FileNotFoundError, PermissionError):
            return False
        except OSError as error:
            raise from_os(error, f"Looking for object {address}") from error
        return True

    def _keep_damaged(self, address: str) -> None:
        """Give a damaged object a second name in the quarantine; good bytes are about to take its first one."""
        self._seen.pop(address, None)
        self._quarantine.mkdir(exist_ok=True)
        kept = self._quarantine / f"{address}.{secrets.token_hex(4)}"
        try:
            os.link(self.path(address), kept, follow_symlinks=False)
        except OSError:  # a directory, or a file system without hard links
            disk.rename(self.path(address), kept)

    def set_aside(self, address: str) -> None:
        """Move an object to the quarantine."""
        self._seen.pop(address, None)
        try:
            self._quarantine.mkdir(exist_ok=True)
            disk.rename(self.path(address), self._quarantine / f"{address}.{secrets.token_hex(4)}")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise from_os(error, f"Setting aside {address}") from error

    def read(self, address: str) -> bytearray:
        """The bytes of an object, checked. Raises MissingObject, CorruptObject, StoreError."""
        try:
            with open(disk.open_regular(self.path(address)), "rb", buffering=0) as file:
                state = os.fstat(file.fileno())
                if self._max_bytes is not None and state.st_size > self._max_bytes:
                    raise corrupt(address, f"it has more than {self._max_bytes} bytes")
                data = bytearray(state.st_size)
                view, filled = memoryview(data), 0
                while filled < len(data) and (count := file.readinto(view[filled:])):
                    filled += count
        except FileNotFoundError:
            raise missing(address) from None
        except StoreError:
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise corrupt(address, "it is not a regular file") from None
            raise from_os(error, f"Reading object {address}") from error
        stamp = _stamp(state)
        if self._seen.get(address) != stamp:
            if filled != len(data) or hashlib.sha256(data).hexdigest() != address:
                raise corrupt(address, "its bytes do not hash to its address")
            self._seen[address] = stamp
        return data

    def beginning(self, address: str, count: int) -> bytes:
        """The first bytes of an object, not checked: to look at, not to use. Raises MissingObject, StoreError."""
        try:
            with open(disk.open_regular(self.path(address)), "rb") as file:
                return file.read(count)
        except FileNotFoundError:
            raise missing(address) from None
        except OSError as error:
            raise from_os(error, f"Reading object {address}") from error

    def forget_checks(self) -> None:
        """Hash everything again at the next read, as a full verify must."""
        self._seen.clear()

    def size(self, address: str) -> int | None:
        """Bytes of an object, or None if it is not here."""
        try:
            return os.lstat(self.path(address)).st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise from_os(error, f"Looking for object {address}") from error

    def shelves(self) -> dict[str, int]:
        """Folder of `addresses` -> when it last changed, to the nanosecond.

        Left out are links, and what changed just now: the system's clock may stand still for some milliseconds, and
        then a further change would not be told.
        """
        before = time.time_ns() - SETTLED_NANOSECONDS
        try:
            states = {one.name: one.stat(follow_symlinks=False) for one in os.scandir(self.root) if len(one.name) == 2}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise from_os(error, f"Listing {self.root}") from error
        return {
            name: state.st_ctime_ns
            for name, state in states.items()
            if stat.S_ISDIR(state.st_mode) and state.st_ctime_ns < before
        }

    def addresses(self, *, but: Collection[str] = ()) -> Iterator[str]:
        """Every address here, in order; files with other names are none of ours."""
        try:
            fans = sorted(one.name for one in os.scandir(self.root) if len(one.name) == 2 and one.name not in but)
        except FileNotFoundError:
            return
        except OSError as error:
            raise from_os(error, f"Listing {self.root}") from error
        for fan in fans:
            try:
                names = sorted(os.listdir(self.root / fan))
            except OSError as error:
                if error.errno == errno.ENOTDIR:
                    continue
                raise from_os(error, f"Listing {self.root / fan}") from error
            yield from (name for name in names if name[:2] == fan and ADDRESS.fullmatch(name))

    def remove(self, address: str, *, older_than: float = 0.0) -> bool:
        """Take an object away that nobody names, if it is so many seconds old; False if not. True if it was gone."""
        path, aside = self.path(address), disk.temporary(self._temporary)
        self._seen.pop(address, None)
        try:
            if _is_younger(path, older_than):
                return False
            # Looked at again under a name that nobody else knows: somebody may just have asked for it.
            disk.rename(path, aside)
            if _is_younger(aside, older_than):
                disk.rename(aside, path)
                return False
            disk.unlink_if_there(aside)
        except FileNotFoundError:
            return True
        except OSError as error:
            raise from_os(error, f"Removing object {address}") from error
        return True


def _stamp(state: os.stat_result) -> tuple[int, int, int]:
    """Changes when a file is replaced or written to."""
    return (state.st_ino, state.st_mtime_ns, state.st_size)


def _is_younger(path: Path, seconds: float) -> bool:
    return seconds > 0 and time.time() - os.lstat(path).st_mtime < seconds
