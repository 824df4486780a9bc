"""Statistics of batch norms are those of the weights they stand with."""

from __future__ import annotations

import pytest
import torch

from polymath.model.build import build
from polymath.model.layers.linear import Linear
from polymath.model.layers.pixels import Pixels
from polymath.model.layers.pool_map import PoolMap
from polymath.model.layers.residual_stage import ResidualStage
from polymath.model.path import Gene, Path
from polymath.problem.form import pixels
from polymath.train.norms import refresh


@pytest.mark.parametrize(("precision", "near"), [("float32", 1e-5), ("bfloat16", 5e-3)])
def test_refreshed_statistics_are_those_of_the_rows_and_frozen_genes_keep_theirs(precision: str, near: float) -> None:
    genes = (
        Gene(name="pixels", layer=Pixels(), inputs=("in:photo",)),
        Gene(name="old", layer=ResidualStage(width=4, entry="keep", blocks=0), inputs=("pixels",), frozen=True),
        Gene(name="new", layer=ResidualStage(width=4, entry="keep", blocks=0), inputs=("old",)),
        Gene(name="pool", layer=PoolMap(), inputs=("new",)),
        Gene(name="head", layer=Linear(width=2), inputs=("pool",)),
    )
    module = build(Path(genes=genes, outputs={"kind": "head"}), {"photo": pixels(1, 8, 8)})
    generator = torch.Generator().manual_seed(0)
    batches = [
        {"photo": torch.randint(0, 256, (16, 1, 8, 8), generator=generator, dtype=torch.uint8)} for _ in range(3)
    ]
    old, new = module.module("old")[0], module.module("new")[0]
    old_mean, momentum = old[1].running_mean.clone(), new[1].momentum
    new[1].running_mean.fill_(100.0)
    refresh(module, batches, precision=precision)
    with torch.no_grad():
        inside = [new[0](module.module("old")(module.module("pixels")(batch["photo"]))) for batch in batches]
    assert torch.allclose(new[1].running_mean, torch.cat(inside).mean((0, 2, 3)), atol=near)
    assert torch.equal(old[1].running_mean, old_mean)
    assert new[1].momentum == momentum and not new[1].training
