"""Every layer keeps the contract, and so does one that another package brings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

import polymath.testing
from polymath.model import layers
from polymath.model.cells import GRU, LSTM
from polymath.model.layers import LAYERS, Layer, parse_layer
from polymath.problem.form import Form, pixels, tokens, vector
from polymath.testing import check_layer

ROW = vector(6, categories=(0, 3, 0, 40, 5, 0))
NUMBERS = vector(4)
CODES = vector(2, categories=(3, 30))
IDS, WORDS = tokens(7, vocabulary=20), tokens(7, width=8)
PICTURE = pixels(3, 12, 9)
WIDE = pixels(8, 12, 9)

# Kind -> descriptions, each with inputs that it takes.
EXAMPLES: dict[str, list[tuple[dict[str, object], tuple[Form, ...]]]] = {
    "adapter": [
        ({"hidden": 3}, (NUMBERS,)),
        ({"hidden": 3}, (WORDS,)),
        ({"hidden": 3, "activation": "gelu"}, (PICTURE,)),
    ],
    "bert_block": [({"heads": 2, "hidden": 12}, (WORDS,)), ({"heads": 1, "hidden": 5, "dropout": 0}, (WORDS,))],
    "bert_embeddings": [
        ({"width": 8, "first": 2, "last": 3, "unknown": 4}, (IDS,)),
        ({"width": 4, "first": 2, "last": 3, "unknown": 4, "length": 5, "places": 6, "kinds": 1}, (IDS,)),
    ],
    "cell": [
        ({"width": 8, "cell": LSTM.model_dump(mode="json")}, (WORDS,)),
        ({"width": 4, "cell": GRU.model_dump(mode="json"), "both_ways": False, "depth": 2, "dropout": 0.1}, (WORDS,)),
    ],
    "as_tokens": [({"width": 6}, forms) for forms in ((WORDS,), (NUMBERS,), (NUMBERS, pixels(2, 3, 4), WORDS))],
    "columns": [({}, (ROW,)), ({}, (NUMBERS,)), ({}, (CODES,))],
    "concat": [({}, (NUMBERS,)), ({}, (NUMBERS, vector(3), NUMBERS))],
    "constant": [({"width": 2}, (NUMBERS,)), ({"width": 2}, (IDS,)), ({"width": 2}, (PICTURE,))],
    "convolution": [({"width": 8}, (PICTURE,)), ({"width": 8, "size": 5, "step": 2}, (PICTURE,))],
    "convolution_tokens": [({"width": 6, "sizes": [2, 3]}, (WORDS,)), ({"width": 6, "keep": True}, (WORDS,))],
    "depthwise_stage": [
        ({"width": 8}, (WIDE,)),
        ({"width": 16, "order": "inverted", "entry": "keep", "blocks": 1}, (WIDE,)),
    ],
    "embedding": [({"width": 8}, (IDS,)), ({"width": 8, "length": 4, "positions": "learned"}, (IDS,))],
    "ensemble": [
        ({}, (NUMBERS, NUMBERS)),
        ({"combine": "categories", "weights": [1, 0, 3]}, (NUMBERS, NUMBERS, NUMBERS)),
        ({"combine": "labels"}, (NUMBERS,)),
        ({"combine": "categories"}, (PICTURE, PICTURE)),
    ],
    "experts": [
        ({"experts": 4, "hidden": 6}, (WORDS,)),
        ({"experts": 3, "hidden": 6, "top": 1, "shared": True, "dropout": 0.1}, (NUMBERS,)),
        ({"experts": 2, "hidden": 4, "top": 2, "balance": 0}, (WORDS,)),
    ],
    "flatten": [({}, (PICTURE,)), ({"side": 4}, (PICTURE,))],
    "hashed_ngrams": [
        ({"width": 6, "buckets": 50}, (IDS,)),
        ({"width": 3, "longest": 4, "dropout": 0.2}, (IDS,)),
        ({"width": 3, "buckets": 9}, (IDS, tokens(4, vocabulary=20))),
    ],
    "local_filters": [({}, (PICTURE,)), ({"levels": 2}, (WIDE,))],
    "per_pixel": [({"width": 3}, (pixels(8, 6, 5), PICTURE)), ({"width": 2}, (WIDE, WIDE))],
    "pixel_trees": [({"width": 2, "num_trees": 3, "num_nodes": 9, "depth": 2}, (WIDE,))],
    "upsampled": [({"how": how}, (pixels(8, 6, 5), PICTURE)) for how in ("concat", "add")],
    "join": [
        ({"how": how}, forms)
        for how in ("concat", "add")
        for forms in ((NUMBERS,), (vector(3), NUMBERS), (WORDS, tokens(7, width=3)), (WIDE, PICTURE, pixels(4, 6, 5)))
    ],
    "linear": [({"width": 3}, (NUMBERS,)), ({"width": 3, "activation": "gelu", "dropout": 0.5}, (NUMBERS,))],
    "local_pool": [({"how": how, "step": step}, (PICTURE,)) for how in ("max", "mean") for step in (1, 2)],
    "map_block": [
        ({"width": 8, "operation": operation, "step": step, "norm": norm}, (WIDE,))
        for operation in ("convolution", "separable", "residual")
        for step, norm in ((1, "batch"), (2, "layer"), (1, "none"))
    ],
    "members": [
        ({"width": 3, "members": 4, "hidden": 8}, (NUMBERS,)),
        ({"width": 1, "members": 1, "blocks": 1}, (NUMBERS,)),
    ],
    "mobile": [
        ({"width": 8}, (WIDE,)),
        ({"width": 6, "size": 5, "step": 2, "expansion": 1}, (WIDE,)),
        ({"width": 5, "operation": "convolution", "step": 2}, (PICTURE,)),
    ],
    "ngrams": [
        ({"width": 2, "longest": 2, "num_ngrams": 30}, (IDS,)),
        ({"width": 1, "longest": 3, "num_ngrams": 5}, (IDS, IDS)),
        ({"width": 2, "longest": 5, "num_ngrams": 30, "blank": 2}, (IDS,)),
    ],
    "one_hot": [({}, (ROW,)), ({}, (NUMBERS,)), ({}, (CODES,))],
    "oriented_gradients": [
        ({}, (PICTURE,)),
        ({"cell": 3, "directions": 5, "signed": True}, (PICTURE,)),
        ({}, (pixels(1, 1, 1),)),
    ],
    "pair": [({}, (NUMBERS, NUMBERS)), ({"scale": 5.0}, (vector(3), vector(3)))],
    "part": [({"start": 1, "width": 2}, (NUMBERS,))],
    "namesakes": [({"width": 3, "classes": [1, -1, 0]}, (vector(3),))],
    "patches": [
        ({"filters": 3, "side": 3}, (PICTURE,)),
        ({"filters": 2, "side": 2, "cells": 1, "size": 4}, (PICTURE,)),
    ],
    "periodic": [({}, (ROW,)), ({"waves": 3, "width": 2}, (NUMBERS,)), ({}, (CODES,))],
    "piecewise": [({}, (ROW,)), ({"bins": 2, "width": 1}, (NUMBERS,)), ({}, (CODES,))],
    "pixels": [({}, (PICTURE,)), ({}, (pixels(1, 1, 1),))],
    "pool_map": [({"how": how}, (WIDE,)) for how in ("mean", "max", "mean_max", "attention")],
    "pool_tokens": [({"how": how}, (WORDS,)) for how in ("mean", "max", "mean_max", "attention", "last")],
    "raters": [({"raters": 3, "how": how}, (NUMBERS,)) for how in ("votes", "matrices", "tendencies")],
    "recall": [
        ({"writer": {"kind": "transformer_decoder", "heads": 2, "depth": 1}, "pairs": 4}, (WORDS, IDS, IDS)),
        ({"writer": {"kind": "recurrent_decoder", "width": 6}, "pairs": 3}, (WORDS, IDS, tokens(5, vocabulary=9))),
    ],
    "recoded": [
        ({"columns": [1, -1, 0, 4], "categories": [4, 3, 0, 2]}, (ROW,)),
        ({"columns": [3, -1]}, (NUMBERS,)),
    ],
    "recut": [({"vocabulary": 30}, (IDS,)), ({"vocabulary": 9, "pieces": 2, "length": 5}, (IDS,))],
    "recurrent": [({"width": 8}, (WORDS,)), ({"width": 4, "cell": "lstm", "both_ways": False, "depth": 2}, (WORDS,))],
    "recurrent_decoder": [
        ({"width": 6}, (WORDS, IDS)),
        ({"width": 6, "look": "additive", "cell": "gru", "heads": 2}, (WORDS, tokens(5, vocabulary=9))),
        ({"width": 6, "look": "none", "depth": 1}, (WORDS, IDS)),
    ],
    "residual_mlp": [({"width": 8}, (NUMBERS,)), ({"width": 8, "norm": "layer", "blocks": 1}, (NUMBERS,))],
    "residual_stage": [
        ({"width": 8}, (WIDE,)),
        ({"width": 16, "entry": "stride", "gate": "squeeze", "convolutions": 1}, (WIDE,)),
    ],
    "responses": [({"width": 9}, (NUMBERS,))],
    "moved": [({"mirror": True}, (PICTURE,)), ({"down": 2, "right": -1}, (pixels(1, 3, 5),))],
    "resized": [({"side": 5}, (PICTURE,)), ({"side": 12}, (pixels(1, 12, 9),))],
    "scale": [({"factor": 0.5}, (NUMBERS,))],
    "unit": [({}, (NUMBERS,))],
    "tokens_block": [
        ({"width": width, "operation": operation, "norm": norm, "dropout": 0.1}, (WORDS,))
        for operation in ("convolution", "separable", "feed_forward")
        for width, norm in ((8, "layer"), (6, "none"))
    ],
    "router": [({"width": 6}, (NUMBERS, vector(3))), ({"width": 2}, (NUMBERS,))],
    "transformer": [({"heads": 2, "depth": 1}, (WORDS,)), ({"heads": 1, "positions": "none", "depth": 1}, (WORDS,))],
    "transformer_decoder": [({"heads": 2, "depth": 1}, (WORDS, IDS)), ({"heads": 1}, (WORDS, tokens(5, vocabulary=9)))],
    "trees": [
        ({"width": 2, "num_trees": 2, "num_nodes": 6, "depth": 1}, (ROW,)),
        ({"width": 2, "num_trees": 1, "num_nodes": 3, "depth": 1, "vector_leaves": True}, (NUMBERS,)),
    ],
    "vector_block": [
        ({"width": 8, "norm": norm, "gated": gated, "dropout": 0.2}, (NUMBERS,))
        for norm, gated in (("batch", False), ("layer", True), ("none", False))
    ],
    "whitening": [({"width": 8}, (PICTURE,)), ({"width": 400, "size": 5}, (pixels(2, 3, 4),))],
}
CASES = [(kind, *example) for kind, examples in EXAMPLES.items() for example in examples]


def test_every_layer_has_examples():
    assert set(EXAMPLES) == {layer.model_fields["kind"].default for layer in LAYERS}


@pytest.mark.parametrize(("kind", "settings", "inputs"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_layer_keeps_the_contract(kind, settings, inputs):
    check_layer(parse_layer({"kind": kind, **settings}), *inputs)


class Wavelet(Layer):
    """Differences and means of neighbouring columns, each with a learned weight: a layer of another package."""

    num_inputs: ClassVar[int | None] = 1
    kind: Literal["wavelet"] = "wavelet"

    def form(self, *inputs: Form) -> Form:
        (x,) = self.take(inputs, "vector")
        if x.width % 2:
            raise ValueError(f"wavelet takes an even number of columns, got {x}")
        return vector(x.width)

    def build(self, *inputs: Form) -> nn.Module:
        return WaveletModule(self.form(*inputs).width)


class WaveletModule(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[..., ::2], x[..., 1::2]
        return torch.cat([a + b, a - b], dim=-1) * self.weight


def test_a_layer_of_another_package_keeps_the_contract():
    check_layer(Wavelet(), vector(4))


def test_a_layer_of_an_installed_package_is_found(tmp_path):
    """No edit here: the package names its layer as an entry point, and stored paths may use it."""
    (tmp_path / "sound.py").write_text(
        "from typing import Literal\n"
        "from torch import nn\n"
        "from polymath.model.layers import Layer\n"
        "class Louder(Layer):\n"
        "    kind: Literal['louder'] = 'louder'\n"
        "    def form(self, *inputs): return self.take(inputs, 'vector')[0]\n"
        "    def build(self, *inputs): self.form(*inputs); return nn.Identity()\n"
    )
    package = tmp_path / "sound-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: sound\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[polymath.layers]\nlouder = sound:Louder\n")
    program = (
        "from polymath.model.layers import parse_layer\n"
        "from polymath.problem.form import vector\n"
        "from polymath.testing import check_layer\n"
        "layer = parse_layer({'kind': 'louder'})\n"
        "check_layer(layer, vector(3))\n"
        "print(layer.to_json())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(polymath.testing.__file__).parents[2]}"},
    )
    assert done.stdout.strip() == '{"kind":"louder"}', done.stderr


def test_a_package_may_not_take_the_name_of_a_layer_of_ours(monkeypatch):
    class Linear(Wavelet):
        kind: Literal["linear"] = "linear"  # type: ignore[assignment]

    class Point:
        value = "their:Linear"

        def load(self) -> type[Layer]:
            return Linear

    monkeypatch.setattr(layers, "entry_points", lambda group: [Point()])
    with pytest.raises(ValueError, match="their:Linear brings a layer of kind 'linear', which is taken"):
        layers.vocabulary.__wrapped__()


class WrongShape(Wavelet):
    def form(self, *inputs: Form) -> Form:
        return vector(super().form(*inputs).width + 1)

    def build(self, *inputs: Form) -> nn.Module:
        return WaveletModule(super().form(*inputs).width)


class TakesAll(Wavelet):
    def form(self, *inputs: Form) -> Form:
        return vector(4)


class Random(Wavelet):
    def build(self, *inputs: Form) -> nn.Module:
        return nn.Sequential(WaveletModule(self.form(*inputs).width), Noise())


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class LooksAround(Wavelet):
    def build(self, *inputs: Form) -> nn.Module:
        return nn.Sequential(WaveletModule(self.form(*inputs).width), Centre())


class Centre(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Forgets(Wavelet):
    def build(self, *inputs: Form) -> nn.Module:
        module = WaveletModule(self.form(*inputs).width)
        module.register_buffer("secret", torch.randn(1), persistent=False)
        module.register_forward_hook(lambda module, _, answer: answer + module.secret)
        return module


@pytest.mark.parametrize(
    ("layer", "promise"),
    [
        (WrongShape, "form says"),
        (TakesAll, "raises ValueError"),
        (Random, "the same input"),
        (LooksAround, "other rows"),
        (Forgets, "put back"),
    ],
)
def test_the_kit_finds(layer, promise):
    with pytest.raises(AssertionError, match=promise):
        check_layer(layer(), vector(4))
