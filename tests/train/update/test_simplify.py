"""Fewer parts, the same behaviour; one digest for what does the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, reject, settings

from polymath.spec import BadInput
from polymath.train.update import KNOWN, Operands, behaviour, evaluate, formula, new_state, parse, simplify

from .plain import RULES, rule, stream


def updates(expression, gradients, weight):
    state = new_state(expression, weight)
    return [
        evaluate(expression, Operands(gradient, weight, step=step, progress=step / 7), state).clone()
        for step, gradient in enumerate(gradients, start=1)
    ]


@settings(max_examples=150, deadline=None)
@given(RULES)
def test_behaviour_never_changes(value):
    expression = rule(value)
    try:
        simple = simplify(expression)
    except BadInput:
        reject()  # it divides by what is always zero
    assert len(simple.graph) <= len(expression.graph) and simplify(simple) == simple
    gradients, weight = stream()
    for before, after in zip(updates(expression, gradients, weight), updates(simple, gradients, weight), strict=True):
        if not bool(torch.isfinite(before).all()):
            break  # 0 * infinity is no number; what exploded is dead either way
        torch.testing.assert_close(after, before, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "simple"),
    [
        (["*", 1, "g"], "g"),
        (["+", ["*", 0, "m"], "g"], "g"),
        (["negate", ["negate", "g"]], "g"),
        (["sign", ["sign", ["*", 3, "g"]]], ["sign", "g"]),
        (["sign", ["/", "g", -2]], ["negate", ["sign", "g"]]),
        (["*", ["+", 1, 2], "g"], ["*", 3.0, "g"]),
        (["-", "g", ["negate", "m"]], ["+", "g", "m"]),
        (["/", "m", ["sqrt", "v"]], "adam"),
        (["sqrt", ["abs", "g"]], ["sqrt", "g"]),
        (["abs", ["exp", "g"]], ["exp", "g"]),
        (["clip", ["clip", "g", 0.5], 2], ["clip", "g", 0.5]),
        (["*", "g", ["*", "g", "g"]], "g3"),
        (["mean", "g", 0], "g"),
        (["-", "m", "m"], 0.0),
    ],
    ids=str,
)
def test_simple_form(value, simple):
    assert simplify(parse(value)).update == simple


def test_shared_parts_become_blocks():
    simple = simplify(parse(["+", ["exp", ["sign", "g"]], ["sign", "g"]]))
    assert simple.blocks == {"a": ["sign", "g"]} and simple.update == ["+", ["exp", "a"], "a"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (KNOWN["powersign"], "e^(sign(g) * sign(m)) * g"),
        (KNOWN["addsign_linear"], "(1 + linear_decay * sign(g) * sign(m)) * g"),
        (KNOWN["lion"], "sign(0.9 * previous_mean(g, 0.99) + 0.1 * g)"),
        (["-", "g", ["-", "m", "v"]], "g - (m - v)"),
        (["/", "g", ["*", "m", "v"]], "g / (m * v)"),
        (["negate", ["+", "g", "m"]], "-(g + m)"),
        (["square", ["negate", "g"]], "(-g)^2"),
        (["power", ["-", "g", "m"], -0.5], "|g - m|^(-0.5)"),
        (["+", "adam", ["*", 0.01, "w"]], "adam + 0.01 * w"),
        (
            ["+", ["exp", ["mean", ["*", "g", "w"], 0.25]], ["mean", ["*", "g", "w"], 0.25]],
            "e^mean(g * w, 0.25) + mean(g * w, 0.25)",
        ),
    ],
    ids=str,
)
def test_formula(value, text):
    assert formula(parse(value)) == text


def test_long_shared_parts_are_named():
    part = ["sqrt", ["mean", ["*", "g", ["tanh", "w"]], 0.25]]
    assert formula(parse(["+", ["exp", part], part])) == "e^a + a, where a = sqrt|mean(g * tanh(w), 0.25)|"


def test_equal_behaviour_has_one_digest():
    digests = {name: behaviour(one) for name, one in KNOWN.items()}
    assert len(set(digests.values())) == len(KNOWN)
    same = [["*", 2, "g"], ["+", "g", "g"], ["*", 3, ["exp", ["log", ["abs", "g"]]]]]
    assert behaviour(parse(same[0])) == behaviour(parse("g")) == behaviour(parse(same[1])) != behaviour(parse(same[2]))
    assert behaviour(parse(["negate", "g"])) != behaviour(parse("g"))
    assert behaviour(parse(["*", 2, "g"]), scaled=True) != behaviour(parse("g"), scaled=True)
    assert behaviour(parse(["log", ["*", 1e9, "g"]])) == behaviour(parse(["log", ["*", 1e9, "g"]]))


def test_digests_stay_the_same_from_release_to_release():
    """They stand in ledgers: a change here would have every rule of an old search tried again."""
    assert behaviour(KNOWN["powersign"])[:16] == "006ccb5b4ffa9735"
