"""A job is a pure function: same job, same outcome; going on equals never having stopped; death is a result."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import torch

from polymath.model.build import PathModule, build
from polymath.model.path import Path
from polymath.problem import Number
from polymath.store import Store
from polymath.train import Augmentation, Context, GradientRecipe, Job, Outcome, fit, parse_recipe, planned_work
from polymath.train.rung import Runner, facts_of, request, run, run_json

RECIPE = GradientRecipe(batch=32, learning_rate=3e-3, warmup=0.0, augmentation=Augmentation(drop_columns=0.1))


def net(dropout: float = 0.1) -> Path:
    hidden = {"kind": "linear", "width": 32, "activation": "relu", "dropout": dropout}
    return Path.model_validate(
        {
            "genes": [
                {"name": "columns", "layer": {"kind": "columns"}, "inputs": ["in:row"]},
                {"name": "hidden", "layer": hidden, "inputs": ["columns"]},
                {"name": "class", "layer": {"kind": "linear", "width": 3}, "inputs": ["hidden"]},
                {"name": "total", "layer": {"kind": "linear", "width": 1}, "inputs": ["hidden"]},
            ],
            "outputs": {"class": "class", "total": "total"},
        }
    )


def job_of(dataset, **changes) -> Job:
    return Job(dataset=dataset.digest, path=net(), recipe=RECIPE, folds=(0,), work=0.006).replace(**changes)


def test_training_learns_and_reports(mixed_table, context):
    where = context(mixed_table)
    outcome = run(job_of(mixed_table, work=0.06, folds=(0, 1), checkpoint=None), where)
    constant = run(job_of(mixed_table, path=None, recipe=parse_recipe({"method": "constant"})), where)
    assert outcome.ok and outcome.score > constant.score + 0.2
    assert len(outcome.paths) == 2 and outcome.checkpoint is None
    assert outcome.work == pytest.approx(0.06, rel=0.05)
    assert outcome.curve[0].loss > outcome.curve[-1].loss and outcome.curve[-1].score == outcome.score
    with Store.open(where.scratch) as store:
        stored = store.get_tensors(outcome.predictions)
        rows = stored["rows"]
        assert sorted(rows) == sorted([*mixed_table.validation(0), *mixed_table.validation(1)])
        assert stored["output/class"].shape == (len(rows), 3) and stored["output/total"].shape == (len(rows), 1)
        module = build(outcome.paths[0], mixed_table.problem.ports, fetch=store.get_tensors).eval()
    first = mixed_table.validation(0)
    with torch.inference_mode():
        again = module({"row": torch.from_numpy(np.array(mixed_table.inputs["row"][first]))})
    assert np.array_equal(again["class"].numpy(), stored["output/class"][: len(first)])


def test_same_job_same_outcome(mixed_table, context):
    job, where = job_of(mixed_table), context(mixed_table)
    first = run(job, where)
    assert Outcome.from_json(run_json(request(job, where))).result_digest == first.result_digest
    assert run(job.replace(seed=1), where).result_digest != first.result_digest


NOISY = ["+", ["drop", "adam", 0.3], ["*", ["noise", 0.01], ["sign", ["previous_mean", "g", 0.5]]]]


@pytest.mark.parametrize("rule", ["adamw", "sgd", "lion", NOISY], ids=["adamw", "sgd", "lion", "noisy"])
def test_going_on_equals_never_having_stopped(mixed_table, context, rule):
    where, recipe = context(mixed_table), RECIPE.replace(rule=rule, learning_rate=1e-2)
    whole = run(job_of(mixed_table, recipe=recipe, work=0.006, rate=(1.0, 1.0)), where)
    half = run(job_of(mixed_table, recipe=recipe, work=0.0023, rate=(1.0, 1.0)), where)
    rest = run(job_of(mixed_table, recipe=recipe, work=0.006, rate=(1.0, 1.0), checkpoint=half.checkpoint), where)
    assert half.score != whole.score
    assert rest.checkpoint == whole.checkpoint  # weights, moments, moving average and position, bit for bit
    assert rest.predictions == whole.predictions and rest.work == whole.work


def test_a_decay_rung_goes_on_from_a_level_one(mixed_table, context):
    where = context(mixed_table)
    level = run(job_of(mixed_table, work=0.004, rate=(1.0, 1.0)), where)
    down = run(job_of(mixed_table, work=0.008, rate=(1.0, 0.0), checkpoint=level.checkpoint), where)
    assert level.checkpoint and down.ok and down.checkpoint is None and down.work > level.work


def test_seconds_end_a_rung(mixed_table, context):
    where = context(mixed_table).replace(seconds=1.5)
    run(job_of(mixed_table, work=0.001), where)  # optimizers are imported on first use
    outcome = run(job_of(mixed_table, work=1e6), where)
    assert outcome.ok and outcome.seconds < 3 and outcome.work < 1e6 and outcome.hurried


@pytest.mark.parametrize("recipe", [RECIPE, {"method": "trees"}, {"method": "forest", "num_trees": 30}], ids=str)
def test_time_enough_changes_nothing(recipe, mixed_table, context):
    where = context(mixed_table)
    job = job_of(mixed_table, recipe=parse_recipe(recipe) if isinstance(recipe, dict) else recipe)
    free, timed = run(job, where), run(job, where.replace(seconds=3600))
    assert timed.result_digest == free.result_digest and not timed.hurried


def test_divergence_is_a_result(mixed_table, context):
    outcome = run(job_of(mixed_table, recipe=RECIPE.replace(rule="sgd", learning_rate=1e30)), context(mixed_table))
    assert not outcome.ok and outcome.reason.startswith("diverged") and outcome.score is None


def test_a_setback_halves_the_rate_and_goes_on(mixed_table, context, monkeypatch):
    calls = []
    real = Number.loss

    def sick(self, prediction, target, *, smoothing=0.0):
        calls.append(1)
        return real(self, prediction, target, smoothing=smoothing) * (float("nan") if len(calls) == 20 else 1.0)

    monkeypatch.setattr(Number, "loss", sick)
    outcome = run(job_of(mixed_table, work=0.006, rate=(1.0, 1.0)), context(mixed_table))
    assert outcome.ok
    with Store.open(context(mixed_table).scratch) as store:
        assert store.get_tensors(outcome.checkpoint)["0/position"][1] == 0.5


@pytest.mark.parametrize(("failures", "ok"), [(1, True), (2, False)])
def test_out_of_memory_is_tried_once_at_half_the_batch(mixed_table, context, monkeypatch, failures, ok):
    sizes = []
    real = PathModule.forward

    def hungry(self, inputs):
        sizes.append(len(inputs["row"]))
        if self.training and len(sizes) <= failures:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return real(self, inputs)

    monkeypatch.setattr(PathModule, "forward", hungry)
    outcome = run(job_of(mixed_table), context(mixed_table))
    assert outcome.ok == ok and sizes[0] == 32 and sizes[1] == 16
    assert ok or "out of memory" in outcome.reason


def test_our_own_mistakes_are_raised(mixed_table, context):
    with pytest.raises(ValueError, match="needs a path"):
        run(job_of(mixed_table, path=None), context(mixed_table))


def test_planned_work(mixed_table, context):
    facts = facts_of(mixed_table)
    assert planned_work(job_of(mixed_table, work=3.0), facts) == 3.0
    job = job_of(mixed_table, path=None, recipe=parse_recipe({"method": "linear"}), folds=(0, 1))
    assert planned_work(job, facts) == pytest.approx(run(job, context(mixed_table)).work)


def test_rows_for_testing_are_never_used(mixed_table, make_dataset, tmp_path):
    """Spoiling every test row changes no outcome."""
    arrays = {f"input {port}": np.array(array) for port, array in mixed_table.inputs.items()}
    arrays |= {f"target {output}": np.array(array) for output, array in mixed_table.targets.items()}
    for array in arrays.values():
        array[mixed_table.test] = 0
    spoiled = make_dataset(tmp_path / "spoiled", mixed_table.problem, arrays, mixed_table.folds)
    for recipe in (RECIPE, *map(parse_recipe, ({"method": "trees", "max_iter": 10}, {"method": "nearest"}))):
        path = net() if recipe is RECIPE else None
        job = job_of(mixed_table, recipe=recipe, path=path)
        digests = {
            run(job, Context(dataset_folder=str(one.folder), scratch=str(tmp_path / "scratch"))).result_digest
            for one in (mixed_table, spoiled)
        }
        assert len(digests) == 1


def test_rate():
    level = fit.Plan(steps=10, rate=(1.0, 1.0), first=True)
    recipe = GradientRecipe(warmup=0.2)
    assert fit.rate(0.1, recipe, level) == pytest.approx(0.5) and fit.rate(0.9, recipe, level) == 1.0
    one_cycle = fit.Plan(steps=10, rate=(1.0, 0.0), first=True)
    assert fit.rate(0.6, recipe, one_cycle) == pytest.approx(0.5) and fit.rate(1.0, recipe, one_cycle) == 0.0
    second_half = fit.Plan(steps=10, rate=(0.5, 0.0), first=False)
    assert fit.rate(0.0, recipe, second_half) == 0.5 and fit.rate(0.5, recipe, second_half) == 0.25


def test_a_runner_keeps_its_places_open_and_notices_others(mixed_table, context):
    runner, here = Runner(), context(mixed_table)
    text = request(job_of(mixed_table), here)
    first = Outcome.from_json(runner(text))
    dataset, store = runner.dataset(here), runner.store(here)
    assert Outcome.from_json(runner(text)).result_digest == first.result_digest
    assert runner.dataset(here) is dataset and runner.store(here) is store
    shutil.rmtree(here.scratch)  # a scratch folder may be removed while a search runs
    assert Outcome.from_json(runner(text)).result_digest == first.result_digest
    assert runner.store(here) is not store and runner.store(here).has(first.predictions)
    assert pickle.loads(pickle.dumps(runner))._store is None  # a worker process begins with nothing open
    runner.close()
