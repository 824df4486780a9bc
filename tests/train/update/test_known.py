"""The rules that people made equal their reference: PyTorch's, or the paper's lines in plain code."""

from __future__ import annotations

import math

import pytest
import torch

from polymath.train.update import KNOWN
from polymath.train.update.optimizer import ExpressionOptimizer

STEPS = 50
RATE = 0.01
TORCH = {
    "sgd": lambda p: torch.optim.SGD(p, lr=RATE),
    "momentum": lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=RATE),
    "adam": lambda p: torch.optim.Adam(p, lr=RATE),
    "adamw": lambda p: torch.optim.AdamW(p, lr=RATE),
}
DECAYS = {
    "": lambda t: 1.0,
    "_linear": lambda t: 1 - t / STEPS,
    "_cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t / STEPS)),
    "_restart": lambda t: 0.5 * (1 + math.cos(math.pi * (20 * t % STEPS) / STEPS)),
}


class Plain(torch.optim.Optimizer):
    """A rule `update(gradient, state, t)` of a paper, applied to each weight by itself; t counts from 0."""

    def __init__(self, parameters, update, *, weight_decay=0.0):
        super().__init__(parameters, {})
        self.update, self.weight_decay, self.t = update, weight_decay, 0

    @torch.no_grad()
    def step(self):
        for weight in self.param_groups[0]["params"]:
            update = self.update(weight.grad, self.state[weight], self.t)
            weight.sub_(RATE * (update + self.weight_decay * weight))
        self.t += 1


def lion(gradient, state, t):
    """Chen et al. 2023, arXiv 2302.06675, program 1."""
    momentum = state.get("m", torch.zeros_like(gradient))
    state["m"] = 0.99 * momentum + 0.01 * gradient
    return torch.sign(0.9 * momentum + 0.1 * gradient)


def agreement(gradient, state):
    state["m"] = 0.9 * state.get("m", torch.zeros_like(gradient)) + 0.1 * gradient
    return torch.sign(gradient) * torch.sign(state["m"])


def reference(name, parameters):
    if name in TORCH:
        return TORCH[name](parameters)
    if name == "lion":
        return Plain(parameters, lion)
    if name == "sign":
        return Plain(parameters, lambda gradient, state, t: torch.sign(gradient))
    kind, _, decay = name.partition("_")
    share = DECAYS[f"_{decay}" if decay else ""]
    if kind == "powersign":
        return Plain(parameters, lambda g, state, t: torch.exp(share(t) * agreement(g, state)) * g)
    assert kind == "addsign"
    return Plain(parameters, lambda g, state, t: (1 + share(t) * agreement(g, state)) * g)


@pytest.mark.parametrize("name", KNOWN)
def test_equals_its_reference(name, parameters, follow):
    theirs, mine = parameters(), parameters()
    expected = follow(reference(name, theirs), theirs, number=STEPS)
    found = follow(ExpressionOptimizer(mine, name, lr=RATE, total_steps=STEPS), mine, number=STEPS)
    for step, (after, before) in enumerate(zip(found, expected, strict=True)):
        for one, other in zip(after, before, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-6, msg=lambda text, step=step: f"{step}: {text}")


def test_weight_decay_is_that_of_adamw(parameters, follow):
    theirs, mine, more = parameters(), parameters(), parameters()
    expected = follow(torch.optim.AdamW(theirs, lr=RATE, weight_decay=0.3), theirs)[-1]
    found = follow(ExpressionOptimizer(mine, "adam", lr=RATE, weight_decay=0.3), mine)[-1]
    sums = follow(ExpressionOptimizer(more, ["+", "adam", ["*", 0.3, "w"]], lr=RATE), more)[-1]
    for one, other, third in zip(found, expected, sums, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-6)
        torch.testing.assert_close(third, other, rtol=2e-5, atol=2e-6)


def test_weight_decay_of_another_rule(parameters, follow):
    theirs, mine = parameters(), parameters()
    expected = follow(Plain(theirs, lion, weight_decay=0.3), theirs)[-1]
    found = follow(ExpressionOptimizer(mine, "lion", lr=RATE, weight_decay=0.3), mine)[-1]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-6)
