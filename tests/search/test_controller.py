"""The recurrent controller: answers any space, learns from what it is told, and keeps what it learned."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from polymath.search.choices import Choose, Space, at_random, draw
from polymath.search.generators import Experience, News, Past
from polymath.search.generators.controller import Controller, Ppo, Reinforce, Reinforce2017, Settings
from polymath.search.generators.controller.learning import Batch, Learner, Lesson
from polymath.search.generators.controller.policy import Pass, Policy, sampled, traced
from polymath.testing import check_generator, toy_space

KINDS = (Reinforce, Ppo, Reinforce2017)


def skips(choose: Choose) -> dict[str, Any]:
    """Layers that may be fed by every layer before."""
    found = {}
    for i in range(choose("depth", 2, 5)):
        found[f"l{i}"] = choose(f"l{i}.width", [16, 32, 64])
        found[f"from{i}"] = [choose(f"l{i}.from.{o}", [False, True]) for o in ["input", *(f"l{j}" for j in range(i))]]
    found["rate"] = choose("rate", 1e-4, 1.0, log=True)
    return found


def code(choose: Choose) -> list[int]:
    return [choose(f"place{i}", [0, 1, 2, 3]) for i in range(6)]


def right(built: list[int]) -> float:
    """Of 4096 codes one is all right; pairs count, so that places are not independent."""
    return float(sum(a == (i % 4) for i, a in enumerate(built)) + sum(built[i] + 1 == built[i + 1] for i in range(3)))


def run(
    kind: type[Controller],
    space: Space,
    score: Callable[[Any], float],
    *,
    proposals: int,
    seed: int = 0,
    experience: Experience | None = None,
) -> tuple[list[float], Controller]:
    controller = kind(lambda answer: draw(space, answer), seed=seed, experience=experience)
    scores = []
    for number in range(proposals):
        sketch = controller.propose(number)
        controller.begin(number, sketch)
        scores.append(score(sketch.built))
        controller.observe(News(number, sketch.trace, scores[-1], 1.0, by=kind.name))
    return scores, controller


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract(kind: type[Controller]) -> None:
    check_generator(kind)


@pytest.mark.parametrize("kind", [Reinforce, Ppo])
def test_it_learns(kind: type[Controller]) -> None:
    def late(controller: type[Controller], seed: int) -> float:
        return float(np.mean(run(controller, code, right, proposals=80, seed=seed)[0][60:]))

    random = np.mean([right(draw(code, at_random(np.random.default_rng(n))).built) for n in range(300)])
    assert np.mean([late(kind, seed) for seed in range(2)]) > random + 1.5


def test_any_scale_of_scores_teaches_the_same() -> None:
    plain = run(Ppo, code, right, proposals=40)[0]
    scaled = run(Ppo, code, lambda built: 1e9 * math.exp(right(built)), proposals=40)[0]
    assert [math.exp(score) * 1e9 for score in plain] == scaled


def test_failures_are_avoided() -> None:
    def fragile(built: list[int]) -> float:
        return -math.inf if built[0] == 2 else 0.0

    _, controller = run(Ppo, code, fragile, proposals=60)
    assert np.mean([controller.propose(n).built[0] == 2 for n in range(100, 160)]) < 0.15


@pytest.mark.parametrize("space", [skips, code, toy_space])
def test_torch_and_numpy_give_the_same_probabilities(space: Space) -> None:
    policy = Policy(layers=2, units=35, fingerprint={"rows": 1e4, "unknown": math.nan})
    walks = [Pass(policy, sampled(np.random.default_rng(n))) for n in range(8)]
    sketches = [draw(space, walk) for walk in walks]
    for array in policy.arrays.values():
        array *= 8  # far from uniform
    again = [Pass(policy, traced(sketch.trace)) for sketch in sketches]
    for walk in again:
        draw(space, walk)
    batch = Batch([Lesson(walk.episode, 0.0, 0.0) for walk in again])
    logs = batch.logs({name: torch.from_numpy(array) for name, array in policy.arrays.items()}, layers=2)
    torch.testing.assert_close(logs.gather(1, batch.taken_N[:, None])[:, 0], batch.chance_N, atol=1e-4, rtol=1e-4)
    followed = [Pass(policy, traced(sketch.trace), forward=False) for sketch in sketches]
    for walk, other in zip(followed, again, strict=True):
        draw(space, walk)
        assert walk.episode.inputs == other.episode.inputs, "a trace is followed as it was made"


def test_skips_are_answered_by_anchors() -> None:
    policy = Policy(layers=1, units=8, fingerprint={})
    walk = Pass(policy, lambda offer, tokens, chances: (len(tokens) - 1, offer.high if not offer.options else 1.0))
    draw(skips, walk)
    decisions = walk.episode.decisions
    of_last = [d for d in decisions if d.other is not None][-5:]
    assert len({d.step for d in of_last}) == 1, "one anchor answers all skips of a layer"
    assert of_last[0].other == -1, "the input has no choices"
    anchors = sorted({d.step for d in decisions if d.other is not None})
    assert [d.other for d in of_last[1:]] == anchors[:-1], "an earlier layer is known by its latest state"
    assert len(walk.episode.inputs) == len({d.step for d in decisions})
    after = walk.episode.inputs[of_last[0].step + 1]
    assert len(after) == 5, "the next step sees all of them"
    assert sum(weight for _, weight in after) == pytest.approx(1)


def test_skips_are_learned() -> None:
    def score(built: dict[str, Any]) -> float:
        feeds = [feed for name, given in built.items() if name.startswith("from") for feed in given]
        return float(np.mean(feeds))

    _, controller = run(Ppo, skips, score, proposals=60)
    assert np.mean([score(controller.propose(n).built) for n in range(100, 120)]) > 0.75
    assert (
        np.abs(controller.memory()["skip.score"]).sum()
        > np.abs(Policy(layers=2, units=35, fingerprint={}).arrays["skip.score"]).sum()
    )


def test_it_goes_on_with_what_it_remembers_also_where_options_moved() -> None:
    _, controller = run(Ppo, code, right, proposals=100)
    memory = controller.memory()
    assert all(array.dtype == np.float32 for array in memory.values())

    def moved(choose: Choose) -> list[int]:
        return [choose(f"place{i}", [9, 3, 2, 1, 0]) for i in range(7)]

    experience = Experience(weights=memory)
    first = run(Ppo, moved, right, proposals=10, experience=experience)[0][::2]
    cold = run(Ppo, moved, right, proposals=10)[0]
    assert np.mean(first) > np.mean(cold) + 1
    again = Ppo(lambda answer: draw(moved, answer), seed=0, experience=experience).memory()
    assert all(np.array_equal(again[name], array) for name, array in memory.items()), "nothing is lost unused"


def test_weights_of_another_net_are_not_used() -> None:
    class Small(Ppo):
        settings = Settings(units=5, clip=0.2)

    memory = run(Small, code, right, proposals=12)[1].memory()
    expected = run(Ppo, code, right, proposals=12)[0]
    assert run(Ppo, code, right, proposals=12, experience=Experience(weights=memory))[0] == expected


def test_without_weights_it_imitates_what_was_best_before() -> None:
    generator = np.random.default_rng(0)
    sketches = [draw(code, at_random(generator)) for _ in range(400)]
    news = tuple(News(n, sketch.trace, right(sketch.built), 1.0) for n, sketch in enumerate(sketches))
    past = Past("earlier", {"rows": 100.0}, news)
    scores = run(Ppo, code, right, proposals=20, experience=Experience({"rows": 120.0}, (past,)))[0]
    assert np.mean(scores[::2]) > np.mean([one.score for one in news]) + 1


def test_the_problem_shapes_the_first_answers() -> None:
    policy = Policy(layers=2, units=35, fingerprint={"rows": 1e5})
    learner = Learner(policy, Settings(epochs=60))

    def following(rows: float, value: int) -> Lesson:
        walk = Pass(
            policy,
            lambda offer, tokens, chances: (value, float(value)),
            forward=False,
            first=policy.problem({"rows": rows}),
        )
        draw(code, walk)
        return Lesson(walk.episode, 0.0, 1.0)

    learner.learn([following(1e5, 3), following(1.0, 0)])
    many = draw(code, Pass(policy, sampled(np.random.default_rng(0)))).built
    few = draw(code, Pass(policy, sampled(np.random.default_rng(0)), first=policy.problem({"rows": 1.0}))).built
    assert many.count(3) > 4
    assert few.count(0) > 4


def test_others_are_imitated_only_when_they_are_good() -> None:
    controller = Ppo(lambda answer: draw(code, answer), seed=0)
    good = [0, 1, 2, 3, 0, 1]
    for number in range(12):
        sketch = draw(code, lambda offer, n=number: float(good[int(offer.name[5:])] if n % 2 else 2))
        controller.observe(News(number, sketch.trace, right(sketch.built), 1.0, by="another"))
    for number in range(12, 40):
        sketch = draw(code, at_random(np.random.default_rng(number)))
        controller.observe(News(number, sketch.trace, right(sketch.built), 1.0, by="random"))
        controller.propose(number)
    assert np.mean([right(controller.propose(n).built) for n in range(100, 120)]) > 4


def test_the_order_of_rungs_does_not_matter() -> None:
    def told(*rungs: int) -> list[str]:
        controller = Ppo(lambda answer: draw(code, answer), seed=0)
        for number in range(15):
            sketch = draw(code, at_random(np.random.default_rng(number)))
            for rung in rungs:
                controller.observe(News(number, sketch.trace, right(sketch.built) + rung, 1.0 + rung, rung=rung))
        return [controller.propose(n).identity for n in range(15, 25)]

    assert told(0, 1, 2) == told(0, 2, 1)


def test_the_state_of_torch_is_left_alone() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = run(Ppo, code, right, proposals=20)[0]
    torch.manual_seed(77)
    assert run(Ppo, code, right, proposals=20)[0] == first
    torch.set_rng_state(before)
    assert torch.get_num_threads() == threads


def test_torch_is_loaded_only_to_learn() -> None:
    program = "import sys; import polymath.search.generators.controller; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


def test_a_proposal_is_quick() -> None:
    controller = Ppo(lambda answer: draw(skips, answer), seed=0)
    controller.propose(0)
    begin = time.process_time()
    for number in range(1, 41):
        controller.propose(number)
    assert (time.process_time() - begin) / 40 < 0.01, "about 1 to 3 ms where nothing else runs"
