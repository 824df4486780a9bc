"""CSV, TSV and their kin: found out delimiter, header and encoding; every bad line counted, never fatal.

The file is read twice, in batches: once to see what each column holds, once to convert. So the types are those of the
whole file, and at no time is there more in memory than the table and a few megabytes of text.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ...spec import BadInput
from . import streams, values
from .rows import Tally
from .sniff import MOST_COLUMNS, clean_names, find_delimiter, is_header, is_line, parsed, records
from .spill import Basket, Loaded, Room

MOST_LINES_OF_A_ROW = 1_000
"""A quote that is still open after so many lines was never meant as one."""
BLOCK_BYTES = 1 << 19  # more does not read faster, and takes 20 times as much memory beside the table
BLOCKS_OF_A_CHUNK = 32
LONGEST_HEADER = 1 << 24
BAD_SHARE = 0.5

NUL = "holds a NUL byte"
UNDECODABLE = "holds bytes that are not valid text"
OPEN_QUOTE = "a quote is opened and never closed"


@dataclass(frozen=True)
class Batch:
    """Some rows as strings, and the number of each row in the file."""

    table: pa.RecordBatch
    numbers: np.ndarray


@dataclass(frozen=True)
class Delimited:
    """How a file of delimited values is to be read."""

    path: Path
    encoding: str
    delimiter: str
    names: tuple[str, ...]
    has_header: bool
    has_nul: bool = False
    has_quotes: bool = False
    careful: bool = False
    """Read by the slow reader, which recovers from quotes that are never closed."""

    def batches(self, tally: Tally) -> Iterator[Batch]:
        """All usable rows as strings with null for missing. Rows that cannot be used go to `tally`."""
        damaged = self.encoding == "utf-8-damaged"
        with streams.open_text(self.path, "utf-8" if self.encoding == "utf-8" else self.codec) as stream:
            for batch in self._careful(stream, tally) if self.careful else self._quick(stream, tally):
                kept = batch
                if self.has_nul:
                    kept = self._without(kept, "\0", NUL, tally)
                if damaged:
                    kept = self._without(kept, streams.DAMAGED, UNDECODABLE, tally)
                cells = [values.blank_missing(column) for column in kept.table.columns]
                yield replace(kept, table=pa.record_batch(cells, names=list(self.names)))

    @property
    def codec(self) -> str:
        """Python's name of the encoding."""
        return "utf-8" if self.encoding == "utf-8-damaged" else self.encoding

    def _quick(self, stream: streams.Utf8, tally: Tally) -> Iterator[Batch]:
        if self._is_one_line():  # pyarrow's reader would leave a thread behind that aborts the process at its end
            return
        bad: list[int] = []
        header = int(self.has_header)

        def skip(row: arrow_csv.InvalidRow) -> str:
            if row.text.count("\n") > MOST_LINES_OF_A_ROW or (row.text.startswith('"') and "\n" in row.text):
                return "error"  # an exception would not get through pyarrow
            bad.append(row.number - header)
            tally.row(self.path, row.number - header, ragged(row.actual_columns, row.expected_columns), row.text)
            return "skip"

        reader = arrow_csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=arrow_csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=list(self.names),
                skip_rows_after_names=header,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(self.names, pa.string()), strings_can_be_null=False
            ),
        )
        next_number, used = 1, 0
        for table in reader:
            new = bad[used:]
            last = next_number + table.num_rows + sum(n >= next_number for n in new)
            numbers = np.arange(next_number, last)
            if new:
                numbers = numbers[~np.isin(numbers, new)]
            numbers = numbers[: table.num_rows]
            if table.num_rows:
                next_number = int(numbers[-1]) + 1
                used += sum(n < next_number for n in new)
                yield Batch(table, numbers)

    def _is_one_line(self) -> bool:
        """Whether nothing but blank lines follows the header."""
        if not self.has_header or self.path.stat().st_size > LONGEST_HEADER:
            return False
        with streams.open_text(self.path, "utf-8" if self.encoding == "utf-8" else self.codec) as stream:
            lines = io.TextIOWrapper(io.BufferedReader(Raw(stream)), encoding="utf-8", errors="replace")
            return sum(1 for _ in itertools.islice((line for line in lines if line.strip()), 2)) < 2

    def swallows(self, columns: Iterable[pa.Array]) -> bool:
        """Whether a value holds whole rows: its quote should have been closed before them."""
        for column in columns:
            found = column.filter(pc.fill_null(pc.match_substring(column, "\n"), False))
            if any(self._is_rows(cell.splitlines()[1:]) for cell in found.to_pylist()):
                return True
        return False

    def is_well_formed(self) -> bool:
        """Whether the file itself says what belongs together: quotes closed where cells end, rows of one width.

        Then a cell may hold lines that look like rows; reads the file once.
        """
        before = csv.field_size_limit(sys.maxsize)
        try:
            with streams.open_text(self.path, self.codec) as stream:
                lines = io.TextIOWrapper(io.BufferedReader(Raw(stream)), encoding="utf-8", errors="replace", newline="")
                reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
                return all(len(row) == len(self.names) for row in reader if row)
        except csv.Error:
            return False
        finally:
            csv.field_size_limit(before)

    def _is_rows(self, lines: list[str]) -> bool:
        return len(self.names) > 1 and all(line.count(self.delimiter) == len(self.names) - 1 for line in lines)

    def _careful(self, stream: streams.Utf8, tally: Tally) -> Iterator[Batch]:
        kept: list[list[str]] = []
        numbers: list[int] = []
        records = self._records(stream)
        for number, (record, text) in enumerate(records, start=1 - self.has_header):
            if number < 1:
                continue
            if record is None or len(record) != len(self.names):
                reason = OPEN_QUOTE if record is None else ragged(len(record), len(self.names))
                tally.row(self.path, number, reason, text)
                continue
            kept.append(record)
            numbers.append(number)
            if len(kept) == 10_000:
                yield self._batch(kept, numbers)
                kept, numbers = [], []
        if kept:
            yield self._batch(kept, numbers)

    def _batch(self, rows: list[list[str]], numbers: list[int]) -> Batch:
        columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        return Batch(pa.record_batch(columns, names=list(self.names)), np.array(numbers))

    def _records(self, stream: streams.Utf8) -> Iterator[tuple[list[str] | None, str]]:
        """Cells and text of each record; None for a line whose quote never closes."""
        lines = io.TextIOWrapper(io.BufferedReader(Raw(stream)), encoding="utf-8", errors="replace", newline="")
        waiting: list[str] = []
        source = iter(lines)
        again: list[str] = []
        while True:
            line = again.pop() if again else next(source, None)
            if line is not None and not waiting and not line.strip("\r\n"):
                continue
            if line is not None:
                waiting.append(line)
            if not waiting:
                return
            open_quote = sum(part.count('"') for part in waiting) % 2 == 1
            if open_quote and line is not None and len(waiting) < MOST_LINES_OF_A_ROW:
                continue
            if open_quote:  # the first line is bad or holds a stray quote; the others get a second chance
                again.extend(reversed(waiting[1:]))
                waiting = waiting[:1]
            found = self._parsed(waiting)
            apart = any(len(record) != len(self.names) for record in found) or self._is_rows(waiting)
            if len(waiting) > 1 and apart:
                again.extend(reversed(waiting[1:]))  # these lines do not belong together
                waiting, open_quote = waiting[:1], True
                found = self._parsed(waiting)
            text = "".join(waiting)
            if open_quote and (text.startswith('"') or f'{self.delimiter}"' in text):
                yield None, text
            else:
                yield from ((record, text) for record in found)
            waiting = []

    def _parsed(self, lines: list[str]) -> list[list[str]]:
        return parsed(lines, self.delimiter, len(lines), longest=sum(map(len, lines)))

    def _without(self, batch: Batch, mark: str, reason: str, tally: Tally) -> Batch:
        marked = np.zeros(batch.table.num_rows, dtype=bool)
        for column in batch.table.columns:
            found = pc.fill_null(pc.match_substring(column, mark), False)
            marked |= found.to_numpy(zero_copy_only=False)
        if not marked.any():
            return batch
        for i in np.flatnonzero(marked):
            cells = batch.table.slice(i, 1).to_pylist()[0].values()
            text = next(cell for cell in cells if cell is not None and mark in cell)
            tally.row(self.path, int(batch.numbers[i]), reason, text)
        return Batch(batch.table.filter(pa.array(~marked)), batch.numbers[~marked])


