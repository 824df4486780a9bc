"""Which experiments become one path, with made-up members: who is averaged, who stands alone, what cost changes."""

from __future__ import annotations

import numpy as np
import pytest

from polymath.learning.chosen import best_together, safe_mean
from polymath.model.combine import Member
from polymath.model.layers.linear import Linear
from polymath.model.path import Gene, Path
from polymath.problem import Category, Number, Problem

TRUTH = np.arange(8) % 2
PROBLEM = Problem(name="made", inputs=(Number(name="x"),), outputs=(Category(name="label", classes=("no", "yes")),))


def member(number: int, *, wrong: tuple[int, ...], weights: str = "", sure: float = 2.0) -> Member:
    """Answers that are wrong for some rows, by a path of one gene with the weights at an address."""
    said = np.where(np.isin(np.arange(8), wrong), 1 - TRUTH, TRUTH)
    gene = Gene(name="head", layer=Linear(width=2), inputs=("in:row",), weights=weights or None)
    path = Path(genes=(gene,), outputs={"label": "head"})
    return Member(number, 0.0, {"label": sure * np.eye(2, dtype=np.float32)[said]}, (path,))


def test_a_safe_mean_needs_a_head_on_what_is_stored() -> None:
    address = "a" * 64
    fresh, stored, net = member(1, wrong=(0,)), member(2, wrong=(1,), weights=address), member(3, wrong=())
    asked = {"targets": {"label": TRUTH}, "is_head": {1: True, 2: True, 3: False}.__getitem__, "most": None}
    both = safe_mean([fresh, stored, net], PROBLEM, lent={address}, **asked)
    assert both == pytest.approx({1: 0.5, 2: 0.5}), "a trained net is left out, however good"
    assert safe_mean([fresh, stored, net], PROBLEM, lent=set(), **asked) == {}
    assert safe_mean([net], PROBLEM, lent={address}, **asked) == {}


def test_the_best_together_make_up_for_each_other_unless_one_costs_too_much() -> None:
    members = [member(1, wrong=(0,)), member(2, wrong=(1,)), member(3, wrong=(2, 3, 4))]

    def weights(rows: np.ndarray, dear: dict[int, float]) -> dict[int, float]:
        def charged(quality: float, numbers: frozenset[int]) -> float:
            return quality - sum(dear.get(number, 0.0) for number in numbers)

        return best_together(members, PROBLEM, {"label": TRUTH[rows]}, rows=rows, charged=charged)

    everything = np.arange(8)
    assert set(weights(everything, {})) == {1, 2, 3}, "two of three are right about every row"
    assert weights(everything, {1: 2.0, 2: 2.0}) == {3: 1.0}, "the better ones cost more than they are worth"
    assert set(weights(np.arange(2, 8), {})) <= {1, 2}, "by the rows that are compared alone these are never wrong"
