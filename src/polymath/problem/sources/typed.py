"""Columns that have types already (Parquet, Arrow, tables in memory): made plain, so that features meet few types."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .values import blank_missing

Report = Callable[[int, str, str, str], None]
"""Told of position in the batch, column, value and reason of each value that counts as missing from now on."""
MOST_SPREAD = 1_000
"""A column of lists of so many numbers becomes as many columns."""


def plain_batch(batch: pa.RecordBatch, report: Report) -> pa.RecordBatch:
    """The batch with plain types; the same schema whatever the values."""
    names, arrays = [], []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        for inner, array in unfolded(name, column):
            names.append(inner)
            arrays.append(plain(inner, array, report))
    return pa.record_batch(arrays, names=names)


def plain_table(table: pa.Table, report: Report) -> pa.Table:
    """A table in memory with plain types. Positions are reported within the table."""
    batches, start = [], 0
    for batch in table.to_batches():
        batches.append(plain_batch(batch, lambda i, *what, start=start: report(start + i, *what)))
        start += batch.num_rows
    return pa.Table.from_batches(batches) if batches else table


def unfolded(name: str, array: pa.Array) -> list[tuple[str, pa.Array]]:
    """A column with parts as several columns: `address.city`; pictures as bytes stay one."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return unfolded(name, array.dictionary_decode())
    if pa.types.is_struct(kind):
        fields = [kind.field(i).name for i in range(kind.num_fields)]
        if "bytes" in fields and "path" in fields:  # how Hugging Face stores images
            return [(name, array.flatten()[fields.index("bytes")])]
        parts = zip(fields, array.flatten(), strict=True)
        return [one for field, part in parts for one in unfolded(f"{name}.{field}", part)]
    if pa.types.is_fixed_size_list(kind) and is_number(kind.value_type) and kind.list_size <= MOST_SPREAD:
        return [(f"{name}.{i}", pc.list_element(array, i)) for i in range(kind.list_size)]
    return [(name, array)]


def is_number(kind: pa.DataType) -> bool:
    """Whether values are numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def plain(name: str, array: pa.Array, report: Report) -> pa.Array:
    """One column: int64, double, bool, string, timestamp[us], or what it was where nothing plain fits."""
    kind = array.type
    if pa.types.is_null(kind):
        return array.cast(pa.string())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
        return finite(name, array.cast(pa.float64(), safe=False), report)
    if pa.types.is_integer(kind):
        return array.cast(pa.int64())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return blank_missing(array.cast(pa.string()))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            array = array.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.timestamp(kind.unit))
        return array.cast(pa.timestamp("us"), safe=False)
    if pa.types.is_duration(kind):
        microseconds = array.cast(pa.duration("us"), safe=False).cast(pa.int64())
        return pc.divide(microseconds.cast(pa.float64()), 1e6)
    if pa.types.is_time(kind):
        return array.cast(pa.string())
    return array


def finite(name: str, array: pa.Array, report: Report) -> pa.Array:
    """NaN is missing; infinity is missing too, and reported."""
    if not bool(pc.all(pc.is_finite(array), min_count=0).as_py()):
        infinite = pc.fill_null(pc.is_inf(array), False).to_numpy(zero_copy_only=False)
        for i in np.flatnonzero(infinite):
            report(int(i), name, str(array[int(i)].as_py()), "not a finite number")
        array = pc.if_else(pc.is_finite(array), array, pa.scalar(None, array.type))
    return array
