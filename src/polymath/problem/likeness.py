"""Which rows are alike: the same inputs, pictures that look the same, texts that differ in spacing and case only."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .problem import CHUNK
from .sources.rows import Rows

MOST_TEXT_BYTES = 1_000_000
LONG_TEXT_CHARACTERS = 40
"""Texts at least this long that are the same are the same example, whatever else their rows hold."""


@dataclass(frozen=True)
class Likeness:
    """What the rows hold, as hashes: `whole` [N] of all inputs, `parts` each [N] enough to be alike by itself."""

    whole: np.ndarray
    parts: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, rows: Rows, *, inputs: Sequence[str], hashes: Mapping[str, np.ndarray]) -> Likeness:
        """`hashes`: column -> uint64 [N], equal where values look alike, 0 = no value; taken for the values."""
        whole = np.zeros(len(rows), dtype=np.uint64)
        parts = []
        for name in inputs:
            content = hashes[name] if name in hashes else hash_column(rows, name)
            whole ^= content
            whole = mixed(whole)
            if name in hashes or is_long_text(rows, name):
                parts.append(content)
        return cls(whole, tuple(parts))

    def groups(self, most: int) -> np.ndarray:
        """Group of each row, whole numbers [N]: alike rows share one.

        A group of more than `most` rows is no accident (few different inputs, blank pictures): its rows stay single.
        """
        same = limited(self.whole, most)
        if not self.parts:
            return same
        alike = joined([*(limited(part, most, nothing=True) for part in self.parts), same])
        chained = np.bincount(alike)[alike] > most  # a is like b is like c ...: only what is the same counts
        return np.where(chained, alike.max(initial=0) + 1 + same, alike)

    def keys(self, rows: Rows, *, outputs: Sequence[str], seed: int) -> np.ndarray:
        """A pseudo-random key for each row from its content and the seed, uint64 [N]."""
        keys = mixed(self.whole ^ mixed(np.full(1, seed % 2**64, dtype=np.uint64)))
        for name in outputs:
            keys = mixed(keys ^ hash_column(rows, name))
        # Rows with equal content: any order will do, but it must be one.
        order = np.argsort(keys, kind="stable")
        again = ~first_of_run(keys[order])
        result = mixed(keys)
        if again.any():
            places = np.arange(len(keys), dtype=index_type(len(keys)))
            run = places - np.maximum.accumulate(np.where(again, 0, places))
            twins = order[again]
            result[twins] = mixed(keys[twins] + run[again].astype(np.uint64))
        return result


def limited(content: np.ndarray, most: int, *, nothing: bool = False) -> np.ndarray:
    """Codes of equal values; rows of values that come more than `most` times get codes of their own.

    With `nothing`, 0 stands for a value that is not there and is like no other.
    """
    order = np.argsort(content, kind="stable")
    first = first_of_run(content[order])
    ordered = np.cumsum(first, dtype=index_type(len(content))) - 1
    codes = np.empty_like(ordered)
    codes[order] = ordered
    if first.all() and most >= 1 and not nothing:  # every value is there once: the arrays below would be as long
        return codes
    counts = np.bincount(ordered)
    large = counts[codes] > most
    if nothing:
        large |= content == 0
    codes[large] = len(counts) + np.flatnonzero(large)
    return codes


def first_of_run(values: np.ndarray) -> np.ndarray:
    """Where a value differs from the one before it, bool [N]; the first one does."""
    first = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first


def index_type(rows: int) -> type[np.signedinteger[Any]]:
    """Whole numbers for up to twice as many rows: half the memory unless there are very many."""
    return np.int32 if rows < 1 << 29 else np.int64


def joined(labels: Sequence[np.ndarray]) -> np.ndarray:
    """Groups such that rows that share a code in any of `labels` are in one group."""
    from scipy.sparse import coo_array  # a prediction, which loads this file, needs none of it
    from scipy.sparse.csgraph import connected_components

    if len(labels) == 1:
        return labels[0]
    num_rows, offset = len(labels[0]), len(labels[0])
    ends = []
    for codes in labels:
        ends.append(codes.astype(np.int64) + offset)
        offset += int(codes.max(initial=0)) + 1
    begins = np.tile(np.arange(num_rows), len(labels))
    graph = coo_array((np.ones(len(begins), dtype=np.int8), (begins, np.concatenate(ends))), shape=(offset, offset))
    return np.asarray(connected_components(graph, directed=False)[1][:num_rows], dtype=np.int64)


def codes_of(column: pa.ChunkedArray) -> np.ndarray:
    """Code of each row's value; a missing value is a value of its own in each row."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    missing = codes < 0
    codes[missing] = len(encoded.dictionary) + np.arange(missing.sum())
    return np.asarray(codes)


