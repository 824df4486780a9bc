"""New rows beside the rows of a dataset that was built before, by the same measure: what was learned fits both."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..spec import canonical, sha256
from .dataset import TEST, UNUSED, ArrayFiles, Dataset, write_note
from .problem import Problem

CHUNK_BYTES = 1 << 24
"""Of arrays that are copied or compared at a time."""
REPEATED = "was among the rows learned before"
"""Reason for which a new row is not used."""


def joined(old: Dataset, new: Dataset, folder: str | Path) -> Dataset:
    """The dataset of all rows of `old`, then all of `new`, in the cache `folder`; written now or found there.

    The problem is that of `new`: the one of `old`, perhaps with more classes at the end of an output. Old rows keep
    their folds. A new row that equals an old one is not used; one with the same inputs gets the old one's fold, so that
    no row tests or validates what was learned from its twin.
    """
    folder, problem = Path(folder), new.problem
    digest = sha256(canonical(["joined", old.digest, new.digest]).encode())
    final = folder / digest
    if not (final / "dataset.json").exists():
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
        try:
            _write(draft, digest, old, new, problem)
            draft.rename(final)
        except OSError:
            if not (final / "dataset.json").exists():  # else another process was first, with the same content
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return Dataset.open(final)


def _write(draft: Path, digest: str, old: Dataset, new: Dataset, problem: Problem) -> None:
    folds, repeated = _folds(old, new)
    arrays = {f"input {port}": (old.inputs[port], new.inputs[port]) for port in new.inputs}
    for output in problem.outputs:
        before = old.targets[output.name]
        if before.ndim == 2 and before.shape[1] < output.head_width:  # labels that are new: known to be absent
            before = np.pad(before, ((0, 0), (0, output.head_width - before.shape[1])))
            before[(before == 255).any(1)] = 255
        arrays[f"target {output.name}"] = (before, new.targets[output.name])
    if new.weights is not None and old.weights is not None:
        arrays["weights"] = (old.weights, new.weights)
    files = {name: f"{name.split()[0]}_{place}.npy" for place, name in enumerate((*arrays, "folds"))}
    with ArrayFiles(len(folds), lambda name: draft / files[name]) as writing:
        for name, parts in arrays.items():
            for part in parts:
                for start, stop in _chunks(part):
                    writing.append(name, np.asarray(part[start:stop]))
    np.save(draft / files["folds"], folds)
    (draft / "problem.json").write_text(problem.to_json(), encoding="utf-8")
    counts = {**new.unused_counts, **({REPEATED: repeated} if repeated else {})}
    described = {
        "format": 1,
        "digest": digest,
        "arrays": files,
        "unused": [vars(one) for one in new.unused],
        "unused_counts": counts,
        "value_counts": dict(new.value_counts),
    }
    write_note(draft / "dataset.json", described)


def _folds(old: Dataset, new: Dataset) -> tuple[np.ndarray, int]:
    """Folds of all rows, and how many of the new ones were there before."""
    before, after = _marks(old.inputs), _marks(new.inputs)
    order = np.argsort(before, kind="stable")
    place = np.searchsorted(before[order], after).clip(max=max(len(before) - 1, 0))
    twin = order[place]
    alike = (before[twin] == after) & (old.folds[twin] >= TEST)
    told = _marks(old.inputs, old.targets), _marks(new.inputs, new.targets)
    repeated = np.isin(told[1], told[0]) & (new.folds != UNUSED)
    folds = np.where(alike & (new.folds != UNUSED), old.folds[twin], new.folds).astype(np.int8)
    folds[repeated] = UNUSED
    return np.concatenate([old.folds, folds]), int(repeated.sum())


def _marks(*parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """uint64 per row, equal for equal rows: a sum of its bytes, each times a random odd number (modulo 2**64)."""
    total: np.ndarray | None = None
    for part, arrays in enumerate(parts):
        for place, name in enumerate(sorted(arrays)):
            array = arrays[name]
            width = int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize
            factors = np.random.Generator(np.random.Philox(key=(part << 32) + place)).integers(
                1 << 63, size=width, dtype=np.uint64
            )
            factors = factors * np.uint64(2) + np.uint64(1)
            mark = np.empty(len(array), dtype=np.uint64)
            for start, stop in _chunks(array, share=8):
                rows = np.ascontiguousarray(array[start:stop]).reshape(stop - start, -1).view(np.uint8)
                mark[start:stop] = (rows.astype(np.uint64) * factors).sum(1, dtype=np.uint64)
            total = mark if total is None else total + mark
    assert total is not None
    return total


def _chunks(array: np.ndarray, *, share: int = 1) -> Iterator[tuple[int, int]]:
    each = max(1, int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize)
    step = max(1, CHUNK_BYTES // share // each)
    for start in range(0, len(array), step):
        yield start, min(start + step, len(array))


__all__ = ["REPEATED", "joined"]
