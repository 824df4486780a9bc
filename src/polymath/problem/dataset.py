"""A dataset: the rows of one problem as arrays on disk, encoded once, memory-mapped, ready to be drawn in batches.

It lives in a cache folder, never in a store. Two kinds of things are kept there:

    <folder>/encoded/<key>.npy, .json   one slow feature (pictures) of all rows, whatever the folds
    <folder>/<digest>/                  one dataset: dataset.json, problem.json, folds.npy, input_*.npy, target_*.npy

Everything is written under another name first and renamed when it is whole, so what exists can be trusted.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from ..spec import BadInput, canonical, loads, sha256
from .features import BadValue, Encoded, Feature, parse_feature
from .features._pictures import image_hashes
from .form import Form
from .likeness import index_type
from .problem import CHUNK, ROW, Problem
from .sources.eviction import Entry, evict, folders, used
from .sources.rows import MOST_UNUSED, Rows, Unused
from .sources.spill import give_back

FORMAT = 1
TEST = -1
USUAL_VALUES, LEAST_ROWS = 1 << 23, 256
"""Of pictures that are encoded at a time: 8 MB of bytes, and of large ones at least so many."""
MOST_VALUES = LEAST_ROWS * 3 * 1024 * 1024
"""Of so many very large ones at most: 0.8 GB of bytes."""
UNUSED = -2
"""Fold of a row that could not be used: it has its place in the arrays, and is in no part."""


@dataclass(frozen=True)
class Dataset:
    """Rows as arrays; every array has one entry per row of the source, so row numbers are indices."""

    folder: Path
    digest: str
    problem: Problem
    """Measured on all rows that are not for testing, validation rows too: only scales and vocabularies come from it,
    and one measure for all folds lets the arrays be written once."""
    inputs: dict[str, np.ndarray]
    """By port; answers that a path may read while it trains are among them."""
    targets: dict[str, np.ndarray]
    folds: np.ndarray
    """int8 [N]: 0..k-1 = fold, -1 = test, -2 = not usable."""
    weights: np.ndarray | None
    """float32 [N], mean 1 over the rows measured; None: all rows count the same."""
    unused: tuple[Unused, ...] = ()
    """The first thousand rows (column None) and values (counted as missing) that could not be used."""
    unused_counts: dict[str, int] = field(default_factory=dict)
    """Reason -> rows that could not be used, complete."""
    value_counts: dict[str, int] = field(default_factory=dict)
    """Reason -> values that count as missing, complete."""

    @property
    def num_folds(self) -> int:
        return int(self.folds.max()) + 1

    @property
    def rows(self) -> np.ndarray:
        """Row number in the source of every entry, int64 [N]."""
        return np.arange(len(self.folds), dtype=np.int64)

    def training(self, fold: int | None = None) -> np.ndarray:
        """Indices of the rows to train on when `fold` validates; None: all rows that are not for testing."""
        return np.flatnonzero((self.folds >= 0) & (self.folds != (UNUSED if fold is None else fold)))

    def validation(self, fold: int) -> np.ndarray:
        """Indices of the rows of a fold."""
        return np.flatnonzero(self.folds == fold)

    @property
    def test(self) -> np.ndarray:
        """Indices of the rows for testing."""
        return np.flatnonzero(self.folds == TEST)

    @classmethod
    def build(
        cls, rows: Rows, problem: Problem, folds: np.ndarray, folder: str | Path, *, measured: bool = False
    ) -> Dataset:
        """The dataset of raw `problem` in the cache `folder`, written now or found there. Raises BadInput.

        `measured`: the problem keeps the statistics that it has, so that what was learned with them fits the arrays.
        """
        folder, folds = Path(folder), np.asarray(folds, dtype=np.int8)
        assert len(folds) == len(rows), f"{len(folds)} folds for {len(rows)} rows"
        kept = ["measured"] if measured else []
        digest = sha256(canonical([identity(rows), problem.digest, sha256(folds.tobytes()), *kept]).encode())
        final = folder / digest
        if not used(final / "dataset.json"):
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
            give_back()
            try:
                _Writer(rows, folds, folder, draft).write(problem, digest, measured=measured)
                draft.rename(final)
            except OSError:
                if not (final / "dataset.json").exists():  # else another process was first, with the same content
                    raise
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            evict(_entries(folder))
        return cls.open(final)

    @classmethod
    def open(cls, folder: str | Path) -> Dataset:
        """A dataset that was built before; reads nothing but headers. Raises BadInput if there is none."""
        folder = Path(folder)
        try:
            described = loads((folder / "dataset.json").read_text(encoding="utf-8"))
            problem = Problem.from_json((folder / "problem.json").read_text(encoding="utf-8"))
            load = {name: np.load(folder / file, mmap_mode="r") for name, file in described["arrays"].items()}
        except OSError as error:
            raise BadInput(f"holds no dataset: {error}", file=folder, remedy="Run learn again to build it.") from None
        targets = {name.removeprefix("target "): load[name] for name in load if name.startswith("target ")}
        answers = {problem.answer_port(one): targets[one.name] for one in problem.outputs if one.shown is not None}
        inputs = {name.removeprefix("input "): load[name] for name in load if name.startswith("input ")}
        return cls(
            folder=folder,
            digest=described["digest"],
            problem=problem,
            inputs={**inputs, **answers},
            targets=targets,
            folds=np.array(load["folds"]),
            weights=np.array(load["weights"]) if "weights" in load else None,
            unused=tuple(Unused(**one) for one in described["unused"]),
            unused_counts=described["unused_counts"],
            value_counts=described["value_counts"],
        )


def identity(rows: Rows) -> str:
    """What makes two readings the same rows: content, selection, and the versions that turn them into arrays."""
    origins = rows.origins
    selection = [
        None if part is None else sha256(np.ascontiguousarray(part).tobytes())
        for part in (origins.file_index, origins.row_numbers)
    ]
    versions = [FORMAT, *(version(name) for name in ("numpy", "pillow", "pyarrow"))]
    return sha256(canonical([rows.fingerprint, len(rows), selection, versions]).encode())


def near_duplicates(rows: Rows, problem: Problem, folder: str | Path) -> dict[str, np.ndarray]:
    """Image feature -> uint64 per row; equal numbers = near-duplicates, 0 = no picture.

    Decodes the pictures into the cache `folder`, where `Dataset.build` finds them: each file is read once.
    """
    result = {}
    for feature in problem.inputs:
        if not feature.encoded_once:
            continue
        once = encoded_once(rows, feature, Path(folder))
        if once.feature.form.kind == "map":
            result[feature.name] = np.concatenate([image_hashes(part) for part in once.parts()])
    return result


@dataclass(frozen=True)
class EncodedOnce:
    """A slow feature of all rows: sized, as an array on disk, with what could not be used."""

    feature: Feature
    array: np.ndarray
    bad: tuple[BadValue, ...]
    file: Path

    def parts(self) -> Iterator[np.ndarray]:
        """The array in pieces, each a map of its own: pages count as memory for as long as their map is open."""
        step = chunk_rows(self.feature.form)
        for start in range(0, len(self.array), step):
            yield np.load(self.file, mmap_mode="r")[start : start + step]


def encoded_once(rows: Rows, feature: Feature, folder: Path) -> EncodedOnce:
    """The feature's array of all rows from the cache, or encoded into it chunk by chunk."""
    digest = sha256(canonical([identity(rows), feature.digest, feature.name]).encode())
    file, notes = folder / "encoded" / f"{digest}.npy", folder / "encoded" / f"{digest}.json"
    if not used(notes):
        file.parent.mkdir(parents=True, exist_ok=True)
        column = rows.table[feature.name]
        sized = feature.sized(column)
        draft = file.with_suffix(f".{uuid.uuid4().hex}.draft")
        bad = _encode_into(draft, column, sized)
        draft.rename(file)
        write_note(notes, {"feature": sized.model_dump(mode="json"), "bad": [vars(one) for one in bad]})
    described = loads(notes.read_text(encoding="utf-8"))
    bad_values = tuple(BadValue(**one) for one in described["bad"])
    return EncodedOnce(parse_feature(described["feature"]), np.load(file, mmap_mode="r"), bad_values, file)


