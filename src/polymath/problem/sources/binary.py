"""Parquet and Arrow files, batch by batch, checked, and never more memory than is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...spec import BadInput, printable
from .rows import Tally
from .sniff import MOST_COLUMNS, clean_names
from .spill import Loaded, Room
from .typed import plain_batch

BATCH_ROWS = 65_536
PIECE_BYTES = 1 << 26
"""Batches are made plain in pieces of about this size: repeated strings are small in the file and large outside."""


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Turns the errors of damaged files into one the user understands."""
    try:
        yield
    except BadInput:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        message = printable(str(error).splitlines()[0] if str(error) else type(error).__name__, limit=160)
        raise BadInput(
            f"is no {what} file, or a damaged one: {message}", file=path, remedy="Write or copy it again."
        ) from error


def read_parquet(path: Path, tally: Tally, *, room: Room, mark: str) -> Loaded:
    """A Parquet file. Raises BadInput when it is damaged or too large."""
    with readable(path, "Parquet"):
        schema = pq.read_schema(path)
        check_columns(schema, path)
        strings = [field.name for field in schema if is_bytes(field.type)]
        with pq.ParquetFile(path, read_dictionary=strings, page_checksum_verification=False) as file:
            about = file.metadata
            size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
            need = max(size, about.num_rows * len(schema) * 8)
            batches = file.iter_batches(batch_size=BATCH_ROWS)
            return collect(batches, path, tally, room=room, need_bytes=need, mark=mark, schema=file.schema_arrow)


def read_arrow(path: Path, tally: Tally, *, room: Room, mark: str) -> Loaded:
    """An Arrow file (Feather version 2), or an Arrow stream. Raises BadInput when it is damaged."""
    with readable(path, "Arrow"), pa.memory_map(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            file = pa.ipc.open_stream(source)
            batches = iter(file)
        check_columns(file.schema, path)
        need = path.stat().st_size
        return collect(batches, path, tally, room=room, need_bytes=need, mark=mark, schema=file.schema)


def check_columns(schema: pa.Schema, path: Path) -> None:
    """Raise BadInput for no columns, too many, or two of one name."""
    if not 0 < len(schema) <= MOST_COLUMNS:
        raise BadInput(
            f"the table has {len(schema):,} columns; 1 to {MOST_COLUMNS:,} can be handled",
            file=path,
            remedy="Keep the columns that matter.",
        )
    clean_names(schema.names, path)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values are strings or bytes of any length."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def collect(
    batches: Iterator[pa.RecordBatch],
    path: Path,
    tally: Tally,
    *,
    room: Room,
    need_bytes: int,
    mark: str,
    schema: pa.Schema,
) -> Loaded:
    """All batches, checked and with plain types."""
    basket = room.basket(path, need_bytes, mark=mark)
    if found := basket.found(tally):
        return found
    seen, start, total = Tally(), 0, 0
    names = clean_names(schema.names, path)

    def report(i: int, column: str, value: str, reason: str) -> None:
        seen.value(path, start + i + 1, column, value, reason)

    for batch in batches:
        batch.validate(full=True)
        size = spelled_out(batch)
        total += size
        if total > room.memory_bytes and basket.place is None:
            raise BadInput(
                f"the table takes more than {total / 1e9:.1f} GB of memory",
                file=path,
                remedy="Allow more with --memory, or leave out columns of long values.",
            )
        step = max(1, batch.num_rows * PIECE_BYTES // max(size, PIECE_BYTES))
        for piece in (batch.slice(first, step) for first in range(0, batch.num_rows, step)):
            plain = plain_batch(piece.rename_columns(list(names)), report)
            if start == 0:
                clean_names(plain.schema.names, path)
            basket.put(plain)
            start += piece.num_rows
    if start == 0:
        raise BadInput("the file has no rows", file=path, remedy="Add data rows.")
    loaded = basket.done(plain.schema, seen)
    tally.add(seen)
    return loaded


def spelled_out(batch: pa.RecordBatch) -> int:
    """Bytes that a batch takes when strings stored once are repeated."""
    size = batch.nbytes
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and is_bytes(column.type.value_type):
            lengths = pc.binary_length(column.dictionary).take(column.indices)
            size += pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0
    return int(size)
