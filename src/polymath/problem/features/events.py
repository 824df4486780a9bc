"""Histories of events at uneven times: stays in hospital, visits to a shop, logs of a machine; ids, as of texts."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...spec import BadInput, canonical, loads
from ..form import Form, tokens
from ..subwords import FIRST, PADDING, UNKNOWN
from .base import BadValue, Encoded, Feature
from .common import NUMBER, flat, is_text, key, plain_values, scalar, shown, spread

GAPS = 8
"""Kinds of time between two events, each as frequent as the others in the training rows."""
MOST_VALUES = 100_000
"""Values of one code, and times between events, by which the parts are found."""
DIGITS = 9
"""Of the numbers that part values and times."""
LONG_AGO = datetime(1970, 1, 1)
VALUE_NAMES = ("value", "numeric_value")
"""What an event's value may be called where events have names for their parts; the second as in MEDS."""
NO_LIST = "is no list of events"
NO_EVENT = "holds an event that is not [time, code] or [time, code, value]; it is left out"


class Event(NamedTuple):
    """What happened, when, and the number that was found, if there was one."""

    time: float
    code: str
    value: float | None


class Events(Feature):
    """What happened and when. Input: ids [N, T], uint16 or uint32, the latest event first, 0 = padding.

    A value is a list of events, each `[time, code]` or `[time, code, value]`, or an object with these names; as JSON,
    or as lists of a Parquet file. Times are numbers of any unit, or dates. An event becomes one id: its code, and in
    which tenth of the training values of this code its value lies; an id for how long lay between stands between events
    of different times (as Renc et al. 2024, arXiv:2407.21124). So whatever reads texts reads histories.
    """

    type: Literal["events"] = "events"
    most_tokens: int = Field(default=1_024, ge=1, le=65_536)
    """Longest history in ids; older events are cut off."""
    most_codes: int = Field(default=4_000, ge=1, le=100_000)
    """The most frequent codes are known, the rest are one."""
    parts: int = Field(default=10, ge=1, le=100)
    """Into so many parts, equally frequent, the values of a code are divided."""
    length: int | None = Field(default=None, ge=1)
    """T: 99 of 100 training histories are no longer."""
    codes: tuple[str, ...] = ()
    """Most frequent first."""
    cuts: tuple[tuple[float, ...], ...] = ()
    """For each code what parts its values."""
    gaps: tuple[float, ...] = ()
    """What parts the times between events."""

    most_measured: ClassVar[int] = 20_000

    @property
    def is_measured(self) -> bool:
        return self.length is not None

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Events:
        histories, _ = _histories(spread(values, self.most_measured))
        counts = Counter(event.code for history in histories for event in history)
        if not counts:
            remedy = "An event is [time, code] or [time, code, value]."
            raise BadInput("holds no event to learn from", column=self.name, remedy=remedy)
        codes = sorted(counts, key=lambda code: (-counts[code], code))[: self.most_codes]
        found: dict[str, list[float]] = {code: [] for code in codes}
        between: list[float] = []
        for history in histories:
            for event in history:
                if event.value is not None and event.code in found:
                    found[event.code].append(event.value)
            between += [one.time - other.time for one, other in pairwise(history)]
        known = self.replace(
            codes=tuple(codes),
            cuts=tuple(_cuts(found[code], self.parts) for code in codes),
            gaps=_cuts([gap for gap in between if gap > 0], GAPS),
        )
        lengths = [len(known._ids(history)) for history in histories if history]
        return known.replace(length=max(1, int(np.quantile(lengths, 0.99, method="inverted_cdf"))))

    @property
    def form(self) -> Form:
        assert self.length is not None, f"feature {self.name!r} is not measured"
        return tokens(self.length, vocabulary=self._first[-1])

    def encode(self, values: pa.ChunkedArray) -> Encoded:
        histories, bad = _histories(values)
        length = self.form.size[0]
        ids = np.full((len(histories), length), PADDING, np.uint16 if self.form.vocabulary <= 65_536 else np.uint32)
        for row, history in enumerate(histories):
            found = self._ids(history)[:length]
            ids[row, : len(found)] = found
        return Encoded(ids, tuple(bad))

    def _ids(self, history: Sequence[Event]) -> list[int]:
        """Ids of events, the latest first, at most `most_tokens`."""
        result: list[int] = []
        before = None
        for time, code, value in history:
            if before is not None and time < before:
                result.append(FIRST + bisect_right(self.gaps, before - time))
            before = time
            place = self._places.get(code)
            if place is None:
                result.append(UNKNOWN)
            else:
                part = 0 if value is None else 1 + bisect_right(self.cuts[place], value)
                result.append(self._first[place] + part)
            if len(result) >= self.most_tokens:
                break
        return result[: self.most_tokens]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {code: place for place, code in enumerate(self.codes)}

    @cached_property
    def _first(self) -> list[int]:
        """The first id of each code, which stands for an event without a value; last, the number of all ids."""
        sizes = [FIRST + len(self.gaps) + 1, *(2 + len(cuts) for cuts in self.cuts)]
        return [int(place) for place in np.cumsum(sizes)]

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        def history() -> str:
            times = np.sort(generator.integers(0, 48, generator.integers(1, 9))).tolist()
            codes = generator.choice(["heart rate", "pH", "visit"], len(times)).tolist()
            found = [None if code == "visit" else round(generator.normal(), 3) for code in codes]
            return canonical([list(event) for event in zip(times, codes, found, strict=True)])

        texts = [history() for _ in range(rows)]
        return pa.chunked_array([pa.array(texts, pa.string(), mask=generator.random(rows) < 0.1)])


