"""Dates and times: how far along, and where in the year, the week and the day."""

from __future__ import annotations

import datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..form import Form, vector
from .base import BadValue, Encoded, Feature
from .common import flat, is_number, is_text, shown

Cycle = Literal["year", "week", "day"]
SECONDS: dict[Cycle, float] = {"year": 365.2425 * 86_400, "week": 7 * 86_400.0, "day": 86_400.0}
FORMATS = (
    *(
        "%d.%m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%Y/%m/%d",
        "%Y.%m.%d",
        "%Y%m%d",
        "%d %b %Y",
        "%d-%b-%Y",
    ),
    *("%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%Y-%m", "%Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
"""Ways of writing that are tried when not all values are ISO dates; day first where both ways fit all values."""
FIRST, LAST = -62_135_596_800.0, 253_402_300_800.0
"""Seconds since 1970 of the years 1 to 9999."""
BLOCK = 65_536
LOOKED_AT = 2_000
"""Values by which the way of writing is found."""


class Date(Feature):
    """A date or a time. Input: float32 [N, 1 + 2 x cycles]: time standardised, sine and cosine of cycles.

    NaN = missing. A cycle (year, week, day) is used if training rows spread over it: dates without hours have no day.
    """

    type: Literal["date"] = "date"
    format: str | None = None
    """How values are written, as in C's strftime; None: ISO 8601."""
    mean: float | None = None
    deviation: float | None = None
    """Of seconds since 1970."""
    cycles: tuple[Cycle, ...] = ()

    @property
    def is_measured(self) -> bool:
        return self.mean is not None

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Date:
        way = self.format or _way_of_writing(values)
        seconds, _ = _seconds(values, way)
        seconds = seconds[~np.isnan(seconds)]
        if not len(seconds):
            return self.replace(format=way, mean=0.0, deviation=1.0)
        cycles = tuple(cycle for cycle in SECONDS if _spreads(seconds, cycle))
        deviation = float(seconds.std())
        return self.replace(format=way, mean=float(seconds.mean()), deviation=max(deviation, 1.0), cycles=cycles)

    @property
    def form(self) -> Form:
        return vector(1 + 2 * len(self.cycles))

    def encode(self, values: pa.ChunkedArray) -> Encoded:
        assert self.mean is not None and self.deviation is not None, f"feature {self.name!r} is not measured"
        seconds, bad = _seconds(values, self.format)
        columns = [(seconds - self.mean) / self.deviation]
        for cycle in self.cycles:
            angle = 2 * np.pi * _phase(seconds, cycle)
            columns += [np.sin(angle), np.cos(angle)]
        return Encoded(np.stack(columns, axis=1).astype(np.float32), tuple(bad))

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        seconds = generator.integers(0, 1_700_000_000, rows)
        return pa.chunked_array([pa.array(seconds, pa.timestamp("s"), mask=generator.random(rows) < 0.1)])


def _phase(seconds: np.ndarray, cycle: Cycle) -> np.ndarray:
    """Where in the cycle, 0 to 1. A week begins on Monday (1 January 1970 was a Thursday)."""
    start = -3 * 86_400 if cycle == "week" else 0
    return np.asarray(np.mod(seconds - start, SECONDS[cycle]) / SECONDS[cycle])


def _spreads(seconds: np.ndarray, cycle: Cycle) -> bool:
    """Whether times stand at three or more places of the cycle: of 50, so that leap years do not count as places."""
    places: set[float] = set()
    for begin in range(0, len(seconds), BLOCK):
        places.update(np.unique(np.floor(_phase(seconds[begin : begin + BLOCK], cycle) * 50)).tolist())
        if len(places) >= 3:
            return True
    return False


def _seconds(values: pa.ChunkedArray, way: str | None) -> tuple[np.ndarray, list[BadValue]]:
    """Seconds since 1970 as float64 [N], NaN = missing, and values that are no dates."""
    array = flat(values)
    result = _parse(array, way)
    result[~((result >= FIRST) & (result < LAST))] = np.nan
    wrong = np.flatnonzero(np.isnan(result) & array.is_valid().to_numpy(zero_copy_only=False))
    bad = []
    for row in wrong:
        value = array[int(row)].as_py() if is_text(array.type) or is_number(array.type) else "a date out of range"
        if value != "" and value == value:  # an empty text and NaN are missing
            bad.append(BadValue(int(row), shown(value), "is not a date", missing=True))
    return result, bad


def _parse(array: pa.Array, way: str | None) -> np.ndarray:
    kind = array.type
    if pa.types.is_timestamp(kind):
        divisor = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        return _floats(array.cast(pa.int64())) / divisor
    if pa.types.is_date32(kind):
        return _floats(array.cast(pa.int32())) * 86_400
    if pa.types.is_date64(kind):
        return _floats(array.cast(pa.int64())) / 1e3
    if is_number(kind) and way is not None:  # 20240131, or 2024
        return _parse(pc.cast(array.cast(pa.int64(), safe=False), pa.string()), way)
    if is_number(kind):
        return _floats(array)
    if not is_text(kind):
        return np.full(len(array), np.nan)
    trimmed = pc.utf8_trim_whitespace(array)
    return _iso(trimmed) if way is None else np.where(np.isnan(found := _written(trimmed, way)), _iso(trimmed), found)


def _floats(array: pa.Array) -> np.ndarray:
    return np.array(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _written(texts: pa.Array, way: str) -> np.ndarray:
    """Seconds of texts written in one way; NaN for those that are not."""
    found = pc.strptime(texts, format=way, unit="s", error_is_null=True)
    return _floats(found.cast(pa.int64()))


def _iso(texts: pa.Array) -> np.ndarray:
    """Seconds of ISO 8601 texts, with a zone or (then taken as UTC) without."""
    try:
        return _floats(texts.cast(pa.timestamp("us")).cast(pa.int64())) / 1e6
    except pa.ArrowInvalid:  # something else is among them
        encoded = texts.dictionary_encode()
        table = np.array([*(_iso_one(text) for text in encoded.dictionary.to_pylist()), np.nan], dtype=np.float64)
        return np.asarray(table[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)])


def _iso_one(text: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return np.nan
    if len(text) < 8 or not text[:4].isdigit() or (len(text) > 4 and text[4] != "-" and not text[:8].isdigit()):
        return np.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _way_of_writing(values: pa.ChunkedArray) -> str | None:
    """The format that most values have; None: ISO 8601 or no text at all."""
    array = flat(values)
    if is_number(array.type) and not pa.types.is_decimal(array.type):
        numbers = _floats(array.drop_null())
        if len(numbers) and (numbers == np.floor(numbers)).all():
            if numbers.min() >= 1000_01_01 and numbers.max() <= 2999_12_31:
                return "%Y%m%d"
            if numbers.min() >= 1000 and numbers.max() <= 2999:
                return "%Y"
        return None
    if not is_text(array.type):
        return None
    present = array.drop_null()
    step = max(1, len(present) // LOOKED_AT)
    texts = pc.utf8_trim_whitespace(present.take(pa.array(np.arange(0, len(present), step))))
    best, right = None, int((~np.isnan(_iso(texts))).sum())
    for way in (date + time for date in FORMATS for time in TIMES):
        if right == len(texts):
            break
        fits = int((~np.isnan(_written(texts, way))).sum())
        if fits > right:
            best, right = way, fits
    return best
