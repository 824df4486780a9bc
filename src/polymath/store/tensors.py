"""Named numpy tensors <-> safetensors bytes.

The library writes tensors in one order and without a date, so equal layers give equal bytes and share one object. It
reads safely but, by its format's design, takes a name given twice (the last one wins, elsewhere perhaps the first) and
NaN weights: both are refused here. A name never becomes a path.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ..spec import loads

TYPES = frozenset(
    [
        "float64",
        "int64",
        "uint64",
        "float32",
        "int32",
        "uint32",
        "float16",
        "int16",
        "uint16",
        "int8",
        "uint8",
        "bool",
        "complex64",
    ]
)
MAX_AXES = 16


def encode(tensors: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The bytes of a safetensors file. Raises ValueError for a name or type that a store does not hold."""
    little: dict[str, np.ndarray[Any, Any]] = {}
    for name, array in tensors.items():
        if not isinstance(name, str) or not name or name == "__metadata__":
            raise ValueError(f"{name!r} cannot name a tensor.")
        if np.asarray(array).dtype.name not in TYPES:
            raise ValueError(f"Tensor {name!r} has type {np.asarray(array).dtype}, which a store does not hold.")
        little[name] = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C", copy=None)
    return safetensors.numpy.save(little)


def decode(data: bytes | bytearray, *, finite: bool = False) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors in `data`, the caller's own, by name in order. Raises ValueError.

    `finite=True` also refuses NaN and infinity, as whoever serves a foreign model should.
    """
    _check_header(data)
    try:
        found = safetensors.numpy.load(bytes(data))
    except (SafetensorError, KeyError, TypeError, OverflowError, ValueError) as error:
        raise ValueError(f"These are no tensors: {error}.") from error
    tensors = {name: np.array(found[name]) for name in sorted(found)}
    for name, array in tensors.items():
        if finite and array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise ValueError(f"Tensor {name!r} holds NaN or infinity.")
    return tensors


def _check_header(data: bytes | bytearray) -> None:
    """What the library lets through: a key given twice, and shapes that numpy cannot multiply."""
    if len(data) < 8:
        raise ValueError("Too short for tensors.")
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data) - 8:
        raise ValueError("The header of the tensors is longer than the file.")
    try:
        header = loads(bytes(data[8 : 8 + length]).decode())
    except RecursionError:
        raise ValueError("The header of the tensors is nested too deeply.") from None
    if not isinstance(header, dict):
        raise ValueError("The header of the tensors is not a JSON object.")
    for name, entry in header.items():
        if name != "__metadata__" and isinstance(entry, dict) and set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"The header entry {name!r} does not describe a tensor.")
        shape = entry.get("shape", ()) if isinstance(entry, dict) else ()
        if not isinstance(shape, (list, tuple)) or not name or len(shape) > MAX_AXES:
            raise ValueError(f"Tensor {name!r} has no sane shape.")
        if any(not isinstance(n, int) or n >= 1 << 48 for n in shape):
            raise ValueError(f"Tensor {name!r} has no sane shape.")
