"""Search for any function of your own: `search(space, evaluate)`, without a problem, a dataset or a path.

    def space(choose):
        return {"rate": choose("rate", 1e-4, 1.0, log=True), "depth": choose("depth", 1, 8)}

    found = search(space, lambda thing: -abs(thing["rate"] - 0.1), experiments=50)
    found.best, found.score

An `evaluate` that yields scores instead of returning one is cut: after each yield, one rung, the cutter decides whether
it goes on.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..engine import JobFailed, Threads
from ..spec import BadInput, canonical, loads, printable, seconds, sha256
from .choices import Answer, Sketch, Space, Trace, draw
from .cutters import Cutter, Standing, cutters
from .generators import Experience, generators
from .ledger import Ledger
from .run import Clock, Experiment, Order, Result, Setting, run

if TYPE_CHECKING:
    from ..store import Store

Evaluate = Callable[[Any], float] | Callable[[Any], Iterator[float]]
MAX_RUNGS = 1_000_000


@dataclass(frozen=True)
class Found:
    """What a search gave."""

    best: Any
    """The best thing that the space built; None when every experiment failed."""
    score: float
    """Of `best`; minus infinity when every experiment failed."""
    trace: Trace | None
    """The choices behind `best`."""
    experiments: tuple[Experiment, ...]

    @property
    def failed(self) -> tuple[Experiment, ...]:
        """Experiments that raised or gave no finite score; `results[-1].outcome["reason"]` says why."""
        return tuple(e for e in self.experiments if e.failed)


def search(  # noqa: PLR0913 - what a user may choose, each by name
    space: Space,
    evaluate: Evaluate,
    *,
    generator: str = "bandit",
    cutter: str = "halving",
    budget: str | float | None = None,
    experiments: int | None = None,
    rungs: int = 9,
    workers: int = 1,
    seed: int = 0,
    store: Store | None = None,
    name: str = "search",
    stop: Callable[[], bool] = lambda: False,
) -> Found:
    """Looks for what `space` builds and `evaluate` scores highest; returns the best with all experiments.

    `budget`: seconds, or text such as "90s" or "10m"; `experiments`: so many at most; one of the two is needed.
    `rungs`: scores that an `evaluate` that yields gives at most. `workers`: experiments at the same time, in threads.
    `store`: where every experiment is recorded under `name`; the same call after a kill then goes on where it was.
    An `evaluate` that raises, or gives no finite number, is a failed experiment and not the end. With `experiments`
    alone the result depends on the seed and the number of workers, never on speed. Raises BadInput.
    """
    if budget is None and experiments is None:
        raise BadInput("a search needs a budget", remedy="Give budget='60s' or experiments=100.")
    if experiments is not None and experiments < 1:
        raise BadInput("a budget of no experiments", value=experiments, remedy="Give experiments=1 or more.")
    if workers < 1 or rungs < 1:
        raise BadInput("workers and rungs count from 1", value=min(workers, rungs))
    limit = None if budget is None else seconds(budget)
    kinds, ways = generators(), cutters()
    for word, known in ((generator, kinds), (cutter, ways)):
        if word not in known:
            raise BadInput("is not known here", value=word, remedy=f"One of: {', '.join(sorted(known))}.")
    plan = _FunctionPlan(space, evaluate, ways[cutter](), most=experiments, rungs=rungs)
    plan.draw(lambda offer: 0.0)  # a space that nobody could search is refused before anything runs
    ledger = Ledger(store, name)
    about = f"function {name}"
    experience = Experience(past=ledger.past(space=about, dataset=name)) if store is not None else Experience()
    engine = Threads(plan.evaluated, lanes=workers)
    try:
        run(
            plan,
            generator=kinds[generator](plan.draw, seed=seed, experience=experience),
            engine=engine,
            ledger=ledger,
            clock=Clock(lanes=workers, deadline=time.monotonic() + limit)
            if limit is not None
            else Clock(lanes=workers, work=float(MAX_RUNGS)),
            setting=Setting(dataset=name, space=about, seed=seed),
            stop=stop,
        )
    finally:
        engine.close()
        plan.close()
    return plan.found()


class _FunctionPlan:
    """A user's function as a plan: one unit of work per rung."""

    def __init__(self, space: Space, evaluate: Evaluate, cutter: Cutter, *, most: int | None, rungs: int) -> None:
        self._space, self._evaluate, self._cutter, self._most = space, evaluate, cutter, most
        self._stepwise = inspect.isgeneratorfunction(evaluate)
        self._rungs = rungs if self._stepwise else 1
        self._experiments: dict[int, Experiment] = {}
        self._sketches: dict[int, Sketch] = {}
        self._live: dict[int, _Live] = {}

    def draw(self, answer: Answer) -> Sketch:
        return draw(self._space, answer)

    def fixed(self, number: int) -> Sketch | None:
        return None

    def begin(self, number: int, sketch: Sketch) -> str:
        self._sketches[number] = sketch
        return ", ".join(f"{c.name}={printable(c.token, limit=30)}" for c in sketch.trace.choices)

    def order(self, experiment: Experiment, *, lane: int, clock: Clock) -> Order | None:
        done = len(experiment.results)
        if done >= self._rungs or (done and experiment.results[-1].outcome.get("complete")):
            return None
        request = {"number": experiment.number, "rung": done, "trace": experiment.trace.digest}
        text = canonical(request)
        return Order(key=sha256(text.encode()), text=text, work=1.0, request=request)

    def goes_on(self, experiments: list[Experiment], *, clock: Clock) -> Experiment | None:
        if not self._stepwise:
            return None
        standings = [
            Standing(
                number=e.number,
                works=tuple(r.work for r in e.results),
                scores=tuple(r.score for r in e.results),
                next_work=float(len(e.results) < self._rungs and not (e.results and e.results[-1].outcome["complete"])),
                full_work=float(self._rungs),
                running=e.running,
            )
            for e in experiments
            if not e.failed
        ]
        number = self._cutter.promote(standings, work_left=math.inf)
        return None if number is None else experiments[number]

    def is_over(self, experiments: list[Experiment], *, clock: Clock) -> bool:
        if not clock.by_work and clock.seconds_left <= 0:
            return True
        return (
            self._most is not None and len(experiments) >= self._most and self.goes_on(experiments, clock=clock) is None
        )

    def is_there(self, outcome: Mapping[str, Any]) -> bool:
        return True

    def result(self, outcome: Mapping[str, Any]) -> Result:
        ok = bool(outcome["ok"])
        score = float(outcome["score"]) if ok else -math.inf
        return Result(ok, score, float(outcome["work"]), float(outcome["seconds"]), outcome)

    def share(self, experiment: Experiment, result: Result) -> float:
        return 1.0 if result.outcome.get("complete") else result.work / self._rungs

    def finished(self, experiment: Experiment) -> None:
        self._experiments[experiment.number] = experiment

    def tell(self, experiment: Experiment) -> None:
        """Nobody is told before the end."""

    # Evaluating --------------------------------------------------------------------------------------------------
    def evaluated(self, text: str) -> str:
        """One rung: JSON of the request -> JSON of the outcome. Runs in a thread of the engine."""
        request = loads(text)
        number, rung = int(request["number"]), int(request["rung"])
        begin = time.monotonic()
        outcome: dict[str, Any] = {"ok": False, "work": rung + 1.0, "complete": True}
        try:
            score, complete = self._score(number, rung)
            outcome |= {"ok": True, "score": _checked(score), "complete": complete}
        except Exception as error:  # the user's own function: a failed experiment
            failed = JobFailed.of(error)
            outcome |= {"reason": str(failed), "traceback": failed.traceback}
        return canonical({**outcome, "seconds": round(time.monotonic() - begin, 6)})

    def _score(self, number: int, rung: int) -> tuple[Any, bool]:
        """The score of a rung, and whether it was the last."""
        if not self._stepwise:
            return self._evaluate(self._sketches[number].built), True
        live = self._live.setdefault(number, _Live(iter(self._evaluate(self._sketches[number].built))))  # type: ignore[arg-type]
        while len(live.scores) <= rung and live.steps is not None:  # after a kill the rungs before are run again
            try:
                live.scores.append(next(live.steps))
            except StopIteration:
                live.steps = None
        if rung < len(live.scores):
            return live.scores[rung], rung + 1 >= self._rungs
        if not live.scores:
            raise ValueError("evaluate yielded no score")
        return live.scores[-1], True

    def close(self) -> None:
        """Ends the evaluations that were cut."""
        for live in self._live.values():
            if live.steps is not None and hasattr(live.steps, "close"):
                live.steps.close()

    def found(self) -> Found:
        """The best so far."""
        experiments = tuple(self._experiments[number] for number in sorted(self._experiments))
        ranked = [(max(r.score for r in e.results), -e.number, e) for e in experiments if e.results]
        score, _, best = max(ranked, default=(-math.inf, 0, None))
        if best is None or not math.isfinite(score):
            return Found(None, -math.inf, None, experiments)
        return Found(best.sketch.built, score, best.trace, experiments)


@dataclass
class _Live:
    """An evaluation that yields, and what it has yielded."""

    steps: Iterator[float] | None
    scores: list[float] = field(default_factory=list)


def _checked(score: Any) -> float:
    if isinstance(score, bool) or not isinstance(score, Real) or not math.isfinite(float(score)):
        raise ValueError(
            f"evaluate gave {score!r} ({type(score).__name__}); a score is a finite number, higher is better"
        )
    return float(score)
