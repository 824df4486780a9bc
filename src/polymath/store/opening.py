"""What is settled before a store is opened: who is here, and where its catalogue is."""

from __future__ import annotations

from pathlib import Path

from ..spec import BadInput
from . import locks, place
from .database import Database
from .errors import StoreError, from_os
from .remote import Remote
from .sqlite import Sqlite


def entered(folder: Path) -> locks.Presence:
    """What a store needs before anything is looked at, and that this process uses it."""
    try:
        for name in ("tmp", "locks"):
            (folder / name).mkdir(exist_ok=True)
        return locks.Presence(folder / "locks" / "users")
    except StoreError:
        raise
    except OSError as error:
        raise from_os(error, f"Opening the store {folder}") from error


def agreed(folder: Path, remote: Remote | None, *, catalogue: str | None, remember: bool) -> str | None:
    """Where the catalogue is, by what the store remembers and what the caller says. Raises BadInput if they differ."""
    noted = place.noted(folder) if remote is None else remote.noted()
    if catalogue is None or catalogue == noted:
        return noted
    if noted is not None or (folder / "catalog.db").exists():
        raise BadInput(
            "the store keeps its catalogue elsewhere",
            file=folder if remote is None else remote.url,
            value=noted or "in the folder",
            remedy="Move it with `polymath rebuild --catalogue`.",
        )
    if remember:
        note(folder, remote, catalogue=catalogue)
    return catalogue


def note(folder: Path, remote: Remote | None, *, catalogue: str | None) -> None:
    """Remember where the catalogue is from now on: in the bucket, where every machine sees it, or in the folder."""
    if remote is None:
        place.note(folder, catalogue)
    else:
        remote.note(catalogue)


def store_of(catalogue: str) -> str | None:
    """The name of the store whose catalogue is at this address, if any is."""
    from . import postgresql

    return postgresql.store_of(catalogue)


def database(where: str | None, folder: Path, *, name: str, read_only: bool) -> Database:
    """The database at an address, or (None) in the folder."""
    if where is None:
        return Sqlite(folder / "catalog.db", lock=None if read_only else folder / "locks" / "write")
    from . import postgresql

    return postgresql.Postgresql(where, store=name, read_only=read_only)
