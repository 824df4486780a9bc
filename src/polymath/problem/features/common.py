"""What features share: raw Arrow values as numbers, as keys, as plain Python values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...spec import printable
from .base import BadValue

Scalar: TypeAlias = bool | int | float | str
"""What a class or a label may be: kept with its type, as far as JSON has it."""

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
"""A number as text. Python's own float() would also take '1_000' and 'infinity'."""


def flat(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One array, dictionaries and run lengths spelled out."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps chunks apart only where offsets would overflow
        array = pa.concat_arrays([chunk.cast(_large(chunk.type)) for chunk in array.chunks])
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array


def _large(kind: pa.DataType) -> pa.DataType:
    return pa.large_binary() if pa.types.is_binary(kind) else pa.large_string()


def take(values: pa.ChunkedArray, indices: np.ndarray) -> pa.ChunkedArray:
    """The values at sorted `indices`, from chunk after chunk: of a whole column Arrow would make one chunk first."""
    if values.num_chunks < 2:
        return values.take(pa.array(indices))
    ends = np.cumsum([len(chunk) for chunk in values.chunks])
    parts = np.split(indices, np.searchsorted(indices, ends[:-1]))
    begins = [0, *ends[:-1].tolist()]
    taken = [
        chunk.take(pa.array(part - begin)) for chunk, part, begin in zip(values.chunks, parts, begins, strict=True)
    ]
    return pa.chunked_array(taken, values.type)


def spread(values: pa.ChunkedArray, most: int) -> pa.ChunkedArray:
    """At most so many values, evenly spread: the same ones every time."""
    if len(values) <= most:
        return values
    return take(values, np.linspace(0, len(values) - 1, most).astype(np.int64))


def plain_values(array: pa.Array) -> list[Any]:
    """Values as Python has them; dates and times as text, because Python's calendar is shorter than Arrow's."""
    if pa.types.is_temporal(array.type):
        return list(array.cast(pa.string()).to_pylist())
    try:
        return list(array.to_pylist())
    except (OverflowError, ValueError):  # such dates within lists
        return [f"<{array.type}>" if valid else None for valid in array.is_valid().to_pylist()]


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether a column holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def shown(value: object) -> str:
    """A raw value as it is named to the user."""
    return printable(value if isinstance(value, str) else repr(value))


def numbers(values: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, tuple[BadValue, ...]]:
    """Values as float64 [N], NaN = missing, and those that are no finite numbers (they count as missing)."""
    array = flat(values)
    kind = array.type
    if is_text(kind):
        return _numbers_from_text(array)
    if not (is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        present = [(row, value) for row, value in enumerate(plain_values(array)) if value is not None]
        bad = [BadValue(row, shown(value), "is not a number", missing=True) for row, value in present]
        return np.full(len(array), np.nan), tuple(bad)
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    result = np.array(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    return _finite(result, [])


def _finite(result: np.ndarray, bad: list[BadValue]) -> tuple[np.ndarray, tuple[BadValue, ...]]:
    """Infinities become missing and are named."""
    infinite = np.flatnonzero(np.isinf(result))
    bad += [BadValue(int(i), str(result[i]), "is infinite", missing=True) for i in infinite]
    result[infinite] = np.nan
    return result, tuple(sorted(bad, key=lambda one: one.row))


def _numbers_from_text(array: pa.Array) -> tuple[np.ndarray, tuple[BadValue, ...]]:
    trimmed = pc.utf8_trim_whitespace(array)
    trimmed = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, trimmed.type), trimmed)
    try:
        return _finite(np.array(trimmed.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64), [])
    except pa.ArrowInvalid:  # some value is no number: look at each distinct one
        codes, distinct = coded(trimmed)
        table = np.full(len(distinct) + 1, np.nan)
        for index, text in enumerate(distinct):
            if NUMBER.fullmatch(text):
                table[index] = float(text)
            elif text.lower() in ("inf", "-inf", "+inf", "infinity", "-infinity"):
                table[index] = np.inf
        result = table[codes]
        wrong = np.flatnonzero(np.isnan(result) & (codes >= 0))
        bad = [
            BadValue(int(i), shown(distinct[codes[i]]), "is not a number", missing=True)
            for i in wrong
            if distinct[codes[i]].lower() != "nan"
        ]
        return _finite(result, bad)


def coded(values: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, list[Any]]:
    """Index of each row's value among the distinct ones (-1 = missing), and those in order of appearance."""
    array = flat(values)
    if pa.types.is_null(array.type):
        return np.full(len(array), -1, dtype=np.int64), []
    if pa.types.is_floating(array.type):  # NaN is missing here too
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    encoded = array.dictionary_encode()
    codes = np.array(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), dtype=np.int64)
    return codes, plain_values(encoded.dictionary)


def scalar(value: Any) -> Scalar | None:
    """A distinct value as JSON can hold it; None = missing. Text loses blanks around it."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Decimal):
        return scalar(int(value) if value == value.to_integral_value() else float(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip() or None
    return str(value)


def key(value: Scalar) -> str:
    """What makes two values the same class: 5, 5.0 and '5' are, so a model of a Parquet file reads a CSV file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower()
    return str(value)


@dataclass(frozen=True)
class Counted:
    """Distinct values of a column: `codes` [N] into `values` (-1 = missing) and how often each appears."""

    codes: np.ndarray
    values: list[Scalar]
    counts: np.ndarray


def unknown(found: Sequence[Scalar], known: Sequence[Scalar]) -> tuple[Scalar, ...]:
    """Those found that are not known yet, in order of name."""
    before = {key(one) for one in known}
    return tuple(sorted((one for one in found if key(one) not in before), key=str))


def counted(values: pa.ChunkedArray | pa.Array) -> Counted:
    """Distinct values by key, in order of first appearance."""
    codes, distinct = coded(_keyable(values))
    kept: dict[str, int] = {}
    named: list[Scalar] = []
    remap = np.full(len(distinct) + 1, -1, dtype=np.int64)  # last place: code -1
    for index, value in enumerate(distinct):
        if (one := scalar(value)) is None:
            continue
        place = kept.setdefault(key(one), len(named))
        if place == len(named):
            named.append(one)
        remap[index] = place
    result = remap[codes]
    return Counted(result, named, np.bincount(result[result >= 0], minlength=len(named)))


def _keyable(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Types that Arrow cannot make a dictionary of, as text."""
    array = flat(values)
    if pa.types.is_nested(array.type):
        return pa.array([None if one is None else repr(one) for one in plain_values(array)], pa.string())
    return array
