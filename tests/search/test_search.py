"""Choices replay; the loop is the same in line and in processes, obeys its clock, and resumes from the ledger."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymath.engine import Engine, InLine
from polymath.search import Clock, Entry, Experiment, Ledger, Setting, Sketch, draw
from polymath.search import run as run_search
from polymath.search.choices import Answer, Choose, Recorder, Trace, at_random, first, replay
from polymath.search.cutters import CUTTERS, Cutter, Halving, Standing
from polymath.search.generators import GENERATORS, Generator, News, Random
from polymath.search.generators.board import Board
from polymath.search.run import Order, Result
from polymath.spec import canonical, loads
from polymath.store import Store
from polymath.testing import check_cutter, check_generator, check_space, toy_space


def space(choose: Choose) -> dict[str, float]:
    kind = choose("kind", ["a", "b"])
    found = {"width": choose("width", 1, 64, log=True), "kind": float(kind == "a")}
    if kind == "b":
        found["rate"] = choose("rate", 1e-4, 1.0, log=True)
    return found


@pytest.mark.parametrize("kind", GENERATORS, ids=[kind.name for kind in GENERATORS])
def test_generators_keep_the_contract(kind: type[Generator]) -> None:
    if kind.name == "optuna":
        pytest.importorskip("optuna", reason="the extra 'search' is not installed")
    check_generator(kind)


@pytest.mark.parametrize("kind", CUTTERS, ids=[kind.name for kind in CUTTERS])
def test_cutters_keep_the_contract(kind: type[Cutter]) -> None:
    check_cutter(kind)


def test_spaces_keep_the_contract() -> None:
    check_space(space)
    check_space(toy_space)


def test_a_trace_replays_exactly() -> None:
    for number in range(20):
        recorder = Recorder(at_random(np.random.default_rng(number)))
        built = space(recorder)
        again = replay(recorder.trace)
        assert space(again) == built
        assert again.trace == recorder.trace
        assert Trace.from_json(recorder.trace.to_json()).digest == recorder.trace.digest


def test_a_changed_trace_keeps_what_is_still_valid() -> None:
    recorder = Recorder(lambda offer: {"kind": 1.0, "width": 9.0, "rate": 0.5}[offer.name])
    space(recorder)
    kept = replay(recorder.trace)
    assert kept("width", 1, 4) == 4  # the space was narrowed
    assert kept("kind", ["a", "b", "c"]) == "b"
    assert kept("new", ["first", "second"]) == "first"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda choose: [choose("x", [1]), choose("x", [1])], "names the choice 'x' twice"),
        (lambda choose: choose("x", []), "empty list"),
        (lambda choose: choose("x", 2, 1), "in order"),
        (lambda choose: choose("x", 0, 1, log=True), "above zero"),
        (lambda choose: choose("x", math.nan, 1.0), "finite"),
        (lambda choose: choose("x", "abc"), "list of options"),
    ],
)
def test_wrong_spaces_are_named(wrong: Callable[[Choose], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong(Recorder(first))


def test_halving_sends_the_best_third_on() -> None:
    def standing(number: int, *scores: float) -> Standing:
        return Standing(number, (1.0, 3.0, 9.0)[: len(scores)], scores, next_work=2.0, full_work=9.0)

    cutter, others = Halving(), [standing(0, 0.1), standing(2, 0.3), standing(3, -math.inf)]
    assert cutter.promote([*others, standing(1, 0.5)], work_left=math.inf) == 1
    assert cutter.promote([*others, standing(1, 0.5, 0.6)], work_left=math.inf) is None


# The loop --------------------------------------------------------------------------------------------------------
CALLS: list[str] = []


def evaluate(text: str) -> str:
    """A pretended training: its score is better with more work and a width near 10."""
    job = loads(text)
    CALLS.append(text)
    if job["width"] == 1:
        raise RuntimeError("a width of 1 breaks")
    score = -abs(math.log(job["width"] / 10)) - 1 / job["work"]
    return canonical({"ok": True, "score": score, "work": job["work"], "seconds": 0.0})


class Pretend:
    """A plan over the space above: three rungs of work 1, 3, 9."""

    works = (1.0, 3.0, 9.0)

    def __init__(self) -> None:
        self.cutter: Cutter = Halving()
        self.made: dict[int, dict[str, float]] = {}
        self.log: list[tuple[int, int]] = []

    def draw(self, answer: Answer) -> Sketch:
        return draw(space, answer)

    def fixed(self, number: int) -> Sketch | None:
        return None

    def begin(self, number: int, sketch: Sketch) -> str:
        self.made[number] = sketch.built
        return "pretended"

    def order(self, experiment: Experiment, *, lane: int, clock: Clock) -> Order | None:
        done = len(experiment.results)
        if done == 3:
            return None
        job = {**self.made[experiment.number], "work": self.works[done]}
        return Order(canonical(job), canonical(job), self.works[done] - (self.works[done - 1] if done else 0))

    def goes_on(self, experiments: list[Experiment], *, clock: Clock) -> Experiment | None:
        standings = [
            Standing(
                e.number,
                self.works[: len(e.results)],
                tuple(r.score for r in e.results),
                next_work=self.works[len(e.results)] if len(e.results) < 3 else 0.0,
                full_work=9.0,
                running=e.running,
            )
            for e in experiments
        ]
        number = self.cutter.promote(standings, work_left=math.inf)
        return None if number is None else experiments[number]

    def is_over(self, experiments: list[Experiment], *, clock: Clock) -> bool:
        return len(experiments) >= 60

    def is_there(self, outcome: Mapping[str, Any]) -> bool:
        return True

    def result(self, outcome: Mapping[str, Any]) -> Result:
        ok = bool(outcome["ok"])
        return Result(ok, outcome["score"] if ok else -math.inf, outcome["work"], outcome["seconds"], outcome)

    def share(self, experiment: Experiment, result: Result) -> float:
        return result.work / 9.0

    def finished(self, experiment: Experiment) -> None:
        pass

    def tell(self, experiment: Experiment) -> None:
        self.log.append((experiment.number, len(experiment.results)))


def run(
    folder: Path,
    *,
    work: float | None = 60.0,
    lanes: int = 2,
    engine: Engine | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Pretend:
    plan = Pretend()
    with Store.open(folder) as store:
        run_search(
            plan,
            generator=Random(plan.draw, seed=1),
            engine=engine or InLine(evaluate, lanes=lanes),
            ledger=Ledger(store, "task"),
            clock=Clock(lanes=lanes, work=work, deadline=math.inf if work else time.monotonic() + 0.5),
            setting=Setting(dataset="d"),
            stop=stop,
        )
    return plan


def test_the_work_budget_is_kept_and_failures_are_recorded(tmp_path: Path) -> None:
    plan = run(tmp_path)
    with Store.open(tmp_path) as store:
        entries = list(Ledger(store, "task").entries())
    assert sum(3.0 if e.rung else 1.0 for e in entries) <= 70
    assert len(entries) == len(plan.log)
    assert any(e.rung == 2 for e in entries)
    failed = [e for e in entries if not e.ok]
    assert all("a width of 1 breaks" in e.outcome["reason"] for e in failed)


def test_resuming_repeats_nothing_and_gives_the_same(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    count = 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count > 12

    run(tmp_path / "cut", stop=stop)
    CALLS.clear()
    resumed = run(tmp_path / "cut")
    assert resumed.log == whole.log
    assert 0 < len(CALLS) < len(whole.log)


def test_lanes_do_not_change_with_arrival(tmp_path: Path) -> None:
    """Under a work budget results are told by virtual time: an engine that answers late gives the same log."""
    from concurrent.futures import ThreadPoolExecutor

    class Late:
        lanes, beside = 2, True

        def __init__(self) -> None:
            self.pool, self.count = ThreadPoolExecutor(2), 0

        def submit(self, text: str, *, timeout_seconds: float | None = None) -> Future[str]:
            self.count += 1
            delay = 0.02 if self.count % 3 == 0 else 0.0
            return self.pool.submit(lambda: (time.sleep(delay), evaluate(text))[1])

        def close(self) -> None:
            self.pool.shutdown()

    assert run(tmp_path / "late", engine=Late()).log == run(tmp_path / "prompt").log


@pytest.mark.parametrize("beside", [True, False])
def test_a_lane_waits_for_no_disk(tmp_path: Path, *, beside: bool) -> None:
    """Where jobs run beside this process, the next begins before the last is written; else nothing stays unwritten."""
    events: list[str] = []

    class Told(Ledger):
        def add(self, entry: Entry) -> None:
            events.append("written")
            super().add(entry)

    class Watched(InLine):
        def submit(self, text: str, *, timeout_seconds: float | None = None) -> Future[str]:
            events.append("begun")
            return super().submit(text)

    engine, plan = Watched(evaluate, lanes=1), Pretend()
    engine.beside = beside
    run_search(
        plan,
        generator=Random(plan.draw, seed=1),
        engine=engine,
        ledger=Told(None, "task"),
        clock=Clock(lanes=1, work=12.0),
        setting=Setting(dataset="d"),
    )
    assert events.count("begun") == events.count("written") == len(plan.log) > 3
    assert events[:4] == (["begun", "begun", "written", "begun"] if beside else ["begun", "written"] * 2)


def test_the_real_clock_ends_the_run(tmp_path: Path) -> None:
    began = time.monotonic()
    run(tmp_path, work=None)
    assert time.monotonic() - began < 5


def test_a_score_part_of_the_way_is_carried_to_the_end() -> None:
    def news(number: int, score: float, share: float, rung: int = 0) -> News:
        return News(number, Trace(), score, 1.0, rung=rung, share=share)

    board = Board()
    board.tell(news(0, 0.9, 1.0))  # a finished tree
    board.tell(news(1, 0.5, 0.111))
    board.tell(news(2, 0.4, 0.111))
    assert board.foretold(board.latest[1]).score == pytest.approx(0.9), "nobody went on: the best may end as the best"
    assert board.foretold(board.latest[2]).score == pytest.approx(0.8)
    board.tell(news(1, 0.7, 0.333, rung=1))
    assert board.foretold(board.latest[2]).score == pytest.approx(0.4 + 0.2 + (0.9 - 0.7))
    board.tell(news(1, 0.95, 1.0, rung=2))
    assert board.foretold(board.latest[2]).score == pytest.approx(0.4 + 0.45)
    assert [one.score for one in board.all()] == pytest.approx([0.9, 0.95, 0.85])
    board.tell(news(3, -math.inf, 1.0))
    assert board.foretold(board.latest[3]).score == -math.inf
