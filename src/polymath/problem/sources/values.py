"""What a column of strings holds: numbers, truth values, dates or words; and the words that mean "missing".

Used where a format carries no types (CSV, JSON). Only ISO dates are parsed here; other ways of writing dates stay
strings, because which way it is must be measured on training rows and then kept.
"""

from __future__ import annotations

import datetime
import mmap
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MISSING = (
    *("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NaT"),
    *("null", "NULL", "Null", "None", "?", "-"),
)
"""Cells that mean "missing", whatever the column holds."""

NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
COMMA_NUMBER = r"^[-+]?\d+,\d+$"
SIGNS = "$€£¥%"
DRESSED = (
    r"^[-+]?[$€£¥]? ?\d{1,3}(,\d{3})+(\.\d+)? ?%?$"  # 1,137  $1,000.50
    r"|^[-+]?[$€£¥] ?\d+(\.\d+)?$"
    r"|^[-+]?\d+(\.\d+)? ?%$"
)
"""Numbers as people write them: thousands apart, a currency before, a per cent sign behind."""
ZERO_PADDED = r"^[-+]?0\d"
ISO_DATE = (
    r"^[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?( ?(Z|[+-]\d{2}:?\d{2}))?)?$"
)
MOSTLY = 0.95
"""A column stays numeric (or dates) while at least this share of its values is; the rest counts as missing."""
ENOUGH = 20
"""Fewer values than this must all agree."""


@dataclass(frozen=True)
class Kind:
    """What a column of strings is to become."""

    type: pa.DataType
    decimal_comma: bool = False
    zoned: bool = False
    dressed: bool = False
    """Numbers with thousands apart, a currency or a per cent sign, which are left out."""


class Look:
    """Looks at the chunks of one column of strings, then says what the column holds.

    With `keep`, the values of a column in which all is in order are kept as they were converted, so that they need not
    be read again.
    """

    def __init__(self, *, decimal_comma: bool = False, keep: bool = False) -> None:
        self.may_be_comma, self.commas = decimal_comma, 0
        self.dressed, self.signs = 0, dict.fromkeys(SIGNS, 0)
        self.seen = self.numbers = self.truths = self.dates = 0
        self.fractions = self.padded = self.zoned = self.is_text = False
        self.kept: list[pa.Array] | None = [] if keep else None
        self.compacted = 0

    def update(self, chunk: pa.Array) -> None:
        """Count what one chunk of strings holds; missing words are null already."""
        num_values = len(chunk) - chunk.null_count
        self.seen += num_values
        found = chunk if self.is_text or num_values == 0 else self._look(chunk, num_values)
        most = max(self.numbers + self.dressed, self.truths, self.dates)
        self.is_text = self.is_text or (self.seen >= 1_000 and most < self.seen / 2)
        if self.kept is not None:
            self.kept.append(found)

    def _look(self, chunk: pa.Array, num_values: int) -> pa.Array:
        """The chunk, converted if all values are of one kind."""
        if self.dates == 0 and self.truths == 0:
            found = self._numbers(chunk, num_values)
            if found is not chunk:
                return found
        if self.numbers == 0 and self.dates == 0:
            truths = count(pc.is_in(pc.utf8_lower(chunk), value_set=pa.array(["true", "false"])))
            self.truths += truths
            if truths == num_values:
                return pc.equal(pc.utf8_lower(chunk), "true")
        if self.numbers == 0 and self.truths == 0:
            dates = count(pc.match_substring_regex(chunk, ISO_DATE))
            self.dates += dates
            if dates and not self.zoned:
                self.zoned = bool(pc.any(pc.match_substring_regex(chunk, r"\d(Z| ?[+-]\d{2}:?\d{2})$")).as_py())
            if dates == num_values and not self.zoned:
                with suppress(pa.ArrowInvalid):  # the 31st of February
                    return pc.cast(chunk, pa.timestamp("us"))
        return chunk

    def _numbers(self, chunk: pa.Array, num_values: int) -> pa.Array:
        if not self.padded and not self.fractions:
            self.padded = bool(pc.any(pc.match_substring_regex(chunk, ZERO_PADDED)).as_py()) and not bool(
                pc.any(pc.match_substring(chunk, ".")).as_py()
            )
        for kind in (pa.float64(),) if self.fractions else (pa.int64(), pa.float64()):
            try:
                found = pc.cast(chunk, kind)
            except pa.ArrowInvalid:
                self.fractions = True
            else:
                self.numbers += num_values
                return found
        trimmed = pc.utf8_trim_whitespace(chunk)
        self.numbers += count(pc.match_substring_regex(trimmed, NUMBER))
        if self.may_be_comma:
            commas = count(pc.match_substring_regex(trimmed, COMMA_NUMBER))
            self.commas += commas
            self.numbers += commas
        else:
            dressed = pc.match_substring_regex(trimmed, DRESSED)
            self.dressed += count(dressed)
            for sign in self.signs if self.dressed else ():
                self.signs[sign] += count(pc.and_(dressed, pc.match_substring(trimmed, sign)))
        return chunk

    def compact(self) -> None:
        """Make one of the chunks kept since the last time: many small ones leave holes in memory between them."""
        if self.kept:
            new = self.kept[self.compacted :]
            if len({one.type for one in new}) == 1:
                self.kept[self.compacted :] = [apart(pa.concat_arrays(new))]
            self.compacted = len(self.kept)

    def converted(self) -> list[pa.Array] | None:
        """The kept chunks as `kind` wants them; None if the column must be read again."""
        kind = self.kind().type
        if self.kept is None:
            return None
        fits = {kind, pa.int64()} if pa.types.is_floating(kind) else {kind}
        if any(chunk.type not in fits and chunk.null_count < len(chunk) for chunk in self.kept):
            return None
        result = [chunk.cast(kind) for chunk in self.kept]
        if pa.types.is_floating(kind) and not all(pc.all(pc.is_finite(one), min_count=0).as_py() for one in result):
            return None
        return result

    def kind(self) -> Kind:
        """The decision; string where nothing else fits."""
        needed = self.seen if self.seen < ENOUGH else MOSTLY * self.seen
        if self.seen == 0 or self.is_text:
            return Kind(pa.string())
        if self.numbers >= needed:
            if self.padded and not self.fractions:
                return Kind(pa.string())  # 00501 is a code: leading zeros mean something
            number = pa.float64() if self.fractions or self.numbers < self.seen else pa.int64()
            return Kind(number, decimal_comma=self.commas > 0)
        # Dollars are no euros, and 5 % is not 5: one sign for all, or none.
        signed = [number for number in self.signs.values() if number]
        if self.dressed and self.numbers + self.dressed >= needed and (not signed or max(signed) >= needed):
            return Kind(pa.float64(), dressed=True)
        if self.truths == self.seen:
            return Kind(pa.bool_())
        if self.dates >= needed:
            return Kind(pa.timestamp("us"), zoned=self.zoned)
        return Kind(pa.string())


