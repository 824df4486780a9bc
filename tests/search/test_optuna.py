"""Optuna's samplers answer choices, and learn from experiments that others proposed."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from polymath.search import search
from polymath.search.choices import Choose, at_random, draw
from polymath.search.generators import News
from polymath.search.generators.optuna import Optuna
from polymath.spec import BadInput
from polymath.testing import check_generator, toy_score, toy_space


@pytest.fixture
def optuna() -> Any:
    return pytest.importorskip("optuna", reason="the extra 'search' is not installed")


def test_contract(optuna: Any) -> None:
    check_generator(Optuna)


def test_any_sampler(optuna: Any) -> None:
    generator = Optuna(lambda answer: draw(toy_space, answer), seed=0, sampler=optuna.samplers.RandomSampler(seed=1))
    assert {type(generator.propose(number).built["rate"]) for number in range(5)} == {float}


def test_lists_that_change_their_length_and_closed_choices(optuna: Any) -> None:
    def space(choose: Choose) -> list[Any]:
        width = choose("width", 1, 4)
        return [choose("one of", list(range(width))), choose("only", ["this"]), choose("steps", 1, 1000, log=True)]

    found = search(
        space,
        lambda built: float(sum(part for part in built if isinstance(part, int))),
        generator="optuna",
        experiments=60,
    )
    assert found.score > 500
    assert not found.failed


def test_it_learns_from_what_others_tried(optuna: Any) -> None:
    generator = Optuna(lambda answer: draw(toy_space, answer), seed=0)
    stream = np.random.default_rng(0)
    for number in range(60):
        sketch = draw(toy_space, at_random(stream))
        generator.begin(number, sketch)
        generator.observe(News(number, sketch.trace, toy_score(sketch.built), 1.0, by="random"))
    own = [toy_score(generator.propose(number).built) for number in range(20)]
    others = [toy_score(draw(toy_space, at_random(stream)).built) for _ in range(200)]
    assert np.mean(own) > np.mean(others) + 0.3


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def none_here(name: str, *given: Any, **more: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", none_here)
    with pytest.raises(BadInput, match="not installed") as caught:
        Optuna(lambda answer: draw(toy_space, answer), seed=0)
    assert "polymath-learn[search]" in str(caught.value)
