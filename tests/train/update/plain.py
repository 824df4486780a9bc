"""The meaning of a rule in the plainest words: one pass over the graph, nothing shared, nothing scaled."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
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
    x, y = (inputs + [None, None])[:2]
    if name in ("g", "w", "constant"):
        return {"g": gradient, "w": weight, "constant": full * (number or 0.0)}[name]
    if name == "/":
        return x / (y + DELTA) if right is None else x / y
    if name == "power":
        return (x.abs() if right is not None and right > 0 else x.abs().clamp(min=DELTA)) ** y
    return {
        "linear_decay": lambda: full * (1 - progress),
        "cosine_decay": lambda: full * 0.5 * (1 + math.cos(2 * math.pi * number * progress)),
        "restart_decay": lambda: full * 0.5 * (1 + math.cos(math.pi * (number * progress % 1))),
        "negate": lambda: -x,
        "sign": lambda: x.sign(),
        "abs": lambda: x.abs(),
        "square": lambda: x * x,
        "cube": lambda: x * x * x,
        "sqrt": lambda: x.abs().sqrt(),
        "exp": lambda: x.exp(),
        "log": lambda: (x.abs() + DELTA).log(),
        "tanh": lambda: x.tanh(),
        "clip": lambda: x.clamp(-number, number),
        "+": lambda: x + y,
        "-": lambda: x - y,
        "*": lambda: x * y,
    }[name]()


NUMBERS = st.sampled_from([0, 1, -1, 2, 0.5, 0.01, 10])
LEAVES = st.one_of(
    st.sampled_from(["g", "w", "linear_decay", "g2", "g3", "m", "v", "y", "adam", "rmsprop"]),
    NUMBERS,
    st.just(["cosine_decay", 0.5]),
    st.just(["restart_decay", 3]),
)


def _larger(inner):
    unary = st.sampled_from("identity negate sign abs square cube sqrt exp log tanh reciprocal".split())
    binary = st.sampled_from(["+", "-", "*", "/", "power", "left"])
    mean = st.tuples(st.sampled_from(["mean", "raw_mean", "previous_mean"]), inner, st.sampled_from([0.5, 0.9]))
    return st.one_of(
        st.tuples(unary, inner).map(list),
        st.tuples(binary, inner, inner).map(list),
        st.tuples(st.just("clip"), inner, st.sampled_from([1e-3, 1.0])).map(list),
        mean.map(list),
    )


RULES = st.recursive(LEAVES, _larger, max_leaves=8)
"""JSON of rules without randomness; some are refused (division by zero, overflow, too many means)."""
