"""Two rules that do the same are one experiment: the digest of what a rule says to a fixed stream of gradients."""

from __future__ import annotations

import math
import random
from functools import lru_cache

import torch
from torch import Tensor

from ...spec import sha256
from .evaluate import Operands, evaluate, new_state
from .expression import Expression

STEPS = 10
WIDTH = 48
DIGITS = 4
"""Digits of an update that count: rules closer than this train alike."""


def behaviour(expression: Expression, *, scaled: bool = False) -> str:
    """64 hexadecimal digits, equal for rules whose updates are equal, as far as a short stream can tell.

    By default rules that differ by a positive factor are equal too: `2 * g` at half the learning rate takes the very
    steps of `g`, and every rule has a sweep of learning rates of its own. `scaled` tells them apart.
    """
    updates = torch.stack(_updates(expression))
    size = float(updates.abs().max())
    if not math.isfinite(size):
        finite = updates[torch.isfinite(updates)]
        size = float(finite.abs().max()) if finite.numel() else 1.0
    unit = 1.0 if scaled or size == 0 else size
    least = 1e-12 * max(size, 1e-300) / unit
    numbers = (updates / unit).flatten().tolist()
    return sha256(" ".join("0" if abs(x) < least else f"{x:.{DIGITS - 1}e}" for x in numbers).encode())


def _updates(expression: Expression) -> list[Tensor]:
    stream = _stream()
    state = new_state(expression, stream[0][0])
    generator = torch.Generator().manual_seed(0)
    found = []
    with torch.no_grad():
        for step, (gradient, weight, progress) in enumerate(stream, start=1):
            operands = Operands(gradient, weight, step=step, progress=progress, generator=generator)
            found.append(evaluate(expression, operands, state).clone())
    return found


@lru_cache(maxsize=1)
def _stream() -> list[tuple[Tensor, Tensor, float]]:
    """(gradients, weights, progress) of every step.

    Gradients have sizes over five decades, signs that mostly persist, and some are 0. Progress jumps about, so that no
    schedule looks like another. Drawn by Python, whose sequence for a seed stays the same.
    """
    draw = random.Random(0)
    sizes = [10 ** draw.uniform(-4, 1) for _ in range(WIDTH)]
    drift = [draw.gauss(0, 1) for _ in range(WIDTH)]
    stream = []
    for _ in range(STEPS):
        row = [
            size * (mean + draw.gauss(0, 1)) * (draw.random() > 0.1) for size, mean in zip(sizes, drift, strict=True)
        ]
        weights = [draw.gauss(0, 0.3) for _ in range(WIDTH)]
        tensors = torch.tensor(row, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64)
        stream.append((*tensors, draw.random()))
    return stream
