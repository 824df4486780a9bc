"""Where a store may live: its FORMAT file, and the file systems it refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from ..spec import BadInput, canonical, loads
from . import disk
from .errors import StoreError, from_os

FORMAT = 1
HASH = "sha256"
NOTE = "store.json"
"""The one place that says where the catalogue is: {"catalogue": <address>}; without it, in the folder."""
MOUNTS = Path("/proc/self/mountinfo")
# SQLite's write-ahead log needs memory shared between all its users; these file systems span hosts or emulate it badly.
NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb2",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "9p",
    "virtiofs",
    "vboxsf",
    "ceph",
    "lustre",
    "gpfs",
    "glusterfs",
    "beegfs",
    "orangefs",
    "pvfs2",
    "davfs",
    "ocfs2",
    "gfs2",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.rclone",
    "fuse.gcsfuse",
    "fuse.goofys",
    "fuse.blobfuse2",
    "fuse.mount-s3",
    "fuse.juicefs",
    "fuse.davfs2",
    "fuse.grpcfuse",
    "fuse.osxfs",
    "fuse.vmhgfs-fuse",
}


@dataclass(frozen=True, kw_only=True)
class Format:
    """What FORMAT says: the number of the layout and the name of this store, given once at random."""

    number: int
    store: str


def settle(path: Path, *, create: bool, mounts: Path = MOUNTS, name: str | None = None) -> Format:
    """Check that `path` is a store this version reads, or make it one, of that name. Raises BadInput, StoreError."""
    refuse_network(path, mounts=mounts)
    try:
        found = _read(path)
        if found is None:
            if not create:
                raise BadInput("there is no store here", file=path, remedy="Learn a task first, or name another store.")
            found = _create(path, name=name)
        return found
    except (NotADirectoryError, FileExistsError):
        raise BadInput("is not a folder", file=path, remedy="Name a folder for the store.") from None
    except PermissionError:
        raise BadInput("this user may not open the store", file=path, remedy="Change its permissions.") from None
    except StoreError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise BadInput("cannot be opened", file=path, remedy="Name another folder for the store.") from None
        raise from_os(error, f"Opening the store {path}") from error


def noted(path: Path) -> str | None:
    """Where the store at `path` keeps its catalogue, if not in its folder. Raises BadInput."""
    file = path / NOTE
    try:
        with open(disk.open_regular(file), "rb") as opened:
            return parsed_note(opened.read(4096), file=file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os(error, f"Reading {file}") from error


def parsed_note(text: bytes, *, file: object) -> str:
    """The address of the catalogue that a note names. Raises BadInput, which names the `file`."""
    try:
        plain = loads(text)
        if not isinstance(plain, dict) or set(plain) != {"catalogue"} or not isinstance(plain["catalogue"], str):
            raise ValueError("it does not name a catalogue and nothing else")
    except ValueError as error:
        raise BadInput(
            f"cannot be read: {error}", file=file, remedy='Write {"catalogue": "postgresql://user@host/database"}.'
        ) from None
    return str(plain["catalogue"])


def note_text(catalogue: str) -> bytes:
    """A note that names the catalogue."""
    return (canonical({"catalogue": catalogue}) + "\n").encode()


def note(path: Path, catalogue: str | None) -> None:
    """Remember where the catalogue is from now on. Raises StoreError."""
    try:
        if catalogue is None:
            disk.unlink_if_there(path / NOTE)
        else:
            fresh = disk.temporary(path / "tmp")
            disk.write_new(fresh, [note_text(catalogue)])
            disk.rename(fresh, path / NOTE)
        disk.sync_directory(path)
    except OSError as error:
        raise from_os(error, f"Writing {path / NOTE}") from error


def look(path: Path) -> Format:
    """The store at `path`, to be read as plain files; a network file system will do. Raises BadInput."""
    try:
        found = _read(path)
    except (NotADirectoryError, PermissionError):
        found = None
    except StoreError:
        raise
    except OSError as error:
        raise from_os(error, f"Reading the store {path}") from error
    if found is None:
        raise BadInput("there is no store here that can be read", file=path, remedy="Name the folder of a store.")
    return found


def refuse_network(path: Path, *, mounts: Path = MOUNTS) -> None:
    """Raise BadInput if `path` lies on a file system that several hosts share."""
    kind = filesystem(path, mounts=mounts)
    if kind in NETWORK:
        raise BadInput(
            f"lies on a network file system ({kind}), where a store cannot be kept safe",
            file=path,
            remedy="Keep the store on a local disk and copy it when it is closed.",
        )


def filesystem(path: Path, *, mounts: Path = MOUNTS) -> str | None:
    """The type of the file system that holds `path`, or None where the system does not say."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    best, kind = "", None
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) < 5 or not tail[0]:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        # The last of several mounts on one point is the one that is seen.
        if inside and len(point) >= len(best):
            best, kind = point, tail[0]
    return kind


