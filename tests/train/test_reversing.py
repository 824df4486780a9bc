"""Writing what was read, backwards: symbols are drawn apart from each other, so only looking at them tells the next."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymath.model.build import build
from polymath.model.layers import parse_layer
from polymath.model.path import Gene, Path
from polymath.problem.features.text import Text
from polymath.problem.form import tokens
from polymath.problem.subwords import FIRST, Subwords
from polymath.train import fit
from polymath.train.augment import Augmenter
from polymath.train.batches import Order, Source
from polymath.train.recipe import Augmentation, GradientRecipe

SYMBOLS, LONGEST, WIDTH, ROWS, HELD_OUT = 50, 4, 48, 16_000, 200
PARTS = {
    "transformer": ({"depth": 1, "dropout": 0}, {"depth": 1, "dropout": 0}),
    "recurrent": ({"width": WIDTH // 2}, {"width": WIDTH, "depth": 1, "cell": "gru", "dropout": 0}),
}
"""Settings of what reads, and of what writes."""


@pytest.mark.parametrize(
    ("family", "learning_rate", "steps"), [("transformer", 6e-3, 250), ("recurrent", 1e-2, 130)], ids=list(PARTS)
)
def test_a_text_is_written_backwards(family, learning_rate, steps):
    subwords = Subwords(pieces=tuple(map(chr, range(65, 65 + SYMBOLS))), scores=(-1.0,) * SYMBOLS)
    target = Text(name="back", subwords=subwords, length=LONGEST)
    random = np.random.default_rng(0)
    lengths = random.integers(2, LONGEST + 1, ROWS)
    read = random.integers(FIRST, FIRST + SYMBOLS, (ROWS, LONGEST)).astype(np.uint16)
    read[np.arange(LONGEST) >= lengths[:, None]] = 0
    written = np.zeros((ROWS, LONGEST + 1), np.uint16)
    for row, length in enumerate(lengths):
        written[row, :length], written[row, length] = read[row, :length][::-1], target.end
    ports = {"text": tokens(LONGEST, vocabulary=FIRST + SYMBOLS), "answer/back": target.shown}
    genes = [Gene(name="embedding", layer=parse_layer({"kind": "embedding", "width": WIDTH}), inputs=("in:text",))]
    reading, writing = PARTS[family]
    genes += [Gene(name="reader", layer=parse_layer({"kind": family, **reading}), inputs=("embedding",))]
    writer = parse_layer({"kind": f"{family}_decoder", **writing})
    genes += [Gene(name="writer", layer=writer, inputs=("reader", "in:answer/back"))]
    module = build(Path(genes=tuple(genes), outputs={"back": "writer"}), ports, seed=1)
    source = Source({"text": read, "answer/back": written}, {"back": written}, device=torch.device("cpu"))
    recipe = GradientRecipe(learning_rate=learning_rate, batch=64, clip=1.0, ema=0)
    order = Order(np.arange(HELD_OUT, ROWS), batch=64, seed=1, lengths=lengths[HELD_OUT:])
    fit.train(
        fit.start(module, recipe),
        recipe,
        fit.Plan(steps=steps, rate=(1.0, 0.0), first=True, seed=1),
        source=source,
        order=order,
        augmenter=Augmenter(Augmentation(), ports, {}),
        outputs={"back": target},
    )
    kept = fit.predict(module, source, np.arange(HELD_OUT), size=HELD_OUT, outputs={"back": target})["back"]
    symbols = (written[:HELD_OUT] != 0) & (written[:HELD_OUT] != target.end)
    # Chance is 1 in 50, for any net that looks nowhere or at other rows: the end, which lengths tell, is not counted.
    assert kept[..., 1][symbols].mean() > 0.6
