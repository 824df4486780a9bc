"""JSON lines, and JSON files that hold a list of objects or an object of columns."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...spec import BadInput, printable
from . import streams
from .delimited import BAD_SHARE, Raw
from .rows import Tally
from .sniff import MOST_COLUMNS, clean_names
from .spill import Loaded, Room
from .typed import plain_batch

BATCH_ROWS = 5_000
REMEDY = "One JSON object per line is expected, or a list of objects."


@dataclass
class Kinds:
    """What values of one key were seen."""

    seen: set[type] = field(default_factory=set)
    inner: set[type] = field(default_factory=set)

    def add(self, value: Any) -> None:
        kind = type(value)
        if kind is int and not -(2**63) <= value < 2**63:
            kind = float
        self.seen.add(kind)
        if kind is list:
            self.inner.update(map(type, value))

    @property
    def type(self) -> pa.DataType:
        """Arrow type that holds all of them; strings where they do not agree."""
        seen = self.seen - {type(None)}
        if seen == {bool}:
            return pa.bool_()
        if seen == {int}:
            return pa.int64()
        if seen and seen <= {int, float}:
            return pa.float64()
        if seen == {list}:
            inner = self.inner - {type(None)}
            return pa.list_(pa.float64() if inner and inner <= {int, float} else pa.string())
        return pa.string()


def read_json(path: Path, tally: Tally, *, room: Room, mark: str) -> Loaded:
    """A JSON file, read twice: to see the types, then to convert. Raises BadInput when most of it cannot be used."""
    basket = room.basket(path, 2 * path.stat().st_size, mark=mark)
    if found := basket.found(tally):
        return found
    lines = is_lines(path)
    if not lines and path.stat().st_size > room.memory_bytes / 10:
        raise BadInput("is too large to be read at once", file=path, remedy="Save it with one object per line.")
    seen = Tally()
    kinds: dict[str, Kinds] = {}
    num_rows = 0
    for _, one in objects(path, seen, lines=lines):
        num_rows += 1
        for name, value in one.items():
            if name not in kinds:
                kinds[name] = Kinds()
                if len(kinds) > MOST_COLUMNS:
                    raise BadInput(f"the objects have more than {MOST_COLUMNS:,} keys", file=path, remedy=REMEDY)
            kinds[name].add(value)
    check_enough(path, num_rows, seen)
    names = clean_names(list(kinds), path)
    schema = pa.schema([(name, kind.type) for name, kind in zip(names, kinds.values(), strict=True)])
    start = 0
    numbers = np.empty(0, dtype=np.int64)

    def report(i: int, column: str, value: str, reason: str) -> None:
        seen.value(path, int(numbers[i]), column, value, reason)

    usable = objects(path, Tally(), lines=lines)
    while chunk := list(itertools.islice(usable, BATCH_ROWS)):
        numbers = np.array([number for number, _ in chunk])
        arrays = [
            pa.array([fitted(one.get(key), kind.type) for _, one in chunk], kind.type) for key, kind in kinds.items()
        ]
        basket.put(plain_batch(pa.record_batch(arrays, schema=schema), report), numbers)
        start += len(chunk)
    loaded = basket.done(schema, seen)
    tally.add(seen)
    return loaded


def check_enough(path: Path, num_rows: int, seen: Tally) -> None:
    """Raise BadInput when there are no rows or more than half cannot be used."""
    num_bad = sum(seen.rows.values())
    if num_bad > BAD_SHARE * (num_bad + num_rows):
        first = seen.entries[0]
        what = f"{num_bad:,} of {num_bad + num_rows:,} lines cannot be used; the first one {first.reason}"
        raise BadInput(what, file=path, row=first.row, value=first.value, remedy=REMEDY)
    if num_rows == 0:
        raise BadInput("the file holds no rows", file=path, remedy=REMEDY)


def is_lines(path: Path) -> bool:
    """Whether the first line alone is a JSON object (or nonsense), rather than the start of a longer text."""
    head = streams.sample(path).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"["):
        return False
    first, more, _ = head.partition(b"\n")
    if not more:
        return True
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return not head.startswith(b"{") or first.strip() != b"{"
    return True


def objects(path: Path, tally: Tally, *, lines: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and flat object of each usable row; the others go to `tally`."""
    for number, text, value in values_in_lines(path) if lines else values_at_once(path):
        if isinstance(value, Wrong):
            tally.row(path, number, value.reason, text)
        elif not isinstance(value, dict) or not value:
            tally.row(path, number, "is not a JSON object with keys", text or printable(repr(value)))
        else:
            yield number, flat(value)


@dataclass(frozen=True)
class Wrong:
    """Stands for a value that could not be read."""

    reason: str


def values_in_lines(path: Path) -> Iterator[tuple[int, str, Any]]:
    """Number, text and value of each line that is not blank."""
    encoding = streams.find_encoding(path)
    codec = "utf-8" if encoding == "utf-8-damaged" else encoding
    with streams.open_text(path, codec) as stream:
        lines = io.TextIOWrapper(io.BufferedReader(Raw(stream)), encoding="utf-8", errors="replace")
        for number, line in enumerate((line for line in lines if not line.isspace()), start=1):
            if streams.DAMAGED in line and encoding == "utf-8-damaged":
                yield number, line, Wrong("holds bytes that are not valid text")
            else:
                yield number, line, parsed(line)


def values_at_once(path: Path) -> Iterator[tuple[int, str, Any]]:
    """Number and value of each row of a file that is one JSON value. Raises BadInput if it is not."""
    with streams.open_text(path, streams.find_encoding(path).removesuffix("-damaged")) as stream:
        text = b"".join(iter(lambda: stream.read(1 << 20), b"")).decode("utf-8", "replace")
    whole = parsed(text)
    if isinstance(whole, Wrong):
        raise BadInput(whole.reason, file=path, remedy=REMEDY)
    if isinstance(whole, dict):
        lists = {key: value for key, value in whole.items() if isinstance(value, list)}
        if lists and len(lists) == len(whole) and len({len(value) for value in lists.values()}) == 1:
            whole = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
        else:
            raise BadInput("holds one object, not a table", file=path, remedy=REMEDY)
    if not isinstance(whole, list):
        raise BadInput(f"holds a {type(whole).__name__}, not a table", file=path, remedy=REMEDY)
    for number, value in enumerate(whole, start=1):
        yield number, "", value


def parsed(text: str) -> Any:
    """The value of a JSON text; Wrong if there is none. NaN and infinity are missing."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("an object names a key twice")
        return result

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=lambda name: None)
    except RecursionError:
        return Wrong("is nested too deeply")
    except ValueError as error:
        return Wrong(f"is not valid JSON: {getattr(error, 'msg', str(error))}")


def flat(value: dict[str, Any]) -> dict[str, Any]:
    """Objects within objects as keys with dots, one level of them."""
    if not any(isinstance(inner, dict) for inner in value.values()):
        return value
    result: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            result.update({f"{key}.{name}": deep for name, deep in inner.items()})
        else:
            result[key] = inner
    return result


def fitted(value: Any, kind: pa.DataType) -> Any:
    """A value as its column's type wants it."""
    if value is None:
        return None
    if pa.types.is_string(kind):
        return written(value)
    if pa.types.is_list(kind):
        fit = as_float if pa.types.is_floating(kind.value_type) else written
        return [None if one is None else fit(one) for one in value]
    return as_float(value) if pa.types.is_floating(kind) else value


def as_float(value: float) -> float:
    """A number of any size as a float; too large ones are infinite, and reported as such later."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def written(value: Any) -> str:
    """A value as text: strings as they are, others as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # JSON may hold half a character
