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

from ..engine import Engine, WorkerDied
from ..spec import canonical, loads
from .choices import Answer, Trace
from .generators import Generator
from .ledger import Entry, Ledger

MAX_TRIES = 2
"""A job whose worker died is tried once more; a second death is the experiment's own fault."""

MAX_REPEATS = 200
"""So many proposals in a row that were made before mean that the space is used up."""

MAX_MISFITS = 8
"""So many experiments that cost more than is left are passed over before a lane is given up."""


@dataclass(frozen=True)
class Result:
    """One finished rung."""

    ok: bool
    score: float
    """Minus infinity when it failed."""
    work: float
    seconds: float
    outcome: Mapping[str, Any]


@dataclass
class Experiment:
    """One set of choices, rung by rung."""

    number: int
    trace: Trace
    label: str
    generator: str
    started: int = 0
    results: list[Result] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.started > len(self.results)

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
    """What the search is about: turns choices into jobs and outcomes into results; asks a cutter who goes on."""

    def start(self, number: int, answer: Answer | None) -> tuple[Trace, str] | None:
        """Choices of experiment `number` and a label for people; None = nothing more to try."""

    def answered_by(self, number: int) -> Answer | None:
        """Fixed answers for the first experiments (what is always tried); None = the generator's turn."""

    def order(self, experiment: Experiment, *, lane: int, clock: Clock) -> Order | None:
        """The next rung's job; None when the experiment is complete."""

    def goes_on(self, experiments: list[Experiment], *, clock: Clock) -> Experiment | None:
        """The experiment to continue, or None for a new one."""

    def is_over(self, experiments: list[Experiment], *, clock: Clock) -> bool:
        """True when nothing new should begin."""

    def is_there(self, outcome: Mapping[str, Any]) -> bool:
        """May an outcome from the ledger be used: is all that it points to still there?"""

    def result(self, outcome: Mapping[str, Any]) -> Result: ...

    def finished(self, experiment: Experiment) -> None:
        """Called after each rung: the moment to publish something better."""


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


def search(  # noqa: PLR0913 - the parts of a search, each named by its caller once
    plan: Plan,
    *,
    generator: Generator,
    engine: Engine,
    ledger: Ledger,
    clock: Clock,
    dataset: str,
    environment: Mapping[str, str],
    stop: Callable[[], bool] = lambda: False,
) -> list[Experiment]:
    """Runs experiments until the clock, the plan or `stop` ends it. Returns them all, by number."""
    loop = _Loop(plan, generator, engine, ledger, clock, dataset=dataset, environment=dict(environment))
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
        self,
        plan: Plan,
        generator: Generator,
        engine: Engine,
        ledger: Ledger,
        clock: Clock,
        *,
        dataset: str,
        environment: dict[str, str],
    ) -> None:
        self.plan, self.generator, self.engine = plan, generator, engine
        self.ledger, self.clock = ledger, clock
        self.dataset, self.environment = dataset, environment
        self.experiments: list[Experiment] = []
        self.running: list[_Running] = []
        self.exhausted = False
        self.seen: set[str] = set()
        self.proposed = self.repeats = 0

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
        number = len(self.experiments)
        fixed = self.plan.answered_by(number)
        while not self.exhausted:
            answer = fixed if fixed is not None else self.generator.propose(self.proposed)
            self.proposed += fixed is None
            begun = self.plan.start(number, answer)
            if begun is None:
                break
            trace, label = begun
            if fixed is None and trace.digest in self.seen:
                self.repeats += 1
                if self.repeats < MAX_REPEATS:
                    continue
                break
            self.repeats = 0
            self.seen.add(trace.digest)
            name = "fixed" if fixed is not None else type(self.generator).__name__.lower()
            experiment = Experiment(number=number, trace=trace, label=label, generator=name)
            self.experiments.append(experiment)
            return experiment
        self.exhausted = True
        return None

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
        """Records a finished job, tells the generator, lets the plan publish."""
        self.running.remove(running)
        outcome = self._outcome(running)
        if outcome is None:
            running.tries += 1
            running.future = self.engine.submit(running.order.text, timeout_seconds=running.order.timeout_seconds)
            self.running.append(running)
            return
        experiment, result = running.experiment, self.plan.result(outcome)
        if not running.recorded:
            self.ledger.add(
                Entry(
                    task=self.ledger.task,
                    dataset=self.dataset,
                    key=running.order.key,
                    number=experiment.number,
                    rung=len(experiment.results),
                    label=experiment.label,
                    generator=experiment.generator,
                    trace=experiment.trace,
                    ok=result.ok,
                    score=result.score if math.isfinite(result.score) else None,
                    work=result.work,
                    seconds=result.seconds,
                    outcome=dict(outcome),
                    environment=self.environment,
                )
            )
        experiment.results.append(result)
        self.generator.observe(experiment.trace, result.score, result.work)
        self.plan.finished(experiment)

    def _outcome(self, running: _Running) -> Mapping[str, Any] | None:
        """The job's outcome; a failure as an outcome too; None when the job should be tried again."""
        try:
            outcome: dict[str, Any] = loads(running.future.result())
            return outcome
        except WorkerDied as error:
            if running.tries < MAX_TRIES and self.clock.seconds_left > 0:
                return None
            reason = str(error)
        except RuntimeError as error:
            reason = str(error)
        return {"ok": False, "reason": reason, "seconds": time.monotonic() - running.begin, "work": running.order.work}
