"""The search for update rules: a funnel of ever dearer sweeps, each rule with its own learning rates.

First rung: 3 exercises x 11 learning rates x 3 seeds. The best tenth goes on to all exercises with fresh seeds, the
best of those to trainings of twice the length with a finer sweep, the best of those once more with other seeds: whoever
is the best of thousands by a noisy score owes some of it to luck, and fresh seeds take that back. The score is how
often the steps of a tuned AdamW must be doubled to reach what the rule reaches, beyond what AdamW itself gets with the
same seeds and sweep: 0 is as good as AdamW, 1 would be twice as fast. It is the mean over exercises; from the second
rung on less one standard error, so that nobody leads who is far ahead on one exercise and no better on the rest.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ..engine import Engine
from ..search import Experiment
from ..search.cutters.halving import Halving
from ..search.spaces.update_rules import KNOWN, AdoptedRule, known, update_rule
from ..spec import Json, canonical, loads
from ..store import Store
from ..train.update import Expression, parse
from ..train.update.behaviour import behaviour
from ..train.update.export import as_python
from ..train.update.formula import formula
from ..train.update.simplify import simplify
from . import found as records
from .bulk import ADAMW, FINER, RATES, Curve, curve, doublings, train
from .found import Invented, Inventions, Order
from .plan import Leaders, Part, PartPlan, clock_of, engine_of, searched
from .tasks import lengthened, search_exercises

KIND = "yardstick"
SPACE = "update rules"
VERSION = 2
"""Of exercises, rungs and score together: results of other versions are not compared."""
BEST = 10
"""One in so many goes on to the next rung."""
LOST = -2.0
"""An exercise with this little ends a first rung: AdamW reaches it in a quarter of the steps."""
RATE = "learning rate over that of AdamW"


@dataclass(frozen=True)
class Rung:
    """How much is measured: how many of the exercises, their length, with which seeds."""

    exercises: int
    length: float
    seeds: tuple[int, ...]
    work: float
    rates: tuple[float, ...] = RATES


RUNGS = (
    Rung(3, 1.0, (0, 1, 2), 1.0),
    Rung(7, 1.0, (10, 11, 12), 4.0),
    Rung(7, 2.0, (20, 21, 22), 12.0, FINER),
    Rung(7, 2.0, (30, 31, 32, 33, 34, 35), 22.0, FINER),
)


@dataclass(frozen=True)
class Yardstick:
    """AdamW, tuned, on one exercise."""

    curve: Curve
    learning_rate: float
    own: tuple[float, ...]
    """By rung: doublings of AdamW itself, by the seeds and the sweep of that rung."""

    def to_json(self) -> dict[str, Any]:
        """As a worker is given it, and as the store keeps it."""
        return {"curve": list(self.curve), "learning_rate": self.learning_rate, "own": list(self.own)}

    @staticmethod
    def of_json(body: Mapping[str, Any]) -> Yardstick:
        """The same, read again."""
        return Yardstick(tuple(body["curve"]), float(body["learning_rate"]), tuple(body["own"]))


# In the workers ---------------------------------------------------------------------------------------------------
def answered(text: str) -> str:
    """A worker's job, JSON to JSON: the curve of AdamW on an exercise, or one rung of one rule."""
    import torch

    torch.set_num_threads(1)
    request = loads(text)
    begin = time.monotonic()
    if "yardstick" in request:
        return canonical(yardstick(request["yardstick"]).to_json())
    yards = [Yardstick.of_json(one) for one in request["yardsticks"]]
    outcome = measured(parse(request["part"]), request["rung"], yards)
    work = RUNGS[request["rung"]].work
    return canonical({**outcome, "work": work, "seconds": round(time.monotonic() - begin, 6)})


def yardstick(number: int) -> Yardstick:
    """AdamW on one exercise: its curve, and what it gets on every rung in which the exercise stands."""
    exercise = search_exercises()[number]
    reference = curve(exercise)
    own = []
    for rung in RUNGS:
        trained = train(lengthened(exercise, rung.length), ADAMW, rates=rung.rates, seeds=rung.seeds)
        own.append(round(doublings(trained.best, reference, at=rung.length), 5))
    return Yardstick(reference, train(exercise, ADAMW).best_rate, tuple(own))


