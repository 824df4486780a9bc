"""The space of one problem, and the plan that `search.run` follows for it: cheapest first, then paths rung by rung.

Two ways to spend a budget on paths, chosen by what one full training costs:

* `halving`: a full training is cheap. Many experiments in three rungs (1/9, 1/3, all of the work), cut between them.
* `commit`: a full training would take a good part of the budget (images, texts). A few experiments get one short rung,
  the best go on for all the rest, one per lane, in segments short enough that a kill costs little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...model.path import Path
from ...model.prefix import trained_work
from ...model.probes import Facts, Probe
from ...problem import Dataset, Problem
from ...spec import Spec, canonical, sha256
from ...train.job import Context, Job, Outcome, planned_work
from ...train.recipe import GradientRecipe, Recipe
from ..choices import Answer, Choose, Recorder, Sketch, draw, first
from ..cutters import Cutter, Standing
from ..deaths import note, verdict
from ..run import Clock, Experiment, Order, Result
from .images import mirrors_keep_meaning
from .parents import Parent, features
from .pieces import hand_made
from .probes import SETTINGS, STORED
from .rows import problem_space

EXAMPLES = {"vector": (3e5, 12.0, 80.0), "tokens": (2e5, 5.0, 40.0), "map": (2e6, 20.0, 150.0)}
"""Form -> examples that a full training sees, its fewest and most epochs: longer ones overfitted where we looked."""
NOMINAL_RATE = 2.0
"""Work units per second and lane assumed until the first training was timed (a modest core)."""
EXPLORE_RUNG = 0.04
"""Share of a lane's budget that one experiment may take before a committing plan has chosen."""
LEAST_STEPS = 10
"""Steps per fold below which a first rung says nothing."""
SEGMENT_SECONDS = 40.0
"""Real time of one segment of a long training: what a kill can cost at most, near enough."""
FULL_SHARE = 0.25
"""A full training that costs more than this share of a lane's budget makes the plan commit."""
PATCHES_RATE = 10.0
"""Work units per second of the patches head: matrix products, on one modest core."""
AMPLE = 8.0
"""Work planned for a long training under the real clock, over the estimate: the clock should end it, not the work."""
WORTH_ANOTHER = 0.85
"""Share of the budget after which nothing new is looked for once the long trainings are done."""
EXPLORED = 8
"""Paths that a committing plan tries before it chooses."""
EXPLORE_SHARE = 0.15
"""Share of the budget after which a committing plan stops looking around."""
STEADY_SHARE = 0.1
"""Share of a long training at full learning rate before it decays."""


class Design(Spec):
    """What the space of a problem builds: a path and its recipe, or a cheap head, which is its own recipe."""

    method: str
    path: Path | None = None
    recipe: Recipe
    parent: str = ""
    """The task whose genes it begins with."""


class Rung(Spec):
    """Work at its end (since the experiment began) and the learning rate at its two ends."""

    work: float
    rate: tuple[float, float]


@dataclass(frozen=True)
class Settings:
    """What the plan needs to know beside the dataset."""

    dataset: str
    facts: Facts
    problem: Problem
    context: Context
    folds: tuple[int, ...]
    seed: int
    methods: tuple[str, ...]
    """Cheap heads and 'path', in the order in which they are tried first."""
    seconds: float | None
    """The whole time budget, for plans that do not change when a killed run goes on."""
    space: str = "all"
    """Which of `SPACES`."""
    mirrored: bool = False
    """Pictures mean the same mirrored left to right."""
    layers: tuple[str, ...] = ()
    """Kinds of the user's own layers."""
    parents: tuple[Parent, ...] = ()
    """What may be built upon, the most promising first."""


STORED_FIRST = 4
"""Parents on which every new task tries a cheap head, before anything is trained."""

