"""Records: small immutable JSON objects, the truth of a store.

A record is stored as canonical JSON of exactly these fields, at most 1 MiB:
`body` (the caller's object), `fence`, `id`, `kind`, `refs` (sorted addresses it needs), `schema`, `written` (a logical
clock: one more than the highest the writer saw). No wall-clock time, so equal histories have equal addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..spec import canonical, loads, sha256
from .objects import checked

SCHEMA = 1
MAX_RECORD_BYTES = 1 << 20
MAX_NAME_CHARACTERS = 512
MAX_DEPTH = 64
EXACT_INTEGER = 1 << 53
HEAD, TOMBSTONE = "head", "tombstone"
KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
FIELDS = {"body", "fence", "id", "kind", "refs", "schema", "written"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A record to be added. Without an `id` it is named by its content, so adding it twice keeps one."""

    kind: str
    body: dict[str, Any]
    refs: Sequence[str] = field(default_factory=tuple)
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record as it is stored. `address` and `text` follow from the other fields. Raises ValueError if it is none."""

    kind: str
    id: str
    body: dict[str, Any]
    refs: tuple[str, ...]
    fence: int
    written: int

    text: str = field(init=False, repr=False, compare=False)
    address: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Not cached properties: in Python 3.11 those share a lock, which a fork may find held for ever.
        _check(self)
        fields = {
            "body": self.body,
            "fence": self.fence,
            "id": self.id,
            "kind": self.kind,
            "refs": list(self.refs),
            "schema": SCHEMA,
            "written": self.written,
        }
        object.__setattr__(self, "text", canonical(fields))
        object.__setattr__(self, "address", sha256(self.text.encode()))

    def same_content(self, other: Record) -> bool:
        """Whether both say the same, whenever they were written."""
        return (self.kind, self.id, self.refs, canonical(self.body)) == (
            other.kind,
            other.id,
            other.refs,
            canonical(other.body),
        )


def make(draft: Draft, *, written: int, fence: int = 0) -> Record:
    """A checked record from a draft. Raises ValueError: too large, not plain JSON, a name or address that is none."""
    if not isinstance(draft.body, dict):
        raise ValueError(f"The body of a record is a JSON object, not {type(draft.body).__name__}.")
    refs = tuple(sorted({checked(ref) for ref in draft.refs}))
    name = draft.id
    if name is None:
        name = sha256(canonical({"body": draft.body, "kind": draft.kind, "refs": list(refs)}).encode())
    record = Record(kind=draft.kind, id=name, body=draft.body, refs=refs, fence=fence, written=written)
    size = len(record.text.encode())
    if size > MAX_RECORD_BYTES:
        raise ValueError(
            f"A record of kind {draft.kind!r} has {size} bytes, more than {MAX_RECORD_BYTES}. "
            "Put what is large in an object and name its address."
        )
    return record


def read(data: bytes | bytearray | str) -> Record:
    """A record from its stored bytes, nothing about them trusted. Raises ValueError."""
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError("The record is larger than 1 MiB.")
    try:
        text = data if isinstance(data, str) else bytes(data).decode()
        plain = loads(text)
        if not isinstance(plain, dict) or set(plain) != FIELDS:
            raise ValueError("The record does not have exactly the fields of a record.")
        if plain["schema"] != SCHEMA:
            raise ValueError(f"The record has schema {plain['schema']!r}; this version reads {SCHEMA}.")
        if not isinstance(plain["refs"], list) or not isinstance(plain["body"], dict):
            raise ValueError("The record's refs or body have the wrong type.")
        refs = tuple(checked(ref) for ref in plain["refs"])
        record = Record(
            kind=plain["kind"],
            id=plain["id"],
            body=plain["body"],
            refs=refs,
            fence=plain["fence"],
            written=plain["written"],
        )
        if record.text != text:
            raise ValueError("The record is not canonical JSON.")
    except RecursionError:
        raise ValueError("The record is nested too deeply.") from None
    return record


def hidden(found: Iterable[Record]) -> set[str]:
    """The addresses of those that a tombstone among them names, and of the heads that mean one."""
    found = list(found)
    gone = {record.body["record"] for record in found if record.kind == TOMBSTONE and "record" in record.body}
    return {
        record.address for record in found if record.address in gone or (record.kind == HEAD and gone & {*record.refs})
    }


def counting(found: Iterable[Record]) -> set[str]:
    """The addresses of those that count among all records of a store: one for each kind and id."""
    found = list(found)
    gone = hidden(found)
    best: dict[tuple[str, str], Record] = {}
    for record in sorted(found, key=lambda one: (-one.fence, -one.written, one.address)):
        if record.address not in gone:
            best.setdefault((record.kind, record.id), record)
    return {record.address for record in best.values()}


def _check(record: Record) -> None:
    if not isinstance(record.kind, str) or not KIND.fullmatch(record.kind):
        raise ValueError(f"{record.kind!r} is not a kind of record: use lower-case letters, digits, - and _.")
    if not isinstance(record.id, str) or not 0 < len(record.id) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"The id of a record has 1 to {MAX_NAME_CHARACTERS} characters.")
    for number in (record.fence, record.written):
        if type(number) is not int or not 0 <= number < EXACT_INTEGER:
            raise ValueError("The fence and clock of a record are whole numbers below 2^53.")
    _check_plain(record.body, depth=0)
    record.id.encode()


def _check_plain(value: Any, *, depth: int) -> None:
    """Plain JSON that any reader understands alike: text keys, exact integers, bounded depth."""
    if depth > MAX_DEPTH:
        raise ValueError(f"A record is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"A record has the key {key!r}, which is not text.")
            _check_plain(item, depth=depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(item, depth=depth + 1)
    elif type(value) is int:
        if abs(value) >= EXACT_INTEGER:
            raise ValueError("A record holds a whole number of 2^53 or more; write it as text.")
    elif not (value is None or type(value) in (str, bool, float)):
        raise ValueError(f"A record holds a {type(value).__name__}; use plain JSON (see spec.plain).")