def apart(array: pa.Array) -> pa.Array:
    """The array in pages of its own: beside what is soon freed it would keep a third as much again from the system."""
    batch = pa.record_batch([array], names=["values"])
    written = batch.serialize()
    pages = mmap.mmap(-1, written.size)
    pages.write(written)
    return pa.ipc.read_record_batch(pa.py_buffer(pages), batch.schema).column(0)


def count(mask: pa.Array) -> int:
    """How many are true."""
    return int(pc.sum(mask).as_py() or 0)


def convert(chunk: pa.Array, kind: Kind) -> tuple[pa.Array, np.ndarray]:
    """Strings as values of `kind`, and the positions of those that were not missing but are now."""
    try:
        result = quick(chunk, kind)
    except pa.ArrowInvalid:
        result = careful(chunk, kind)
    if pa.types.is_floating(result.type):
        result = pc.if_else(pc.is_finite(result), result, pa.scalar(None, result.type))
    if result.null_count == chunk.null_count:
        return result, np.empty(0, dtype=np.int64)
    lost = pc.and_(pc.is_valid(chunk), pc.is_null(result))
    return result, np.flatnonzero(lost.to_numpy(zero_copy_only=False))


def quick(chunk: pa.Array, kind: Kind) -> pa.Array:
    """Cast of a chunk in which every value is in order. Raises pa.ArrowInvalid otherwise."""
    if pa.types.is_string(kind.type):
        return chunk
    if kind.decimal_comma:
        chunk = pc.replace_substring(chunk, ",", ".")
    if kind.dressed:
        chunk = undressed(chunk)
    if pa.types.is_timestamp(kind.type):
        if kind.zoned or not pc.all(pc.match_substring_regex(chunk, ISO_DATE), min_count=0).as_py():
            raise pa.ArrowInvalid("not all are plain ISO dates")
        return pc.cast(chunk, kind.type)
    if pa.types.is_boolean(kind.type):
        return pc.equal(pc.utf8_lower(chunk), "true")
    return pc.cast(chunk, kind.type)


def careful(chunk: pa.Array, kind: Kind) -> pa.Array:
    """Values that cannot be read become null."""
    trimmed = pc.utf8_trim_whitespace(chunk)
    if pa.types.is_timestamp(kind.type):
        return pa.array([iso_date(text) for text in trimmed.to_pylist()], kind.type)
    if kind.decimal_comma:
        trimmed = pc.if_else(
            pc.match_substring_regex(trimmed, COMMA_NUMBER), pc.replace_substring(trimmed, ",", "."), trimmed
        )
    if kind.dressed:
        trimmed = undressed(trimmed)
    number = pc.match_substring_regex(trimmed, NUMBER)
    return pc.cast(pc.cast(pc.if_else(number, trimmed, pa.scalar(None, pa.string())), pa.float64()), kind.type)


def undressed(chunk: pa.Array) -> pa.Array:
    """Numbers as people write them -> as machines do; other strings as they are."""
    bare = pc.replace_substring_regex(chunk, f"[{SIGNS}, ]", "")
    return pc.if_else(pc.match_substring_regex(chunk, DRESSED), bare, chunk)


def iso_date(text: str | None) -> datetime.datetime | None:
    """A date of the years 1000 to 9999, zone removed (UTC); None for anything else."""
    if text is None or text.startswith("0"):
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is None else moment.astimezone(datetime.UTC).replace(tzinfo=None)


def blank_missing(chunk: pa.Array) -> pa.Array:
    """Strings without the spaces around them, the missing words as null."""
    trimmed = pc.utf8_trim_whitespace(chunk)
    return pc.if_else(pc.is_in(trimmed, value_set=pa.array(MISSING)), pa.scalar(None, chunk.type), trimmed)
