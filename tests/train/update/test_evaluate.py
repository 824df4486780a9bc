"""One evaluator: what it computes, and that it spoils nothing."""

from __future__ import annotations

import torch
from hypothesis import assume, given, settings

from polymath.spec import BadInput
from polymath.train.update import Operands, evaluate, new_state, parse

from .plain import RULES, plain_updates

STEPS = 4


def stream(shape=(5,), *, steps=STEPS, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(steps)]
    return gradients, torch.randn(shape, generator=generator, dtype=dtype)


def updates(expression, gradients, weight, *, rate=0.0, scratch=None, progress=None):
    state, weight, found = new_state(expression, weight), weight.clone(), []
    for step, gradient in enumerate(gradients, start=1):
        share = (step - 1) / len(gradients) if progress is None else progress(step)
        operands = Operands(gradient, weight, step=step, progress=share, scratch=scratch)
        found.append(evaluate(expression, operands, state).clone())
        weight = weight - rate * found[-1]
    return found


def rule(value):
    try:
        return parse(value)
    except BadInput:
        assume(False)


@settings(max_examples=300, deadline=None)
@given(RULES)
def test_computes_what_the_definitions_say(value):
    expression = rule(value)
    gradients, weight = stream()
    kept = [gradient.clone() for gradient in gradients]
    expected = plain_updates(expression, gradients, weight)
    scratch: list[torch.Tensor] = []
    for found in (updates(expression, gradients, weight), updates(expression, gradients, weight, scratch=scratch)):
        for mine, theirs in zip(found, expected, strict=True):
            if not theirs.abs().max() < 1e6:  # what explodes may do so elsewhere
                break
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    assert all(torch.equal(now, before) for now, before in zip(gradients, kept, strict=True))