def _cuts(values: Sequence[float], parts: int) -> tuple[float, ...]:
    """What divides values into at most so many equally frequent parts; fewer where many are the same."""
    if not values:
        return ()
    some = np.sort(np.asarray(values[:: 1 + len(values) // MOST_VALUES]))
    found = np.quantile(some, np.arange(1, parts) / parts, method="inverted_cdf")
    return tuple(sorted({float(f"{cut:.{DIGITS}g}") for cut in found if cut > some[0]}))


def _histories(values: pa.ChunkedArray) -> tuple[list[list[Event]], list[BadValue]]:
    """The events of each row, the latest first, and rows with what is none; a row without any is an empty list."""
    array = flat(values)
    found = array.to_pylist() if is_text(array.type) else plain_values(array)
    result: list[list[Event]] = []
    bad: list[BadValue] = []
    for row, value in enumerate(found):
        history: list[Event] = []
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, list):
            events = [_event(one) for one in value]
            history = sorted((one for one in events if one is not None), key=lambda one: -one.time)
            if len(history) < len(events):
                strange = next(one for one, event in zip(value, events, strict=True) if event is None)
                bad.append(BadValue(row, shown(strange), NO_EVENT, missing=True))
        elif value is not None:
            bad.append(BadValue(row, shown(value), NO_LIST, missing=True))
        result.append(history)
    return result, bad


def _parsed(text: str) -> Any:
    """JSON; None where nothing stands there, the text itself where it is no JSON."""
    try:
        return loads(text) if text.strip() else None
    except (ValueError, RecursionError):
        return text


def _event(one: Any) -> Event | None:
    """An event of what a list holds; None where it is none."""
    if isinstance(one, Mapping):
        value = next((one[name] for name in VALUE_NAMES if one.get(name) is not None), None)
        one = [one.get("time"), one.get("code"), value]
    if not isinstance(one, (list, tuple)) or not 2 <= len(one) <= 3:
        return None
    time, code = _time(one[0]), scalar(one[1]) if isinstance(one[1], (str, int, float)) else None
    if time is None or code is None:
        return None
    value = one[2] if len(one) == 3 else None
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, (bool, str)) and (named := scalar(value)) is not None:
        return Event(time, f"{key(code)} = {key(named)}", None)  # what was found is a word: it is part of the code
    return Event(time, key(code), _finite(value))


def _finite(value: Any) -> float | None:
    """A finite number; None where it is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _time(value: Any) -> float | None:
    """A time as a number: seconds for dates. Text may be a number or an ISO date."""
    if isinstance(value, str):
        text = value.strip()
        if NUMBER.fullmatch(text):
            return _finite(float(text))
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return (value.replace(tzinfo=None) - (value.utcoffset() or timedelta()) - LONG_AGO).total_seconds()
    if isinstance(value, date):
        return float((value - LONG_AGO.date()).total_seconds())
    return _finite(value)
