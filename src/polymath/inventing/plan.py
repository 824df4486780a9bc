"""A search for parts as a plan of the one loop: what is drawn is described in JSON; workers measure it, rung by rung.

The same for rules and cells: `Part` says what differs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..engine import Engine, InLine, Processes
from ..engine.interface import Function
from ..search import Clock, Experiment, Ledger, Result, Setting, Sketch, draw, run
from ..search.choices import Answer, Space
from ..search.cutters import Cutter, Standing
from ..search.generators import Experience, generators
from ..search.run import Order as Job
from ..spec import BadInput, Json, canonical, sha256
from ..store import Store
from .found import Invented, Inventions, Kind, Order, record

LEADERS = 20
"""Best parts that are recorded by name."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a search for one kind of part has of its own."""

    space: Space
    describe: Callable[[Any], Json]
    """What the space builds, as a worker reads it."""
    identify: Callable[[Any], str]
    """Equal for what behaves equally: such things are tried once."""
    label: Callable[[Any], str]
    """For people, in one line."""
    first: tuple[Answer, ...] = ()
    """What is always tried before the generator's turn: what people made."""
    works: tuple[float, ...] = (1.0,)
    """Work of each rung alone."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """What else decides a measurement: a worker is given it, and results under others are not taken over."""


class PartPlan:
    """Draws parts, asks workers to measure them, and has the cutter say which go on to the next, dearer rung."""

    def __init__(
        self,
        part: Part,
        cutter: Cutter,
        *,
        most: int | None,
        told: Callable[[Experiment], None],
    ) -> None:
        self._part, self._cutter, self._most, self._told = part, cutter, most, told
        self._ends = tuple(sum(part.works[: rung + 1]) for rung in range(len(part.works)))
        self._standings: dict[int, Standing] = {}
        self._asked = -1
        """Finished rungs when the cutter said last that nobody goes on: until one more ends, nobody does."""
        self._rungs = 0

    def draw(self, answer: Answer) -> Sketch:
        return draw(self._part.space, answer, identify=self._part.identify)

    def fixed(self, number: int) -> Sketch | None:
        return self.draw(self._part.first[number]) if number < len(self._part.first) else None

    def begin(self, number: int, sketch: Sketch) -> str:
        return self._part.label(sketch.built)

    def order(self, experiment: Experiment, *, lane: int, clock: Clock) -> Job | None:
        rung = len(experiment.results)
        if rung >= len(self._part.works):
            return None
        request = {
            "part": self._part.describe(experiment.sketch.built),
            "rung": rung,
            **self._part.settings,
        }
        text = canonical(request)
        self._stand(experiment, running=True)
        return Job(key=sha256(text.encode()), text=text, work=self._part.works[rung], request=request)

    def goes_on(self, experiments: list[Experiment], *, clock: Clock) -> Experiment | None:
        if self._asked == self._rungs:
            return None
        number = self._cutter.promote(list(self._standings.values()), work_left=math.inf)
        if number is None:
            self._asked = self._rungs
            return None
        return experiments[number]

    def is_over(self, experiments: list[Experiment], *, clock: Clock) -> bool:
        if not clock.by_work and clock.seconds_left <= 0:
            return True
        if self._most is None or len(experiments) < self._most:
            return False
        return self.goes_on(experiments, clock=clock) is None

    def is_there(self, outcome: Mapping[str, Any]) -> bool:
        return True

    def result(self, outcome: Mapping[str, Any]) -> Result:
        ok = bool(outcome["ok"])
        score = float(outcome["score"]) if ok else -math.inf
        return Result(ok, score, float(outcome.get("work", 0.0)), float(outcome["seconds"]), outcome)

    def share(self, experiment: Experiment, result: Result) -> float:
        return self._ends[min(len(experiment.results), len(self._ends) - 1)] / self._ends[-1]

    def finished(self, experiment: Experiment) -> None:
        self._rungs += 1
        self._stand(experiment, running=False)

    def tell(self, experiment: Experiment) -> None:
        self._told(experiment)

    def _stand(self, experiment: Experiment, *, running: bool) -> None:
        """How an experiment stands, for the cutter; those that have no rung behind them do not count yet."""
        rungs = len(experiment.results)
        if rungs == 0:
            return
        self._standings[experiment.number] = Standing(
            number=experiment.number,
            works=self._ends[:rungs],
            scores=tuple(result.score for result in experiment.results),
            next_work=self._part.works[rungs] if rungs < len(self._part.works) and not experiment.failed else 0.0,
            full_work=self._ends[-1],
            running=running,
        )


def clock_of(order: Order, *, begin: float) -> Clock:
    """The clock of a search that began at `begin` (`time.monotonic()`). Raises BadInput for what cannot be done."""
    if order.budget_seconds is None and order.experiments is None:
        raise BadInput("a search needs a budget", remedy="Give a time, or a number of experiments.")
    if order.lanes < 1:
        raise BadInput("is not a number of lanes", value=order.lanes, remedy="Give 1 or more.")
    if order.generator not in generators():
        remedy = f"One of: {', '.join(sorted(generators()))}."
        raise BadInput("is no generator known here", value=order.generator, remedy=remedy)
    if order.budget_seconds is None:
        return Clock(lanes=order.lanes, work=math.inf)
    return Clock(lanes=order.lanes, deadline=begin + order.budget_seconds)


def workers(work: Function, *, lanes: int, ended: bool = False) -> Engine:
    """Who measures. `ended`: there is a time to keep; what runs then must be ended, and only a process can be."""
    return InLine(work) if lanes == 1 and not ended else Processes(work, lanes=lanes, preload=["torch"])


def engine_of(order: Order, work: Function) -> Engine:
    """The workers of a search."""
    return workers(work, lanes=order.lanes, ended=order.budget_seconds is not None)


def searched(
    plan: PartPlan, order: Order, *, engine: Engine, clock: Clock, store: Store | None, space: str
) -> list[Experiment]:
    """Runs the one loop; what the store's ledger holds of this search is not measured again."""
    return run(
        plan,
        generator=generators()[order.generator](plan.draw, seed=order.seed, experience=Experience()),
        engine=engine,
        ledger=Ledger(store, order.name),
        clock=clock,
        setting=Setting(dataset=order.name, space=space, seed=order.seed),
        stop=lambda: order.stop() or clock.seconds_left <= 0,
    )


