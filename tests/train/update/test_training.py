"""A recipe with a rule of the language trains like any other."""

from __future__ import annotations

import pytest

from polymath.model.path import Path
from polymath.train import GradientRecipe, Job, parse_recipe
from polymath.train.rung import run

NET = Path.model_validate(
    {
        "genes": [
            {"name": "columns", "layer": {"kind": "columns"}, "inputs": ["in:row"]},
            {"name": "hidden", "layer": {"kind": "linear", "width": 16, "activation": "relu"}, "inputs": ["columns"]},
            {"name": "class", "layer": {"kind": "linear", "width": 3}, "inputs": ["hidden"]},
            {"name": "total", "layer": {"kind": "linear", "width": 1}, "inputs": ["hidden"]},
        ],
        "outputs": {"class": "class", "total": "total"},
    }
)


def job(dataset, recipe, *, work=0.02):
    return Job(dataset=dataset.digest, path=NET, recipe=recipe, folds=(0,), work=work)


@pytest.mark.parametrize("rule", ["powersign_linear", ["+", ["*", "linear_decay", "adam"], ["*", 0.1, "m"]]], ids=str)
def test_learns_and_does_so_again(rule, mixed_table, context):
    where, recipe = context(mixed_table), GradientRecipe(rule=rule, batch=32, learning_rate=0.02, warmup=0.0)
    first = run(job(mixed_table, recipe), where)
    constant = run(job(mixed_table, parse_recipe({"method": "constant"})).replace(path=None), where)
    assert first.ok and first.score > constant.score + 0.1
    assert run(job(mixed_table, recipe), where).result_digest == first.result_digest


def test_a_schedule_makes_a_difference(mixed_table, context):
    where, recipe = context(mixed_table), GradientRecipe(rule="powersign", batch=32, learning_rate=0.02, warmup=0.0)
    plain, decayed = (
        run(job(mixed_table, recipe.replace(rule=rule)), where) for rule in ("powersign", "powersign_cosine")
    )
    assert plain.result_digest != decayed.result_digest


def test_a_rule_that_explodes_is_a_recorded_death(mixed_table, context):
    recipe = GradientRecipe(rule=["exp", ["exp", ["+", 8, ["abs", "g"]]]], batch=32, learning_rate=1.0)
    outcome = run(job(mixed_table, recipe), context(mixed_table))
    assert not outcome.ok and outcome.reason.startswith("diverged")
