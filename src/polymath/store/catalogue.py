"""The catalogue: an index over the records and the volatile state (leases), in a database.

Everything here but the leases can be derived again from the records, so a lost or damaged catalogue costs time and no
knowledge. A row repeats the text of its record and readers check it against the address: SQLite has no checksums.
Which of several records with one kind and id counts is a pure function of the set of records: the highest fence,
then the latest written, then the smallest address. A record that a tombstone names, and a head that means one, is
hidden: it is as if it had never been, so it makes no difference whether its file is still there.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..spec import canonical
from .database import Damaged, Database
from .records import EXACT_INTEGER, TOMBSTONE, Record

PAGE = 1000
SETTLED = re.compile(r"records/([0-9a-f]{2})/([0-9]{1,19})", re.ASCII)
FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

PAGE_OF_RECORDS = """
    SELECT written, address, text FROM record
    WHERE kind=? AND counts=1 AND (written, address) > (?, ?) AND substr(id, 1, ?) = ? AND $says
    ORDER BY written, address LIMIT ?"""

HIDDEN = """(address IN (SELECT target FROM tombstone) OR (kind = 'head' AND EXISTS (
    SELECT 1 FROM ref JOIN tombstone ON target = ref.object WHERE ref.record = address)))"""
VERSIONS = """
    SELECT address FROM record WHERE kind=? AND NOT $hidden AND $says
    ORDER BY written, address""".replace("$hidden", HIDDEN)
LIST_HIDDEN = "SELECT address FROM record WHERE $hidden".replace("$hidden", HIDDEN)
LIST_DEAD = """
    SELECT address FROM record WHERE $hidden AND address NOT IN (
        SELECT object FROM ref WHERE record IN (SELECT address FROM record WHERE NOT $hidden))
    """.replace("$hidden", HIDDEN)
SIZES = """
    WITH kept AS (SELECT address FROM record WHERE NOT $hidden)
    SELECT address, size, verified FROM object
    WHERE address IN (SELECT address FROM kept)
        OR address IN (SELECT object FROM ref WHERE record IN (SELECT address FROM kept))""".replace("$hidden", HIDDEN)
RECOUNT = """
    UPDATE record SET counts = CASE WHEN address = (
        SELECT address FROM record WHERE kind=? AND id=? AND NOT $hidden
        ORDER BY fence DESC, written DESC, address LIMIT 1) THEN 1 ELSE 0 END
    WHERE kind=? AND id=?""".replace("$hidden", HIDDEN)
CONCERNED = """
    SELECT kind, id FROM record WHERE address=?
    UNION SELECT kind, id FROM record JOIN ref ON ref.record=address WHERE object=? AND kind='head'"""
RELEASE = """
    DELETE FROM object WHERE address IN (SELECT object FROM ref WHERE record=?)
    AND address NOT IN (SELECT address FROM record)
    AND NOT EXISTS (SELECT 1 FROM ref WHERE ref.object=object.address AND ref.record<>?)"""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a trial. `fence` grows with every claim; only the current one may finish.

    `alive`: whether the process that claimed it may still run (a hung one counts; watch `progress`).
    """

    trial: str
    fence: int
    owner: str
    progress: int
    held: bool
    mine: bool
    """Whether this process claimed it."""
    alive: bool


Shelf: TypeAlias = tuple[str, int]
"""One shelf of records at one time: see `Objects.shelves`."""
Indexed = Iterable[tuple[Record, Mapping[str, int]]]
"""Records, each with the sizes of all objects it concerns, itself included."""


