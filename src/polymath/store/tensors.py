"""Named numpy tensors <-> canonical safetensors bytes.

The same tensors give the same bytes on any machine (order: widest type first, then name; no optional blanks but the
alignment), so equal layers share one object. Reading trusts nothing: a name given twice, overlapping or missing
bytes and shapes that do not match their bytes are refused. A name never becomes a path. Other tools read the files.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..spec import canonical, loads

MAX_HEADER_BYTES = 16 << 20
MAX_AXES = 16
TYPES = {
    "F64": "<f8",
    "I64": "<i8",
    "U64": "<u8",
    "F32": "<f4",
    "I32": "<i4",
    "U32": "<u4",
    "F16": "<f2",
    "I16": "<i2",
    "U16": "<u2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
    "C64": "<c8",
}
NAMES = {np.dtype(code): name for name, code in TYPES.items()}


def encode(tensors: Mapping[str, np.ndarray[Any, Any]], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """The bytes of a safetensors file in chunks (header, then tensors without a copy where memory allows).

    Raises ValueError for a type that safetensors or numpy cannot hold, or for metadata that is not text.
    """
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    header: dict[str, Any] = {}
    if metadata:
        if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
            raise ValueError("Metadata of tensors is text by name.")
        header["__metadata__"] = dict(metadata)
    chunks: list[bytes | memoryview] = []
    start = 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        array = arrays[name]
        little = array.dtype.newbyteorder("<")
        if not isinstance(name, str) or not name or name == "__metadata__":
            raise ValueError(f"{name!r} cannot name a tensor.")
        if little not in NAMES:
            raise ValueError(f"Tensor {name!r} has type {array.dtype}, which a store does not hold.")
        data = np.ascontiguousarray(array, dtype=little)
        header[name] = {
            "dtype": NAMES[little],
            "shape": list(array.shape),
            "data_offsets": [start, start + data.nbytes],
        }
        start += data.nbytes
        if data.nbytes:
            chunks.append(data.reshape(-1).view(np.uint8).data)
    text = canonical(header).encode()
    text += b" " * (-len(text) % 8)
    return [struct.pack("<Q", len(text)) + text, *chunks]


def decode(data: bytearray, *, finite: bool = False) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors in `data`, writable views of it, in the order of their names. Raises ValueError.

    `finite=True` also refuses NaN and infinity, as whoever serves a foreign model should.
    """
    header, body = _header(data)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("The metadata of the tensors is not text.")
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    spans = []
    for name in sorted(header):
        dtype, shape, start, end = _entry(name, header[name])
        count = math.prod(shape)
        if end - start != count * dtype.itemsize or end > len(data) - body:
            raise ValueError(f"Tensor {name!r} does not have as many bytes as its shape says.")
        spans.append((start, end))
        array = np.frombuffer(data, dtype=dtype, count=count, offset=body + start) if count else np.empty(0, dtype)
        array = array.reshape(shape)
        if finite and dtype.kind in "fc" and not np.isfinite(array).all():
            raise ValueError(f"Tensor {name!r} holds NaN or infinity.")
        tensors[name] = array if array.flags.aligned else array.copy()
    position = 0
    for start, end in sorted(spans):
        if start != position:
            raise ValueError("The bytes of the tensors overlap or leave a hole.")
        position = end
    if position != len(data) - body:
        raise ValueError("There are bytes behind the last tensor.")
    return tensors


def _header(data: bytearray) -> tuple[dict[str, Any], int]:
    if len(data) < 8:
        raise ValueError("Too short for tensors.")
    (length,) = struct.unpack_from("<Q", data)
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError("The header of the tensors is longer than the file or than 16 MiB.")
    try:
        header = loads(bytes(data[8 : 8 + length]).decode())
    except RecursionError:
        raise ValueError("The header of the tensors is nested too deeply.") from None
    if not isinstance(header, dict):
        raise ValueError("The header of the tensors is not a JSON object.")
    return header, 8 + length


def _entry(name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if not name or not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"The header entry {name!r} does not describe a tensor.")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in TYPES:
        raise ValueError(f"Tensor {name!r} has the type {entry['dtype']!r}, which a store does not hold.")
    shape, span = entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or len(shape) > MAX_AXES or not isinstance(span, list) or len(span) != 2:
        raise ValueError(f"Tensor {name!r} has no sane shape.")
    if not all(type(number) is int and 0 <= number < 1 << 48 for number in [*shape, *span]) or span[1] < span[0]:
        raise ValueError(f"Tensor {name!r} has no sane shape.")
    # numpy multiplies the axes with zero left out, so a shape such as [0, 2^48, 2^48] would overflow in it.
    if math.prod(size for size in shape if size) >= 1 << 48:
        raise ValueError(f"Tensor {name!r} has no sane shape.")
    return np.dtype(TYPES[entry["dtype"]]), tuple(shape), span[0], span[1]
