"""What a catalogue asks of a database, and the tables that it keeps there. SQLite (`sqlite`) and PostgreSQL are such.

A fork is a matter of the whole process, and so is the gate: whoever talks to a database holds it, and a fork waits for
it. So no statement is under way when a process divides, and the child connects anew.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from .errors import StoreError

VERSION = 1
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

Version: TypeAlias = tuple[int, ...]
GATE = threading.RLock()
os.register_at_fork(before=GATE.acquire, after_in_parent=GATE.release, after_in_child=GATE.release)


class Damaged(StoreError):
    """The catalogue cannot be used and should be built again from the records."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EILSEQ, what)

    def __str__(self) -> str:
        return f"The catalogue of the store is damaged: {self.message}. Run `polymath rebuild`; no knowledge is lost."


class Presence(Protocol):
    """Says that this process has a store open for writing."""

    def alone(self) -> AbstractContextManager[bool]:
        """Whether nobody else has the store open for writing. If so, whoever opens it waits until this ends."""

    def close(self) -> None:
        """Safe to call twice."""


class Database(Protocol):
    """Tables of `SCHEMA` behind one connection per process, safe to use from threads and on both sides of a fork.

    Statements mark values with `?`, name only our tables and never hold a text of a user. Every failure is one
    StoreError, Damaged if making the tables anew would mend it.
    """

    SAYS: str
    """A condition on a row of `record`: its body has the texts in the fields that the JSON object `?` says."""

    def open(self) -> None:
        """Connect, and check that the tables are ours."""

    def close(self) -> None:
        """Let go. Safe to call twice."""

    def transaction(self) -> AbstractContextManager[None]:
        """Excludes every other one, of any process; safe from kills when it ends. An exception rolls back."""

    def rows(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        """The answer to a question, within the transaction or outside of one."""

    def change(self, statement: str, values: Iterable[Any] = ()) -> None:
        """Within a transaction."""

    def version(self) -> Version | None:
        """Another one after any change by anybody; None where telling costs as much as what it would save."""

    def check(self, *, full: bool) -> list[str]:
        """What the database itself finds wrong with its tables."""

    def renew(self, fill: Callable[[Database], None], *, only_if_damaged: bool = False) -> None:
        """Put new tables, made by `fill`, in the place of the old, in one step; damaged old ones are kept aside."""

    def presence(self, here: Presence) -> Presence:
        """Enter the store; `here`: that this process did so on this machine."""

    def holder(self) -> tuple[str, int]:
        """A name for this process that `alive` can be asked about: a group of processes, and a number in it."""

    def alive(self, group: str, number: int) -> bool:
        """Whether the process of that name may still run."""
