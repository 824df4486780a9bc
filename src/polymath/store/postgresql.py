"""A catalogue in a PostgreSQL database (extra `pg`), so that several machines may use one store.

The server knows which sessions live, so nothing here needs a clock: the lock of a transaction, the presence of a user
of the store and the life of a lease are advisory locks, and the server drops them with the session that held them. One
database holds the catalogue of one store, in a schema of its own; it names that store and serves no other.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import secrets
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..spec import BadInput, printable
from . import locks
from .database import GATE, SCHEMA, VERSION, Damaged, Database, Presence
from .errors import StoreError

LOCK = 0x506F6C79
"""First number of all advisory locks of ours; the second says which: a transaction (0), a user of the store (1)."""
SESSIONS = LOCK + 1
"""First number of the locks that say which sessions live."""
TABLES = (
    *(
        one.replace(" WITHOUT ROWID", "").replace(" INTEGER", " BIGINT").replace(" TEXT", ' TEXT COLLATE "C"')
        for one in SCHEMA
    ),
    "CREATE TABLE store(name TEXT NOT NULL, version BIGINT NOT NULL)",
    "CREATE SEQUENCE session AS INTEGER CYCLE",
)
SETTINGS = {
    "search_path": "polymath",
    "client_min_messages": "error",
    "lc_messages": "C",
    "lock_timeout": f"{locks.PATIENCE_SECONDS:.0f}s",
    # A machine that vanished takes its locks along within a minute.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
PARAMETERS = {"host", "port", "user", "dbname", "sslmode", "sslrootcert"}
"""What an address may say beside its parts; the note in a store may come from a stranger."""
REMEDY = "Write postgresql://user@host/database; passwords belong into ~/.pgpass."
COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'polymath'::regnamespace AND c.relkind = 'r' AND NOT c.relhastriggers AND NOT c.relhasrules
    ORDER BY c.relname, a.attnum"""
ALIVE = """
    SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database AND d.datname = current_database()
    WHERE locktype = 'advisory' AND classid = ? AND objid = ? AND objsubid = 2 AND granted"""
HOLDER = """
    SELECT l.pid, coalesce(a.client_addr::text, 'this machine') FROM pg_locks l
    JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE locktype = 'advisory' AND classid = ? AND objid = 0 AND objsubid = 2 AND granted"""

_DATABASES: weakref.WeakSet[Postgresql] = weakref.WeakSet()
_INHERITED: list[Any] = []


def checked_url(url: str) -> str:
    """`url` itself if it may stand in a note. Raises BadInput."""
    parts = urlsplit(url)
    strange = {key for key, _ in parse_qsl(parts.query)} - PARAMETERS
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/") or parts.fragment or strange:
        raise BadInput(
            "is no address of a PostgreSQL database that a store can use", value=printable(url), remedy=REMEDY
        )
    if parts.password is not None:
        raise BadInput(
            "the address of the catalogue holds a password, which everybody who can read the store would see",
            remedy=REMEDY,
        )
    return url


def store_of(url: str) -> str | None:
    """The name of the store whose catalogue is in that database, if any is. Raises BadInput, StoreError."""
    database = Postgresql(url, store="")
    try:
        with GATE, database._translated():
            connection = database._session()
            if connection.execute("SELECT to_regclass('polymath.store')").fetchone()[0] is None:
                return None
            rows = connection.execute("SELECT name FROM polymath.store").fetchall()
            return str(rows[0][0]) if len(rows) == 1 else None
    finally:
        database.close()


