"""`search(space, evaluate)` as a user of Optuna would use it: no problem, no data, any function."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polymath.search import Choose, search
from polymath.spec import BadInput
from polymath.store import Store


def space(choose: Choose) -> dict[str, Any]:
    kind = choose("kind", ["round", "flat"])
    return {"kind": kind, "x": choose("x", -3.0, 3.0), "n": choose("n", 1, 9) if kind == "flat" else 0}


def bowl(thing: dict[str, Any]) -> float:
    return -float((thing["x"] - 1) ** 2) - (thing["kind"] == "flat")


def test_it_finds_the_best_and_says_what_it_tried() -> None:
    found = search(space, bowl, experiments=200)
    assert found.best["kind"] == "round"
    assert found.score == pytest.approx(0, abs=0.05)
    assert len(found.experiments) == 200
    assert found.score == max(e.results[0].score for e in found.experiments)
    assert search(space, bowl, experiments=200).trace == found.trace, "the same seed, the same result"
    assert search(space, bowl, experiments=30, seed=1).trace != search(space, bowl, experiments=30, seed=2).trace


def test_a_yielding_function_is_cut() -> None:
    steps = []

    def training(thing: dict[str, Any]) -> Iterator[float]:
        for step in range(9):
            steps.append(step)
            yield bowl(thing) - 1 / (1 + step)

    found = search(space, training, experiments=60)
    assert found.best["kind"] == "round"
    assert len(steps) < 60 * 9 / 2
    assert max(len(e.results) for e in found.experiments) > 2


def test_failures_are_experiments() -> None:
    def evaluate(thing: dict[str, Any]) -> Any:
        if thing["kind"] == "flat":
            raise RuntimeError("flat things break")
        return math.nan if thing["x"] > 2 else "much" if thing["x"] > 1 else thing["x"]

    found = search(space, evaluate, experiments=60)
    reasons = {str(e.results[-1].outcome["reason"]) for e in found.failed}
    assert any("flat things break" in reason for reason in reasons)
    assert any("gave nan" in reason for reason in reasons)
    assert any("'much' (str)" in reason for reason in reasons)
    assert "in evaluate" in found.failed[0].results[0].outcome["traceback"]
    assert found.best["x"] <= 1


def test_a_builder_that_raises_is_a_failed_experiment() -> None:
    def fragile(choose: Choose) -> float:
        x = float(choose("x", 0.0, 1.0))
        if x > 0.5:
            raise OSError("too large to build")
        return x

    found = search(fragile, lambda x: x, experiments=40)
    assert found.failed
    assert "too large to build" in str(found.failed[0].results[0].outcome["reason"])
    assert 0.3 < found.score <= 0.5
    with pytest.raises(BadInput, match="the space raised 100 times in a row, last: ValueError: never"):
        search(_broken, lambda x: x, experiments=40)


def _broken(choose: Choose) -> float:
    choose("x", 0.0, 1.0)
    raise ValueError("never")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"space": lambda choose: [choose("x", [1, 2]), choose("x", [1, 2])]}, "names the choice 'x' twice"),
        ({"space": lambda choose: choose("x", [])}, "'x' has an empty list"),
        ({"space": lambda choose: choose("x", [1, object()])}, "'x' offers an option that cannot be written as JSON"),
        ({"space": lambda choose: choose("x", [1, math.nan])}, "cannot be written as JSON"),
        ({"budget": 0}, "longer than nothing"),
        ({"budget": "soon"}, "not a time"),
        ({"experiments": 0}, "no experiments"),
        ({"experiments": None}, "needs a budget"),
        ({"generator": "magic"}, "'magic'.*One of: .*random"),
        ({"cutter": "axe"}, "'axe'.*One of: .*halving"),
    ],
)
def test_mistakes_are_told_in_one_line(wrong: dict[str, Any], says: str) -> None:
    given = {"experiments": 5, "space": space, **wrong}
    with pytest.raises(BadInput, match=says):
        search(given.pop("space"), bowl, **given)


def test_the_time_budget_is_kept() -> None:
    begin = time.monotonic()
    search(space, lambda thing: (time.sleep(0.01), bowl(thing))[1], budget=0.5)
    assert 0.4 < time.monotonic() - begin < 1.5


def test_threads_run_side_by_side_and_change_nothing() -> None:
    names = set()

    def evaluate(thing: dict[str, Any]) -> float:
        names.add(threading.current_thread().name)
        time.sleep(0.002 if thing["x"] > 0 else 0.0)
        return bowl(thing)

    found = search(space, evaluate, experiments=40, workers=3)
    assert len(names) > 1
    again = search(space, evaluate, experiments=40, workers=3)
    assert [e.trace for e in found.experiments] == [e.trace for e in again.experiments]


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path) -> None:
    called = []

    def evaluate(thing: dict[str, Any]) -> float:
        called.append(thing)
        if len(called) == 13:
            raise KeyboardInterrupt
        return bowl(thing)

    with Store.open(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        search(space, evaluate, experiments=20, store=store)
    with Store.open(tmp_path) as store:
        found = search(space, evaluate, experiments=20, store=store)
    assert len(called) == 21, "12 finished, 1 was interrupted, 8 were left"
    assert found.trace == search(space, bowl, experiments=20).trace


def test_a_ledger_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        search(space, bowl, experiments=2, store=store)
        (_, body), *_ = store.records("experiment")
        store.add_record("experiment", {**body, "version": 99, "number": 7}, id="search 99")
        with pytest.raises(BadInput, match=r"version 99.*newer release"):
            search(space, bowl, experiments=3, store=store)
