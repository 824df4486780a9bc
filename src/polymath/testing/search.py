"""The kits of spaces, generators and cutters, and a small space to try them on."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..search.choices import (
    Choose,
    Space,
    Trace,
    as_traced,
    at_random,
    crossed,
    draw,
    first,
    mutated,
    offer_of,
)
from ..search.cutters import Cutter, Standing
from ..search.generators import Experience, Generator, News, Past


def toy_space(choose: Choose) -> dict[str, Any]:
    """A small space with everything in it: a list of variable length, ranges, a choice that is open only at times."""
    layers = [choose(f"layer{i}", ["a", "b", "c"]) for i in range(choose("depth", 1, 4))]
    found: dict[str, Any] = {"layers": layers, "rate": choose("rate", 1e-4, 1.0, log=True)}
    if "c" in layers:
        found["size"] = choose("c.size", 1, 5)
    return found


def toy_score(built: dict[str, Any]) -> float:
    """Best (0) for four layers "b" and a rate of 0.01."""
    wrong = 4 - sum(layer == "b" for layer in built["layers"])
    return float(-wrong - abs(math.log10(built["rate"]) + 2) - 0.1 * built.get("size", 0))


def check_generator(kind: type[Generator], *, proposals: int = 40) -> None:
    """Holds a generator to the contract: same seed and news, same proposals, all allowed; failures are survived.

    It is told news late and out of order, as by an engine of three lanes, and of experiments that it did not propose.
    """

    def run(seed: int, experience: Experience | None = None) -> tuple[list[str], Generator]:
        generator = kind(lambda answer: draw(toy_space, answer), seed=seed, experience=experience)
        told, digests = [], []
        stranger = draw(toy_space, at_random(np.random.default_rng(seed)))
        generator.begin(0, stranger)
        generator.observe(News(0, stranger.trace, toy_score(stranger.built), 1.0, by="fixed"))
        for number in range(proposals):
            sketch = generator.propose(number)
            assert not sketch.error and sketch.trace.choices, "a proposal is a sketch of the space"
            again = draw(toy_space, as_traced(sketch.trace))
            assert again.trace == sketch.trace and again.built == sketch.built, "and its trace builds it again"
            generator.begin(number + 1, sketch)
            score = -math.inf if number % 7 == 3 else toy_score(sketch.built)
            told.append(News(number + 1, sketch.trace, score, 1.0, by=sketch.by or kind.name, proxies=sketch.proxies))
            if number % 3 == 2:
                for news in reversed(told):
                    generator.observe(news)
                    if news.ok:
                        generator.observe(replace(news, score=news.score + 0.1, work=3.0, rung=1))
                told.clear()
            digests.append(sketch.identity)
        return digests, generator

    first_run, generator = run(1)
    assert first_run == run(1)[0], "equal seeds and news must give equal proposals"
    assert len(set(first_run)) > proposals // 4, "it proposes too little that is new"
    memory = generator.memory()
    assert all(isinstance(array, np.ndarray) and np.isfinite(array).all() for array in memory.values())
    past = tuple(
        News(number, sketch.trace, toy_score(sketch.built), 1.0)
        for number in range(30)
        for sketch in [draw(toy_space, at_random(np.random.default_rng(number)))]
    )
    experience = Experience({"rows": 2.0}, (Past("earlier", {"rows": 2.5}, past), Past("empty", {}, ())), memory)
    assert len(run(2, experience)[0]) == proposals, "experience is welcome"


def check_cutter(kind: type[Cutter]) -> None:
    """Holds a cutter to the contract: it names only what may go on, is deterministic, quick, and ends."""
    cutter = kind()
    assert cutter.promote([], work_left=math.inf) is None, "nobody stands, nobody goes on"
    generator = np.random.default_rng(0)
    final = generator.normal(size=60)
    scores: dict[int, list[float]] = {}
    for number in range(60):
        scores[number] = [-math.inf if number % 9 == 4 else float(final[number] - 1)]
        while True:
            standings = [_standing(n, s, dear=1 + n % 3) for n, s in scores.items()]
            chosen = cutter.promote(standings, work_left=1000.0)
            mixed = [standings[i] for i in generator.permutation(len(standings))]
            again = kind().promote(mixed, work_left=1000.0)
            assert chosen == again, "the same standings, the same answer: no memory, no matter in which order"
            if chosen is None:
                break
            assert standings[chosen].may_go_on, f"experiment {chosen} cannot go on"
            _check_refusals(cutter, standings, chosen)
            scores[chosen].append(float(final[chosen] - 1 / len(scores[chosen])))
    complete = [n for n, s in scores.items() if len(s) == 3]
    assert complete, "somebody must reach the end"
    assert len(complete) < 60 * 8 // 9, "nothing was cut"
    best = sorted((n for n in range(60) if n % 9 != 4), key=lambda n: -final[n])[:20]
    assert set(best) & set(complete), "the good ones go on"
    _check_quick(cutter)


def _standing(number: int, scores: Sequence[float], *, dear: float, running: bool = False) -> Standing:
    """An experiment with rungs at 1/9, 1/3 and all of its schedule; `dear`: its whole work is 9 times as much."""
    works, done = (dear, 3 * dear, 9 * dear), len(scores)
    ahead = works[done] - works[done - 1] if done < 3 else 0.0
    return Standing(number, works[:done], tuple(scores), ahead, works[-1], running)


def _check_refusals(cutter: Cutter, standings: list[Standing], chosen: int) -> None:
    """What was just named is not named when it is running, or when its next rung costs more than is left."""
    changed = [replace(s, running=True) if s.number == chosen else s for s in standings]
    assert cutter.promote(changed, work_left=1000.0) != chosen, "one that is running cannot be continued"
    least = standings[chosen].next_work
    other = cutter.promote(standings, work_left=least * 0.99)
    assert other is None or standings[other].next_work <= least * 0.99, "no rung that costs more than is left"


def _check_quick(cutter: Cutter) -> None:
    """Milliseconds for 10,000 standings; the limit is ten times that, because machines under test are busy."""
    draws = np.random.default_rng(1).normal(size=(10_000, 3))
    many = [_standing(n, [float(x) for x in row[: 1 + n % 3]], dear=1.0 + n % 7) for n, row in enumerate(draws)]
    cutter.promote(many, work_left=math.inf)
    took = []
    for _ in range(5):
        begin = time.process_time()
        cutter.promote(many, work_left=math.inf)
        took.append(time.process_time() - begin)
    assert min(took) < 0.1, f"{min(took) * 1000:.0f} ms for 10,000 standings"


def check_space(space: Space, *, passes: int = 50) -> None:
    """Holds a space to the contract: it is a function of its choices alone, and what it builds replays and varies."""
    generator = np.random.default_rng(0)
    default = draw(space, first)
    assert not default.error, f"the defaults build something: {default.error}"
    identities = set()
    for _ in range(passes):
        sketch = draw(space, at_random(generator))
        assert not sketch.error, sketch.error
        again = draw(space, as_traced(sketch.trace))
        assert again.trace == sketch.trace and again.identity == sketch.identity, "a trace replays exactly"
        assert Trace.from_json(sketch.trace.to_json()) == sketch.trace, "a trace is JSON"
        child = draw(space, mutated(sketch.trace, generator))
        assert not child.error, f"a mutation builds something: {child.error}"
        mixed = draw(space, crossed(sketch.trace, default.trace, generator))
        assert not mixed.error, f"a crossing builds something: {mixed.error}"
        identities |= {sketch.identity, child.identity}
    open_choices = any(offer_of(choice).is_open for choice in default.trace.choices)
    assert not open_choices or len(identities) > 1, "different choices build different things"
