"""Image encoders: pixels, a stem, stages that halve the image, one pool. And how nets of images are trained.

Defaults were measured on Fashion-MNIST and CIFAR-10 with 30 to 60 seconds of one core each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...model.layers import Layer
from ...model.layers.convolution import Convolution
from ...model.layers.depthwise_stage import DepthwiseStage
from ...model.layers.pixels import Pixels
from ...model.layers.pool_map import PoolMap
from ...model.layers.residual_stage import ResidualStage
from ...model.layers.whitening import Whitening
from ...model.path import INPUT, Gene
from ...problem.form import Form
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose
from . import free
from .pieces import Chain, around, between, narrow, own_layer

FAMILIES = ("residual", "depthwise", "free")
MOST_LAYERS = 9


def encoder(
    choose: Choose, port: str, form: Form, *, prefix: str, scale: float = 1.0, layers: Sequence[str] = ()
) -> tuple[list[Gene], str]:
    """Genes that turn the images of a port into one vector each, and the name of the gene that gives it.

    The first options are a residual net for images of 28 to 32 pixels that trains in minutes on two CPU cores; larger
    images are first brought to that size by steps of 2, so that the cost does not grow with the area.
    `scale`, `layers`: see `rows.problem_space`.
    """
    chain = Chain({f"{INPUT}{port}": form})
    family = choose(f"{prefix}.family", FAMILIES)
    width = narrow(choose(f"{prefix}.width", [32, 16, 24, 48, 64]), scale)
    chain.add(f"{prefix}.pixels", Pixels())
    side = max(form.size)
    if side <= 48 and choose(f"{prefix}.stem", ["whitening", "convolution"]) == "whitening":
        chain.add(f"{prefix}.stem", Whitening(width=24))
    else:
        chain.add(f"{prefix}.stem", Convolution(width=min(width, 32), step=2 if side > 48 else 1))
    while side > 96:
        chain.add(f"{prefix}.shrink{side}", Convolution(width=width, step=2))
        side = (side + 1) // 2
    if family == "free":
        free.grow(choose, chain, free.map_block(scale), prefix=prefix, most=MOST_LAYERS, layers=layers)
    else:
        growth = choose(f"{prefix}.growth", [2.0, 1.5])
        for i in range(choose(f"{prefix}.stages", [2, 3] if side < 20 else [3, 2, 4])):
            wide = 8 * max(1, round(width * growth**i / 8))
            chain.add(f"{prefix}.stage{i}", _stage(choose, family, wide, name=f"{prefix}.stage{i}"))
            own_layer(choose, chain, f"{prefix}.stage{i}", layers)
    chain.add(f"{prefix}.pool", PoolMap(how=choose(f"{prefix}.pool", ["max", "mean", "mean_max", "attention"])))
    return chain.genes, chain.last


def _stage(choose: Choose, family: str, width: int, *, name: str) -> Layer:
    gate = choose(f"{name}.gate", ["none", "squeeze"])
    if family == "residual":
        blocks = choose(f"{name}.blocks", [1, 0, 2])
        convolutions = choose(f"{name}.convolutions", [1, 2])
        entry = choose(f"{name}.entry", ["pool", "stride"])
        return ResidualStage(width=width, blocks=blocks, convolutions=convolutions, entry=entry, gate=gate)
    blocks = choose(f"{name}.blocks", [2, 1, 3])
    size = choose(f"{name}.size", [5, 3, 7])
    order = choose(f"{name}.order", ["first", "inverted"])
    return DepthwiseStage(width=width, blocks=blocks, size=size, order=order, gate=gate)


def image_recipe(choose: Choose, form: Form, *, rows: int, mirrored: bool = False) -> GradientRecipe:
    """How a net that reads images only is trained on this many rows; `mirrored`: see `mirrors_keep_meaning`."""
    side = max(form.size)
    batch = 64 if rows < 5_000 else 128 if rows < 20_000 else 256
    augmentation = Augmentation(
        flip=choose("recipe.flip", [True, False] if mirrored else [False, True]),
        shift=choose("recipe.shift", [max(1, side // 14), 0, max(2, side // 8)]),
        cutout=choose("recipe.cutout", [0, side // 4]),
        mixup=choose("recipe.mixup", [0.0, 0.2]),
    )
    rule = choose("recipe.rule", ["muon", "adamw", "sgd"])
    rate = {"muon": 0.12, "adamw": 4e-3, "sgd": 0.2}[rule]
    decay = {"muon": 1e-2, "adamw": 5e-2, "sgd": 5e-4}[rule]
    return GradientRecipe(
        rule=rule,
        learning_rate=around(choose, f"recipe.{rule}.learning_rate", rate, factor=4),
        momentum=between(choose, "recipe.muon.momentum", 0.3, 0.9) if rule == "muon" else 0.9,
        weight_decay=around(choose, f"recipe.{rule}.weight_decay", decay, factor=10),
        batch=choose("recipe.batch", [batch, 2 * batch, batch // 2]),
        smoothing=between(choose, "recipe.smoothing", 0.0, 0.2),
        warmup=around(choose, "recipe.warmup", 0.1, factor=5),
        ema=around(choose, "recipe.ema", 0.1, factor=5),
        augmentation=augmentation,
        precision="bfloat16",
    )


def mirrors_keep_meaning(images_NCHW: np.ndarray, codes_N: np.ndarray) -> bool:
    """Whether images mirrored left to right still look like their class, judged from up to 4,000 images.

    Takes half a second. A linear model of the images at 16 pixels learns from one half and is asked about the other,
    mirrored: of what it knows beyond the largest class it keeps 97 % on CIFAR-10, 62 % on Fashion-MNIST, 22 % on
    digits.
    """
    chosen = np.random.default_rng(0).permutation(len(images_NCHW))[:4_000]
    images, codes = images_NCHW[chosen].astype(np.float32), codes_N[chosen].astype(np.int64)
    step = max(1, -(-max(images.shape[2:]) // 16))
    height, width = (max(1, size // step) for size in images.shape[2:])
    images = images[:, :, : height * step, : width * step]
    images = images.reshape(*images.shape[:2], height, min(step, images.shape[2]), width, min(step, images.shape[3]))
    small = images.mean((3, 5))
    small = (small - small.mean(0)) / (small.std() + 1e-6)
    half = len(small) // 2
    known, targets = small[:half].reshape(half, -1), np.eye(int(codes.max(initial=0)) + 1)[codes[:half]]
    ridge = 0.03 * max(half, 1) * np.eye(known.shape[1])
    weights = np.linalg.solve(known.T @ known + ridge, known.T @ (targets - targets.mean(0)))

    def right(asked: np.ndarray) -> float:
        guesses = (asked.reshape(len(asked), -1) @ weights + targets.mean(0)).argmax(1)
        return float((guesses == codes[half:]).mean())

    blind = float((codes[half:] == np.bincount(codes[:half]).argmax()).mean())
    seen, mirrored = right(small[half:]) - blind, right(small[half:, :, :, ::-1]) - blind
    return seen > 0.05 and mirrored > 0.5 * seen
