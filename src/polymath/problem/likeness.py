"""Which rows are alike: the same inputs, pictures that look the same, texts that differ in spacing and case only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .sources.rows import Rows

LONG_TEXT_CHARACTERS = 40
"""Texts at least this long that are the same are the same example, whatever else their rows hold."""


def groups(rows: Rows, *, inputs: Sequence[str], hashes: Mapping[str, np.ndarray], most: int) -> np.ndarray:
    """Group of each row, int64 [N]: rows with alike inputs share one.

    A group of more than `most` rows is no accident (few different inputs, blank pictures): its rows stay single.
    """
    labels: list[np.ndarray] = []
    whole = np.zeros(len(rows), dtype=np.uint64)
    for name in inputs:
        content = hashes[name] if name in hashes else hash_column(rows, name)
        whole = mixed(whole ^ content)
        if name in hashes or is_long_text(rows, name):
            labels.append(limited(content, most, nothing=name in hashes))
    labels.append(limited(whole, most) if inputs else np.arange(len(rows)))
    return joined(labels)


def limited(content: np.ndarray, most: int, *, nothing: bool = False) -> np.ndarray:
    """Codes of equal values; rows of values that come more than `most` times get codes of their own.

    With `nothing`, 0 stands for a value that is not there and is like no other.
    """
    _, codes, counts = np.unique(content, return_inverse=True, return_counts=True)
    large = counts[codes] > most
    if nothing:
        large |= content == 0
    codes[large] = len(counts) + np.flatnonzero(large)
    return codes


def joined(labels: Sequence[np.ndarray]) -> np.ndarray:
    """Groups such that rows that share a code in any of `labels` are in one group."""
    if len(labels) == 1:
        return labels[0]
    num_rows, offset = len(labels[0]), len(labels[0])
    ends = []
    for codes in labels:
        ends.append(codes + offset)
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
    return codes


def names_order(column: pa.ChunkedArray) -> np.ndarray:
    """Code of each row's value in the order of the values' text, -1 = missing: the same whatever the order of rows."""
    encoded = column.combine_chunks().dictionary_encode()
    names = [str(value) for value in encoded.dictionary.to_pylist()]
    ranks = np.empty(len(names) + 1, dtype=np.int64)
    ranks[np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)] = np.arange(len(names))
    ranks[-1] = -1
    return ranks[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


def ranks_of_text(column: pa.ChunkedArray) -> np.ndarray:
    """Rank of each text in the alphabet as float64, NaN = missing; so ISO dates are in order."""
    ranks = names_order(column).astype(np.float64)
    ranks[ranks < 0] = np.nan
    return ranks


def order_keys(rows: Rows, *, inputs: Sequence[str], hashes: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """A pseudo-random key for each row from its content and the seed, uint64 [N]."""
    keys = np.full(len(rows), np.uint64(seed % 2**64), dtype=np.uint64)
    keys = mixed(keys)
    for name in inputs:
        keys = mixed(keys ^ (hashes[name] if name in hashes else hash_column(rows, name)))
    # Rows with equal content: any order will do, but it must be one.
    order = np.argsort(keys, kind="stable")
    again = np.r_[False, keys[order][1:] == keys[order][:-1]]
    run = np.arange(len(keys)) - np.maximum.accumulate(np.where(again, 0, np.arange(len(keys))))
    result = keys.copy()
    result[order] = mixed(keys[order] + run.astype(np.uint64))
    return result


def hash_column(rows: Rows, name: str) -> np.ndarray:
    """Hash of each value, uint64 [N]. Texts: of their letters and digits, so that spacing and case do not matter."""
    column = rows.table[name]
    if name in rows.file_columns:
        return hash_texts(relative(column.combine_chunks()))
    if pa.types.is_boolean(column.type) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = pc.cast(column, pa.float64(), safe=False).to_numpy() + 0.0  # -0.0 is 0.0
        numbers = np.where(np.isnan(numbers), np.nan, numbers)
        return mixed(np.ascontiguousarray(numbers).view(np.uint64))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return hash_texts(column.combine_chunks(), plain=True)
    return hash_texts(pa.array([None if v is None else repr(v) for v in column.to_pylist()], pa.string()))


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
    return table[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


def is_long_text(rows: Rows, name: str) -> bool:
    """Whether a column holds texts long enough to be one of a kind."""
    column = rows.table[name]
    if name in rows.file_columns or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    return (pc.mean(pc.utf8_length(column)).as_py() or 0) >= LONG_TEXT_CHARACTERS


def mixed(bits: np.ndarray) -> np.ndarray:
    """Well mixed bits (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = bits + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)
