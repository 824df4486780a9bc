"""What a layer asks for beside the loss of the problem reaches training."""

from __future__ import annotations

import numpy as np
import torch

from polymath.model.build import build
from polymath.model.path import Path
from polymath.problem.features import Number
from polymath.problem.form import vector
from polymath.train import fit
from polymath.train.augment import Augmenter
from polymath.train.batches import Order, Source
from polymath.train.recipe import Augmentation, GradientRecipe


def test_the_losses_of_experts_are_trained_on() -> None:
    ports = {"row": vector(4)}
    curves = {}
    for balance in (0.0, 5.0):
        layer = {"kind": "experts", "experts": 4, "hidden": 4, "top": 1, "balance": balance}
        genes = [
            {"name": "mix", "layer": layer, "inputs": ["in:row"]},
            {"name": "head", "layer": {"kind": "linear", "width": 1}, "inputs": ["mix"]},
        ]
        module = build(Path.model_validate({"genes": genes, "outputs": {"y": "head"}}), ports, seed=0)
        recipe = GradientRecipe(learning_rate=1e-3)
        training = fit.start(module, recipe)
        rows = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
        source = Source({"row": rows}, {"y": rows[:, :1]}, device=torch.device("cpu"))
        feature = Number(name="y").measure(rows_as_column(rows), as_output=True)
        fit.train(
            training,
            recipe,
            fit.Plan(steps=3, rate=(1.0, 1.0), first=False),
            source=source,
            order=Order(np.arange(64), batch=32, seed=0),
            augmenter=Augmenter(Augmentation(), ports, {}),
            outputs={"y": feature},
        )
        curves[balance] = training.curve[-1][1]
    assert curves[5.0] > curves[0.0] + 0.05, "the same noise, and the losses beside it"


def rows_as_column(rows: np.ndarray):
    import pyarrow as pa

    return pa.chunked_array([pa.array(rows[:, 0])])