class Catalogue:
    """What a store asks of its index. Statements that both SQLite and PostgreSQL understand."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def open(self) -> None:
        """Raises Damaged, StoreError."""
        self.database.open()

    def close(self) -> None:
        """Safe to call twice."""
        self.database.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Excludes every other writer; safe from kills when it ends. An exception rolls back."""
        return self.database.transaction()

    def renew(self, found: Callable[[], Indexed], *, only_if_damaged: bool = False) -> None:
        """Build the index anew from all records, and put it in the place of the old one."""
        self.database.renew(lambda fresh: Catalogue(fresh).adopt(found()), only_if_damaged=only_if_damaged)

    def _rows(self, statement: str, *values: object) -> list[Any]:
        return self.database.rows(statement, values)

    def _typed(self, statement: str, *types: type) -> list[Any]:
        """Rows whose columns have these types; flipped bits can turn any value into one of another type."""
        rows = self._rows(statement)
        if not all(type(value) is wanted for row in rows for value, wanted in zip(row, types, strict=True)):
            raise Damaged("a value has the wrong type")
        return rows

    def _change(self, statement: str, *values: object) -> None:
        self.database.change(statement, values)

    # Records

    def adopt(self, records: Indexed) -> None:
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
            "INSERT INTO record VALUES(?, ?, ?, ?, ?, 0, ?) ON CONFLICT(address) DO UPDATE SET kind=excluded.kind, "
            "id=excluded.id, fence=excluded.fence, written=excluded.written, text=excluded.text",
            address,
            record.kind,
            record.id,
            record.fence,
            record.written,
            text,
        )
        for object_ in record.refs:
            self._change("INSERT INTO ref VALUES(?, ?) ON CONFLICT DO NOTHING", address, object_)
        for object_, size in sizes.items():
            self._change("INSERT INTO object VALUES(?, ?, 0) ON CONFLICT DO NOTHING", object_, size)
        self._recount(record.kind, record.id)
        target = record.body.get("record") if record.kind == TOMBSTONE else None
        if isinstance(target, str):
            self._change("INSERT INTO tombstone VALUES(?) ON CONFLICT DO NOTHING", target)
            for kind, name in self._rows(CONCERNED, target, target):
                self._recount(kind, name)

    def remove(self, address: str) -> None:
        """Take out the row of a record, if there is one. Within a transaction."""
        names = self._rows("SELECT kind, id FROM record WHERE address=?", address)
        self._change(RELEASE, address, address)
        self._change("DELETE FROM ref WHERE record=?", address)
        self._change("DELETE FROM record WHERE address=?", address)
        self._change("DELETE FROM object WHERE address=?", address)
        for kind, name in names:
            self._recount(kind, name)

    def _recount(self, kind: str, name: str) -> None:
        self._change(RECOUNT, kind, name, kind, name)

    def text(self, address: str) -> str | None:
        """The text of a record as the index has it, or None."""
        rows = self._rows("SELECT text FROM record WHERE address=?", address)
        return rows[0][0] if rows else None

    def winner(self, kind: str, name: str) -> str | None:
        """The address of the record of that kind and id that counts."""
        # The plus keeps SQLite from walking all records of the kind by another index: 2 ms at 1,500 of them.
        rows = self._rows("SELECT address FROM record WHERE kind=? AND id=? AND +counts=1", kind, name)
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
        return self._rows(self._saying(PAGE_OF_RECORDS), kind, *after, len(prefix), prefix, _wanted(where), PAGE)

    def versions(self, kind: str, *, where: Mapping[str, str]) -> list[str]:
        """The addresses of all records of a kind that are not hidden, those that others took the place of too."""
        return [row[0] for row in self._rows(self._saying(VERSIONS), kind, _wanted(where))]

    def _saying(self, statement: str) -> str:
        return statement.replace("$says", self.database.SAYS)

    def last_written(self) -> int:
        """The highest logical time of any record."""
        last: int = self._typed("SELECT coalesce(max(written), 0) FROM record", int)[0][0]
        if not 0 <= last < EXACT_INTEGER:
            raise Damaged("a record is from the far future")
        return last

    def addresses(self) -> set[str]:
        return {row[0] for row in self._typed("SELECT address FROM record", str)}

    def count(self) -> int:
        """Records that have a row."""
        number: int = self._typed("SELECT count(*) FROM record", int)[0][0]
        return number

    def settled(self) -> dict[Shelf, int]:
        """Shelves of records as they were when each of their records had a row, and how many these were.

        A note of the same database as the rows: what takes rows from it (a power cut, a rebuild) takes later notes too.
        """
        rows = self._typed("SELECT key, value FROM meta", str, int)
        found = [(SETTLED.fullmatch(key), number) for key, number in rows]
        return {(match[1], int(match[2])): number for match, number in found if match and number > 0}

    def settle(self, shelves: Mapping[Shelf, int]) -> None:
        """Note that these shelves, and no others, are settled. Within a transaction."""
        self._change("DELETE FROM meta WHERE key <> 'fence'")
        for (shelf, stamp), number in shelves.items():
            self._change("INSERT INTO meta VALUES(?, ?)", f"records/{shelf}/{stamp}", number)

    def rows(self, address: str) -> tuple[Any, ...] | None:
        """Everything the index says about one record, for comparing with the truth."""
        found = self._rows("SELECT kind, id, fence, written, text FROM record WHERE address=?", address)
        refs = self._rows("SELECT object FROM ref WHERE record=? ORDER BY object", address)
        return (*found[0], tuple(row[0] for row in refs)) if found else None

    def counting(self) -> set[str]:
        """The addresses of all records that count."""
        return {row[0] for row in self._typed("SELECT address FROM record WHERE counts=1", str)}

    def dependents(self, address: str) -> list[tuple[str, str, str]]:
        """The records that need an object: (kind, id, address)."""
        return self._rows(
            "SELECT kind, id, address FROM record JOIN ref ON ref.record=address WHERE object=? ORDER BY kind, id",
            address,
        )

    # Objects and their checks

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Size and number of the last check (0: never) of every record that is not hidden, and of what these need."""
        return {address: (size, verified) for address, size, verified in self._typed(SIZES, str, int, int)}

    def needed(self) -> set[str]:
        """Every object or record that some record names, hidden ones too."""
        return {row[0] for row in self._typed("SELECT DISTINCT object FROM ref", str)}

    def is_needed(self, address: str) -> bool:
        return bool(self._rows("SELECT 1 FROM ref WHERE object=? LIMIT 1", address))

    def mark_verified(self, addresses: Iterable[str]) -> None:
        """Remember that these were just found good. Opens its own transaction."""
        with self.transaction():
            turn = self._typed("SELECT coalesce(max(verified), 0) + 1 FROM object", int)[0][0]
            for address in addresses:
                self._change("UPDATE object SET verified=? WHERE address=?", turn, address)

    def check(self, *, full: bool = False) -> list[str]:
        """What the database itself finds wrong with its tables; nothing if they are sound."""
        return self.database.check(full=full)

    # Leases

    def _fence(self) -> int:
        rows = self._typed("SELECT value FROM meta WHERE key='fence'", int)
        return int(rows[0][0]) if rows else 0

    def _set_fence(self, value: int) -> None:
        self._change("INSERT INTO meta VALUES('fence', ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value", value)

    def next_fence(self) -> int:
        """A number above every one handed out before. Within a transaction."""
        fence = self._fence() + 1
        self._set_fence(fence)
        return fence

    def leases(self, trial: str | None = None) -> list[Lease]:
        """The lease of one trial, or all that are held."""
        if trial is None:
            rows = self._rows("SELECT * FROM lease WHERE held=1 ORDER BY trial")
        else:
            rows = self._rows("SELECT * FROM lease WHERE trial=?", trial)
        return [self._lease(*row) for row in rows]

    def _lease(self, trial: str, fence: int, owner: str, group: str, number: int, progress: int, held: int) -> Lease:
        return Lease(
            trial=trial,
            fence=fence,
            owner=owner,
            progress=progress,
            held=bool(held),
            mine=(group, number) == self.database.holder(),
            alive=bool(held) and self.database.alive(group, number),
        )

    def give(self, trial: str, owner: str) -> int:
        """A lease for this process, whoever holds the trial; its fence. Within a transaction."""
        self._change("DELETE FROM lease WHERE trial=?", trial)
        fence = self.next_fence()
        self._change("INSERT INTO lease VALUES(?, ?, ?, ?, ?, 0, 1)", trial, fence, owner, *self.database.holder())
        return fence

    def update_lease(self, lease: Lease, *, progress: int, held: bool) -> None:
        """Within a transaction."""
        self._change("UPDATE lease SET progress=?, held=? WHERE trial=?", progress, int(held), lease.trial)


def _wanted(where: Mapping[str, str]) -> str:
    for name in where:
        if not FIELD.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a field that records can be found by.")
    return canonical(dict(where))