def _read(path: Path) -> Format | None:
    """The FORMAT of a store; None if there is nothing here yet. Raises BadInput, OSError."""
    # Listed before FORMAT is looked for: a store being made by another process has FORMAT before anything else.
    others = [name for name in os.listdir(path) if not name.startswith(".FORMAT")] if path.exists() else []
    try:
        with open(disk.open_regular(path / "FORMAT"), "rb") as file:
            text = file.read(4096)
    except FileNotFoundError:
        if others:
            raise BadInput(
                "is a folder with other things in it, not a store", file=path, remedy="Name an empty or a new folder."
            ) from None
        return None
    return parsed(text, file=path / "FORMAT")


def parsed(text: bytes, *, file: object) -> Format:
    """What a FORMAT says. Raises BadInput, which names the `file`, for what this version does not know."""
    try:
        plain = loads(text)
        number, digest, store = plain["format"], plain["hash"], plain["store"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadInput("is damaged", file=file, remedy="Copy it back from a backup.") from None
    if type(number) is not int or number > FORMAT or number < 1 or digest != HASH:
        raise BadInput(
            f"the store has a format this version does not know; it reads format {FORMAT} with {HASH}",
            file=file,
            value=number,
            remedy="Use a newer version of Polymath.",
        )
    return Format(number=number, store=str(store))


def fresh_format(name: str | None = None) -> Format:
    """The FORMAT of a new store, with this name or a random one."""
    return Format(number=FORMAT, store=name or uuid.uuid4().hex)


def format_text(found: Format) -> bytes:
    """What stands in the file FORMAT."""
    return (canonical({"format": found.number, "hash": HASH, "store": found.store}) + "\n").encode()


def copy_of(path: Path, name: str) -> None:
    """Make `path` a folder for a copy of the store of that name, on any file system. Raises BadInput, StoreError."""
    try:
        found = _read(path) or _create(path, name=name)
    except (NotADirectoryError, FileExistsError, PermissionError):
        raise BadInput("is no folder that this user may write to", file=path, remedy="Name another folder.") from None
    except StoreError:
        raise
    except OSError as error:
        raise from_os(error, f"Writing to {path}") from error
    same_store(found, name, file=path)


def same_store(found: Format, name: str, *, file: object) -> None:
    """Raise BadInput if this is the FORMAT of another store than that of the name."""
    if found.store != name:
        raise BadInput(
            "holds another store", file=file, remedy="Name a new folder, or unite the two with `polymath merge`."
        )


def _create(path: Path, *, name: str | None = None) -> Format:
    """Write FORMAT, the one file that makes a folder a store; several processes may try at once."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        disk.sync_directory(folder.parent)
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _read(path)
        if found is None:
            found = fresh_format(name)
            fresh = path / f".FORMAT.{uuid.uuid4().hex}"
            disk.write_new(fresh, [format_text(found)])
            disk.rename(fresh, path / "FORMAT")
            disk.sync_directory(path)
        return found
    finally:
        os.close(lock)
