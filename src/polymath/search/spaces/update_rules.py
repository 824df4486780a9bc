"""The space of update rules: blocks of two operands, a function of each, and a function of both.

Bello, Zoph, Vasudevan, Le 2017 (arXiv 1709.07417, section 4): a block is b(u1(op1), u2(op2)); its operands are read
from the training or read
from the training or are what earlier blocks gave; the last block is the update. Ours has more operands and two
functions more, of what was published since: Lion's look-ahead and slow means, Nesterov's momentum, Adam's second moment
with a shorter memory, a running mean of anything and tanh: our language can say them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...spec import Spec
from ...train.recipe import GradientRecipe
from ...train.update import Expression
from ..choices import Answer, Choose, answering
from .pieces import around

MOST_BLOCKS = 5
LOOKING_AHEAD = ["+", ["*", 0.9, "m"], ["*", 0.1, "g"]]
"""Nesterov's momentum as it stands in Adam (Dozat 2016, 'Incorporating Nesterov momentum into Adam')."""
OPERANDS: tuple[Any, ...] = (
    "g",
    "m",
    "adam",
    "rmsprop",
    ["sign", "g"],
    ["sign", "m"],
    "g2",
    "g3",
    "v",
    "y",
    ["mean", "g", 0.99],
    ["previous_mean", "g", 0.99],
    ["+", ["*", 0.1, "g"], ["*", 0.9, ["previous_mean", "g", 0.99]]],
    1,
    2,
    ["noise", 0.01],
    *(["*", share, "w"] for share in (0.0001, 0.001, 0.01, 0.1)),
    "linear_decay",
    ["cosine_decay", 0.5],
    ["restart_decay", 20],
    LOOKING_AHEAD,
    ["mean", "g2", 0.99],
    ["mean", "g2", 0.95],
    *(["/", above, ["sqrt", ["mean", "g2", memory]]] for above in ("m", LOOKING_AHEAD) for memory in (0.99, 0.95)),
)
"""What every block may read; the blocks before it come after these."""
FUNCTIONS: tuple[Any, ...] = (
    "identity",
    "negate",
    "sign",
    "exp",
    "log",
    "sqrt",
    "tanh",
    *(["clip", bound] for bound in (1e-5, 1e-4, 1e-3, 1.0)),
    *(["drop", share] for share in (0.1, 0.3, 0.5)),
    ["mean", 0.9],
)
"""Of one operand; numbers follow the operand."""
COMBINED = ("left", "*", "+", "-", "/")


def update_rule(choose: Choose) -> Expression:
    """An update rule of 1 to `MOST_BLOCKS` blocks. Raises BadInput for one that divides by nothing but zeros."""
    count = choose("blocks", list(range(1, MOST_BLOCKS + 1)))
    blocks: dict[str, Any] = {}
    for place in range(count):
        name = f"b{place}"
        operands = [*OPERANDS, *blocks]
        # What the last block does not reach is lost, so a block reads the one before it unless it is told otherwise.
        combined = choose(f"{name}.combined", list(COMBINED))
        given = [operands[-1:] + operands[:-1] if blocks else operands, operands]
        sides = [
            _applied(choose(f"{name}.{side}.function", list(FUNCTIONS)), choose(f"{name}.{side}", offered))
            for side, offered in zip(("left", "right")[: 1 if combined == "left" else 2], given, strict=False)
        ]
        blocks[name] = sides[0] if combined == "left" else [combined, *sides]
    return Expression(update=f"b{count - 1}", blocks=blocks)


def _applied(function: Any, operand: Any) -> Any:
    """A function, with its number if it has one, of an operand."""
    if function == "identity":
        return operand
    return [function, operand] if isinstance(function, str) else [function[0], operand, *function[1:]]


_SIGNS = {"b0.combined": "*", "b0.left": ["sign", "g"], "b0.right": ["sign", "m"]}
KNOWN: Mapping[str, Mapping[str, Any]] = {
    "adamw": {"b0.combined": "+", "b0.left": "adam", "b0.right": ["*", 0.01, "w"]},
    "sgd": {},
    "adam, second moment 0.95": {"b0.left": ["/", "m", ["sqrt", ["mean", "g2", 0.95]]]},
    "nadam": {"b0.combined": "/", "b0.left": LOOKING_AHEAD, "b0.right": "v", "b0.right.function": "sqrt"},
    "nadam, second moment 0.95": {"b0.left": ["/", LOOKING_AHEAD, ["sqrt", ["mean", "g2", 0.95]]]},
    "cautious adam": {"blocks": 3, **_SIGNS, "b1.combined": "+", "b1.right": 1, "b2.combined": "*", "b2.right": "adam"},
    "nesterov": {"b0.left": LOOKING_AHEAD},
    "momentum": {"b0.left": "m"},
    "rmsprop": {"b0.left": "rmsprop"},
    "sign momentum": {"b0.left": ["sign", "m"]},
    "lion": {"b0.left": OPERANDS[12], "b0.left.function": "sign"},
    "powersign": {"blocks": 2, **_SIGNS, "b1.combined": "*", "b1.left.function": "exp"},
    "powersign, linear decay": {
        "blocks": 3,
        **_SIGNS,
        "b1.combined": "*",
        "b1.right": "linear_decay",
        "b2.combined": "*",
        "b2.left.function": "exp",
    },
    "addsign": {"blocks": 3, **_SIGNS, "b1.combined": "+", "b1.right": 1, "b2.combined": "*"},
    "addsign, linear decay": {
        "blocks": 4,
        **_SIGNS,
        "b1.combined": "*",
        "b1.right": "linear_decay",
        "b2.combined": "+",
        "b2.right": 1,
        "b3.combined": "*",
    },
}
"""Rules that people made, as points of this space: what is not named is the first option. A second moment of 0.95 is
what language models are trained with (Brown et al. 2020, arXiv 2005.14165); cautious: Liang et al. 2024, 2411.16085,
without its scaling, for which the learning rate makes good."""


def known(name: str) -> Answer:
    """Answers the choices so that a known rule is built."""
    return answering(KNOWN[name])


# Adopted rules in the recipes of other spaces ---------------------------------------------------------------------
class AdoptedRule(Spec):
    """A rule that a store has adopted."""

    name: str
    rule: Expression
    rate: float = 1.0
    """Its best learning rate over that of AdamW, on the exercises on which it was found."""


USUAL_RATE = 3e-3
"""Learning rate of AdamW for nets whose recipe takes another rule."""


def with_adopted(choose: Choose, recipe: GradientRecipe, rules: Sequence[AdoptedRule]) -> GradientRecipe:
    """The recipe, or the same with an adopted rule and a learning rate near its own: one more choice, if there are any.

    The default stays what the recipe says; its weight decay acts as in AdamW.
    """
    if not rules:
        return recipe
    name = choose("recipe.adopted", ["", *(one.name for one in rules)])
    found = next((one for one in rules if one.name == name), None)
    if found is None:
        return recipe
    usual = recipe.learning_rate if recipe.rule == "adamw" else USUAL_RATE
    rate = around(choose, f"recipe.{name}.learning_rate", usual * found.rate, factor=8)
    return recipe.replace(rule=found.rule, learning_rate=rate)
