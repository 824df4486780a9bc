"""The few system calls a durable write is made of, in one place, so that tests can make any of them fail.

Nothing here knows what is written. Every function raises plain `OSError`; `objects` turns it into `StoreError`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from .errors import SyncFailed

Buffer: TypeAlias = bytes | bytearray | memoryview


def create(path: Path) -> int:
    """A new file that nobody else has; its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)


def write(descriptor: int, data: memoryview) -> int:
    """Write as much as the system takes at once; how many bytes."""
    return os.write(descriptor, data)


def fsync(descriptor: int) -> None:
    """Wait until the disk has what was written."""
    os.fsync(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give a file another name in one step."""
    os.rename(source, target)


def unlink(path: Path) -> None:
    """Remove a file."""
    os.unlink(path)


def sync(descriptor: int, what: Path) -> None:
    """fsync, whose failure is never retried: after it the page cache may claim to be clean while the data is gone."""
    try:
        fsync(descriptor)
    except OSError as error:
        raise SyncFailed(
            error.errno or errno.EIO,
            f"Could not make {what} durable: {error.strerror}. "
            "The store takes no more writes: check the disk, reopen it and run `polymath verify`.",
        ) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def write_new(path: Path, chunks: Iterable[Buffer], *, durable: bool = True) -> None:
    """A new file with these bytes, on the disk when this returns if `durable`; after an error there is no file."""
    descriptor = create(path)
    try:
        try:
            for chunk in chunks:
                rest = memoryview(chunk).cast("B")
                while rest:
                    rest = rest[write(descriptor, rest) :]
            if durable:
                sync(descriptor, path)
        finally:
            os.close(descriptor)
    except BaseException:
        unlink_if_there(path)
        raise


def unlink_if_there(path: Path) -> None:
    """Remove a file that another process may have removed already."""
    with contextlib.suppress(FileNotFoundError):
        unlink(path)


@functools.cache
def boot_identity() -> str:
    """A name of this boot of this machine: process numbers mean something only within it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:12]
    except OSError:
        return "unknown"


def temporary(folder: Path, *, ending: str = "") -> Path:
    """A fresh name in `folder` that says whose it is (boot, process) so that leftovers can be told from live files."""
    return folder / f"{boot_identity()}.{os.getpid()}.{secrets.token_hex(8)}{ending}"


def of_the_dead(path: Path) -> bool:
    """Whether this is a temporary file whose process is gone. Files of unknown making are nobody's."""
    boot, _, rest = path.name.partition(".")
    process = rest.partition(".")[0]
    return process.isdigit() and not alive(boot, int(process))


def alive(boot: str, process: int) -> bool:
    """Whether that process may still run. Unknown is taken as yes only within this boot."""
    if boot != boot_identity():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def open_regular(path: Path) -> int:
    """A regular file for reading: no link, pipe or device that a stranger may have put there. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ELOOP, "not a regular file")
    return descriptor


def sweep(folder: Path) -> int:
    """Remove temporary files of processes that are gone; how many. Files of unknown making are left alone."""
    removed = 0
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if of_the_dead(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                unlink_if_there(path)
            removed += 1
    return removed
