"""The portfolio: what won before is proposed first, wherever it stands in the lists of the new problem."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from polymath.search.choices import Choose, Sketch, as_traced, at_random, draw, first
from polymath.search.generators import Experience, News, Past
from polymath.search.generators.portfolio import EACH, Lessons, Portfolio, replayed
from polymath.testing import check_generator

FRUITS = ["apple", "pear", "plum", "fig", "lime"]


def orchard(options: list[str]) -> Any:
    def space(choose: Choose) -> dict[str, Any]:
        return {"fruit": choose("fruit", options), "tree": choose("tree", ["low", "high"]), "age": choose("age", 1, 30)}

    return space


def drawn(fruit: str, tree: str = "low", age: int = 15) -> Sketch:
    answers = {"fruit": float(FRUITS.index(fruit)), "tree": float(tree == "high"), "age": float(age)}
    return draw(orchard(FRUITS), lambda offer: answers[offer.name])


def past(problem: str, likes: dict[str, float], **fingerprint: float) -> Past:
    news = [
        News(number, drawn(fruit, tree).trace, likes.get(fruit, 0.0) + 0.1 * (tree == "high"), 1.0)
        for number, (fruit, tree) in enumerate((fruit, tree) for fruit in FRUITS for tree in ("low", "high"))
    ]
    return Past(problem, fingerprint, tuple(news))


def proposed(portfolio: Portfolio, count: int) -> list[str]:
    found = []
    for number in range(count):
        sketch = portfolio.propose(number)
        portfolio.begin(number, sketch)
        found.append(f"{sketch.built['fruit']} {sketch.built['tree']}")
    return found


def test_contract() -> None:
    check_generator(Portfolio)


def test_it_covers_the_earlier_problems() -> None:
    problems = (past("a", {"fig": 1.0}), past("b", {"fig": 0.9, "pear": 1.0}), past("c", {"lime": 1.0}))
    portfolio = Portfolio(lambda a: draw(orchard(FRUITS), a), seed=0, experience=Experience(past=problems))
    assert proposed(portfolio, 3) == ["fig high", "lime high", "pear high"]


def test_likeness_decides_between_problems() -> None:
    problems = (past("a", {"fig": 1.0}, rows=2.0), past("b", {"pear": 1.0}, rows=5.0))
    for rows, winner in ((2.1, "fig high"), (4.9, "pear high")):
        experience = Experience({"rows": rows}, problems)
        assert proposed(Portfolio(lambda a: draw(orchard(FRUITS), a), seed=0, experience=experience), 1) == [winner]


def test_results_switch_a_misleading_problem_off() -> None:
    problems = (past("a", {"fig": 1.0, "plum": 0.9}, rows=2.0), past("b", {"pear": 1.0, "lime": 0.9}, rows=3.0))
    experience = Experience({"rows": 2.0}, problems)
    blind, portfolio = (Portfolio(partial(draw, orchard(FRUITS)), seed=0, experience=experience) for _ in range(2))
    here = past("here", {"pear": 1.0, "lime": 0.9, "fig": -1.0, "plum": -0.9})
    for news in here.news:
        if "apple" in news.trace.choices[0].token or news.trace.choices[1].answer == 0:
            portfolio.observe(news)
    assert proposed(blind, 1) == ["fig high"], "the fingerprint says so"
    assert proposed(portfolio, 1) == ["pear high"], "the results say so"


def test_options_are_found_by_what_they_are() -> None:
    trace = drawn("plum", "high", 7).trace
    for options in (["fig", "plum"], ["plum", "fig", "apple"], FRUITS):
        again = replayed(partial(draw, orchard(options)), trace)
        assert again.built == {"fruit": "plum", "tree": "high", "age": 7}
    assert replayed(lambda answer: draw(orchard(["fig", "lime"]), answer), trace).built["fruit"] == "fig"


def test_without_a_past_it_begins_with_the_default() -> None:
    portfolio = Portfolio(lambda a: draw(orchard(FRUITS), a), seed=0)
    assert portfolio.propose(0).trace == draw(orchard(FRUITS), first).trace
    best = drawn("lime", "low", 3)
    portfolio.observe(News(0, best.trace, 1.0, 1.0))
    child = portfolio.propose(1)
    changed = [a.name for a, b in zip(child.trace.choices, best.trace.choices, strict=True) if a.answer != b.answer]
    assert len(changed) == 1, "a mutation of the best so far"


def test_many_and_failed_experiments_of_the_past_are_fine() -> None:
    generator = np.random.default_rng(0)
    news = []
    for number in range(1000):
        sketch = draw(orchard(FRUITS), at_random(generator))
        score = -np.inf if sketch.built["fruit"] == "fig" else -abs(sketch.built["age"] - 4.0)
        news.append(News(number, sketch.trace, score, 1.0))
    experience = Experience(past=(Past("a", {}, tuple(news)), Past("none", {}, ())))
    portfolio = Portfolio(lambda a: draw(orchard(FRUITS), a), seed=0, experience=experience)
    sketch = portfolio.propose(0)
    assert sketch.built["age"] == 4
    assert draw(orchard(FRUITS), as_traced(sketch.trace)).trace == sketch.trace
    assert len(proposed(portfolio, EACH - 1)) == EACH - 1
    assert portfolio.exhausted and portfolio.winner() is None, "the best few of each problem that had any"


def test_what_is_always_tried_is_no_winner() -> None:
    """A new problem tries it anyway: the best of what was proposed goes on instead."""
    tried = past("a", {"fig": 1.0, "pear": 0.5})
    fixed = [replace(one, by="fixed") if "fig" in one.trace.choices[0].token else one for one in tried.news]
    for news, winner in ((tuple(fixed), "pear high"), (tried.news, "fig high")):
        experience = Experience(past=(replace(tried, news=news),))
        assert proposed(Portfolio(partial(draw, orchard(FRUITS)), seed=0, experience=experience), 1) == [winner]
    only = Experience(past=(replace(tried, news=tuple(fixed[6:8])),))
    assert Portfolio(partial(draw, orchard(FRUITS)), seed=0, experience=only).exhausted


def test_what_was_never_tried_there_is_guessed_from_the_other_problems() -> None:
    """Problem b tried neither figs nor low trees; what a tells of both covers it."""
    a = past("a", {"fig": 1.0, "pear": 0.9})
    b = past("b", {"pear": 0.9, "plum": -1.0})
    b = replace(b, news=tuple(news for news in b.news if "fig" not in news.trace.choices[0].token))
    lessons = Lessons((a, b))
    fig, plum = lessons.merits([drawn("fig", "high").trace, drawn("plum", "high").trace])
    assert fig[0] > plum[0] and fig[1] > plum[1]


def test_cheap_before_dear() -> None:
    """Of two that did equally well the cheaper comes first; what was cut is charged for its whole schedule."""
    problem = past("a", {"fig": 1.0, "pear": 1.0})
    dear = tuple(
        replace(news, work=4.0, share=0.1) if "fig" in news.trace.choices[0].token else replace(news, work=1.0)
        for news in problem.news
    )
    experience = Experience(past=(replace(problem, news=dear),))
    assert proposed(Portfolio(partial(draw, orchard(FRUITS)), seed=0, experience=experience), 1) == ["pear high"]
