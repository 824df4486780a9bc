"""The catalogue: an index over the records and the volatile state (leases), in SQLite.

Everything here but the leases can be derived again from the records, so a lost or damaged catalogue costs time and no
knowledge. A row repeats the text of its record and readers check it against the address: SQLite has no checksums.
Which of several records with one kind and id counts is a pure function of the set of records: the highest fence,
then the latest written, then the smallest address. A record that a tombstone names, and a head that means one, is
hidden: it is as if it had never been, so it makes no difference whether its file is still there.

No statement of this file depends on anything a store says: a catalogue whose schema is not exactly ours is set aside.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import sqlite3
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..spec import canonical, printable
from . import disk, locks
from .errors import StoreError, from_os, remedy
from .records import EXACT_INTEGER, TOMBSTONE, Record

VERSION = 1
PAGE = 1000
MAX_LOG_BYTES = 4 << 20
BUSY_MILLISECONDS = 30_000
FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

SCHEMA = (
    "CREATE TABLE record(address TEXT PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, fence INTEGER NOT NULL, "
    "written INTEGER NOT NULL, counts INTEGER NOT NULL, text TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX record_by_kind ON record(kind, counts, written, address)",
    "CREATE INDEX record_by_id ON record(kind, id)",
    "CREATE INDEX record_by_time ON record(written)",
    "CREATE TABLE ref(record TEXT NOT NULL, object TEXT NOT NULL, PRIMARY KEY(record, object)) WITHOUT ROWID",
    "CREATE INDEX ref_by_object ON ref(object)",
    "CREATE TABLE object(address TEXT PRIMARY KEY, size INTEGER NOT NULL, verified INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE tombstone(target TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE lease(trial TEXT PRIMARY KEY, fence INTEGER NOT NULL, owner TEXT NOT NULL, boot TEXT NOT NULL, "
    "process INTEGER NOT NULL, progress INTEGER NOT NULL, held INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
)

PAGE_OF_RECORDS = """
    SELECT written, address, text FROM record
    WHERE kind=? AND counts=1 AND (written, address) > (?, ?) AND substr(id, 1, ?) = ? AND NOT EXISTS (
        SELECT 1 FROM json_each(?) AS wanted WHERE json_extract(text, '$.body.' || wanted.key) IS NOT wanted.value)
    ORDER BY written, address LIMIT ?"""

HIDDEN = """(address IN (SELECT target FROM tombstone) OR (kind = 'head' AND EXISTS (
    SELECT 1 FROM ref JOIN tombstone ON target = ref.object WHERE ref.record = address)))"""
VERSIONS = """
    SELECT address FROM record WHERE kind=? AND NOT $hidden AND NOT EXISTS (
        SELECT 1 FROM json_each(?) AS wanted WHERE json_extract(text, '$.body.' || wanted.key) IS NOT wanted.value)
    ORDER BY written, address""".replace("$hidden", HIDDEN)
LIST_HIDDEN = "SELECT address FROM record WHERE $hidden".replace("$hidden", HIDDEN)
LIST_DEAD = """
    SELECT address FROM record WHERE $hidden AND address NOT IN (
        SELECT object FROM ref WHERE record IN (SELECT address FROM record WHERE NOT $hidden))
    """.replace("$hidden", HIDDEN)
SIZES = """
    WITH kept AS (SELECT address FROM record WHERE NOT $hidden)
    SELECT address, size, verified FROM object
    WHERE address IN kept OR address IN (SELECT object FROM ref WHERE record IN kept)""".replace("$hidden", HIDDEN)
RECOUNT = """
    UPDATE record SET counts = address IS (
        SELECT address FROM record WHERE kind=?1 AND id=?2 AND NOT $hidden
        ORDER BY fence DESC, written DESC, address LIMIT 1)
    WHERE kind=?1 AND id=?2""".replace("$hidden", HIDDEN)
CONCERNED = """
    SELECT kind, id FROM record WHERE address=?1
    UNION SELECT kind, id FROM record JOIN ref ON record=address WHERE object=?1 AND kind='head'"""
RELEASE = """
    DELETE FROM object WHERE address IN (SELECT object FROM ref WHERE record=?1)
    AND address NOT IN (SELECT address FROM record)
    AND NOT EXISTS (SELECT 1 FROM ref WHERE ref.object=object.address AND ref.record<>?1)"""

# A fork is a matter of the whole process, and so are these: whoever calls SQLite holds the gate, and nothing but
# `_close` lets go of a connection (else a thread may close a forgotten one while another forks, and the child hangs).
_GATE = threading.RLock()
_CONNECTIONS: set[sqlite3.Connection] = set()


class Damaged(StoreError):
    """The catalogue cannot be used and should be built again from the records."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EILSEQ, what)

    def __str__(self) -> str:
        return f"The catalogue of the store is damaged: {self.message}. Run `polymath rebuild`; no knowledge is lost."


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a trial. `fence` grows with every claim; only the current one may finish."""

    trial: str
    fence: int
    owner: str
    boot: str
    process: int
    progress: int
    held: bool

    @property
    def alive(self) -> bool:
        """Whether the process that claimed it may still run (a hung one counts; watch `progress`)."""
        return self.held and disk.alive(self.boot, self.process)


class Catalogue:
    """One connection per process, made anew after a fork or when the file was replaced. Safe to use from threads."""

    def __init__(self, path: Path | None, *, lock: Path | None = None) -> None:
        """`path=None` keeps it in memory; without a `lock` it is read only (or private to whoever builds it)."""
        self.path, self._lock = path, lock
        self._process = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = (0, 0)
        self._writable = lock is not None or path is None

    # Opening and closing

    def open(self) -> None:
        """Connect and check that this is our catalogue. Raises Damaged, StoreError."""
        with _GATE, _translated():
            self._connect()

    @classmethod
    def build(cls, path: Path, records: Iterable[tuple[Record, Mapping[str, int]]]) -> None:
        """A new catalogue in a new file from all records; complete and durable when this returns."""
        fresh = cls(path)
        fresh._writable = True
        with _translated():
            fresh._create()
            with fresh._transaction():
                fresh.adopt(records)
            fresh.close()
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            disk.sync(descriptor, path)
        finally:
            os.close(descriptor)

    @classmethod
    def in_memory(cls, records: Iterable[tuple[Record, Mapping[str, int]]]) -> Catalogue:
        """A catalogue for reading a store whose own one cannot be opened."""
        fresh = cls(None)
        fresh._create()
        with fresh._transaction():
            fresh.adopt(records)
        fresh._writable = False
        return fresh

    def close(self) -> None:
        """Fold the log into the file and let go. Safe to call twice."""
        with _GATE:
            if self._connection is not None:
                there = self._lock is not None and self._lock.parent.exists()  # a scratch store may be removed
                with locks.held(self._lock) if self._lock and there else contextlib.nullcontext():
                    self._close()

    def __del__(self) -> None:
        with _GATE:
            self._close()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock of the store for more than a transaction."""
        assert self._lock is not None
        with _GATE, locks.held(self._lock):
            yield

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
        with _GATE, _translated(), locks.held(self._lock):
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

    def _rows(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        with _GATE, _translated():
            return self._connect().execute(statement, tuple(values)).fetchall()

    def _typed(self, statement: str, *types: type) -> list[Any]:
        """Rows whose columns have these types; flipped bits can turn any value into one of another type."""
        rows = self._rows(statement)
        if not all(type(value) is wanted for row in rows for value, wanted in zip(row, types, strict=True)):
            raise Damaged("a value has the wrong type")
        return rows

    def _change(self, statement: str, values: Iterable[Any] = ()) -> None:
        connection = self._connection
        assert connection is not None and connection.in_transaction, "a change outside a transaction"
        connection.execute(statement, tuple(values))

    # Records

    def adopt(self, records: Iterable[tuple[Record, Mapping[str, int]]]) -> None:
        """Insert records of old; leases start beyond every fence ever seen, and so does the fence counter."""
        for record, sizes in records:
            self.insert(record, sizes=sizes)
        top = self._typed("SELECT coalesce(max(fence), 0) FROM record", int)[0][0]
        if top > self._fence():
            # Fences handed out and not recorded are unknown here, hence a random start within a new era.
            self._set_fence(((top >> 32) + 1 << 32) + secrets.randbits(31))

    def insert(self, record: Record, *, sizes: Mapping[str, int]) -> None:
        """One record with the sizes of all objects it concerns, itself included. Within a transaction."""
        address, text = record.address, record.text
        self._change(
            "INSERT OR REPLACE INTO record VALUES(?, ?, ?, ?, ?, 0, ?)",
            (address, record.kind, record.id, record.fence, record.written, text),
        )
        for object_ in record.refs:
            self._change("INSERT OR IGNORE INTO ref VALUES(?, ?)", (address, object_))
        for object_, size in sizes.items():
            self._change("INSERT OR IGNORE INTO object VALUES(?, ?, 0)", (object_, size))
        self._recount(record.kind, record.id)
        target = record.body.get("record") if record.kind == TOMBSTONE else None
        if isinstance(target, str):
            self._change("INSERT OR IGNORE INTO tombstone VALUES(?)", (target,))
            for kind, name in self._rows(CONCERNED, (target,)):
                self._recount(kind, name)

    def remove(self, address: str) -> None:
        """Take out the row of a record, if there is one. Within a transaction."""
        names = self._rows("SELECT kind, id FROM record WHERE address=?", (address,))
        self._change(RELEASE, (address,))
        self._change("DELETE FROM ref WHERE record=?", (address,))
        self._change("DELETE FROM record WHERE address=?", (address,))
        self._change("DELETE FROM object WHERE address=?", (address,))
        for kind, name in names:
            self._recount(kind, name)

    def _recount(self, kind: str, name: str) -> None:
        self._change(RECOUNT, (kind, name))

    def text(self, address: str) -> str | None:
        """The text of a record as the index has it, or None."""
        rows = self._rows("SELECT text FROM record WHERE address=?", (address,))
        return rows[0][0] if rows else None

    def winner(self, kind: str, name: str) -> str | None:
        """The address of the record of that kind and id that counts."""
        # The plus keeps SQLite from walking all records of the kind by another index: 2 ms at 1,500 of them.
        rows = self._rows("SELECT address FROM record WHERE kind=? AND id=? AND +counts=1", (kind, name))
        return rows[0][0] if rows else None

    def hidden(self) -> set[str]:
        """The records that a tombstone names, and the heads that mean one."""
        return {row[0] for row in self._typed(LIST_HIDDEN, str)}

    def dead(self) -> set[str]:
        """The hidden records that no other needs."""
        return {row[0] for row in self._typed(LIST_DEAD, str)}

    def tombstones(self) -> set[str]:
        """What tombstones name, here or not."""
        return {row[0] for row in self._typed("SELECT target FROM tombstone", str)}

    def page(
        self,
        kind: str,
        *,
        where: Mapping[str, str],
        after: tuple[int, str],
        prefix: str = "",
    ) -> list[tuple[int, str, str]]:
        """The next visible records of a kind as (written, address, text), in order."""
        return self._rows(PAGE_OF_RECORDS, [kind, *after, len(prefix), prefix, _wanted(where), PAGE])

    def versions(self, kind: str, *, where: Mapping[str, str]) -> list[str]:
        """The addresses of all records of a kind that are not hidden, those that others took the place of too."""
        return [row[0] for row in self._rows(VERSIONS, (kind, _wanted(where)))]

    def last_written(self) -> int:
        """The highest logical time of any record."""
        last: int = self._typed("SELECT coalesce(max(written), 0) FROM record", int)[0][0]
        if not 0 <= last < EXACT_INTEGER:
            raise Damaged("a record is from the far future")
        return last

    def addresses(self) -> set[str]:
        return {row[0] for row in self._typed("SELECT address FROM record", str)}

    def rows(self, address: str) -> tuple[Any, ...] | None:
        """Everything the index says about one record, for comparing with the truth."""
        found = self._rows("SELECT kind, id, fence, written, text FROM record WHERE address=?", (address,))
        refs = self._rows("SELECT object FROM ref WHERE record=? ORDER BY object", (address,))
        return (*found[0], tuple(row[0] for row in refs)) if found else None

    def counting(self) -> set[str]:
        """The addresses of all records that count."""
        return {row[0] for row in self._typed("SELECT address FROM record WHERE counts=1", str)}

    def dependents(self, address: str) -> list[tuple[str, str, str]]:
        """The records that need an object: (kind, id, address)."""
        return self._rows(
            "SELECT kind, id, address FROM record JOIN ref ON record=address WHERE object=? ORDER BY kind, id",
            (address,),
        )

    # Objects and their checks

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Size and number of the last check (0: never) of every record that is not hidden, and of what these need."""
        return {address: (size, verified) for address, size, verified in self._typed(SIZES, str, int, int)}

    def needed(self) -> set[str]:
        """Every object or record that some record names, hidden ones too."""
        return {row[0] for row in self._typed("SELECT DISTINCT object FROM ref", str)}

    def is_needed(self, address: str) -> bool:
        return bool(self._rows("SELECT 1 FROM ref WHERE object=? LIMIT 1", (address,)))

    def mark_verified(self, addresses: Iterable[str]) -> None:
        """Remember that these were just found good. Opens its own transaction."""
        with self.transaction():
            turn = self._typed("SELECT coalesce(max(verified), 0) + 1 FROM object", int)[0][0]
            for address in addresses:
                self._change("UPDATE object SET verified=? WHERE address=?", (turn, address))

    def check(self, *, full: bool = False) -> list[str]:
        """What SQLite itself finds wrong with its file; nothing if it is sound. Only `full` compares the indexes."""
        rows = self._rows("PRAGMA integrity_check") if full else self._rows("PRAGMA quick_check")
        return [str(row[0]) for row in rows if row[0] != "ok"]

    # Leases

    def _fence(self) -> int:
        rows = self._typed("SELECT value FROM meta WHERE key='fence'", int)
        return int(rows[0][0]) if rows else 0

    def _set_fence(self, value: int) -> None:
        self._change("INSERT OR REPLACE INTO meta VALUES('fence', ?)", (value,))

    def next_fence(self) -> int:
        """A number above every one handed out before. Within a transaction."""
        fence = self._fence() + 1
        self._set_fence(fence)
        return fence

    def leases(self, trial: str | None = None) -> list[Lease]:
        """The lease of one trial, or all that are held."""
        if trial is None:
            rows = self._rows("SELECT * FROM lease WHERE held ORDER BY trial")
        else:
            rows = self._rows("SELECT * FROM lease WHERE trial=?", (trial,))
        return [Lease(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6])) for row in rows]

    def put_lease(self, lease: Lease) -> None:
        """Within a transaction."""
        self._change(
            "INSERT OR REPLACE INTO lease VALUES(?, ?, ?, ?, ?, ?, ?)",
            (lease.trial, lease.fence, lease.owner, lease.boot, lease.process, lease.progress, lease.held),
        )


def _wanted(where: Mapping[str, str]) -> str:
    for name in where:
        if not FIELD.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a field that records can be found by.")
    return canonical(dict(where))


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
    """Let no connection cross a fork: SQLite's locks do not, and the child would believe that it holds them.

    The gate is held around the fork, so no statement is under way; the child closes its copies and connects anew.
    """
    for connection in _CONNECTIONS:
        connection.close()
    _CONNECTIONS.clear()
    _GATE.release()


os.register_at_fork(before=_GATE.acquire, after_in_parent=_GATE.release, after_in_child=_close_after_fork)