class Raw(io.RawIOBase):
    """Utf8 as a raw stream of Python's own."""

    def __init__(self, stream: streams.Utf8) -> None:
        self.stream, self.rest = stream, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.rest or self.stream.read(1 << 16)
        taken = min(len(data), len(buffer))
        buffer[:taken], self.rest = data[:taken], data[taken:]
        return taken


def ragged(found: int, expected: int) -> str:
    """The reason for a line with the wrong number of cells."""
    return f"has {found} values where the header has {expected}"


def encoding_of(path: Path, tally: Tally) -> str:
    """Encoding of a text file (`streams.find_encoding`); the tally notes what is not UTF-8."""
    encoding = streams.find_encoding(path)
    if encoding == "latin-1":
        tally.note(f"{path.name} is not valid UTF-8 and was read as latin-1; save it as UTF-8 if accents look wrong.")
    elif encoding.startswith(("utf-16", "utf-32")):
        tally.note(f"{path.name} was read as {encoding.upper()}.")
    return encoding


def describe(path: Path, tally: Tally) -> Delimited:
    """Find out how `path` is written. Raises BadInput when it holds no table."""
    encoding = encoding_of(path, tally)
    codec = "utf-8" if encoding == "utf-8-damaged" else encoding
    with streams.open_text(path, codec) as stream:
        head = b""
        while (len(head) < streams.SAMPLE_BYTES or not is_line(head)) and (data := stream.read(1 << 16)):
            head += data
        whole = not stream.read(1)
    text = head.decode("utf-8", "ignore")
    if not whole and "\n" in text:
        text = text[: text.rindex("\n") + 1]
    if not text.strip("\r\n\t ,;|\0"):
        raise BadInput("the file is empty", file=path, remedy="Give a file with a header line and data rows.")
    delimiter = find_delimiter(text, prefer="\t" if ".tsv" in path.name.lower() else ",")
    first = records(text, delimiter, 1_000)
    has_header = is_header(first)
    if not has_header:
        tally.note(f"{path.name} seems to have no header line, so its columns are called 'column 1', 'column 2', ...")
    width = len(first[0])
    if width > MOST_COLUMNS:
        raise BadInput(
            f"the table has {width:,} columns; at most {MOST_COLUMNS:,} can be handled",
            file=path,
            remedy="Keep the columns that matter, or turn the table on its side if rows and columns are swapped.",
        )
    names = clean_names(first[0] if has_header else [""] * width, path)
    has_nul, num_quotes = False, 0
    with streams.open_text(path, codec) as stream:
        while data := stream.read(1 << 22):
            has_nul = has_nul or b"\0" in data
            num_quotes += data.count(b'"')
    how = Delimited(path, encoding, delimiter, names, has_header, has_nul=has_nul, has_quotes=num_quotes > 0)
    return replace(how, careful=num_quotes % 2 == 1)


