"""The search for update rules: a funnel of ever dearer sweeps, each rule with its own learning rates.

First rung: 3 exercises x 11 learning rates x 3 seeds. The best tenth goes on to all exercises with fresh seeds, the
best of those to trainings of twice the length. The score is how often the steps of a tuned AdamW must be doubled to
reach what the rule reaches, mean over exercises: 0 is as good as AdamW, 1 would be twice as fast.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
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
from .bulk import ADAMW, RATES, Curve, curve, doublings, train
from .found import Invented, Inventions, Order
from .plan import Leaders, Part, PartPlan, clock_of, engine_of, searched
from .tasks import lengthened, search_exercises

KIND = "yardstick"
SPACE = "update rules"
VERSION = 1
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


RUNGS = (
    Rung(3, 1.0, (0, 1, 2), 1.0),
    Rung(7, 1.0, (10, 11, 12), 4.0),
    Rung(7, 2.0, (20, 21, 22, 23, 24), 13.0),
)


# In the workers ---------------------------------------------------------------------------------------------------
def answered(text: str) -> str:
    """A worker's job, JSON to JSON: the curve of AdamW on an exercise, or one rung of one rule."""
    import torch

    torch.set_num_threads(1)
    request = loads(text)
    begin = time.monotonic()
    if "yardstick" in request:
        exercise = search_exercises()[request["yardstick"]]
        return canonical({"curve": list(curve(exercise)), "learning_rate": train(exercise, ADAMW).best_rate})
    rung = RUNGS[request["rung"]]
    curves = [tuple(one) for one in request["curves"]]
    outcome = measured(parse(request["part"]), rung, curves)
    return canonical({**outcome, "work": rung.work, "seconds": round(time.monotonic() - begin, 6)})


def measured(rule: Expression, rung: Rung, curves: Sequence[Curve]) -> dict[str, Any]:
    """The outcome of a rung: the score, and by exercise its doublings and best learning rate."""
    facts: dict[str, dict[str, float]] = {}
    scores: list[float] = []
    lost = False
    for exercise, reference in zip(search_exercises()[: rung.exercises], curves, strict=False):
        if lost:
            scores.append(LOST)
            continue
        trained = train(lengthened(exercise, rung.length), rule, seeds=rung.seeds)
        if trained.dead:
            return {"ok": False, "reason": f"died: no learning rate of {len(RATES)} trains {exercise.name}"}
        scores.append(doublings(trained.best, reference, at=rung.length))
        facts[exercise.name] = {"doublings": round(scores[-1], 4), "learning_rate": trained.best_rate}
        lost = scores[-1] <= LOST and rung is RUNGS[0]
    return {"ok": True, "score": round(sum(scores) / len(scores), 6), "exercises": facts}


# In the one process that searches -----------------------------------------------------------------------------------
def said(rule: Expression) -> str:
    """As people read it."""
    return formula(simplify(rule))


def part(curves: Sequence[Curve]) -> Part:
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
        settings={"version": VERSION, "curves": [list(one) for one in curves]},
    )


def search_optimizer(store: Store | None, order: Order) -> Inventions:
    """Searches for update rules; the same call after a kill goes on where it was. Raises BadInput."""
    clock, engine = clock_of(order, begin=time.monotonic()), engine_of(order, answered)
    usual: list[Yardstick] = []
    leaders = Leaders(
        store, order, clock, kind="rule", invented=lambda experiment, _: _invented(order.name, experiment, usual)
    )
    try:
        order.watcher.say("measuring AdamW, tuned, as the yardstick")
        usual += yardsticks(store, engine, seconds=clock.seconds_left)
        if usual:
            rules = part([one.curve for one in usual])
            plan = PartPlan(rules, Halving(eta=BEST), most=order.experiments, told=leaders.told)
            searched(plan, order, engine=engine, clock=clock, store=store, space=SPACE)
    finally:
        engine.close()
        leaders.record()
    return leaders.inventions()


@dataclass(frozen=True)
class Yardstick:
    """AdamW, tuned, on one exercise."""

    curve: Curve
    learning_rate: float


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
    return [Yardstick(tuple(body["curve"]), body["learning_rate"]) for body in ordered]


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
