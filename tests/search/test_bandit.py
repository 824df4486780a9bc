"""The bandit: who improves is asked, random keeps its tenth, and the ledger's news rebuild it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from polymath.search import generators as registry
from polymath.search.choices import Sketch, Trace, as_traced, at_random, draw, first
from polymath.search.generators import Experience, Generator, News, Past, bandit
from polymath.search.generators.bandit import RANDOM_EVERY, Bandit
from polymath.testing import check_generator, toy_score, toy_space


class Steady(Generator):
    """Proposes something new at random, and keeps what it was told."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.told: list[News] = []

    def propose(self, number: int) -> Sketch:
        return self.draw(at_random(np.random.default_rng([7, number])))

    def observe(self, news: News) -> None:
        self.told.append(news)

    def memory(self) -> dict[str, np.ndarray]:
        return {"count": np.array([float(len(self.told))])}


class Good(Steady):
    name = "good"


class Poor(Steady):
    name = "poor"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> type[Bandit]:
    """A bandit over two arms of which nothing is known beforehand."""
    kinds = {"random": registry.generators()["random"], "good": Good, "poor": Poor}
    monkeypatch.setattr(registry, "generators", lambda: kinds)
    monkeypatch.setattr(bandit, "ARMS", ("good", "poor", "not installed"))
    return Bandit


def space(choose: Any) -> float:
    return float(choose("x", 0.0, 1.0))


def made(kind: type[Bandit], experience: Experience | None = None) -> Bandit:
    return kind(lambda answer: draw(space, answer), seed=3, experience=experience)


def played(one: Bandit, rounds: int, *, winner: str, work: dict[str, float] | None = None, start: int = 0) -> list[str]:
    """Whom it asked, where only the winner ever improves on the best."""
    asked = []
    for number in range(start, start + rounds):
        sketch = one.propose(number)
        one.begin(number, sketch)
        asked.append(sketch.by)
        score = float(number) if sketch.by == winner else -1.0
        one.observe(News(number, sketch.trace, score, (work or {}).get(sketch.by, 1.0), by=sketch.by))
    return asked


def test_contract() -> None:
    check_generator(Bandit)


def test_who_improves_is_asked(two: type[Bandit]) -> None:
    asked = Counter(played(made(two), 100, winner="good"))
    assert asked["good"] > 2 * asked["poor"]
    asked = Counter(played(made(two), 100, winner="poor"))
    assert asked["poor"] > 2 * asked["good"]


def test_it_forgets(two: type[Bandit]) -> None:
    one = made(two)
    played(one, 150, winner="good")
    late = Counter(played(one, 200, winner="poor", start=150)[100:])
    assert late["poor"] > late["good"]


def test_pay_is_per_work(two: type[Bandit]) -> None:
    one = made(two)
    asked = []
    for number in range(300):  # both improve as often; one costs twenty times as much
        sketch = one.propose(number)
        one.begin(number, sketch)
        asked.append(sketch.by)
        one.observe(News(number, sketch.trace, number, 20.0 if sketch.by == "good" else 1.0, by=sketch.by))
    assert Counter(asked)["poor"] > 1.5 * Counter(asked)["good"]


def test_rungs_are_paid_for_once(two: type[Bandit]) -> None:
    one = made(two)
    trace = Trace()
    for rung, work in enumerate((1.0, 3.0, 9.0)):
        one.observe(News(0, trace, 0.5 + rung, work, rung=rung, by="good"))
    assert one.accounts["good"].work == pytest.approx(9, rel=0.05)
    one.observe(News(1, trace, -np.inf, 5.0, by="poor"))
    assert one.accounts["poor"].bests == 0
    assert one.accounts["poor"].work == 5


def test_random_keeps_its_tenth(two: type[Bandit]) -> None:
    asked = played(made(two), 120, winner="good")
    for begin in range(100):
        assert asked[begin : begin + 20].count("random") >= 20 // RANDOM_EVERY


def test_the_news_rebuild_it(two: type[Bandit]) -> None:
    one, again = made(two), made(two)
    for number in range(60):
        sketch = one.propose(number)
        score = float(number * (number % 3))
        for kept in (one, again):
            kept.begin(number, sketch if kept is one else draw(space, as_traced(sketch.trace)))
            kept.observe(News(number, sketch.trace, score, 1.0, by=sketch.by))
    assert [one.propose(n).trace for n in range(60, 90)] == [again.propose(n).trace for n in range(60, 90)]


def test_arms_are_told_all_and_keep_their_own_memory(two: type[Bandit]) -> None:
    one = made(two)
    played(one, 30, winner="good")
    assert all(len(arm.told) == 30 for arm in one.arms.values() if isinstance(arm, Steady))
    memory = one.memory()
    assert set(memory) == {"good/count", "poor/count"}
    later = made(two, Experience(weights={**memory, "strange": np.zeros(1)}))
    assert later.arms["good"].experience.weights == {"count": memory["good/count"]}
    assert not later.arms["random"].experience.weights


def test_the_portfolio_plays_only_with_a_past() -> None:
    generator = np.random.default_rng(0)
    sketches = [draw(toy_space, at_random(generator)) for _ in range(40)]
    past = Past("earlier", {}, tuple(News(n, s.trace, toy_score(s.built), 1.0) for n, s in enumerate(sketches)))
    cold = Bandit(lambda answer: draw(toy_space, answer), seed=0)
    warm = Bandit(lambda answer: draw(toy_space, answer), seed=0, experience=Experience(past=(past,)))
    assert "portfolio" not in cold.arms
    assert cold.propose(0).trace == draw(toy_space, first).trace, "the default is tried first"
    found = []
    for number in range(20):
        sketch = warm.propose(number)
        warm.begin(number, sketch)
        found.append(sketch.by)
        warm.observe(News(number, sketch.trace, toy_score(sketch.built), 1.0, by=sketch.by))
    assert "portfolio" in found[:5]
