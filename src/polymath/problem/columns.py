"""What one column looks like: the rules by which its type and role are guessed, each with its reason in words."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..spec import printable
from .features.common import spread
from .sources import values as words

MOST_LOOKED_AT = 50_000
"""Rows looked at, evenly spread; enough to see what a column is."""
ALMOST_EMPTY = 0.99
FEW_NUMBERS = 20
"""A target with at most so many different whole numbers is one of a few categories."""
SEEN_AGAIN = 3
"""... if each comes so often on average."""
TEXT_WORDS, TEXT_CHARACTERS = 3.0, 50.0
"""Free text has at least so many words, or characters, on average."""
LEAK_ROWS, LEAK_PER_CLASS = 200, 20
"""Fewer rows than this prove no leak."""
LEAK_CORRELATION = 0.9999
LEAK, IDENTIFIER, FREE = "gives the target away", "identifier", "free text"

ID_NAME = re.compile(r"(^|[\W_])(id|ids|uuid|guid|key|index|idx|rowid|row ?number|nr)$", re.IGNORECASE)
ID_CAMEL = re.compile(r"[a-z](Id|ID|Key|Uuid|UUID)$")
UUID = r"^\{?[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\}?$"
CODE = r"^(?:[0-9a-fA-F]{12,}|[A-Za-z]{0,6}[-_]?\d{3,})$"
DATE_FORMS = (
    r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?)?( ?(Z|[+-]\d{2}:?\d{2}))?$",
    r"^(\w{3,9},? )?\d{1,2}[ -][A-Za-z]{3,9}\.?[ -]\d{2,4}( \d{1,2}:\d{2}(:\d{2})?)?$",
    r"^[A-Za-z]{3,9}\.? \d{1,2},? \d{4}( \d{1,2}:\d{2}(:\d{2})?)?$",
)
HISTORY = r"""^\[\s*(\[\s*("[^"]*\d[^"]*"|-?[\d.eE+-]+)\s*,\s*"|\{[^}]*"time"\s*:)"""
"""How a list of events begins that is written as JSON: with a time, and a code that is text."""
SEPARATORS = (";", "|", ",")


@dataclass(frozen=True)
class Column:
    """A sample of one column, and counts."""

    name: str
    values: pa.Array
    """Values that are not missing, of the rows looked at."""
    positions: np.ndarray
    """Which of the rows looked at they belong to."""
    missing: int
    known: int
    distinct: int
    sampled: bool
    examples: tuple[str, ...]

    @classmethod
    def of(cls, column: pa.ChunkedArray, name: str) -> Column:
        sampled = len(column) > MOST_LOOKED_AT
        looked = column
        if sampled:
            looked = spread(column, MOST_LOOKED_AT)
        array = looked.combine_chunks()
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        valid = array.is_valid()
        if pa.types.is_floating(array.type):
            valid = pc.and_(valid, pc.fill_null(pc.is_finite(array), False))
        elif is_text(array.type):
            blank = pc.is_in(pc.utf8_trim_whitespace(array.cast(pa.string())), value_set=pa.array(words.MISSING))
            valid = pc.and_(valid, pc.invert(blank))
        kept = array.filter(valid)
        missing = column.null_count if sampled else len(column) - len(kept)
        known = len(column) - missing if len(kept) else 0
        firsts = distinct_values(kept)
        examples = tuple(printable(_plainly(value), limit=24) for value in firsts[1])
        positions = np.flatnonzero(valid.to_numpy(zero_copy_only=False))
        return cls(name, kept, positions, missing, known, firsts[0], sampled, examples)

    @property
    def type(self) -> pa.DataType:
        """Arrow type."""
        return self.values.type


def distinct_values(array: pa.Array) -> tuple[int, list[object]]:
    """How many different values there are, and the first three."""
    if pa.types.is_nested(array.type) or isinstance(array, pa.ExtensionArray):
        shown = [one.as_py() for one in array[:3]] if pa.types.is_list(array.type) else []
        return min(len(array), 2), shown
    unique = pc.unique(array)
    return len(unique), unique[:3].to_pylist()


def _plainly(value: object) -> str:
    """An example as people write it: a date without its midnight."""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()
    return str(value)


def is_text(kind: pa.DataType) -> bool:
    """Whether values are strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether values are numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def share(mask: pa.Array) -> float:
    """Share of values that are true."""
    return words.count(mask) / max(len(mask), 1)


def input_type(column: Column, *, doubt: bool = True) -> tuple[str, str | None, str]:
    """Role, type and reason of an input. Without `doubt` nothing is an identifier."""
    total = column.known + column.missing
    if column.known == 0:
        return "ignored", None, "empty"
    if column.missing > ALMOST_EMPTY * total:
        return "ignored", None, f"almost empty: {100 * column.missing / total:.1f} % missing"
    if column.distinct == 1 and column.missing == 0:
        return "ignored", None, "constant: the same in all rows"
    if doubt and (reason := identifier(column)):
        return "ignored", None, reason
    kind = column.type
    if pa.types.is_boolean(kind):
        return "input", "category", "true or false"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "input", "date", "dates"
    if is_number(kind):
        return "input", "number", "numbers"
    if isinstance(kind, pa.FixedShapeTensorType):
        return "input", "image", "arrays of pixels"
    if is_text(kind):
        return "input", *text_type(column)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return binary_type(column)
    if pa.types.is_list(kind) and is_text(kind.value_type):
        return "input", "labels", "lists of labels"
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and is_event(kind.value_type):
        return "input", "events", "lists of events"
    return "ignored", None, f"holds values of type {kind}, which cannot be an input"


def is_event(kind: pa.DataType) -> bool:
    """Whether values hold at least a time and a code."""
    return bool(pa.types.is_struct(kind)) and {"time", "code"} <= {field.name for field in kind}


def binary_type(column: Column) -> tuple[str, str | None, str]:
    """Images come as bytes in some Parquet files."""
    heads = [value.as_py()[:12] for value in column.values[:20]]
    known = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
    if all(head.startswith(known) for head in heads):
        return "input", "image", "bytes of image files"
    return "ignored", None, "holds bytes that are no images"


def text_type(column: Column) -> tuple[str, str]:
    """Type and reason of a column of strings."""
    text = pc.utf8_trim_whitespace(column.values.cast(pa.string()))
    if share(pc.match_substring_regex(text, words.NUMBER)) >= words.MOSTLY and not padded(text):
        return "number", "numbers written as text"
    if is_date(text):
        return "date", "dates written as text"
    if share(pc.match_substring_regex(text, HISTORY)) >= words.MOSTLY:
        return "events", "lists of events written as text"
    num_words = pc.mean(pc.add(pc.count_substring_regex(text, r"\s+"), 1)).as_py()
    length = pc.mean(pc.utf8_length(text)).as_py()
    varied = column.distinct / len(text)
    if (num_words >= TEXT_WORDS or length >= TEXT_CHARACTERS) and (varied > 0.5 or column.distinct > 1_000):
        return "text", f"{FREE}: {num_words:.0f} words on average, {100 * varied:.0f} % different"
    if varied > 0.9 and len(text) >= 50:
        return "text", f"short texts, {100 * varied:.0f} % different"
    return "category", f"{column.distinct:,} different values"


def padded(text: pa.Array) -> bool:
    """Whether some numbers begin with zeros, as codes do."""
    whole = pc.match_substring_regex(text, r"^\d+$")
    return share(whole) >= words.MOSTLY and bool(pc.any(pc.match_substring_regex(text, words.ZERO_PADDED)).as_py())


def is_date(text: pa.Array) -> bool:
    """Whether nearly all texts are written as dates are."""
    head = text[:200]
    return any(
        share(pc.match_substring_regex(head, form)) >= 0.9
        and share(pc.match_substring_regex(text, form)) >= words.MOSTLY
        for form in DATE_FORMS
    )


def identifier(column: Column) -> str:
    """Why a column is taken for an identifier; "" if it is not."""
    count = len(column.values)
    if count < 5 or column.distinct < 0.999 * count:
        return ""
    named = bool(ID_NAME.search(column.name) or ID_CAMEL.search(column.name))
    if pa.types.is_integer(column.type):
        steps = np.diff(column.values.cast(pa.int64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64))
        even = not column.sampled and column.missing == 0 and len(np.unique(steps)) == 1 and abs(steps[0]) == 1
        if even:
            return f"{IDENTIFIER}: counts the rows"
        if named:
            return f"{IDENTIFIER}: all different, and named so"
    elif is_text(column.type):
        text = column.values.cast(pa.string())
        if share(pc.match_substring_regex(text, UUID)) >= words.MOSTLY:
            return f"{IDENTIFIER}: all different UUIDs"
        one_word = not pc.any(pc.match_substring_regex(text, r"\s")).as_py()
        if named and one_word:
            return f"{IDENTIFIER}: all different, and named so"
        if share(pc.match_substring_regex(text, CODE)) >= words.MOSTLY and count >= 20 and not is_date(text):
            return f"{IDENTIFIER}: all different codes"
    return ""


def output_type(column: Column) -> tuple[str, str]:
    """Type and reason of a target."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "labels", "lists of labels"
    if pa.types.is_boolean(kind):
        return "category", "true or false"
    if is_number(kind):
        return number_output(column)
    if not is_text(kind):
        return "category", f"values of type {kind}"
    if separator := labels_separator(column):
        return "labels", f"several labels in a cell, separated by {separator!r}"
    guess, reason = text_type(column)
    if guess == "number":
        numbers = pc.cast(pc.utf8_trim_whitespace(column.values.cast(pa.string())), pa.float64(), safe=False)
        return number_output(Column(**{**vars(column), "values": numbers})) if numbers else ("number", reason)
    if guess == "text" and reason.startswith(FREE):  # single words that are all different are classes, too many
        return "text", reason
    return "category", f"{column.distinct:,} different values"


def number_output(column: Column) -> tuple[str, str]:
    """Few whole numbers are categories, others amounts."""
    numbers = column.values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    again = column.distinct <= 2 or len(numbers) >= SEEN_AGAIN * column.distinct
    if column.distinct <= FEW_NUMBERS and again and bool(np.all(numbers == np.floor(numbers))):
        return "category", f"{column.distinct} different whole numbers"
    return "number", "numbers"


def labels_separator(column: Column) -> str:
    """What separates the labels in cells like 'red;round'; "" if cells hold one thing each."""
    text = column.values.cast(pa.string())
    for separator in SEPARATORS:
        many = share(pc.match_substring(text, separator))
        if many < 0.1 or (separator == "," and column.distinct < 4):
            continue
        parts = [part.strip() for cell in text.to_pylist() for part in cell.split(separator)]
        kinds = set(parts)
        # Labels come again in other company; the words of a name or sentence do not.
        if len(kinds) <= 1_000 and len(kinds) < column.distinct + 3 and len(parts) >= 5 * len(kinds):
            return separator
    return ""


def leak(column: Column, target: Column, target_type: str) -> str:
    """Why an input is taken for another spelling of the target; "" if it is not."""
    _, mine, theirs = np.intersect1d(column.positions, target.positions, assume_unique=True, return_indices=True)
    if len(mine) < LEAK_ROWS:
        return ""
    inputs, outputs = column.values.take(pa.array(mine)), target.values.take(pa.array(theirs))
    if target_type == "number":
        if not is_number(column.type) or not is_number(target.type):
            return ""
        pair = [one.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) for one in (inputs, outputs)]
        if min(float(np.std(one)) for one in pair) == 0:
            return ""
        correlation = abs(float(np.corrcoef(pair[0], pair[1])[0, 1]))
        return f"{LEAK}: correlation {correlation:.5f}" if correlation > LEAK_CORRELATION else ""
    if target_type != "category" or column.distinct != target.distinct or not 2 <= target.distinct <= 1_000:
        return ""
    codes = [
        one.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64) for one in (inputs, outputs)
    ]
    if np.bincount(codes[1]).min() < LEAK_PER_CLASS:
        return ""
    pairs = np.unique(codes[0] * (target.distinct + 1) + codes[1])
    return f"{LEAK}: each of its values stands for one class" if len(pairs) == target.distinct else ""
