"""Several tables as one, with a column that says which rows train, validate and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ...spec import BadInput
from . import fingerprint
from .rows import Origins, Tally
from .typed import is_number


@dataclass(frozen=True)
class Part:
    """Rows of one file, folder or table, before they are `Rows`."""

    table: pa.Table
    origins: Origins
    fingerprint: str
    file_columns: dict[str, str] = field(default_factory=dict)
    given_split: str | None = None
    target_hint: str | None = None
    class_names: dict[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)


def joined(parts: Sequence[tuple[str, Part]], tally: Tally) -> Part:
    """All rows in one table. The word before each part says its split ('' in all: they are pieces of one table).

    A part that lacks columns of the first one cannot be tested on: it is left out and counted.
    """
    first = parts[0][1]
    kept: list[tuple[str, Part]] = []
    for word, part in parts:
        lacking = [name for name in first.table.column_names if name not in part.table.column_names]
        lacking = [name for name in lacking if name != first.given_split]
        if lacking:
            file = part.origins.files[0]
            reason = f"in a file that lacks column {lacking[0]!r}"
            tally.rows[reason] += part.table.num_rows
            tally.note(f"{file} lacks column {lacking[0]!r} and was left out; use predict for rows without a target.")
        else:
            kept.append((word, part))
    names = [name for name in first.table.column_names if name != first.given_split]
    tables = unified([part.table.select(names) for _, part in kept])
    split = None
    if kept[0][0]:
        split = free_name("split", names)
        tables = [
            table.append_column(split, pa.repeat(pa.scalar(word), table.num_rows))
            for table, (word, _) in zip(tables, kept, strict=True)
        ]
    return Part(
        pa.concat_tables(tables),
        joined_origins([part.origins for _, part in kept], [table.num_rows for table in tables]),
        fingerprint.join(*(f"{word}\0{part.fingerprint}" for word, part in kept)),
        file_columns=first.file_columns,
        given_split=split if split and len({word for word, _ in kept}) > 1 else None,
        target_hint=first.target_hint,
        class_names=first.class_names,
    )


def free_name(name: str, taken: Sequence[str]) -> str:
    """`name`, with as many underscores as make it new."""
    while name in taken:
        name += "_"
    return name


def unified(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The same tables with one type per column: numbers become double where they differ, all else strings."""
    fields = []
    for name in tables[0].column_names:
        kinds = [table.schema.field(name).type for table in tables if table[name].null_count < table.num_rows]
        kind = kinds[0] if kinds else tables[0].schema.field(name).type
        if any(other != kind for other in kinds):
            kind = pa.float64() if all(is_number(other) for other in kinds) else pa.string()
        fields.append(pa.field(name, kind))
    schema = pa.schema(fields)
    return [cast(table, schema) for table in tables]


def cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the types of `schema`."""
    if table.schema.equals(schema):
        return table
    columns = []
    for field_ in schema:
        values = table[field_.name]
        if values.null_count == len(values) and values.type != field_.type:
            values = pa.chunked_array([pa.nulls(len(values), field_.type)])
        try:
            columns.append(values.cast(field_.type))
        except pa.ArrowException as error:
            raise BadInput(
                f"the files hold different types: {values.type} and {field_.type}",
                column=field_.name,
                remedy="Make them alike.",
            ) from error
    return pa.table(columns, schema=schema)


def joined_origins(origins: Sequence[Origins], counts: Sequence[int]) -> Origins:
    """Origins of tables put one below the other."""
    files: list[str] = []
    indices, numbers = [], []
    for one, count in zip(origins, counts, strict=True):
        own = np.zeros(count, dtype=np.int64) if one.file_index is None else one.file_index
        indices.append(own + len(files))
        numbers.append(np.arange(1, count + 1) if one.row_numbers is None else one.row_numbers)
        files.extend(one.files)
    return Origins(tuple(files), np.concatenate(indices), np.concatenate(numbers))
