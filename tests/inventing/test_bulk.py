"""Sweeps as one tensor program: each training comes out as it would alone, and what explodes is a recorded death."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from polymath.inventing.bulk import HORIZONS, RATES, doublings, train
from polymath.inventing.exercises import Exercise, Mlp, cross_entropy
from polymath.inventing.tasks import judging_exercises, search_exercises
from polymath.train.update import KNOWN, Expression
from polymath.train.update.optimizer import ExpressionOptimizer

STEPS = 15


@pytest.fixture(scope="module")
def exercise() -> Exercise:
    return search_exercises()[0]


@pytest.mark.parametrize("name", ["adamw", "lion", "powersign_linear", "momentum"])
def test_each_lane_is_trained_as_if_alone(exercise: Exercise, name: str) -> None:
    rates, seeds = (0.001, 0.01, 0.05), (3, 7)
    together = train(exercise, KNOWN[name], rates=rates, seeds=seeds, steps=STEPS, cut=False)
    for (place, rate), (column, seed) in itertools.product(enumerate(rates), enumerate(seeds)):
        alone = train(exercise, KNOWN[name], rates=[rate], seeds=[seed], steps=STEPS, cut=False)
        assert alone.losses[0, 0] == pytest.approx(together.losses[place, column], rel=1e-4)


def test_a_lane_is_what_a_module_and_an_optimizer_give(exercise: Exercise) -> None:
    """Against plain PyTorch: the same weights, batches and decay."""
    rate, seed = 0.02, 5
    net = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 8))
    first = exercise.parts(exercise.start([seed]))
    with torch.no_grad():
        for parameter, given in zip(net.parameters(), first, strict=True):
            parameter.copy_(given[0].T if given.ndim == 3 else given[0])
    optimizer = ExpressionOptimizer(net.parameters(), "adamw", lr=rate)
    scales = (3.0, 0.3)

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return net[2](torch.relu(net[0](rows) * scales[0])) * scales[1]

    for step, order in enumerate(exercise.orders([seed], STEPS)):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / STEPS)
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(exercise.train[0][order[0]]), exercise.train[1][order[0]]).backward()
        optimizer.step()
    rows, labels = (one[:256] for one in exercise.held)
    expected = nn.functional.cross_entropy(forward(rows), labels).item()
    got = train(exercise, KNOWN["adamw"], rates=[rate], seeds=[seed], steps=STEPS).losses[0, 0]
    assert got == pytest.approx(expected, rel=1e-3)


def test_cutting_takes_lanes_out_and_changes_no_other(exercise: Exercise) -> None:
    cut = train(exercise, KNOWN["adamw"], seeds=(0, 1), steps=150)
    whole = train(exercise, KNOWN["adamw"], seeds=(0, 1), steps=150, cut=False)
    assert whole.lane_steps == 150 * 2 * len(RATES)
    assert cut.lane_steps < 0.8 * whole.lane_steps
    alive = np.isfinite(cut.losses)
    assert alive.any()
    assert not alive.all()
    np.testing.assert_allclose(cut.losses[alive], whole.losses[alive], rtol=1e-3)
    assert cut.best == pytest.approx(whole.best, abs=0.05), "hardly anything is lost by it"


@pytest.mark.parametrize(
    "update",
    [
        ["exp", ["exp", ["exp", ["+", 5, ["abs", "g"]]]]],
        ["negate", "g"],
        ["*", 1e-12, "g"],
        ["log", ["*", 0, "g"]],
        ["/", "g", ["-", "g", ["mean", "g", 0.0]]],
    ],
)
def test_what_explodes_or_stands_still_is_dead_and_raises_nothing(exercise: Exercise, update: object) -> None:
    found = train(exercise, Expression(update=update), steps=40)
    assert found.dead
    assert found.best == math.inf


@pytest.mark.parametrize("one", [*search_exercises(), *judging_exercises()], ids=lambda one: one.name)
def test_lanes_do_not_see_each_other(one: Exercise) -> None:
    weights = one.start([0, 1]).requires_grad_()
    order = one.orders([0, 1], 1)[0]
    batch = tuple(rows[order] for rows in one.train)
    losses = one.loss(one.parts(weights), batch)
    assert losses.shape == (2,)
    (gradient,) = torch.autograd.grad(losses[0], weights)
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0
    held = one.held_loss(one.start([0, 1, 0]))
    assert torch.isfinite(held).all()
    assert held[0] == pytest.approx(float(held[2]), rel=1e-5)


def test_search_and_judges_share_no_data() -> None:
    searched, judged = ({one.data for one in found} for found in (search_exercises(), judging_exercises()))
    assert not searched & judged
    assert len(judging_exercises()) >= 12
    names = [one.name for one in (*search_exercises(), *judging_exercises())]
    assert len(set(names)) == len(names)


def test_held_out_rows_are_not_learned_from() -> None:
    for one in search_exercises():
        if one.data == "source":  # windows of text: the held-out ones lie behind all others
            continue
        seen = {
            row.numpy().tobytes()
            for row in torch.cat(
                [part.flatten(1) if part.ndim > 1 else part[:, None].float() for part in one.train], dim=1
            )
        }
        held = torch.cat([part.flatten(1) if part.ndim > 1 else part[:, None].float() for part in one.held], dim=1)
        assert sum(row.numpy().tobytes() in seen for row in held[:256]) < 26, "few rows of a picture are alike"


def test_doublings_count_steps_of_adamw() -> None:
    reference = (0.0, -1.0, -2.0, -3.0, -4.0)
    assert len(reference) == len(HORIZONS)
    assert doublings(-2.0, reference) == pytest.approx(0.0, abs=1e-6)
    assert doublings(-3.0, reference) == pytest.approx(1.0, abs=1e-6)
    assert doublings(-1.5, reference) == pytest.approx(-0.5, abs=1e-6)
    assert doublings(-3.0, reference, at=2.0) == pytest.approx(0.0, abs=1e-6)
    assert doublings(-100.0, reference) == 2.0
    assert doublings(math.inf, reference) == doublings(50.0, reference) == -2.0


def test_scales_make_the_same_function_badly_conditioned() -> None:
    plain, scaled = Mlp((4, 8, 2)), Mlp((4, 8, 2), scales=(100.0, 0.01))
    deviations = [[shape.scale for shape in net.shapes() if shape.scale] for net in (plain, scaled)]
    assert deviations[1][0] == pytest.approx(deviations[0][0] / 100)
    assert deviations[1][1] == pytest.approx(deviations[0][1] * 100)


def test_cross_entropy_of_a_stack_is_that_of_each() -> None:
    logits, target = torch.randn(3, 5, 4), torch.randint(4, (3, 5))
    expected = [nn.functional.cross_entropy(one, right) for one, right in zip(logits, target, strict=True)]
    torch.testing.assert_close(cross_entropy(logits, target), torch.stack(expected))