def ranked(experiments: Sequence[Experiment]) -> list[Experiment]:
    """Those that gave a score: who came furthest first, then by the score there."""
    alive = [one for one in experiments if one.results and not one.failed]
    return sorted(alive, key=lambda one: (-len(one.results), -one.results[-1].score, one.number))


class Leaders:
    """What a search has found so far. What leads is in the store from that moment, whatever ends the search."""

    def __init__(
        self,
        store: Store | None,
        order: Order,
        clock: Clock,
        *,
        kind: Kind,
        invented: Callable[[Experiment, Mapping[int, Experiment]], Invented],
    ) -> None:
        """`invented`: an experiment as what it invented, given all others by number."""
        self._store, self._order, self._clock, self._kind, self._invented = store, order, clock, kind, invented
        self._begin = time.monotonic()
        self._experiments: dict[int, Experiment] = {}
        self._best: tuple[int, float] = (0, -math.inf)
        self._leaders: tuple[Invented, ...] = ()

    def told(self, experiment: Experiment) -> None:
        """A rung has ended."""
        self._experiments[experiment.number] = experiment
        self._order.watcher.tried(experiment, formula=experiment.label, clock=self._clock)
        place = (len(experiment.results), experiment.results[-1].score)
        if not experiment.failed and place > self._best:
            self._best = place
            self._recorded([experiment])

    def record(self) -> None:
        """Leaves the leaders in the store, by name."""
        self._leaders = self._recorded(ranked(list(self._experiments.values()))[:LEADERS])

    def _recorded(self, experiments: Sequence[Experiment]) -> tuple[Invented, ...]:
        found = tuple(self._invented(one, self._experiments) for one in experiments)
        return found if self._store is None else record(self._store, found)

    def inventions(self) -> Inventions:
        """All of it, with the leaders as they were recorded last."""
        return Inventions(
            kind=self._kind,
            search=self._order.name,
            experiments=len(self._experiments),
            failed=sum(one.failed for one in self._experiments.values()),
            leaders=self._leaders,
            seconds=time.monotonic() - self._begin,
        )
