"""The encoder's rows add up, the model of pairs finds pairs, and each generator of this group finds what it should."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymath.search.candidates import MOST_POINTS, Grid
from polymath.search.choices import Choose, Sketch, Space, Trace, as_traced, at_random, draw, neighbours
from polymath.search.encoding import Encoder, Quadratic, fit, likeness, ranked
from polymath.search.generators import Experience, Generator, News, Past
from polymath.search.generators.evolution import Evolution
from polymath.search.generators.local import Local
from polymath.search.generators.surrogate import START, Surrogate
from polymath.testing import toy_score, toy_space

OPTIONS = ("a", "b", "c", "d")


def grid_space(choose: Choose) -> list[str]:
    return [choose(f"layer{place}", OPTIONS) for place in range(5)]


def paired_score(built: list[str]) -> float:
    """Best (5) where "b" is followed by "c" twice; alone they are worth little."""
    return sum(2.0 for pair in itertools.pairwise(built) if pair == ("b", "c")) + built.count("d")


def traces(space: Space, *, count: int, seed: int = 0) -> list[Trace]:
    generator = np.random.default_rng(seed)
    return [draw(space, at_random(generator)).trace for _ in range(count)]


def searched(
    kind: type[Generator],
    *,
    space: Space,
    score: Callable[[Any], float],
    experiments: int,
    seed: int = 0,
    experience: Experience | None = None,
) -> list[float]:
    """Scores in the order they were tried, each told at once."""
    generator = kind(lambda answer: draw(space, answer), seed=seed, experience=experience)
    found = []
    for number in range(experiments):
        sketch = generator.propose(number)
        generator.begin(number, sketch)
        found.append(score(sketch.built))
        generator.observe(News(number, sketch.trace, found[-1], 1.0))
    return found


def test_rows_add_up_from_pieces() -> None:
    encoder = Encoder()
    some = traces(toy_space, count=40)
    rows = encoder.rows(some)
    assert rows.shape == (40, encoder.width)
    for trace, row in zip(some, rows, strict=True):
        whole = np.zeros(encoder.width)
        for choice in trace.choices:
            for column, amount in encoder.piece(choice):
                whole[column] += amount
        assert np.allclose(whole, row)


def test_equal_options_have_equal_rows_whatever_their_place_in_the_list() -> None:
    encoder = Encoder()
    one = draw(lambda choose: choose("op", ["x", "y"]), lambda offer: 1.0).trace
    two = draw(lambda choose: choose("op", ["y", "z", "x"]), lambda offer: 0.0).trace
    other = draw(lambda choose: choose("op", ["y", "z", "x"]), lambda offer: 2.0).trace
    rows = encoder.rows([one, two, other])
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])


def test_true_and_one_are_different_options() -> None:
    encoder = Encoder()
    rows = encoder.rows([draw(lambda choose: choose("op", [True, 1, 1.5]), lambda o, a=a: a).trace for a in (0.0, 1.0)])
    assert not np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize(("low", "high", "log"), [(0.0, 1.0, False), (1e-4, 1.0, True), (1, 3, False), (2, 2, False)])
def test_near_numbers_have_near_rows(low: float, high: float, log: bool) -> None:
    encoder = Encoder()
    found = [
        draw(lambda choose: choose("n", low, high, log=log), lambda offer, place=place: offer.at(place)).trace
        for place in np.linspace(0, 1, 9)
    ]
    rows = encoder.rows(found)
    assert np.allclose((rows**2).sum(axis=1), 1.0)
    likeness_to_first = rows @ rows[0]
    assert (np.diff(likeness_to_first) <= 1e-6).all(), "the farther, the less alike"
    assert low == high or likeness_to_first[-1] < 1e-6


def test_rows_grow_and_old_ones_keep_their_columns() -> None:
    encoder = Encoder()
    some = traces(toy_space, count=3)
    before = encoder.rows(some)
    encoder.rows(traces(toy_space, count=60, seed=1))
    assert encoder.width > before.shape[1]
    assert np.array_equal(encoder.widened(before), encoder.rows(some))


def test_fit_learns_pairs_that_no_sum_of_single_choices_explains() -> None:
    """Exclusive or: +1 where two choices are equal, -1 where they are not."""
    encoder = Encoder()
    some = traces(lambda choose: [choose(name, ["x", "y"]) for name in ("a", "b", "c")], count=60)
    target = np.array([1.0 if t.choices[0].answer == t.choices[1].answer else -1.0 for t in some])
    found = fit(encoder.rows(some), target, ridge=0.1)
    assert np.abs(found(encoder.rows(some)) - target).max() < 0.1


def test_ranks_are_spread_evenly_and_failures_are_last() -> None:
    found = ranked([3.0, -math.inf, 1.0, -math.inf, 2.0])
    assert found.argmax() == 0 and found[1] == found[3] == found.min()
    assert abs(float(ranked(np.arange(10.0)).mean())) < 1e-12


def test_likeness_of_fingerprints() -> None:
    assert likeness({"rows": 2.0}, {"rows": 2.0, "more": 1.0}) == 1.0
    assert likeness({"rows": 2.0}, {"rows": 2.1}) > likeness({"rows": 2.0}, {"rows": 4.0})
    assert 0 < likeness({"rows": 2.0}, {}) < 1, "nothing in common: neither alike nor unlike"


def test_a_grid_judges_every_point_as_its_row_would_be() -> None:
    encoder = Encoder()
    some = traces(grid_space, count=20)
    grid = Grid.of(lambda answer: draw(grid_space, answer), some)
    assert grid is not None
    target = np.array([paired_score(draw(grid_space, as_traced(t)).built) for t in some])
    model = fit(encoder.rows(some), target, ridge=1.0)
    every = [draw(grid_space, lambda o, p=point: (p // 4 ** (4 - int(o.name[-1]))) % 4) for point in range(4**5)]
    judged = model.widened(encoder.width)(encoder.rows([sketch.trace for sketch in every]))
    found = grid.best(
        model, encoder, count=3, noise=0.0, generator=np.random.default_rng(0), begun={every[judged.argmax()].identity}
    )
    order = np.argsort(-judged)
    assert len(found) == 3 and every[order[0]].identity not in {sketch.identity for sketch in found}
    best = model.widened(encoder.width)(encoder.rows([sketch.trace for sketch in found]))
    assert np.allclose(best, judged[order[1:4]], atol=1e-4)


def test_spaces_that_are_no_grid() -> None:
    def conditional(choose: Choose) -> list[str]:
        return [choose("a", ["x", "y"]), *([choose("b", ["x", "y"])] if choose("more", [False, True]) else [])]

    def huge(choose: Choose) -> list[int]:
        return [choose(f"n{place}", range(50)) for place in range(4)]

    for space in (toy_space, conditional, huge):
        assert Grid.of(lambda answer, space=space: draw(space, answer), traces(space, count=1)) is None
    assert MOST_POINTS < 50**4


def test_the_surrogate_finds_pairs_in_a_fraction_of_a_grid() -> None:
    ends = [max(searched(Surrogate, space=grid_space, score=paired_score, experiments=60, seed=s)) for s in range(5)]
    assert float(np.median(ends)) == 5.0


@pytest.mark.parametrize("kind", [Surrogate, Evolution, Local])
def test_it_beats_random_on_a_space_of_ranges_and_conditions(kind: type[Generator]) -> None:
    def random(seed: int) -> float:
        generator = np.random.default_rng(seed)
        return max(toy_score(draw(toy_space, at_random(generator)).built) for _ in range(150))

    ends = [max(searched(kind, space=toy_space, score=toy_score, experiments=150, seed=s)) for s in range(5)]
    assert float(np.median(ends)) > float(np.median([random(s) for s in range(5)]))


def test_no_proposal_twice_until_the_space_is_used_up() -> None:
    def small(choose: Choose) -> list[str]:
        return [choose(f"layer{place}", OPTIONS) for place in range(2)]

    generator = Surrogate(lambda answer: draw(small, answer), seed=0)
    identities = []
    for number in range(40):
        sketch = generator.propose(number)
        identities.append(sketch.identity)
        generator.begin(number, sketch)
        generator.observe(News(number, sketch.trace, float(number), 1.0))
    random, learned = identities[:START], identities[START:]
    assert len(set(identities)) == 16
    rest = 16 - len(set(random))
    assert len(set(learned[:rest])) == rest, "all that is left comes before anything twice"


def earlier(score: Callable[[list[str]], float]) -> Past:
    sketches = [draw(grid_space, as_traced(trace)) for trace in traces(grid_space, count=80, seed=7)]
    news = tuple(News(number, sketch.trace, score(sketch.built), 1.0) for number, sketch in enumerate(sketches))
    return Past("earlier", {"rows": 2.0}, news)


def test_experience_helps_at_once_and_contrary_experience_is_forgotten() -> None:
    def area(experience: Experience | None) -> float:
        """Mean of the best so far over experiments and seeds."""
        runs = [
            np.maximum.accumulate(
                searched(
                    Surrogate, space=grid_space, score=paired_score, experiments=50, seed=seed, experience=experience
                )
            )
            for seed in range(6)
        ]
        return float(np.mean(runs))

    cold = area(None)
    assert area(Experience({"rows": 2.0}, (earlier(paired_score),))) > cold + 0.1
    assert area(Experience({"rows": 2.0}, (earlier(lambda built: -paired_score(built)),))) > cold - 0.5


def test_a_surrogate_is_rebuilt_from_news_alone() -> None:
    """Told the same news, a fresh one proposes what a fresh one before it proposed, whatever it was not asked."""
    some = [draw(grid_space, as_traced(trace)) for trace in traces(grid_space, count=30)]

    def next_one() -> Sketch:
        generator = Surrogate(lambda answer: draw(grid_space, answer), seed=3)
        for number, sketch in enumerate(some):
            generator.begin(number, sketch)
            generator.observe(News(number, sketch.trace, paired_score(sketch.built), 1.0))
        return generator.propose(30)

    assert next_one().identity == next_one().identity


def test_local_search_tries_every_neighbour_and_then_starts_anew() -> None:
    """A score that is best at one known point: after it, all its neighbours, then something random."""
    generator = Local(lambda answer: draw(grid_space, answer), seed=0)
    top = draw(grid_space, lambda offer: 1.0)
    number = 0
    while number < START:
        sketch = generator.propose(number)
        generator.begin(number, sketch)
        generator.observe(News(number, sketch.trace, -float(number), 1.0))
        number += 1
    generator.begin(number, top)
    generator.observe(News(number, top.trace, 1.0, 1.0))
    wanted = {draw(grid_space, as_traced(top.trace, changed=change)).identity for change in neighbours(top.trace)}
    wanted -= generator.begun
    seen = set()
    for later in range(len(wanted)):
        sketch = generator.propose(number + later + 1)
        seen.add(sketch.identity)
        generator.begin(number + later + 1, sketch)
        generator.observe(News(number + later + 1, sketch.trace, 0.5, 1.0))
    assert seen == wanted
    assert generator.propose(number + len(wanted) + 1).identity not in wanted


def test_the_old_die_even_when_they_are_the_best() -> None:
    """Told one brilliant result and then many poor ones, evolution no longer changes the brilliant one."""
    generator = Evolution(lambda answer: draw(grid_space, answer), seed=0)
    brilliant = draw(grid_space, lambda offer: 3.0)
    generator.observe(News(0, brilliant.trace, 100.0, 1.0))
    for number in range(1, 40):
        poor = draw(grid_space, lambda offer, n=number: float((n >> int(offer.name[-1])) % 2))
        generator.observe(News(number, poor.trace, 0.0, 1.0))
    children = [generator.propose(number).built for number in range(40, 60)]
    assert all(child.count("d") <= 1 for child in children)


def test_a_quadratic_widens() -> None:
    one = Quadratic(1.0, np.ones(2), np.eye(2))
    wide = one.widened(3)
    assert wide(np.array([[1.0, 2.0, 9.0]]))[0] == one(np.array([[1.0, 2.0]]))[0]
