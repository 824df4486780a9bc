"""Tables and arrays that are in memory already: pandas, polars, Arrow, numpy, dictionaries, lists.

None of those packages is imported; what they offer is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ...spec import BadInput, printable
from .rows import Tally
from .sniff import MOST_COLUMNS, clean_names
from .typed import plain_table

REMEDY = (
    "Give a path, a pandas, polars or Arrow table, a dictionary of columns, a list of dictionaries, "
    "an array, or a pair (X, y)."
)


@dataclass(frozen=True)
class Given:
    """A table, and which column the caller's way of giving it says is the target."""

    table: pa.Table
    target_hint: str | None = None


def from_memory(data: Any, tally: Tally) -> Given:
    """A plain table of whatever it is. Raises BadInput for things that are no table."""
    pair = isinstance(data, tuple) and len(data) == 2
    given = with_target(*data) if pair else Given(as_table(data))
    table = given.table
    if table.num_columns > MOST_COLUMNS:
        raise BadInput(f"the table has {table.num_columns:,} columns; at most {MOST_COLUMNS:,} can be handled")
    table = table.rename_columns(list(clean_names([str(name) for name in table.column_names], None)))
    source = kind_name(data)
    table = plain_table(table, lambda i, *what: tally.value(source, i + 1, *what))
    if table.num_columns == 0 or table.num_rows == 0:
        raise BadInput("the table is empty", remedy="Give at least one column and one row.")
    hint = given.target_hint if given.target_hint in table.column_names else None
    return Given(table, hint)


def kind_name(data: Any) -> str:
    """What the data are, for people: 'pandas.DataFrame', '(numpy.ndarray, list)'."""
    if isinstance(data, tuple):
        return f"({', '.join(kind_name(one) for one in data[:3])})"
    module = type(data).__module__.partition(".")[0]
    return type(data).__name__ if module == "builtins" else f"{module}.{type(data).__name__}"


def with_target(inputs: Any, target: Any) -> Given:
    """The table of a pair (X, y). y may be a column, several, or None."""
    table = as_table(inputs, prefix="x")
    if target is None:
        return Given(table)
    if hasattr(target, "columns") or (getattr(target, "ndim", 1) == 2) or isinstance(target, Mapping):
        targets = as_table(target, prefix="y")
    else:
        name = getattr(target, "name", None)
        targets = pa.table({str(name) if name is not None else "y": column(np_or_list(target), "y")})
    if targets.num_rows != table.num_rows:
        raise BadInput(f"X has {table.num_rows:,} rows and y has {targets.num_rows:,}", remedy="Give one y per row.")
    for name in targets.column_names:
        if name in table.column_names:
            raise BadInput("is in X and in y", column=name, remedy="Rename one of them.")
        table = table.append_column(name, targets[name])
    return Given(table, targets.column_names[-1])


def as_table(data: Any, *, prefix: str = "x") -> pa.Table:
    """An Arrow table of one object."""
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return from_pandas(data)
    if hasattr(data, "__arrow_c_stream__"):
        return checked(lambda: pa.table(data), data)
    if isinstance(data, Mapping):
        return from_columns(dict(data))
    if hasattr(data, "__dataframe__"):
        return checked(lambda: pa.interchange.from_dataframe(data), data)
    if hasattr(data, "tocoo") and hasattr(data, "toarray"):
        raise BadInput("sparse matrices are not supported", remedy="Use X.toarray() if it fits memory.")
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)) and all(isinstance(r, Mapping) for r in data):
        keys = list(dict.fromkeys(key for row in data for key in row))
        return from_columns({key: [row.get(key) for row in data] for key in keys})
    if hasattr(data, "__array__") or (isinstance(data, Sequence) and not isinstance(data, (str, bytes))):
        return from_array(np_or_list(data), prefix)
    raise BadInput(f"cannot read rows from {kind_name(data)}", remedy=REMEDY)


def checked(make: Any, data: Any) -> pa.Table:
    """The table made, or what is wrong with it as BadInput."""
    try:
        return make()
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise BadInput(
            f"{kind_name(data)} cannot be read: {printable(str(error), limit=160)}", remedy=REMEDY
        ) from error


def from_pandas(frame: Any) -> pa.Table:
    """A pandas table, column by column, so that one of mixed types harms no other."""
    names = [str(name) for name in frame.columns]
    clean_names(names, None)
    return pa.table([column(frame.iloc[:, i], name) for i, name in enumerate(names)], names=names)


def from_columns(columns: Mapping[Any, Any]) -> pa.Table:
    """A dictionary of columns of one length."""
    made: dict[str, Any] = {}
    for key, values in columns.items():
        if isinstance(values, (str, bytes)) or not (hasattr(values, "__len__") or hasattr(values, "__array__")):
            raise BadInput("is no column of values", column=str(key), value=values, remedy=REMEDY)
        array = np_or_list(values)
        if isinstance(array, np.ndarray) and array.ndim == 2:
            made.update({f"{key}.{i}": column(array[:, i], str(key)) for i in range(array.shape[1])})
        else:
            made[str(key)] = column(array, str(key))
    lengths = {name: len(values) for name, values in made.items()}
    if len(set(lengths.values())) > 1:
        a, b = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise BadInput(
            f"{lengths[a]:,} values, but column {b!r} has {lengths[b]:,}", column=a, remedy="Make them equal."
        )
    return pa.table(made) if made else pa.table({})


def np_or_list(data: Any) -> Any:
    """A numpy array where the data are one, else what was given."""
    if isinstance(data, (np.ndarray, pa.Array, pa.ChunkedArray)) or hasattr(data, "iloc"):
        return data
    if hasattr(data, "__array__"):
        return np.asarray(data)
    return data


def from_array(data: Any, prefix: str) -> pa.Table:
    """An array: [N, D] as columns x0, x1, ...; [N, H, W] or [N, H, W, C] as pictures; [N] as one column."""
    if not isinstance(data, np.ndarray):
        try:
            data = np.asarray(data)
        except ValueError as error:
            raise BadInput(f"rows of different lengths: {error}", remedy=REMEDY) from error
    if data.dtype.names:
        return from_columns({name: data[name] for name in data.dtype.names})
    if data.ndim == 0:
        raise BadInput("is a single value, not a table", value=data.tolist(), remedy=REMEDY)
    if data.ndim == 1:
        return pa.table({prefix: column(data, prefix)})
    if data.ndim == 2:
        if data.shape[1] > MOST_COLUMNS:
            raise BadInput(f"the array has {data.shape[1]:,} columns; at most {MOST_COLUMNS:,} can be handled")
        return pa.table({f"{prefix}{i}": column(data[:, i], f"{prefix}{i}") for i in range(data.shape[1])})
    if data.ndim in (3, 4) and data.dtype.kind in "uif" and data.size:
        pictures = np.ascontiguousarray(data)
        return pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(pictures)})
    raise BadInput(f"an array of shape {data.shape} and type {data.dtype} is no table", remedy=REMEDY)


def column(values: Any, name: str) -> pa.Array | pa.ChunkedArray:
    """One column. Values that do not agree on a type become strings. Raises BadInput for complex numbers."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if getattr(getattr(values, "dtype", None), "kind", "") == "c":
        raise BadInput("complex numbers are not supported", column=name, remedy="Give real and imaginary parts.")
    try:
        made = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        made = pa.array([None if missing(v) else text(v) for v in values], pa.string())
    return made


def missing(value: Any) -> bool:
    """None, NaN, NaT and pandas' NA."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def text(value: Any) -> str:
    """Any value as text that can be written as UTF-8."""
    return str(value).encode("utf-8", "replace").decode()
