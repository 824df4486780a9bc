"""The one loop: proposes, runs, cuts and records until the clock says stop.

A job is a pure function of its text, so an order whose key stands in the ledger is answered from there: the same
command after a kill replays what was finished and goes on. Under a work budget, results are told in the order of a
virtual clock (each lane is busy for the planned work of its job), never of arrival: same seed, same lanes, same work,
same result. Under a time budget the order of arrival decides and the real clock ends the run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..engine import Engine, JobFailed, WorkerDied
from ..spec import BadInput, canonical, loads
from .choices import Answer, Sketch, Trace, as_traced
from .generators.base import FIXED, Generator, News
from .ledger import Entry, Ledger

MAX_TRIES = 3
"""A job whose worker died is tried again; the third death is the experiment's own fault."""

MAX_REPEATS = 200
"""So many proposals in a row that were made before mean that the space is used up."""

MAX_MISFITS = 8
"""So many experiments that cost more than is left are passed over before a lane is given up."""

MAX_BROKEN = 100
"""So many sketches in a row that raised while they were built mean that the space itself is broken."""


@dataclass(frozen=True)
class Result:
    """One finished rung."""

    ok: bool
    score: float
    """Minus infinity when it failed."""
    work: float
    seconds: float
    outcome: Mapping[str, Any]
    charged: float | None = None
    """The score after what the thing costs, where that counts; None = the score."""

    @property
    def worth(self) -> float:
        """By which experiments are compared."""
        return self.score if self.charged is None else self.charged


@dataclass
class Experiment:
    """One set of choices, rung by rung."""

    number: int
    sketch: Sketch
    label: str
    generator: str
    """Who proposed it: a generator, the arm of a bandit, or `FIXED`."""
    started: int = 0
    results: list[Result] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.started > len(self.results)

    @property
    def trace(self) -> Trace:
        return self.sketch.trace

    @property
    def failed(self) -> bool:
        return bool(self.results) and not self.results[-1].ok


@dataclass(frozen=True)
class Order:
    """A job to run: `key` decides the outcome, `text` goes to the engine, `work` is planned for this rung alone."""

    key: str
    text: str
    work: float
    timeout_seconds: float | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    """The job for the ledger, without where it runs."""


class Clock:
    """How much is left: seconds of real time, or work units spread evenly over lanes."""

    def __init__(
        self, *, lanes: int, work: float | None = None, deadline: float = math.inf, begin: float | None = None
    ) -> None:
        self.lanes, self.work, self.deadline = lanes, work, deadline
        self.begin = time.monotonic() if begin is None else begin
        self.busy = [0.0] * lanes
        """Virtual time of each lane: work units of the jobs given to it."""

    @property
    def by_work(self) -> bool:
        return self.work is not None

    @property
    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()

    @property
    def share_spent(self) -> float:
        """0 at the begin, 1 at the end."""
        if self.work is not None:
            return min(self.busy) * self.lanes / self.work if self.work else 1.0
        if math.isinf(self.deadline):
            return 0.0
        return (time.monotonic() - self.begin) / max(self.deadline - self.begin, 1e-9)

    def lane_work_left(self, lane: int) -> float:
        """Work units left on a lane, infinite under a time budget."""
        return math.inf if self.work is None else self.work / self.lanes - self.busy[lane]

    def allows(self, lane: int, work: float) -> bool:
        """May a job of this much work still begin?"""
        if self.work is not None:
            return self.busy[lane] + work <= self.work / self.lanes * (1 + 1e-9)
        return self.seconds_left > 0


class Plan(Protocol):
    """What the search is about: turns sketches into jobs and outcomes into results; asks a cutter who goes on."""

    def draw(self, answer: Answer) -> Sketch:
        """One pass through the space."""

    def fixed(self, number: int) -> Sketch | None:
        """What is always tried as experiment `number`; None = the generator's turn."""

    def begin(self, number: int, sketch: Sketch) -> str:
        """Experiment `number` is this sketch from now on; gives a label for people."""

    def order(self, experiment: Experiment, *, lane: int, clock: Clock) -> Order | None:
        """The next rung's job; None when the experiment is complete."""

    def goes_on(self, experiments: list[Experiment], *, clock: Clock) -> Experiment | None:
        """The experiment to continue, or None for a new one."""

    def is_over(self, experiments: list[Experiment], *, clock: Clock) -> bool:
        """True when nothing new should begin."""

    def is_there(self, outcome: Mapping[str, Any]) -> bool:
        """May an outcome from the ledger be used: is all that it points to still there?"""

    def result(self, outcome: Mapping[str, Any]) -> Result: ...

    def share(self, experiment: Experiment, result: Result) -> float:
        """How much of its own schedule the experiment has behind it with the rung that gave `result`: 1 = all."""

    def finished(self, experiment: Experiment) -> None:
        """Called after each rung, before anything is decided by it."""

    def tell(self, experiment: Experiment) -> None:
        """Called when its rung is recorded and the lane at work again: the moment to publish something better."""


