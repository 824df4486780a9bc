"""What is taken off a score for new parameters and for compute, and that it decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polymath import Polymath
from polymath.learning.costs import FREE, Cost, parse_cost
from polymath.spec import BadInput


def test_costs_are_read_and_said() -> None:
    cost = parse_cost("new=0.02, active=0.01")
    assert cost == Cost(new=0.02, active=0.01)
    assert str(cost) == "2 % for as many new parameters and 1 % for as many multiply-adds as a fresh net has"
    assert parse_cost("active=0.5") == Cost(active=0.5)
    assert parse_cost("") == FREE
    assert not FREE
    assert str(FREE) == ""
    for wrong in ("new", "new=much", "old=0.1", "new=1", "new=-0.1", "new=nan"):
        with pytest.raises(BadInput, match="no cost"):
            parse_cost(wrong)


def test_what_costs_more_is_worth_less_on_both_sides_of_zero() -> None:
    cost = Cost(new=0.1, active=0.5)
    assert cost.charged(0.8, new=0.0, active=0.0) == 0.8
    assert cost.charged(0.8, new=1.0, active=0.0) == pytest.approx(0.72)
    assert cost.charged(0.8, new=2.0, active=1.0) == pytest.approx(0.8 * 0.81 * 0.5)
    assert cost.charged(-2.0, new=1.0, active=0.0) == pytest.approx(-2.0 / 0.9)
    assert FREE.charged(0.8, new=100.0, active=100.0) == 0.8


def test_a_dear_model_is_not_chosen(tmp_path: Path) -> None:
    """A wave that trees and nets follow and a line does not: where size costs nearly everything, small wins."""
    x = np.random.default_rng(0).uniform(-3, 3, 120)
    table = pa.table({"x": x, "y": np.sin(2 * x) + 0.3 * x})
    store = Polymath(tmp_path / "store")
    wishes = {
        "target": "y",
        "work": 0.2,
        "space": "heads",
        "engine": "inline",
        "lanes": 1,
        "cache": str(tmp_path / "cache"),
    }
    free = store.learn(table, name="free", build_on=False, **wishes).record
    dear = store.learn(table, name="dear", build_on=False, cost={"new": 0.99}, **wishes).record
    assert free.origin["cost"] == ""
    assert dear.origin["cost"] == "99 % for as many new parameters as a fresh net has"
    assert dear.summary.parameters < 0.2 * free.summary.parameters
    # What is shown is what the answers are worth.
    (best, *_) = [row for row in store.task("dear").leaderboard() if row["weight"]]
    assert dear.summary.validation is not None
    shown = {row["what"]: row["score"] for row in store.task("free").leaderboard()}
    assert shown.get(best["what"], best["score"]) == best["score"]
    again = store.learn(table, name="dear", build_on=False, cost={"new": 0.99}, **wishes).record
    assert again == dear, "the same wishes again: nothing to do"