def names_order(column: pa.ChunkedArray) -> np.ndarray:
    """Code of each row's value in the order of the values' text, -1 = missing: the same whatever the order of rows."""
    encoded = column.combine_chunks().dictionary_encode()
    names = [str(value) for value in encoded.dictionary.to_pylist()]
    ranks = np.empty(len(names) + 1, dtype=np.int64)
    ranks[np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)] = np.arange(len(names))
    ranks[-1] = -1
    return np.asarray(ranks[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)])


def ranks_of_text(column: pa.ChunkedArray) -> np.ndarray:
    """Rank of each text in the alphabet as float64, NaN = missing; so ISO dates are in order."""
    ranks = names_order(column).astype(np.float64)
    ranks[ranks < 0] = np.nan
    return ranks


def hash_column(rows: Rows, name: str) -> np.ndarray:
    """Hash of each value, uint64 [N]; 0 = missing. Texts: of letters and digits, so spacing and case do not matter."""
    column = rows.table[name]
    if rows.file_columns.get(name) == "text":
        return hash_files(column.to_pylist())
    if name in rows.file_columns:
        return hash_texts(relative(column.combine_chunks()))
    hashed = np.empty(len(column), dtype=np.uint64)
    for start in range(0, len(column), CHUNK):
        hashed[start : start + CHUNK] = hash_values(column.slice(start, CHUNK))
    return hashed


def hash_values(column: pa.ChunkedArray) -> np.ndarray:
    """Hash of each value of a piece of a column."""
    kind = column.type
    if pa.types.is_temporal(kind):
        column = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
    if pa.types.is_boolean(kind) or pa.types.is_integer(column.type) or pa.types.is_floating(kind):
        numbers = pc.cast(column, pa.float64(), safe=False).to_numpy()
        numbers = np.ascontiguousarray(numbers + 0.0)  # -0.0 is 0.0
        hashed = mixed(numbers.view(np.uint64))
        hashed[np.isnan(numbers)] = 0
        return hashed
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return hash_texts(column.combine_chunks(), plain=True)
    return hash_texts(pa.array([None if v is None else repr(v) for v in column.to_pylist()], pa.string()))


def hash_files(paths: Sequence[str | None]) -> np.ndarray:
    """Hash of the letters and digits of text files; of what cannot be read, 0."""

    def one(path: str | None) -> int:
        if path is None:
            return 0
        try:
            with open(path, "rb") as file:
                words = re.sub(rb"[^0-9a-z\x80-\xff]+", b" ", file.read(MOST_TEXT_BYTES).lower()).strip()
        except OSError:
            return 0
        return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little")

    return np.array([one(path) for path in paths], dtype=np.uint64)


def relative(paths: pa.Array) -> pa.Array:
    """Paths without what they all begin with, so that a folder that was moved is split alike."""
    known = [path for path in paths.to_pylist() if path is not None]
    start = len(os.path.commonpath(known)) if len(known) > 1 else 0
    return pc.utf8_slice_codeunits(paths, start)


def hash_texts(texts: pa.Array, *, plain: bool = False) -> np.ndarray:
    """Hash of each text, uint64 [N]; each distinct one is hashed once."""
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary
    if plain:
        letters = pc.replace_substring_regex(pc.utf8_lower(distinct), r"[^\pL\pN]+", " ")
        letters = pc.utf8_trim_whitespace(letters)
        distinct = pc.if_else(pc.equal(letters, ""), distinct, letters)
    hashed = [
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        for text in distinct.to_pylist()
    ]
    table = np.array([*hashed, 0], dtype=np.uint64)
    return np.asarray(table[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)])


def is_long_text(rows: Rows, name: str) -> bool:
    """Whether a column holds texts long enough to be one of a kind."""
    column = rows.table[name]
    if name in rows.file_columns:
        return rows.file_columns[name] == "text"
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    return (pc.mean(pc.utf8_length(column)).as_py() or 0) >= LONG_TEXT_CHARACTERS


def mixed(bits: np.ndarray) -> np.ndarray:
    """Well mixed bits (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = np.asarray(bits + np.uint64(0x9E3779B97F4A7C15))
        shifted = z >> np.uint64(30)
        z ^= shifted
        z *= np.uint64(0xBF58476D1CE4E5B9)
        np.right_shift(z, np.uint64(27), out=shifted)
        z ^= shifted
        z *= np.uint64(0x94D049BB133111EB)
        np.right_shift(z, np.uint64(31), out=shifted)
        z ^= shifted
        return z