@dataclass
class _Running:
    experiment: Experiment
    order: Order
    lane: int
    future: Future[str]
    end: float
    begin: float
    tries: int = 1
    recorded: bool = False


@dataclass(frozen=True)
class Setting:
    """What every entry of a search has in common."""

    dataset: str
    space: str = ""
    seed: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    fingerprint: Mapping[str, float] = field(default_factory=dict)


def run(
    plan: Plan,
    *,
    generator: Generator,
    engine: Engine,
    ledger: Ledger,
    clock: Clock,
    setting: Setting,
    stop: Callable[[], bool] = lambda: False,
) -> list[Experiment]:
    """Runs experiments until the clock, the plan or `stop` ends it. Returns them all, by number."""
    loop = _Loop(plan, generator, engine, ledger, clock, setting)
    while not stop():
        loop.fill()
        if not loop.running:
            break
        done = loop.next_done(stop)
        if done is None:
            break
        loop.settle(done)
    return loop.experiments


class _Loop:
    def __init__(
        self, plan: Plan, generator: Generator, engine: Engine, ledger: Ledger, clock: Clock, setting: Setting
    ) -> None:
        self.plan, self.generator, self.engine = plan, generator, engine
        self.ledger, self.clock, self.setting = ledger, clock, setting
        self.experiments: list[Experiment] = []
        self.running: list[_Running] = []
        self.exhausted = False
        self.proposed = self.repeats = self.broken = 0
        self.seen: set[str] = set()
        # Under a work budget an earlier run's proposals come about again by themselves; under the real clock the order
        # of arrival shapes them, so they are taken from the ledger.
        self.remembered = (
            {} if clock.by_work else ledger.proposed(dataset=setting.dataset, space=setting.space, seed=setting.seed)
        )

    def fill(self) -> None:
        """Gives every free lane a job."""
        while len(self.running) < self.clock.lanes:
            taken = {r.lane for r in self.running}
            lane = min((n for n in range(self.clock.lanes) if n not in taken), key=lambda n: (self.clock.busy[n], n))
            if self.plan.is_over(self.experiments, clock=self.clock):
                return
            found = self._fitting(lane)
            if found is None:
                return
            self._begin(*found, lane)

    def _fitting(self, lane: int) -> tuple[Experiment, Order] | None:
        """What to run next on a lane. Near the end of a work budget, the first of some new ones that still fits."""
        experiment = self.plan.goes_on(self.experiments, clock=self.clock) or self._new()
        for _ in range(MAX_MISFITS):
            if experiment is None:
                return None
            order = self.plan.order(experiment, lane=lane, clock=self.clock)
            if order is not None and self.clock.allows(lane, order.work):
                return experiment, order
            experiment = self._new()
        return None

    def _new(self) -> Experiment | None:
        """An experiment that was not made before; None when the space seems to hold no more of them."""
        while not self.exhausted:
            number = len(self.experiments)
            sketch, name = self._sketch(number)
            if name != FIXED and sketch.identity in self.seen:
                self.repeats += 1
                self.exhausted = self.repeats >= MAX_REPEATS
                continue
            self.repeats = 0
            self.seen.add(sketch.identity)
            self.generator.begin(number, sketch)
            if sketch.error:
                self._broken(number, sketch, name)
                continue
            self.broken = 0
            label = self.plan.begin(number, sketch)
            experiment = Experiment(number, sketch, label, name)
            self.experiments.append(experiment)
            return experiment
        return None

    def _sketch(self, number: int) -> tuple[Sketch, str]:
        """What experiment `number` is, and who says so: a fixed one, one of an earlier run, or a new proposal."""
        fixed = self.plan.fixed(number)
        if fixed is not None:
            return fixed, FIXED
        earlier = self.remembered.pop(number, None)
        if earlier is not None:
            sketch = self.plan.draw(as_traced(earlier.trace))
            if sketch.trace.digest == earlier.trace.digest:
                self.proposed += 1
                return sketch, earlier.generator
        sketch = self.generator.propose(self.proposed)
        self.proposed += 1
        return sketch, sketch.by or self.generator.name

    def _broken(self, number: int, sketch: Sketch, name: str) -> None:
        """A sketch that raised while it was built is an experiment that failed at once."""
        self.broken += 1
        reason = sketch.error.splitlines()[-1]
        if self.broken >= MAX_BROKEN:
            raise BadInput(
                f"the space raised {self.broken} times in a row, last: {reason}",
                remedy="Call it with polymath.search.first as its answers, and mend what it raises.",
            )
        experiment = Experiment(number, sketch, "could not be built", name, started=1)
        self.experiments.append(experiment)
        outcome = {"ok": False, "reason": reason, "traceback": sketch.error, "seconds": 0.0, "work": 0.0}
        self._record(experiment, self._told(experiment, f"broken {sketch.trace.digest}", outcome, {}))

    def _begin(self, experiment: Experiment, order: Order, lane: int) -> None:
        entry = self.ledger.find(order.key)
        recorded = entry is not None and self.plan.is_there(entry.outcome)
        if entry is not None and recorded:
            future: Future[str] = Future()
            future.set_result(canonical(entry.outcome))
        else:
            future = self.engine.submit(order.text, timeout_seconds=order.timeout_seconds)
        self.clock.busy[lane] += order.work
        experiment.started += 1
        self.running.append(
            _Running(experiment, order, lane, future, self.clock.busy[lane], time.monotonic(), recorded=recorded)
        )

    def next_done(self, stop: Callable[[], bool]) -> _Running | None:
        """The next job to settle: by virtual end under a work budget, else by arrival. None when told to stop."""
        if self.clock.by_work:
            chosen = min(self.running, key=lambda r: (r.end, r.experiment.number))
            while not chosen.future.done():
                wait([chosen.future], timeout=0.2)
                if stop():
                    return None
            return chosen
        while not stop():
            wait([r.future for r in self.running], timeout=0.2, return_when=FIRST_COMPLETED)
            for running in self.running:
                if running.future.done():
                    return running
        return None

    def settle(self, running: _Running) -> None:
        """Takes in a finished job and records it; meanwhile its lane is at work again, if the engine lets it.

        The disk and a publication take longer than deciding what is next. A kill in between costs this rung.
        """
        self.running.remove(running)
        outcome = self._outcome(running)
        if outcome is None:
            running.tries += 1
            running.future = self.engine.submit(running.order.text, timeout_seconds=running.order.timeout_seconds)
            self.running.append(running)
            return
        order = running.order
        entry = self._told(running.experiment, order.key, outcome, order.request)
        try:
            if self.engine.beside:
                self.fill()
        finally:
            self._record(running.experiment, None if running.recorded else entry)

    def _told(self, experiment: Experiment, key: str, outcome: Mapping[str, Any], request: Mapping[str, Any]) -> Entry:
        """Takes a finished rung into all that decisions depend on, the generator told; its entry for the ledger."""
        result, sketch = self.plan.result(outcome), experiment.sketch
        rung, share = len(experiment.results), self.plan.share(experiment, result)
        entry = Entry(
            task=self.ledger.task,
            dataset=self.setting.dataset,
            space=self.setting.space,
            seed=self.setting.seed,
            key=key,
            number=experiment.number,
            rung=rung,
            label=experiment.label,
            generator=experiment.generator,
            trace=sketch.trace,
            ok=result.ok,
            score=result.score if math.isfinite(result.score) else None,
            work=result.work,
            seconds=result.seconds,
            outcome=dict(outcome),
            request=dict(request),
            proxies=dict(sketch.proxies),
            fingerprint=dict(self.setting.fingerprint),
            share=share,
            environment=dict(self.setting.environment),
        )
        experiment.results.append(result)
        news = News(
            number=experiment.number,
            trace=sketch.trace,
            score=result.worth,
            work=result.work,
            rung=rung,
            by=experiment.generator,
            proxies=sketch.proxies,
            share=share,
        )
        self.generator.observe(news)
        self.plan.finished(experiment)
        return entry

    def _record(self, experiment: Experiment, entry: Entry | None) -> None:
        """Writes a finished rung into the ledger, if it is not there yet, and lets the plan publish."""
        if entry is not None:
            self.ledger.add(entry)
        self.plan.tell(experiment)

    def _outcome(self, running: _Running) -> Mapping[str, Any] | None:
        """The job's outcome; a failure as an outcome too; None when the job should be tried again."""
        told: dict[str, Any]
        try:
            outcome: dict[str, Any] = loads(running.future.result())
            return outcome
        except WorkerDied as error:
            if running.tries < MAX_TRIES and self.clock.seconds_left > 0:
                return None
            told = {"reason": str(error), "died": True}
        except RuntimeError as error:
            failed = error if isinstance(error, JobFailed) else JobFailed.of(error)
            told = {"reason": str(failed), "traceback": failed.traceback}
        return {"ok": False, **told, "seconds": time.monotonic() - running.begin, "work": running.order.work}