def read_delimited(path: Path, tally: Tally, *, room: Room, mark: str) -> Loaded:
    """A file of delimited values. Raises BadInput when it holds no table, or more bad rows than good ones."""
    size = path.stat().st_size * (5 if streams.is_gzip(path) else 1)
    basket = room.basket(path, size, mark=mark)
    if found := basket.found(tally):
        return found
    seen = Tally()
    how = describe(path, seen)
    notes, keep = list(seen.notes), basket.place is None
    try:
        looks, numbers = look(how, seen, keep=keep)
    except pa.ArrowInvalid:  # a quote that is never closed, in most cases
        seen = Tally.of([], Counter(), Counter(), notes)
        how = replace(how, careful=True)
        looks, numbers = look(how, seen, keep=keep)
    check_enough(how, sum(map(len, numbers)), seen)
    kinds = [one.kind() for one in looks]
    schema = pa.schema([(name, kind.type) for name, kind in zip(how.names, kinds, strict=True)])
    done = [one.converted() for one in looks]
    if all(chunks is not None for chunks in done):
        columns = [pa.chunked_array(chunks or [], kind.type) for chunks, kind in zip(done, kinds, strict=True)]
        basket.numbers.extend(numbers)
        for part in pa.table(columns, schema=schema).to_batches():
            basket.put(part)
        return finish(basket, schema, seen, tally)
    looks, done = [], []  # what they kept is not needed
    for batch in how.batches(Tally()):
        arrays = []
        for name, kind, column in zip(how.names, kinds, batch.table.columns, strict=True):
            array, odd = values.convert(column, kind)
            for i in odd:
                seen.value(path, int(batch.numbers[i]), name, column[int(i)].as_py(), not_a(kind.type))
            arrays.append(array)
        basket.put(pa.record_batch(arrays, schema=schema), batch.numbers)
    return finish(basket, schema, seen, tally)


