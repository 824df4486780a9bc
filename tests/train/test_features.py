"""What frozen genes give is computed once, is what the whole path would have given, and does not fill the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from polymath.model.build import build
from polymath.model.path import Path as Genes
from polymath.problem import Dataset
from polymath.problem.problem import ROW
from polymath.store import Store
from polymath.train import Context, Job
from polymath.train.batches import Source
from polymath.train.features import FrozenFeatures, view
from polymath.train.fit import predict
from polymath.train.recipe import GradientRecipe
from polymath.train.rung import run


def frozen_path(dataset: Dataset, store: Store, *, seed: int = 0) -> Genes:
    """Columns and a block with stored, frozen weights; a fresh head for every output."""
    genes = [
        {"name": "columns", "layer": {"kind": "columns"}, "inputs": [f"in:{ROW}"]},
        {"name": "block", "layer": {"kind": "linear", "width": 8, "activation": "relu"}, "inputs": ["columns"]},
    ]
    widths = {feature.name: feature.head_width for feature in dataset.problem.outputs}
    heads = [
        {"name": f"head {name}", "layer": {"kind": "linear", "width": width}, "inputs": ["block"]}
        for name, width in widths.items()
    ]
    path = Genes.model_validate({"genes": [*genes, *heads], "outputs": {name: f"head {name}" for name in widths}})
    module = build(path, dataset.problem.ports, seed=seed)
    rows = torch.from_numpy(np.array(dataset.inputs[ROW]))
    module.prepare({ROW: rows})
    kept = []
    for gene in path.genes:
        weights = module.weights(gene.name)
        stored = store.put_tensors(weights) if weights and gene.name in ("columns", "block") else None
        kept.append(gene.replace(weights=stored, frozen=gene.name in ("columns", "block")))
    return path.replace(genes=tuple(kept))


def test_a_view_answers_as_the_whole_path(mixed_table: Dataset, tmp_path: Path) -> None:
    with Store.open(tmp_path / "scratch") as store:
        path = frozen_path(mixed_table, store)
        seen = view(path, mixed_table, FrozenFeatures(mixed_table, fetch=store.get_tensors))
        assert [gene.name for gene in seen.path.genes] == [f"head {f.name}" for f in mixed_table.problem.outputs]
        assert set(seen.path.ports) == {"frozen 0"}
        rows = np.arange(len(mixed_table.folds))
        whole = build(path, mixed_table.problem.ports, fetch=store.get_tensors)
        short = build(seen.path, seen.ports, fetch=store.get_tensors)
        answers = [
            predict(module, Source(inputs, {}, device=torch.device("cpu")), rows, size=64)
            for module, inputs in ((whole, {ROW: mixed_table.inputs[ROW]}), (short, seen.inputs))
        ]
        for output, array in answers[0].items():
            assert np.allclose(array, answers[1][output], atol=1e-5)


def test_features_are_computed_once(mixed_table: Dataset, tmp_path: Path) -> None:
    fetched = []
    with Store.open(tmp_path / "scratch") as store:
        path = frozen_path(mixed_table, store, seed=1)

        def fetch(address: str) -> object:
            fetched.append(address)
            return store.get_tensors(address)

        features = FrozenFeatures(mixed_table, fetch=fetch)  # type: ignore[arg-type]
        first = np.array(features.get(path, "block"))
        count = len(fetched)
        assert count > 0
        assert np.array_equal(features.get(path, "block"), first)
        assert len(fetched) == count
        with pytest.raises(ValueError, match="no stored weights"):
            features.get(path, next(iter(path.outputs.values())))


def test_the_least_recently_used_go_first(mixed_table: Dataset, tmp_path: Path) -> None:
    with Store.open(tmp_path / "scratch") as store:
        paths = [frozen_path(mixed_table, store, seed=seed) for seed in (11, 12, 13)]
        size = np.array(FrozenFeatures(mixed_table, fetch=store.get_tensors).get(paths[0], "block")).nbytes
        features = FrozenFeatures(mixed_table, fetch=store.get_tensors, most_bytes=int(2.5 * (size + 200)))
        for path in paths:
            features.get(path, "block")
        folder = Path(mixed_table.folder) / "features"
        kept = {file.stem for file in folder.glob("*.npy")}
        assert paths[2].identities()["block"] in kept
        assert paths[0].identities()["block"] not in kept
        assert not list(folder.glob("*.tmp"))


def test_a_net_on_frozen_features_trains_and_keeps_them(
    mixed_table: Dataset, context: Callable[[Dataset], Context]
) -> None:
    where = context(mixed_table)
    with Store.open(where.scratch) as store:
        path = frozen_path(mixed_table, store, seed=2)
    job = Job(dataset=mixed_table.digest, path=path, recipe=GradientRecipe(batch=32), folds=(0,), work=0.001)
    outcome = run(job, where)
    assert outcome.ok, outcome.reason
    (learned,) = outcome.paths
    for gene, before in zip(learned.genes, path.genes, strict=True):
        assert gene.weights is not None
        assert (gene.weights == before.weights) == before.frozen