def measured(rule: Expression, number: int, yards: Sequence[Yardstick]) -> dict[str, Any]:
    """The outcome of a rung: the score, and by exercise its doublings and best learning rate."""
    rung = RUNGS[number]
    facts: dict[str, dict[str, float]] = {}
    scores: list[float] = []
    lost = False
    for exercise, yard in zip(search_exercises()[: rung.exercises], yards, strict=False):
        if lost:
            scores.append(LOST)
            continue
        trained = train(lengthened(exercise, rung.length), rule, rates=rung.rates, seeds=rung.seeds)
        if trained.dead:
            return {"ok": False, "reason": f"died: no learning rate of {len(rung.rates)} trains {exercise.name}"}
        scores.append(doublings(trained.best, yard.curve, at=rung.length) - yard.own[number])
        facts[exercise.name] = {"doublings": round(scores[-1], 4), "learning_rate": trained.best_rate}
        lost = scores[-1] <= LOST and number == 0
    score = statistics.fmean(scores)
    if number > 0:
        score -= statistics.stdev(scores) / math.sqrt(len(scores))
    return {"ok": True, "score": round(score, 6), "exercises": facts}


# In the one process that searches -----------------------------------------------------------------------------------
def said(rule: Expression) -> str:
    """As people read it."""
    return formula(simplify(rule))


def part(yards: Sequence[Yardstick]) -> Part:
    """The search for update rules, as the plan needs it."""

    def describe(rule: Expression) -> Json:
        return simplify(rule).model_dump(mode="json")

    return Part(
        space=update_rule,
        describe=describe,
        identify=behaviour,
        label=said,
        first=tuple(known(name) for name in KNOWN),
        works=tuple(rung.work for rung in RUNGS),
        settings={"version": VERSION, "yardsticks": [one.to_json() for one in yards]},
    )


def search_optimizer(store: Store | None, order: Order) -> Inventions:
    """Searches for update rules; the same call after a kill goes on where it was. Raises BadInput."""
    clock, engine = clock_of(order, begin=time.monotonic()), engine_of(order, answered)
    usual: list[Yardstick] = []
    leaders = Leaders(
        store, order, clock, kind="rule", invented=lambda experiment, _: _invented(order.name, experiment, usual)
    )
    try:
        order.watcher.say("measuring AdamW, tuned, as the yardstick: half a minute of a core, once for each store")
        usual += yardsticks(store, engine, seconds=clock.seconds_left)
        if usual:
            plan = PartPlan(part(usual), Halving(eta=BEST), most=order.experiments, told=leaders.told)
            searched(plan, order, engine=engine, clock=clock, store=store, space=SPACE)
    finally:
        engine.close()
        leaders.record()
    return leaders.inventions()


def yardsticks(store: Store | None, engine: Engine, *, seconds: float = math.inf) -> list[Yardstick]:
    """Of all exercises: those that the store has, else measured and kept there. None at all if time runs out."""
    deadline = time.monotonic() + seconds
    stored = {} if store is None else {body["exercise"]: body for _, body in store.records(KIND)}
    found: dict[int, dict[str, Any]] = {}
    waiting: dict[int, Future[str]] = {}
    exercises = search_exercises()
    for number, exercise in enumerate(exercises):
        body = stored.get(exercise.name)
        if body is not None and body["version"] == VERSION:
            found[number] = body
        else:
            waiting[number] = engine.submit(canonical({"yardstick": number}))
    for number, future in waiting.items():
        try:
            told = future.result(None if math.isinf(deadline) else max(deadline - time.monotonic(), 0.0))
        except TimeoutError:
            return []
        found[number] = {**loads(told), "exercise": exercises[number].name, "version": VERSION}
        if store is not None:
            store.add_record(KIND, found[number], id=exercises[number].name)
    ordered = [found[number] for number in range(len(exercises))]
    return [Yardstick.of_json(body) for body in ordered]


def _invented(search: str, experiment: Experiment, yards: Sequence[Yardstick]) -> Invented:
    rule: Expression = experiment.sketch.built
    result = experiment.results[-1]
    usual = {one.name: yard.learning_rate for one, yard in zip(search_exercises(), yards, strict=True)}
    facts = {f"doublings on {name}": float(one["doublings"]) for name, one in result.outcome["exercises"].items()}
    logs = [math.log(one["learning_rate"] / usual[name]) for name, one in result.outcome["exercises"].items()]
    return Invented(
        kind="rule",
        name=f"{search}/{experiment.number}",
        formula=said(rule),
        score=result.score,
        rung=len(experiment.results),
        expression=simplify(rule).model_dump(mode="json"),
        identity=experiment.sketch.identity,
        facts=facts | {RATE: math.exp(sum(logs) / len(logs))},
    )


def adopted_rules(store: Store) -> tuple[AdoptedRule, ...]:
    """The rules that a store has adopted, by name: options in the recipe of every net."""
    found = records.adopted(store, "rule")
    return tuple(
        AdoptedRule(name=name, rule=parse(one.expression), rate=one.facts.get(RATE, 1.0))
        for name, one in sorted(found.items())
    )


def rule_as_python(found: Invented) -> str:
    """The rule as a Python file of its own."""
    return as_python(parse(found.expression))
