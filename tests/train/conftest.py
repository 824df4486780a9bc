"""Datasets written straight to disk, small and made by formula, so that the train room is tested without sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polymath.problem import Category, Dataset, Number, Problem
from polymath.spec import canonical, sha256
from polymath.train import Context

FOLDS = 4


def write_dataset(folder: Path, problem: Problem, arrays: dict[str, np.ndarray], folds: np.ndarray) -> Dataset:
    """A dataset of a measured problem from arrays named `input PORT` and `target OUTPUT`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for place, (name, array) in enumerate({**arrays, "folds": folds.astype(np.int8)}.items()):
        files[name] = f"{place}.npy"
        np.save(folder / files[name], array)
    (folder / "problem.json").write_text(problem.to_json())
    described = {
        "format": 1,
        "digest": sha256(str(folder).encode()),
        "arrays": files,
        "unused": [],
        "unused_counts": {},
        "value_counts": {},
    }
    (folder / "dataset.json").write_text(canonical(described))
    return Dataset.open(folder)


def write_table(folder: Path, columns: dict[str, list], inputs: Sequence, outputs: Sequence) -> Dataset:
    """A dataset of a table; every fifth row is for testing, the others are dealt to the folds in turn."""
    table = pa.table(columns)
    rows = np.arange(table.num_rows)
    folds = np.where(rows % 5 == 4, -1, rows % FOLDS)
    problem = Problem(name="made", inputs=tuple(inputs), outputs=tuple(outputs))
    problem = problem.measure(table, np.flatnonzero(folds >= 0))
    arrays = {f"input {port}": array for port, array in problem.encode_inputs(table).arrays.items()}
    arrays |= {f"target {name}": encoded.array for name, encoded in problem.encode_targets(table).items()}
    return write_dataset(folder, problem, arrays, folds)


@pytest.fixture(scope="session")
def mixed_table(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """400 rows: numbers with gaps and a category in, a class of three and a number with gaps out."""
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 3))
    kind = random.integers(0, 4, 400)
    total = x[:, 0] + x[:, 1] * (kind == 1) + 0.1 * random.normal(size=400)
    columns = {
        **{f"x{i}": [None if random.random() < 0.05 else float(v) for v in x[:, i]] for i in range(3)},
        "kind": [["ash", "beech", "oak", "yew"][k] for k in kind],
        "class": [["low", "middle", "high"][int(np.searchsorted([-0.5, 0.5], t))] for t in total],
        "total": [None if random.random() < 0.1 else float(t) for t in total],
    }
    inputs = [*(Number(name=f"x{i}") for i in range(3)), Category(name="kind")]
    outputs = [Category(name="class"), Number(name="total")]
    return write_table(tmp_path_factory.mktemp("mixed"), columns, inputs, outputs)


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """`write_dataset`, for tests that change a dataset's arrays."""
    return write_dataset


@pytest.fixture
def context(tmp_path: Path) -> Callable[[Dataset], Context]:
    """Where to run jobs on a dataset; every test has a scratch store of its own."""
    return lambda dataset: Context(dataset_folder=str(dataset.folder), scratch=str(tmp_path / "scratch"))
