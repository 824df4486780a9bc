"""One lock per store around every write transaction and checkpoint of the catalogue.

SQLite before 3.51.3 can corrupt a write-ahead log when several processes write and checkpoint at once; this lock rules
that out with any version. The kernel drops it when its holder dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import StoreError, from_os

PATIENCE_SECONDS = 60.0  # a write transaction takes milliseconds; only a stopped process holds the lock this long


@contextlib.contextmanager
def held(path: Path, *, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the lock. A fresh descriptor each time, so that threads, forks and processes exclude one another alike."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise from_os(error, f"Locking {path}") from error
    try:
        _wait(descriptor, path, patience_seconds)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


class Presence:
    """Says that this process has a store open for writing, and can ask whether it is the only one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._enter()

    def _enter(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            self._process = os.getpid()
        except OSError as error:
            raise from_os(error, f"Locking {self._path}") from error
        _wait(self._descriptor, self._path, PATIENCE_SECONDS, kind=fcntl.LOCK_SH)

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else has the store open for writing. If so, whoever opens it waits until this ends."""
        if self._descriptor is None or self._process != os.getpid():
            self._enter()  # a fork shares the lock of its parent: as somebody else it takes one of its own
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = True
        except BlockingIOError:
            found = False
        try:
            if not found:
                _wait(self._descriptor, self._path, PATIENCE_SECONDS, kind=fcntl.LOCK_SH)
            yield found
        finally:
            if found:
                _wait(self._descriptor, self._path, PATIENCE_SECONDS, kind=fcntl.LOCK_SH)

    def close(self) -> None:
        """Let go; safe to call twice. Only closed, never unlocked: a fork may still hold it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _wait(descriptor: int, path: Path, patience_seconds: float, *, kind: int = fcntl.LOCK_EX) -> None:
    deadline, pause = time.monotonic() + patience_seconds, 0.0005
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreError(
                    errno.EBUSY,
                    f"{_holder(descriptor)} has held the lock of {path.parent.parent} for "
                    f"{patience_seconds:.0f} s. If it hangs, end it; nothing that was finished is lost.",
                ) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)


def _holder(descriptor: int) -> str:
    """Who holds the lock, as the kernel lists it: `1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF`."""
    inode = os.fstat(descriptor).st_ino
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if "->" not in fields and len(fields) > 5 and fields[5].endswith(f":{inode}"):
                return f"Process {fields[4]}"
    return "Another process"