def finish(basket: Basket, schema: pa.Schema, seen: Tally, tally: Tally) -> Loaded:
    """The table of a full basket; what was counted goes to `tally`."""
    loaded = basket.done(schema, seen)
    tally.add(seen)
    return loaded


def look(how: Delimited, tally: Tally, *, keep: bool) -> tuple[list[values.Look], list[np.ndarray]]:
    """First pass: what each column holds, and the numbers of the rows; `tally` is told which cannot be used.

    Raises pa.ArrowInvalid when quotes are not closed where they should be.
    """
    looks = [values.Look(decimal_comma=how.delimiter == ";", keep=keep) for _ in how.names]
    suspect = how.has_quotes and not how.careful
    numbers: list[np.ndarray] = []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for batch in how.batches(tally):
            numbers.append(batch.numbers)
            list(pool.map(values.Look.update, looks, batch.table.columns))
            if len(numbers) % BLOCKS_OF_A_CHUNK == 0:
                for one in looks:
                    one.compact()
            if suspect:
                words = [c for one, c in zip(looks, batch.table.columns, strict=True) if one.numbers < one.seen]
                if how.swallows(words):
                    if not how.is_well_formed():
                        raise pa.ArrowInvalid(OPEN_QUOTE)
                    suspect = False
    return looks, numbers


def check_enough(how: Delimited, num_rows: int, seen: Tally) -> None:
    """Raise BadInput when there are no rows or more than half cannot be used."""
    num_bad = sum(seen.rows.values())
    if num_bad > BAD_SHARE * (num_bad + num_rows):
        first = seen.entries[0]
        raise BadInput(
            f"{num_bad:,} of {num_bad + num_rows:,} rows cannot be used; the first one {first.reason}",
            file=how.path,
            row=first.row,
            value=first.value,
            remedy=f"Check that {how.delimiter!r} is what separates the values and that values with it are quoted.",
        )
    if num_rows == 0:
        raise BadInput("the file has a header but no rows", file=how.path, remedy="Add data rows.")


def not_a(kind: pa.DataType) -> str:
    """The reason for a value that does not fit its column."""
    return "not a date" if pa.types.is_timestamp(kind) else "not a finite number"