SPACES: dict[str, Callable[[str], bool]] = {
    "all": lambda method: True,
    "paths": lambda method: method == "path",
    "heads": lambda method: method != "path",
    "families": lambda method: method == "path",
}
"""Name of a space -> which methods it holds. `families`: paths that a person designed, no free architectures."""


def fingerprint(problem: Problem, facts: Facts) -> dict[str, float]:
    """Numbers by which generators compare problems: sizes and kinds of what goes in and comes out."""
    forms = [form.kind for form in facts.ports.values()]
    found = {
        "rows": math.log10(1 + facts.rows),
        "columns": math.log10(1 + sum(form.width for form in facts.ports.values() if form.kind == "vector")),
        "outputs": float(len(problem.outputs)),
        "head_width": math.log10(1 + sum(facts.outputs.values())),
        "side": max((math.log10(max(form.size)) for form in facts.ports.values() if form.kind == "map"), default=0.0),
    }
    for kind in ("vector", "tokens", "map"):
        found[f"is {kind}"] = float(kind in forms)
    for output in problem.outputs:
        found[f"gives {output.type}"] = 1.0
    return found


def mirrored(dataset: Dataset) -> bool:
    """Whether pictures of this dataset keep their class when mirrored; False where there is nothing to judge by."""
    rows = dataset.training()
    for port, form in dataset.problem.ports.items():
        for feature in dataset.problem.outputs:
            if form.kind == "map" and feature.averaged == "categories":
                chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 4000)).astype(np.int64))]
                targets = np.asarray(dataset.targets[feature.name][chosen])
                chosen, targets = chosen[targets >= 0], targets[targets >= 0]
                return len(chosen) > 50 and mirrors_keep_meaning(np.asarray(dataset.inputs[port][chosen]), targets)
    return False


def methods(problem: Problem, facts: Facts, *, seconds: float | None) -> tuple[str, ...]:
    """What suits this problem, cheapest first; 'path' comes early, so that its speed is known."""
    names = [name for name, settings in SETTINGS.items() if settings(_default()).suits(facts.ports)]
    names = [name for name in names if name != "nearest" or facts.rows <= 20_000]
    if seconds is not None:  # dense algebra that cannot stop half way
        patches = SETTINGS["patches"](_default()).work(facts) / PATCHES_RATE
        names = [name for name in names if name != "patches" or patches < EXPLORE_RUNG * seconds]
    early = [name for name in ("constant", "linear", "trees", "ngrams") if name in names]
    heavy = any(form.kind != "vector" for form in facts.ports.values())
    # Twice, from other seeds: where time is short, both are trained to the end.
    paths = ("path", "path") if heavy else ("path",)
    return (*early, *paths, *(name for name in names if name not in early))


def usual_work(problem: Problem, rows: int) -> float:
    """Multiply-adds per example of the path with all defaults."""
    path, _ = problem_space(_default(), problem, rows=rows)
    return path.work(problem.ports)


def _default() -> Recorder:
    return Recorder(first)


