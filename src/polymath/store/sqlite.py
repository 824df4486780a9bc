"""A catalogue in an SQLite file: connections, transactions, SQLite's errors as ours.

No statement depends on anything a store says: a file whose schema is not exactly ours is set aside unread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..spec import printable
from . import disk, locks
from .database import GATE, SCHEMA, VERSION, Damaged, Database, Presence, Version
from .errors import StoreError, from_os, remedy

MAX_LOG_BYTES = 4 << 20
BUSY_MILLISECONDS = 30_000

# Nothing but `_close` lets go of a connection: else a thread may close a forgotten one while another forks, and the
# child hangs.
_CONNECTIONS: set[sqlite3.Connection] = set()


class Sqlite:
    """One connection per process, made anew after a fork or when the file was replaced. Safe to use from threads."""

    SAYS = (
        "NOT EXISTS (SELECT 1 FROM json_each(?) AS wanted "
        "WHERE json_extract(text, '$.body.' || wanted.key) IS NOT wanted.value)"
    )

    def __init__(self, path: Path | None, *, lock: Path | None = None) -> None:
        """`path=None` keeps it in memory; without a `lock` it is read only (or private to whoever builds it)."""
        self.path, self._lock = path, lock
        self._process = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = (0, 0)
        self._writable = lock is not None or path is None
        self._attached = 0

    # Opening and closing

    def open(self) -> None:
        """Connect and check that this is our catalogue. Raises Damaged, StoreError."""
        with GATE, _translated():
            self._connect()

    @classmethod
    def build(cls, path: Path | None, fill: Callable[[Database], None]) -> Sqlite:
        """New tables in a new file, or in memory for reading alone; durable when this returns."""
        fresh = cls(path)
        fresh._writable = True
        with GATE, _translated():
            fresh._create()
            with fresh._transaction():
                fill(fresh)
        if path is None:
            fresh._writable = False
        else:
            fresh.close()
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                disk.sync(descriptor, path)
            finally:
                os.close(descriptor)
        return fresh

    def renew(self, fill: Callable[[Database], None], *, only_if_damaged: bool = False) -> None:
        """A new file in the place of the old one, which goes to the quarantine if it cannot be read."""
        assert self.path is not None and self._lock is not None
        path, temporary = self.path, self.path.parent / "tmp"
        fresh, old = disk.temporary(temporary), disk.temporary(temporary)
        self.close()
        with GATE, locks.held(self._lock):
            good = _sound(path)
            if good and only_if_damaged:
                return
            try:
                Sqlite.build(fresh, fill)
                aside = temporary if good or not path.exists() else path.parent / "quarantine"
                aside.mkdir(exist_ok=True)
                # The log goes with its file: one that stayed would be replayed into the new catalogue.
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        disk.rename(Path(f"{path}{suffix}"), aside / f"{old.name}.catalog.db{suffix}")
                disk.rename(fresh, path)
                disk.sync_directory(path.parent)
            except StoreError:
                raise
            except OSError as error:
                raise from_os(error, "Rebuilding the catalogue") from error
            finally:
                for leftover in [*temporary.glob(f"{fresh.name}*"), *temporary.glob(f"{old.name}*")]:
                    disk.unlink_if_there(leftover)
        self.open()

    def close(self) -> None:
        """Fold the log into the file and let go. Safe to call twice."""
        with GATE:
            if self._connection is not None:
                there = self._lock is not None and self._lock.parent.exists()  # a scratch store may be removed
                with locks.held(self._lock) if self._lock and there else contextlib.nullcontext():
                    self._close()

    def __del__(self) -> None:
        with GATE:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            _CONNECTIONS.discard(connection)
            connection.close()

    def _create(self) -> None:
        connection = self._attach()
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")
        self._file = self._identity()

    def _attach(self) -> sqlite3.Connection:
        if self.path is None:
            address = ":memory:"
        else:
            address = f"{self.path.resolve().as_uri()}?mode={'rwc' if self._writable else 'ro'}"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=0)
        self._connection, self._process, self._file = connection, os.getpid(), self._identity()
        self._attached += 1
        if self.path is not None:
            _CONNECTIONS.add(connection)
        connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
        for setting in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {setting}")
        if self._writable and self.path is not None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes, the records give back
            connection.execute("PRAGMA wal_autocheckpoint=0")
        return connection

    def _connect(self, *, locked: bool = False) -> sqlite3.Connection:
        """The connection of this process to the file that is there now."""
        file = self._identity()
        if self._connection is not None and file == self._file and (self._process == os.getpid() or self.path is None):
            return self._connection
        if file is None:
            raise Damaged("it is not there")
        with locks.held(self._lock) if self._lock and not locked else contextlib.nullcontext():
            self._close()
            try:
                connection = self._attach()
                found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version > VERSION or found != set(SCHEMA):
                    raise Damaged("its tables are not those of this version")
            except BaseException:
                self._close()
                raise
        return connection

    def _identity(self) -> tuple[int, int] | None:
        if self.path is None:
            return (0, 0)
        try:
            state = os.lstat(self.path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(state.st_mode):
            raise Damaged("it is not a regular file")
        return (state.st_dev, state.st_ino)

    # Transactions

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE under the store's lock ... COMMIT; safe from kills when it ends. An exception rolls back."""
        if self._lock is None:
            raise StoreError(errno.EROFS, "The store was opened for reading only.")
        with GATE, _translated(), locks.held(self._lock):
            self._connect(locked=True)
            with self._transaction():
                yield
            self._fold()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        connection = self._connection
        assert connection is not None
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            # After some I/O errors SQLite has rolled back already.
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise

    def _fold(self) -> None:
        """Checkpoint a long log; with readers in the way SQLite leaves it for the next time."""
        assert self.path is not None and self._connection is not None
        with contextlib.suppress(FileNotFoundError):
            if os.stat(f"{self.path}-wal").st_size > MAX_LOG_BYTES:
                self._connection.execute("PRAGMA busy_timeout=0")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")

    def rows(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        with GATE, _translated():
            return self._connect().execute(statement, tuple(values)).fetchall()

    def change(self, statement: str, values: Iterable[Any] = ()) -> None:
        connection = self._connection
        assert connection is not None and connection.in_transaction, "a change outside a transaction"
        connection.execute(statement, tuple(values))

    def version(self) -> Version:
        with GATE, _translated():
            connection = self._connect()
            (others,) = connection.execute("PRAGMA data_version").fetchone()
            return (self._attached, others, connection.total_changes)

    def check(self, *, full: bool) -> list[str]:
        """What SQLite finds wrong with its file. Only `full` compares the indexes."""
        rows = self.rows("PRAGMA integrity_check") if full else self.rows("PRAGMA quick_check")
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def presence(self, here: Presence) -> Presence:
        return here

    def holder(self) -> tuple[str, int]:
        return disk.boot_identity(), os.getpid()

    def alive(self, group: str, number: int) -> bool:
        return disk.alive(group, number)


def _sound(path: Path) -> bool:
    """Whether there is a catalogue of ours at `path`."""
    probe = Sqlite(path)
    try:
        probe.open()
    except StoreError:
        return False
    finally:
        probe.close()
    return True


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """SQLite's errors as ours."""
    numbers = {
        "SQLITE_FULL": errno.ENOSPC,
        "SQLITE_BUSY": errno.EBUSY,
        "SQLITE_LOCKED": errno.EBUSY,
        "SQLITE_READONLY": errno.EROFS,
        "SQLITE_CANTOPEN": errno.EACCES,
        "SQLITE_NOMEM": errno.ENOMEM,
        "SQLITE_IOERR": errno.EIO,
    }
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = "_".join((getattr(error, "sqlite_errorname", None) or "SQLITE_CORRUPT").split("_")[:2])
        if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR"):
            raise Damaged(printable(str(error), limit=200)) from error
        number = numbers.get(name, errno.EIO)
        raise StoreError(number, f"The catalogue of the store: {error}. {remedy(number)}".rstrip()) from error
    except UnicodeDecodeError as error:  # SQLite quotes the damage in its message
        raise Damaged("it holds text that is not UTF-8") from error
    except StoreError:
        raise
    except OSError as error:
        raise from_os(error, "The catalogue of the store") from error


def _close_after_fork() -> None:
    """Let no connection cross a fork: SQLite's locks do not, and the child would believe that it holds them."""
    for connection in _CONNECTIONS:
        connection.close()
    _CONNECTIONS.clear()


os.register_at_fork(after_in_child=_close_after_fork)
