"""The meaning of a rule in the plainest words: one pass over the graph, nothing shared, nothing scaled."""

from __future__ import annotations

import math

import torch
from hypothesis import assume
from hypothesis import strategies as st

from polymath.spec import BadInput
from polymath.train.update import FUNCTIONS, parse
from polymath.train.update.expression import constants

DELTA = 1e-8


def plain_updates(expression, gradients, weight, *, rate=0.0):
    """The updates of a rule without randomness over these gradients, as the definitions say; follows the weights."""
    weight, means, found, total = weight.clone(), {}, [], len(gradients)
    known = constants(expression.graph)
    for step, gradient in enumerate(gradients, start=1):
        values, before = [], dict(means)
        for node in expression.graph:
            inputs = [values[place] for place in node.inputs]
            if node.function.endswith("mean"):
                slot = (node.inputs[0], node.number)
                if means.get(slot) is before.get(slot):
                    old = before.get(slot, torch.zeros_like(gradient))
                    means[slot] = node.number * old + (1 - node.number) * inputs[0]
                raw, old = means[slot], before.get(slot, torch.zeros_like(gradient))
                new = {"mean": raw / (1 - node.number**step), "raw_mean": raw, "previous_mean": old}[node.function]
            else:
                right = known[node.inputs[1]] if len(inputs) == 2 else None
                new = _value(node, inputs, gradient, weight, (step - 1) / total, right=right)
            values.append(new.expand_as(gradient))
        found.append(values[-1])
        weight = weight - rate * values[-1]
    return found


def _value(node, inputs, gradient, weight, progress, *, right):
    name, number = node.function, node.number
    full = torch.ones_like(gradient)
    x, y = [*inputs, None, None][:2]
    if name in ("g", "w", "constant"):
        return {"g": gradient, "w": weight, "constant": full * (number or 0.0)}[name]
    if name == "/":
        return x / (y + DELTA) if right is None else x / y
    if name == "power":
        return (x.abs() if right is not None and right > 0 else x.abs().clamp(min=DELTA)) ** y
    if name.endswith("decay"):
        turn = 2 * (number or 0) * progress if name == "cosine_decay" else (number or 0) * progress % 1
        return full * (1 - progress if name == "linear_decay" else 0.5 * (1 + math.cos(math.pi * turn)))
    if name in ("+", "-", "*"):
        return {"+": torch.add, "-": torch.sub, "*": torch.mul}[name](x, y)
    if name in ("square", "cube", "sqrt", "log", "clip"):
        bound = number or 0
        return {"square": x * x, "cube": x * x * x, "sqrt": x.abs().sqrt(), "log": (x.abs() + DELTA).log()}.get(
            name, x.clamp(-bound, bound)
        )
    return {"negate": torch.neg, "sign": torch.sign, "abs": torch.abs, "exp": torch.exp, "tanh": torch.tanh}[name](x)


def stream(shape=(5,), *, steps=4, dtype=torch.float64, seed=0):
    """Gradients of some steps, and weights."""
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(steps)]
    return gradients, torch.randn(shape, generator=generator, dtype=dtype)


def rule(value):
    """The expression, if this is one."""
    try:
        return parse(value)
    except BadInput:
        assume(False)


NUMBERS = st.sampled_from([0, 1, -1, 2, 0.5, 0.01, 10])
LEAVES = st.one_of(
    st.sampled_from(["g", "w", "linear_decay", "g2", "g3", "m", "v", "y", "adam", "rmsprop"]),
    NUMBERS,
    st.just(["cosine_decay", 0.5]),
    st.just(["restart_decay", 3]),
)


def _larger(inner):
    unary = st.sampled_from(
        [name for name, function in FUNCTIONS.items() if function.inputs == 1 and not function.number]
    )
    binary = st.sampled_from(["+", "-", "*", "/", "power", "left"])
    mean = st.tuples(st.sampled_from(["mean", "raw_mean", "previous_mean"]), inner, st.sampled_from([0.5, 0.9]))
    return st.one_of(
        st.tuples(unary, inner).map(list),
        st.tuples(binary, inner, inner).map(list),
        st.tuples(st.just("clip"), inner, st.sampled_from([1e-3, 1.0])).map(list),
        mean.map(list),
        inner.map(lambda x: ["/", ["mean", x, 0.9], ["sqrt", ["mean", ["square", x], 0.5]]]),  # has a kernel of its own
    )


RULES = st.recursive(LEAVES, _larger, max_leaves=8)
"""JSON of rules without randomness; some are refused (division by zero, overflow, too many means)."""