class ProblemPlan:
    """Turns choices into jobs for one problem. See the module's first lines for how it spends the budget."""

    def __init__(
        self,
        settings: Settings,
        *,
        cutter: Cutter,
        finished: Callable[[Experiment], None],
        exists: Callable[[str], bool],
    ) -> None:
        self.settings, self.cutter = settings, cutter
        self._tell = finished
        self._exists = exists
        self._methods = tuple(name for name in settings.methods if SPACES[settings.space](name))
        self._firsts = self._first_tries()
        self._made: dict[int, Design] = {}
        self._rungs: dict[int, list[Rung]] = {}
        self._ladders: set[int] = set()
        self._chosen: list[int] | None = None
        self._stuck: set[int] = set()
        self._standings: dict[int, Standing] = {}
        self._seen: dict[str, int] = {}
        self._chance: float | None = None
        self._progress = False
        self._rate: float | None = None

    # Choices -----------------------------------------------------------------------------------------------------
    def draw(self, answer: Answer) -> Sketch:
        return draw(self._space, answer, measure=self._proxies)

    def fixed(self, number: int) -> Sketch | None:
        """The first experiments try every method once, with its defaults."""
        if number >= len(self._firsts):
            return None
        method, parents = self._firsts[number]
        return draw(
            lambda choose: self._design(choose, choose("method", [method]), parents), first, measure=self._proxies
        )

    def begin(self, number: int, sketch: Sketch) -> str:
        design: Design = sketch.built
        self._made[number] = design
        if isinstance(design.recipe, Probe):
            return design.method if design.path is None else f"{design.recipe.method} on {design.parent}"
        assert design.path is not None
        return describe(design.path) + (f", from {design.parent}" if design.parent else "")

    def _space(self, choose: Choose) -> Design:
        return self._design(choose, choose("method", self._options()), self.settings.parents)

    def _design(self, choose: Choose, method: str, parents: tuple[Parent, ...]) -> Design:
        settings = self.settings
        if method == "stored":
            names = [parent.name for parent in parents]
            parent = parents[names.index(choose("stored.from", names))]
            head = STORED[choose("stored.head", list(STORED))](choose)
            outputs = tuple(output.name for output in settings.problem.outputs)
            return Design(method=method, path=features(parent, outputs), recipe=head, parent=parent.task)
        if method != "path":
            return Design(method=method, recipe=SETTINGS[method](choose))
        path, recipe = problem_space(
            hand_made(choose) if settings.space == "families" else choose,
            settings.problem,
            rows=settings.facts.rows,
            mirrored=settings.mirrored,
            layers=settings.layers,
            parents=parents,
        )
        names = [gene.name for gene in path.genes if gene.weights]
        begun = (parent.task for parent in parents if any(name.startswith(f"{parent.task}.") for name in names))
        return Design(method=method, path=path, recipe=recipe, parent=next(begun, ""))

    def _first_tries(self) -> list[tuple[str, tuple[Parent, ...]]]:
        """Every method once; before the first net a cheap head on each of the most promising parents."""
        tries: list[tuple[str, tuple[Parent, ...]]] = [(method, ()) for method in self._methods]
        if self.settings.space in ("all", "heads"):
            stored = [("stored", (parent,)) for parent in self.settings.parents[:STORED_FIRST]]
            place = next((n for n, (method, _) in enumerate(tries) if method == "path"), len(tries))
            tries[place:place] = stored
        return tries

    def _options(self) -> list[str]:
        """Methods worth more than one try: those with settings."""
        again = [name for name in self._methods if name not in ("constant", "linear", "nearest")]
        often = ["trees"] if "trees" in again else []  # twice as likely: on tables they are seldom beaten, and quick
        stored = ["stored"] if self.settings.parents and self.settings.space in ("all", "heads") else []
        paths = [*dict.fromkeys(name for name in again if name == "path")]
        return [*paths, *stored, *(n for n in again if n != "path"), *often] or list(self._methods)

    def _proxies(self, design: Design) -> dict[str, float]:
        facts = self.settings.facts
        if isinstance(design.recipe, Probe):
            return {"work": math.log10(1e-3 + design.recipe.work(facts))}
        assert design.path is not None
        macs = design.path.work(facts.ports)
        return {
            "work": math.log10(1e-3 + self._full_work(design.path)),
            "multiply_adds": math.log10(1 + macs),
            "depth": float(len(design.path.genes)),
        }

    # Jobs --------------------------------------------------------------------------------------------------------
    def order(self, experiment: Experiment, *, lane: int, clock: Clock) -> Order | None:
        design = self._made[experiment.number]
        path, recipe = design.path, design.recipe
        done = len(experiment.results)
        before = experiment.results[-1].work if experiment.results else 0.0
        rung = Rung(work=0.0, rate=(1.0, 0.0))
        if isinstance(recipe, GradientRecipe):
            if experiment.number not in self._rungs:
                self._rungs[experiment.number] = self._ladder(path, recipe, experiment, clock)
            rungs = self._rungs[experiment.number]
            if done >= len(rungs):
                return None
            rung = rungs[done]
        elif done:
            return None
        checkpoint = Outcome.model_validate(experiment.results[-1].outcome).checkpoint if done else None
        if done and (checkpoint is None or not self._exists(checkpoint)):
            self._stuck.add(experiment.number)  # an earlier run was tidied up: it stands as it is
            return None
        job = Job(
            dataset=self.settings.dataset,
            path=path,
            recipe=recipe,
            folds=self.settings.folds,
            work=rung.work,
            rate=rung.rate,
            checkpoint=checkpoint,
            seed=self.settings.seed + experiment.number,
        )
        seconds = self._seconds(experiment, clock)
        context = self.settings.context.replace(seconds=seconds)
        request = job.model_dump(mode="json")
        text = canonical({"job": request, "context": context.model_dump(mode="json")})
        work = max(planned_work(job, self.settings.facts) - before, 0.0)
        timeout = None if seconds is None else seconds * 1.5 + 20  # for jobs that hang: loaded machines are slow
        return Order(
            key=sha256(canonical(request).encode()), text=text, work=work, timeout_seconds=timeout, request=request
        )

    def _ladder(self, path: Path | None, recipe: GradientRecipe, experiment: Experiment, clock: Clock) -> list[Rung]:
        """The first rungs of an experiment; a committing plan appends the long training later."""
        assert path is not None
        macs = self._macs(path)
        least = 4e-9 * LEAST_STEPS * recipe.batch * macs * len(self.settings.folds)
        full = self._full_work(path)
        lane_work = self._lane_work(clock)
        if self._commits(full, clock):
            known = clock.by_work or self._rate is not None
            # Until the speed of paths is known the real clock alone ends the first one.
            work = min(EXPLORE_RUNG * lane_work, full) if known else 0.1 * full
            return [Rung(work=max(work, least), rate=(1.0, 1.0))]
        self._ladders.add(experiment.number)
        work = max(min(full, FULL_SHARE * lane_work), 9 * least)
        return [
            Rung(work=work / 9, rate=(1.0, 1.0)),
            Rung(work=work / 3, rate=(1.0, 1.0)),
            Rung(work=work, rate=(1.0, 0.0)),
        ]

    def _full_work(self, path: Path) -> float:
        """Work of a training as long as is ever useful, by what the path reads."""
        facts = self.settings.facts
        rows = facts.training_rows
        kinds = {facts.ports[port].kind for port in path.ports}
        limits = [limit for kind, limit in EXAMPLES.items() if kind in kinds] or [EXAMPLES["vector"]]
        epochs = max(min(max(most / max(rows, 1), low), high) for most, low, high in limits)
        return 3e-9 * epochs * rows * self._macs(path) * len(self.settings.folds)

    def _macs(self, path: Path) -> float:
        """Multiply-adds of a step of training for one example: frozen genes are computed once for all."""
        return trained_work(path, self.settings.facts.ports)

    def _lane_work(self, clock: Clock) -> float:
        """Work units that one lane can do in the whole budget."""
        if clock.work is not None:
            return clock.work / clock.lanes
        return (self._rate or NOMINAL_RATE) * (self.settings.seconds or 60.0)

    def _commits(self, full: float, clock: Clock) -> bool:
        return self._heavy and full > FULL_SHARE * self._lane_work(clock)

    def _seconds(self, experiment: Experiment, clock: Clock) -> float | None:
        """Real time for this rung; a long training shares what is left evenly among its segments."""
        if clock.by_work:
            return None
        left = max(clock.seconds_left, 0.1)
        rungs = self._rungs.get(experiment.number, [])
        if len(rungs) > 1 and self._heavy:
            return left / (len(rungs) - len(experiment.results))
        if len(rungs) <= 1 and self._heavy and self.settings.seconds is not None:
            return min(left, max(1.1 * EXPLORE_RUNG * self.settings.seconds, 2.0))
        return left

    @property
    def _heavy(self) -> bool:
        """Pictures or texts: one training can take the whole budget."""
        return any(form.kind != "vector" for form in self.settings.facts.ports.values())

    # Decisions ---------------------------------------------------------------------------------------------------
    def goes_on(self, experiments: list[Experiment], *, clock: Clock) -> Experiment | None:
        number = self._promoted(experiments, clock)
        if number is not None:
            return experiments[number]
        if self._chosen is None and self._should_commit(experiments, clock):
            self._commit(experiments, clock)
        for number in self._chosen or ():
            if not experiments[number].running and not self._complete(experiments[number]):
                return experiments[number]
        return None

    def _complete(self, experiment: Experiment) -> bool:
        """Nothing more to do for it."""
        finished = len(experiment.results) >= len(self._rungs[experiment.number])
        return finished or experiment.failed or experiment.number in self._stuck

    def _promoted(self, experiments: list[Experiment], clock: Clock) -> int | None:
        """The experiment that the cutter sends on, among those on a ladder of rungs."""
        left = max(clock.lane_work_left(lane) for lane in range(clock.lanes))
        standings = [
            self._standing(experiments[number], work_left=left) for number in sorted(self._ladders - self._stuck)
        ]
        return self.cutter.promote(standings, work_left=left)

    def _verdict(self, experiment: Experiment, standing: Standing, *, work_left: float) -> str:
        """Why an experiment goes no further, whatever the cutter thinks; empty = it may."""
        predictions = str(experiment.results[-1].outcome.get("predictions") or "") if experiment.results else ""
        # Where no net has got anywhere yet, the first rung is too short for all of them, not for this one.
        chance = self._chance if self._progress else None
        return verdict(standing, chance=chance, predictions=predictions, seen=self._seen, work_left=work_left)

    def _standing(self, experiment: Experiment, *, work_left: float) -> Standing:
        """How an experiment stands; one with a verdict of death still counts for the others, and goes no further."""
        kept = self._standings.get(experiment.number)
        if kept is not None and (len(kept.scores), kept.running) == (len(experiment.results), experiment.running):
            return kept if not self._verdict(experiment, kept, work_left=work_left) else replace(kept, next_work=0.0)
        rungs, results = self._rungs[experiment.number], experiment.results
        before = results[-1].work if results else 0.0
        ahead = rungs[len(results)].work - before if len(results) < len(rungs) else 0.0
        standing = Standing(
            number=experiment.number,
            works=tuple(result.work for result in results),
            scores=tuple(result.score for result in results),
            next_work=max(ahead, 0.0),
            full_work=rungs[-1].work,
            running=experiment.running,
            shares=tuple(rung.work / rungs[-1].work for rung in rungs[: len(results)]),
        )
        self._standings[experiment.number] = standing
        return self._standing(experiment, work_left=work_left)

    def _should_commit(self, experiments: list[Experiment], clock: Clock) -> bool:
        short = [e for e in experiments if len(self._rungs.get(e.number, [])) == 1]
        tried = [e for e in short if e.results and not e.failed]
        if len(tried) < min(clock.lanes, 1 + 8 * (1 - clock.share_spent)):
            return False
        return (
            len(tried) >= EXPLORED or clock.share_spent >= EXPLORE_SHARE or not self._worth_exploring(tried[0], clock)
        )

    def _worth_exploring(self, experiment: Experiment, clock: Clock) -> bool:
        """A first rung tells nothing before every example was seen once."""
        path = self._made[experiment.number].path
        assert path is not None
        facts = self.settings.facts
        epoch = 3e-9 * facts.training_rows * path.work(facts.ports) * len(self.settings.folds)
        return epoch <= EXPLORE_RUNG * self._lane_work(clock)

    def _commit(self, experiments: list[Experiment], clock: Clock) -> None:
        """Gives the best explored experiments, one per lane, the rest of the budget."""
        short = [e for e in experiments if len(self._rungs.get(e.number, [])) == 1 and e.results and not e.failed]
        best = sorted(short, key=lambda e: (-e.results[0].score, e.number))[: clock.lanes]
        self._chosen = [e.number for e in best]
        surplus = (
            1.0 if clock.by_work else 1.3
        )  # under the real clock the schedule should end with the time, not before
        for experiment in best:
            path = self._made[experiment.number].path
            assert path is not None
            start = experiment.results[0].work
            ahead = min(surplus * (1.0 - EXPLORE_SHARE) * self._lane_work(clock), 2 * self._full_work(path))
            if clock.by_work:
                ahead = min(ahead, 0.98 * max(min(clock.lane_work_left(n) for n in range(clock.lanes)), 0.0))
            parts = self._parts(clock)
            for part in range(parts):
                ends = part / parts, (part + 1) / parts
                rate = (_rate(ends[0]), _rate(ends[1]))
                self._rungs[experiment.number].append(Rung(work=start + ahead * ends[1], rate=rate))

    def _parts(self, clock: Clock) -> int:
        if clock.by_work:
            return 4
        return max(1, math.ceil((1 - EXPLORE_SHARE) * (self.settings.seconds or 60.0) / SEGMENT_SECONDS))

    def is_over(self, experiments: list[Experiment], *, clock: Clock) -> bool:
        if not clock.by_work and clock.seconds_left < 0.5:
            return True
        if self._chosen is None:
            return False
        if any(experiments[n].running for n in self._chosen):
            return False
        complete = all(
            experiments[n].failed or len(experiments[n].results) >= len(self._rungs[n]) for n in self._chosen
        )
        if complete and clock.share_spent < WORTH_ANOTHER:
            self._chosen = None  # trained to the end with time to spare: look for something better
            return False
        return complete

    # Results -----------------------------------------------------------------------------------------------------
    def finished(self, experiment: Experiment) -> None:
        result = experiment.results[-1]
        note(self._seen, str(result.outcome.get("predictions") or ""), experiment.number)
        method = self._made[experiment.number].method
        if method == "constant" and result.ok:
            self._chance = result.score
        self._progress |= method == "path" and self._chance is not None and result.score > self._chance
        self._tell(experiment)

    def is_there(self, outcome: Mapping[str, Any]) -> bool:
        return not outcome.get("ok") or all(self._exists(one) for one in Outcome.model_validate(outcome).results)

    def result(self, outcome: Mapping[str, Any]) -> Result:
        ok, score = bool(outcome.get("ok")), outcome.get("score")
        result = Result(
            ok=ok,
            score=score if ok and score is not None else -math.inf,
            work=float(outcome.get("work") or 0.0),
            seconds=float(outcome.get("seconds") or 0.0),
            outcome=outcome,
        )
        training_seconds = float(outcome.get("training_seconds") or 0.0)
        if ok and self._rate is None and training_seconds > 0.1:
            self._rate = max(result.work / training_seconds, 1e-3)
        return result


def _rate(progress: float) -> float:
    """Share of the learning rate at a point of the long training: steady, then down to 0."""
    return 1.0 if progress <= STEADY_SHARE else (1.0 - progress) / (1.0 - STEADY_SHARE)


def describe(path: Path) -> str:
    """A path in a few words for people: its kinds of layers, repeats counted."""
    kinds: list[str] = []
    for gene in path.genes:
        kinds.append(str(getattr(gene.layer, "kind", "")))
    words: list[str] = []
    for kind in kinds:
        if words and words[-1].split(" x")[0] == kind:
            count = int(words[-1].split(" x")[1]) + 1 if " x" in words[-1] else 2
            words[-1] = f"{kind} x{count}"
        else:
            words.append(kind)
    return " > ".join(words)
