"""Which parents help is learned from what earlier problems of the ledger gained, and is otherwise a formula."""

from __future__ import annotations

import numpy as np
import pytest

from polymath.learning.promise import LEAST_GAINS, Lender, expected, gains
from polymath.search.choices import Choice, Trace
from polymath.search.generators import News, Past


def news(number: int, score: float, **chosen: str) -> News:
    choices = (Choice(name=name.replace("_", " "), kind="options", answer=0.0, value=v) for name, v in chosen.items())
    return News(number, Trace(choices=tuple(choices)), score, 1.0)


def stored(number: int, score: float, parent: str) -> News:
    choices = (
        Choice(name="method", kind="options", answer=0.0, value="stored"),
        Choice(name="stored.from", kind="options", answer=0.0, value=parent),
    )
    return News(number, Trace(choices=choices), score, 1.0)


def lender(name: str, *, rows: float = 3.0, classes: float = 1.0, map_: bool = True) -> Lender:
    sizes = {"rows": rows, "is map": float(map_), "is tokens": float(not map_), "side": 1.4}
    return Lender(name=name, sizes=sizes, classes=classes, trunk=False, outside=False)


def problem(name: str, tries: list[News]) -> Past:
    cheap = [news(0, 0.1, method="constant"), news(1, 0.5, method="linear"), news(2, 0.6, method="trees")]
    return Past(name, {"rows": 2.5, "is map": 1.0, "side": 1.4}, tuple(cheap + tries))


def test_a_gain_is_over_the_best_cheap_head_and_of_the_best_try() -> None:
    tries = [
        stored(3, 0.5, "a:12345678"),
        stored(4, 0.85, "a:12345678"),
        news(5, 0.35, method="path", start_from="b:87654321"),
        news(6, 0.99, method="path", start_from="nothing"),
        news(7, float("-inf"), method="path", start_from="c:87654321"),
    ]
    found = {one.lender: one.gain for one in gains([problem("p", tries)])}
    assert found == {"a": pytest.approx(0.5), "b": pytest.approx(-0.5)}
    assert gains([Past("q", {}, (stored(0, 0.9, "a:12345678"),))]) == (), "nothing to compare with"


def test_several_parents_share_what_they_gained() -> None:
    choices = [
        ("method", "path"),
        ("start from", "several"),
        ("several.0", "a:12345678"),
        ("several.1", "x:y:12345678"),
    ]
    trace = Trace(choices=tuple(Choice(name=n, kind="options", answer=0.0, value=v) for n, v in choices))
    found = gains([problem("p", [News(3, trace, 0.85, 1.0)])])
    assert [(one.lender, one.gain) for one in found] == [("a", pytest.approx(0.5)), ("x:y", pytest.approx(0.5))]


def many(count: int, generator: np.random.Generator) -> list[Past]:
    """Problems on which lenders of many classes help, and one lender never does, whatever its classes say."""
    past = []
    for place in range(count):
        tries = [
            stored(3, 0.75 + generator.normal(0, 0.01), "many:12345678"),
            stored(4, 0.55 + generator.normal(0, 0.01), "few:12345678"),
            stored(5, 0.30 + generator.normal(0, 0.01), "liar:12345678"),
        ]
        past.append(problem(f"p{place}", tries))
    return past


LENDERS = [
    lender("many", classes=2.0),
    lender("few", classes=0.5),
    lender("liar", classes=2.2, rows=4.0),
    lender("new", classes=1.9),
    lender("gone elsewhere", classes=0.4),
]


def test_what_helped_before_is_expected_to_help_again() -> None:
    seen = gains(many(10, np.random.default_rng(0)))
    fingerprint = {"rows": 2.4, "is map": 1.0, "side": 1.4}
    found = expected(LENDERS, seen, fingerprint)
    assert found is not None
    assert found["many"] > found["few"] > found["liar"]
    assert found["new"] > found["gone elsewhere"], "classes teach about lenders that nobody has tried"
    assert expected(LENDERS, seen[::-1], fingerprint) == pytest.approx(found), "the order of the ledger says nothing"


def test_too_little_experience_is_none() -> None:
    seen = gains(many(10, np.random.default_rng(0)))
    assert expected(LENDERS, seen[: LEAST_GAINS - 1], {}) is None
    assert expected(LENDERS[3:], seen, {}) is None, "of lenders that are gone nothing is learned"
    assert expected([], [], {}) is None