class Postgresql:
    """One session per process, made anew after a fork or when the server ended it."""

    # NUL is no character of PostgreSQL's, not even as an escape in JSON.
    SAYS = r"""NOT EXISTS (
        SELECT 1 FROM json_each(CAST(replace(?, '\u0000', '\ufffd') AS json)) AS wanted
        WHERE (CAST(replace(text, '\u0000', '\ufffd') AS json) -> 'body' -> wanted.key)::text
        IS DISTINCT FROM wanted.value::text)"""

    def __init__(self, url: str, *, store: str, read_only: bool = False) -> None:
        """`store`: the name of the store whose catalogue it is. Raises BadInput for what is no address."""
        self._connection: Any = None
        self.url, self.store, self.read_only = checked_url(url), store, read_only
        self._process, self._number = 0, 0
        self._present = self._checked = False
        _DATABASES.add(self)

    # Opening and closing

    def open(self) -> None:
        with GATE, self._translated():
            self._connect()

    def close(self) -> None:
        with GATE:
            connection, self._connection = self._connection, None
            self._checked = False
            if connection is not None and self._process == os.getpid():
                connection.close()

    def __del__(self) -> None:
        self.close()

    def _connect(self) -> Any:
        """The session of this process, once the tables were found to be ours."""
        connection = self._session()
        if not self._checked:
            if not self._ours(connection):
                raise Damaged(f"the database {connection.info.dbname} does not hold the tables of this version")
            self._checked = True
        return connection

    def _session(self) -> Any:
        if self._connection is not None and self._process == os.getpid() and not self._connection.closed:
            return self._connection
        again = self._present
        settings = {**SETTINGS, "default_transaction_read_only": "on"} if self.read_only else SETTINGS
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._connection = _psycopg().connect(
            self.url, autocommit=True, connect_timeout=10, application_name="polymath", options=options
        )
        self._process, self._checked, self._number = os.getpid(), False, 0
        if again and not self._enter():
            self.close()
            raise StoreError(errno.EBUSY, "Somebody is collecting in the store: run the same command again.")
        return self._connection

    def _ours(self, connection: Any) -> bool:
        """Whether our tables, and nothing else by their names, are there. BadInput if they are another store's."""
        if connection.execute("SELECT to_regclass('polymath.store')").fetchone()[0] is None:
            return False
        found: dict[str, list[tuple[str, str]]] = {}
        for table, column, type_ in connection.execute(COLUMNS):
            found.setdefault(table, []).append((column, type_))
        if found != _columns():
            return False
        rows = connection.execute("SELECT name, version FROM polymath.store").fetchall()
        if len(rows) != 1 or rows[0][1] < 1:
            return False
        if rows[0][0] != self.store:
            raise BadInput(
                "the database holds the catalogue of another store",
                value=connection.info.dbname,
                remedy="Make a database for this one (createdb NAME).",
            )
        if rows[0][1] > VERSION:
            raise BadInput(
                "the catalogue was made by a newer version", value=rows[0][1], remedy="Use a newer version of Polymath."
            )
        return True

    # Transactions

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        if self.read_only:
            raise StoreError(errno.EROFS, "The store was opened for reading only.")
        with GATE, self._translated():
            self._connect()
            with self._transaction():
                yield

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._asked(f"BEGIN; SELECT pg_advisory_xact_lock({LOCK}, 0)")
            connection = self._connection
            yield
            connection.execute("COMMIT")
        except BaseException:
            # Also where the wait for the lock was cut short: the server has heard BEGIN by then.
            if self._connection is not None and not self._connection.closed:
                self._connection.execute("ROLLBACK")
            raise

    def rows(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        with GATE, self._translated():
            self._connect()
            return [tuple(map(_received, row)) for row in self._asked(statement, values).fetchall()]

    def _asked(self, statement: str, values: Iterable[Any] = ()) -> Any:
        """The answer of the server, asked once more if it has ended the session since it was last used."""
        connection, given = self._session(), [_sent(value) for value in values]
        within = connection.info.transaction_status
        try:
            return connection.execute(_marked(statement), given or None)
        except _psycopg().OperationalError:
            if within or not connection.closed:
                raise
            return self._session().execute(_marked(statement), given or None)

    def _yes(self, statement: str, *values: int) -> bool:
        return bool(self._asked(statement, values).fetchone()[0])

    def change(self, statement: str, values: Iterable[Any] = ()) -> None:
        connection = self._connection
        assert connection is not None and connection.info.transaction_status, "a change outside a transaction"
        connection.execute(_marked(statement), [_sent(value) for value in values])

    def check(self, *, full: bool) -> list[str]:
        """Nothing: the server looks after its own pages."""
        self.rows("SELECT 1")
        return []

    def renew(self, fill: Callable[[Database], None], *, only_if_damaged: bool = False) -> None:
        """New tables in one transaction; old ones that are not as they should be stay under another name."""
        with GATE, self._translated(), self._transaction():
            connection = self._session()
            good = self._ours(connection)
            if good and only_if_damaged:
                return
            if connection.execute("SELECT to_regnamespace('polymath')").fetchone()[0] is not None:
                aside = f"polymath_quarantine_{secrets.token_hex(4)}"
                connection.execute(
                    "DROP SCHEMA polymath CASCADE" if good else f"ALTER SCHEMA polymath RENAME TO {aside}"
                )
            for statement in ("CREATE SCHEMA polymath", *TABLES):
                connection.execute(statement)
            connection.execute("INSERT INTO store VALUES(%s, %s)", (self.store, VERSION))
            self._checked = True
            try:
                fill(self)
            except BaseException:
                self._checked = False
                raise

    # Who lives

    def version(self) -> None:
        return None

    def holder(self) -> tuple[str, int]:
        with GATE, self._translated():
            self._connect()
            while not self._number:
                (number,) = self._asked("SELECT nextval('session')").fetchone()
                if self._yes("SELECT pg_try_advisory_lock(?, ?)", SESSIONS, number):
                    self._number = number
            return "session", self._number

    def alive(self, group: str, number: int) -> bool:
        return group == "session" and bool(self.rows(ALIVE, (SESSIONS, number)))

    def presence(self, here: Presence) -> Present:
        """Says that this process has the store open: on this machine, and to the server."""
        end = time.monotonic() + locks.PATIENCE_SECONDS
        while True:
            with GATE, self._translated():
                self._session()
                if self._enter():
                    return Present(self, here)
            if time.monotonic() > end:
                here.close()
                raise StoreError(errno.EBUSY, "Somebody has been collecting in the store for a minute: try again.")
            time.sleep(0.01)

    def _enter(self) -> bool:
        self._present = self._yes("SELECT pg_try_advisory_lock_shared(?, 1)", LOCK)
        return self._present

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other session has the store open for writing. If so, whoever opens it waits until this ends."""
        with GATE, self._translated():
            found = self._yes("SELECT pg_try_advisory_lock(?, 1)", LOCK)
        try:
            yield found
        finally:
            if found:
                with GATE, self._translated():
                    self._yes("SELECT pg_advisory_unlock(?, 1)", LOCK)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """The errors of the server as ours."""
        try:
            yield
        except _psycopg().Error as error:
            kind, said = _psycopg().errors, printable(str(error).partition("\n")[0], limit=200)
            if isinstance(error, kind.LockNotAvailable):
                raise StoreError(errno.EBUSY, self._who()) from error
            if isinstance(error, (kind.UndefinedTable, kind.UndefinedColumn, kind.InvalidSchemaName, kind.DataError)):
                self._checked = False
                raise Damaged(said) from error
            if isinstance(error, (kind.InsufficientPrivilege, kind.ReadOnlySqlTransaction)):
                number, remedy = errno.EACCES, "Let this user make and change tables in the database."
            elif isinstance(error, (kind.DiskFull, kind.OutOfMemory)):
                number, remedy = errno.ENOSPC, "Free some space there; nothing that was finished is lost."
            else:
                away = self._connection is None or self._connection.closed
                number = errno.EHOSTUNREACH if away else errno.EIO
                remedy = "Is the server there? Run the same command again; no knowledge is lost."
            raise StoreError(number, f"The catalogue of the store, {self.url}: {said}. {remedy}") from error

    def _who(self) -> str:
        found = self._connection.execute(_marked(HOLDER), [LOCK]).fetchall()
        named = " and ".join(f"session {number} ({host})" for number, host in found) or "another session"
        return (
            f"The catalogue of the store: {named} has held its lock for {locks.PATIENCE_SECONDS:.0f} s. "
            "If it hangs, end it; nothing that was finished is lost."
        )


class Present:
    """See `locks.Presence`."""

    def __init__(self, database: Postgresql, here: Presence) -> None:
        self._database, self._here = database, here

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        with self._here.alone() as here, self._database.alone() as everywhere:
            yield here and everywhere

    def close(self) -> None:
        """The server's part ends with the session."""
        self._here.close()


@functools.cache
def _marked(statement: str) -> str:
    return statement.replace("?", "%s")


@functools.cache
def _columns() -> dict[str, list[tuple[str, str]]]:
    """The columns that our tables should have."""
    found = {}
    for statement in TABLES:
        if match := re.fullmatch(r"CREATE TABLE (\w+)\((.*)\)", statement):
            fields = re.sub(r"PRIMARY KEY\(.*?\)", "", match[2]).split(", ")
            words = [field.split() for field in fields if field]
            found[match[1]] = [(word[0], word[1].lower()) for word in words]
    return found


def _sent(value: Any) -> Any:
    """PostgreSQL has no NUL in its texts; ids of records may."""
    if isinstance(value, str) and ("\0" in value or "\1" in value):
        return value.replace("\1", "\1\1").replace("\0", "\1\2")
    return value


def _received(value: Any) -> Any:
    if isinstance(value, str) and "\1" in value:
        return re.sub("\1([\1\2])", lambda match: "\0" if match[1] == "\2" else "\1", value)
    return value


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise BadInput(
            "the catalogue of the store is in PostgreSQL, and psycopg is not installed",
            remedy='Install it: pip install "polymath-learn[pg]".',
        ) from None
    return psycopg


def _close_after_fork() -> None:
    """The session stays the parent's: its socket is closed here without a word to the server."""
    for database in _DATABASES:
        if database._connection is not None and not database._connection.closed:
            os.close(database._connection.fileno())
        _INHERITED.append(database._connection)
        database._connection = None
        database._checked = False


os.register_at_fork(after_in_child=_close_after_fork)