def _encode_into(path: Path, column: pa.ChunkedArray, feature: Feature) -> list[BadValue]:
    bad: list[BadValue] = []
    with ArrayFiles(len(column), lambda _: path) as files:
        step = chunk_rows(feature.form)
        for start in range(0, len(column), step):
            encoded = feature.encode(column.slice(start, step))
            files.append(feature.name, encoded.array)
            bad += [_moved(one, start) for one in encoded.bad]
    return bad


def chunk_rows(*forms: Form) -> int:
    """Rows to encode at a time: fewer where pictures are large."""
    largest = max((math.prod((form.width, *form.size)) for form in forms if form.kind == "map"), default=1)
    return max(1, min(CHUNK, MOST_VALUES // largest, max(LEAST_ROWS, USUAL_VALUES // largest)))


class ArrayFiles:
    """Arrays of `rows` rows as .npy files that grow chunk by chunk.

    Pages of a memory map count as memory of this process for as long as it is open; what was written does not.
    """

    def __init__(self, rows: int, place: Callable[[str], Path]) -> None:
        """`place` gives the path of the file of a name."""
        self.rows, self.place = rows, place
        self.files: dict[str, BinaryIO] = {}
        self.types: dict[str, np.dtype[Any]] = {}

    def append(self, name: str, chunk: np.ndarray) -> None:
        """The next rows of an array; the first chunk settles its type and its other axes."""
        if name not in self.files:
            self.files[name] = self.place(name).open("wb")
            self.types[name] = chunk.dtype
            shape = (self.rows, *chunk.shape[1:])
            described = {"descr": dtype_to_descr(chunk.dtype), "fortran_order": False, "shape": shape}
            write_array_header_1_0(self.files[name], described)
        self.files[name].write(np.ascontiguousarray(chunk, dtype=self.types[name]).data)

    def __enter__(self) -> ArrayFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.files.values():
            file.close()


def _moved(value: BadValue, start: int) -> BadValue:
    return BadValue(value.row + start, value.value, value.reason, value.missing)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed a day ago or more had begun to write."""
    for draft in (*folder.glob(".draft-*"), *(folder / "encoded").glob("*.draft")):
        with contextlib.suppress(FileNotFoundError):  # another process sweeps too
            if time.time() - draft.stat().st_mtime > 86_400:
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink()


def _entries(folder: Path) -> list[Entry]:
    """Datasets and encoded features in the cache. A feature was used when any dataset that needs it was."""
    datasets = folders(folder, "dataset.json")
    last_used: dict[str, float] = {}
    for one in datasets:
        with contextlib.suppress(FileNotFoundError):
            for name in loads(one.note.read_text(encoding="utf-8"))["arrays"].values():
                last_used[Path(name).name] = max(one.last_used, last_used.get(Path(name).name, 0.0))
    encoded = []
    for note in (folder / "encoded").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            file = note.with_suffix(".npy")
            moment = max(note.stat().st_mtime, last_used.get(file.name, 0.0))
            encoded.append(Entry(note, (note, file), moment))
    return [*encoded, *datasets]  # of one moment the features come first: no dataset stays without them


def write_note(path: Path, data: Any) -> None:
    draft = path.with_suffix(f".{uuid.uuid4().hex}.draft")
    draft.write_text(canonical(data), encoding="utf-8")
    draft.replace(path)


class _Writer:
    """Writes one dataset into a draft folder, chunk by chunk, and counts what cannot be used."""

    def __init__(self, rows: Rows, folds: np.ndarray, folder: Path, draft: Path) -> None:
        self.rows, self.folds, self.folder, self.draft = rows, folds.copy(), folder, draft
        self.files: dict[str, str] = {}
        self.unused: list[Unused] = []
        self.row_counts: Counter[str] = Counter()
        self.value_counts: Counter[str] = Counter()

    def write(self, problem: Problem, digest: str, *, measured: bool) -> None:
        once = {f.name: encoded_once(self.rows, f, self.folder) for f in problem.inputs if f.encoded_once}
        sized = tuple(once[f.name].feature if f.name in once else f for f in problem.inputs)
        table = self.rows.table
        arrays = {name: one.array for name, one in once.items()}
        if not measured:
            learned = np.flatnonzero(self.folds >= 0).astype(index_type(len(self.folds)))
            problem = problem.replace(inputs=sized).measure(table, learned, encoded=arrays)
        self._write_inputs(problem, once)
        self._write_targets(problem)
        self._write_weights(problem)
        if not (self.folds >= 0).any():
            first = next(iter(self.row_counts), "no rows")
            raise BadInput(
                f"none of the {len(self.folds):,} rows can be used",
                file=self.rows.source,
                remedy=f"First reason: {first}.",
            )
        self._save("folds", self.folds)
        (self.draft / "problem.json").write_text(problem.to_json(), encoding="utf-8")
        described = {
            "format": FORMAT,
            "digest": digest,
            "arrays": self.files,
            "unused": [vars(one) for one in self.unused],
            "unused_counts": dict(self.row_counts),
            "value_counts": dict(self.value_counts),
        }
        write_note(self.draft / "dataset.json", described)

    def _write_inputs(self, problem: Problem, once: Mapping[str, EncodedOnce]) -> None:
        shared = {problem.port_of(f): once[f.name].file for f in problem.inputs if f.name in once}
        for port, file in shared.items():
            self.files[f"input {port}"] = f"../encoded/{file.name}"  # all datasets of these rows use the same file
        with ArrayFiles(len(self.rows), self._path) as files:
            for start in range(0, len(self.rows), CHUNK):
                table = self.rows.table.slice(start, CHUNK).select(list(problem.columns))
                encoded = {
                    feature.name: _part(once[feature.name], start)
                    if feature.name in once
                    else feature.encode(table[feature.name])
                    for feature in problem.inputs
                }
                joined = problem.join(table, encoded)
                for port, array in joined.arrays.items():
                    if port not in shared:
                        files.append(f"input {port}", array)
                self._count(joined.bad, joined.usable, start)
                for row in _nothing_to_read(problem, joined.arrays):
                    self._drop(start + row, ", ".join(problem.columns), "has no text to read")

    def _write_targets(self, problem: Problem) -> None:
        step = chunk_rows(*(feature.answer for feature in problem.outputs))
        with ArrayFiles(len(self.rows), self._path) as files:
            for start in range(0, len(self.rows), step):
                encoded = problem.encode_targets(self.rows.table.slice(start, step))
                nothing = np.ones(min(step, len(self.rows) - start), dtype=bool)
                for feature in problem.outputs:
                    array = encoded[feature.name].array
                    files.append(f"target {feature.name}", array)
                    nothing &= ~feature.known(array)
                bad = {name: one.bad for name, one in encoded.items() if one.bad}
                self._count(bad, np.ones_like(nothing), start)
                for row in np.flatnonzero(nothing):
                    self._drop(start + int(row), ", ".join(f.name for f in problem.outputs), "has no target")

    def _write_weights(self, problem: Problem) -> None:
        if (encoded := problem.encode_weights(self.rows.table)) is None:
            return
        for one in encoded.bad:
            self._drop(one.row, f"{problem.weights}: {one.value}", one.reason)
        used = encoded.array[self.folds >= 0]
        self._save("weights", encoded.array / np.float32(used.mean() if len(used) and used.mean() > 0 else 1.0))

    def _count(self, bad: Mapping[str, tuple[BadValue, ...]], usable: np.ndarray, start: int) -> None:
        for column, values in bad.items():
            for one in values:
                if usable[one.row]:
                    self.value_counts[one.reason] += 1
                    self._note(one.row + start, column, one.value, one.reason)
                elif not one.missing:
                    self._drop(one.row + start, one.value, one.reason)

    def _drop(self, row: int, value: str, reason: str) -> None:
        if self.folds[row] == UNUSED:
            return  # counted before, for another reason
        self.folds[row] = UNUSED
        self.row_counts[reason] += 1
        self._note(row, None, value, reason)

    def _note(self, row: int, column: str | None, value: str, reason: str) -> None:
        if len(self.unused) < MOST_UNUSED:
            file, number = self.rows.origin(row)
            self.unused.append(Unused(file, number, column, value, reason))

    def _save(self, name: str, array: np.ndarray) -> None:
        np.save(self._path(name), array)

    def _path(self, name: str) -> Path:
        # Numbered: names of columns may hold anything, names of files may not.
        self.files[name] = f"{name.split()[0]}_{len(self.files)}.npy"
        return self.draft / self.files[name]


def _nothing_to_read(problem: Problem, arrays: Mapping[str, np.ndarray]) -> list[int]:
    """Rows whose texts are all empty, where texts alone are read and written: they would teach to say anything."""
    written = any(output.answer.kind == "tokens" for output in problem.outputs)
    if not written or not all(form.vocabulary for form in problem.ports.values()):
        return []
    found = [(array != 0).any(axis=1) for array in arrays.values()]
    return [int(row) for row in np.flatnonzero(~np.any(found, axis=0))]


def _part(once: EncodedOnce, start: int) -> Encoded:
    bad = tuple(_moved(one, -start) for one in once.bad if start <= one.row < start + CHUNK)
    return Encoded(once.array[start : start + CHUNK], bad)


__all__ = ["ROW", "TEST", "UNUSED", "Dataset", "identity", "near_duplicates"]
