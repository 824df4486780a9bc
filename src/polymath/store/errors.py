"""What can go wrong in a store, as errors a caller can tell apart.

`BadInput` (from `spec`) is raised where the user named the wrong folder; the errors here are about the disk and what it
holds. All of them are `OSError`s with an `errno`, so that a full disk reads the same whoever noticed it first.
"""

from __future__ import annotations

import errno
import os


class StoreError(OSError):
    """The disk did not do what was asked. What was acknowledged before is safe; what was being written is not there."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class SyncFailed(StoreError):
    """An fsync failed. The kernel may have dropped the data, so asking again proves nothing: reopen and verify."""


class MissingObject(StoreError):
    """An address that is not in the store."""


class CorruptObject(StoreError):
    """Bytes that no longer hash to their address; they are never handed out."""


def missing(address: str, *, needed_by: str = "") -> MissingObject:
    """The error for an address that is not there."""
    reason = f", which {needed_by} needs" if needed_by else ""
    return MissingObject(
        errno.ENOENT,
        f"The store holds no object {address}{reason}. "
        "Run `polymath verify`, then bring it back from a backup: `polymath merge BACKUP`.",
    )


def corrupt(address: str, what: str) -> CorruptObject:
    """The error for bytes that cannot be what their address says."""
    return CorruptObject(
        errno.EILSEQ,
        f"Object {address} is damaged: {what}. "
        "Run `polymath verify`, then bring it back from a backup: `polymath merge BACKUP`.",
    )


def from_os(error: OSError, doing: str) -> StoreError:
    """The typed error for a failed system call."""
    number = error.errno or errno.EIO
    message = f"{doing}: {os.strerror(number)}. {remedy(number)}"
    return StoreError(number, message.rstrip())


def remedy(number: int) -> str:
    """What the user can do about an error number, or nothing."""
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space and run the same command again; nothing that was finished is lost."
    if number in (errno.EMFILE, errno.ENFILE):
        return "Too many files are open: raise the limit (ulimit -n)."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Make the store's folder writable for this user."
    if number == errno.EIO:
        return "The disk reports errors: check it, then run `polymath verify`."
    return ""
