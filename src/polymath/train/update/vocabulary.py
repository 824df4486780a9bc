"""The words of update rules: what they may read, what they may compute.

The grammar is that of Bello et al. (2017, arXiv 1709.07417, section 4), with two changes: running means may be of any
sub-expression with any memory, so that Nesterov's momentum and Lion are expressions too; and what would be undefined at
zero is shifted by `DELTA`, so that a dead unit does not kill a rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ...spec import Json

DELTA = 1e-8
"""Added to denominators that are not constants, as in the paper and in Adam."""
Number = tuple[float, float]


@dataclass(frozen=True)
class Function:
    """A function of the language: how many expressions it takes, and whether a number follows them."""

    inputs: int
    number: Number | None = None
    """Smallest and largest value of its number; None if it takes none."""
    constant: Callable[..., float] | None = None
    """Its value for constant inputs (and its number); None where a constant input changes nothing."""


def _log(x: float) -> float:
    return math.log(abs(x) + DELTA)


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))


def _divide(x: float, y: float) -> float:
    return x / y


def _power(x: float, y: float) -> float:
    return float(abs(x) ** y) if y > 0 else float(max(abs(x), DELTA) ** y)


def _clip(x: float, bound: float) -> float:
    return max(-bound, min(bound, x))


_MEMORY: Number = (0.0, 0.99999)
FUNCTIONS: dict[str, Function] = {
    # of one expression
    "identity": Function(1, constant=lambda x: x),
    "negate": Function(1, constant=lambda x: -x),
    "sign": Function(1, constant=_sign),
    "abs": Function(1, constant=abs),
    "square": Function(1, constant=lambda x: x * x),
    "cube": Function(1, constant=lambda x: x * x * x),
    "sqrt": Function(1, constant=lambda x: math.sqrt(abs(x))),
    "exp": Function(1, constant=lambda x: math.exp(min(x, 1e4)) if x < 700 else math.inf),
    "log": Function(1, constant=_log),
    "tanh": Function(1, constant=math.tanh),
    "reciprocal": Function(1, constant=lambda x: _divide(1.0, x)),
    # of one expression and a number
    "clip": Function(1, number=(1e-12, 1e12), constant=_clip),
    "drop": Function(1, number=(0.0, 0.99)),
    "mean": Function(1, number=_MEMORY),
    "raw_mean": Function(1, number=_MEMORY),
    "previous_mean": Function(1, number=_MEMORY),
    # of two expressions
    "+": Function(2, constant=lambda x, y: x + y),
    "-": Function(2, constant=lambda x, y: x - y),
    "*": Function(2, constant=lambda x, y: x * y),
    "/": Function(2, constant=_divide),
    "power": Function(2, constant=_power),
    "left": Function(2, constant=lambda x, y: x),
    # of nothing but a number
    "noise": Function(0, number=(0.0, 1e6)),
    "cosine_decay": Function(0, number=(0.0, 1e4)),
    "restart_decay": Function(0, number=(1e-3, 1e4)),
}
MEANS = ("mean", "raw_mean", "previous_mean")
"""The functions that keep state. `raw_mean` starts from 0; `mean` makes good for that; `previous_mean` is the raw mean
as it stood before this step."""

OPERANDS = ("g", "w", "linear_decay", "annealed_noise")
"""What is read and not computed: gradient, weight, 1 - progress, noise that dies down with the steps."""
RANDOM = ("noise", "drop", "annealed_noise")
SCHEDULES = ("linear_decay", "cosine_decay", "restart_decay")
"""These need to know the progress of the training."""

SHORT: dict[str, Json] = {
    "g2": ["square", "g"],
    "g3": ["cube", "g"],
    "m": ["mean", "g", 0.9],
    "v": ["mean", ["square", "g"], 0.999],
    "y": ["mean", ["cube", "g"], 0.999],
    "adam": ["/", ["mean", "g", 0.9], ["sqrt", ["mean", ["square", "g"], 0.999]]],
    "rmsprop": ["/", "g", ["sqrt", ["mean", ["square", "g"], 0.999]]],
}
"""Short names for what is used often. `y` is the third moment."""
