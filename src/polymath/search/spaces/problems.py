"""The plan that `search.run` follows for one problem: cheapest first, then paths rung by rung.

Two ways to spend a budget on paths, chosen by what one full training costs:

* `halving`: a full training is cheap. Many experiments in three to five rungs (each three times the one before), cut
  between them.
* `commit`: a full training would take a good part of the budget (images, texts). A few experiments get one short rung,
  the best go on for all the rest, one per lane, in segments short enough that a kill costs little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ...model.path import Path
from ...model.probes import Probe
from ...spec import Spec, canonical, sha256
from ...train.job import Job, Outcome, planned_work
from ...train.recipe import GradientRecipe
from ..choices import Answer, Sketch
from ..cutters import Cutter, Standing
from ..deaths import note, verdict
from ..run import Clock, Experiment, Order, Result
from .designs import EXPLORE_RUNG, Design, ProblemSpace, Settings, label

NOMINAL_RATE = 2.0
"""Work units per second and lane assumed until the first training was timed (a modest core)."""
ETA = 3
"""Work of a rung over that of the one before."""
FEWEST_RUNGS, MOST_RUNGS = 3, 5
"""Of a full training that is cheap: as many as leave the first one steps enough to say something."""
RECENT = 1_000
"""Experiments that a cutter looks at, beside those that are still on their way: more do not change what is good."""
HEAD_SHARE = 0.15
"""Share of the budget that one cheap head may take beside nets: the counts of words that a net must beat need it."""
ROWS_SHARE = 0.5
"""The same for rows of numbers, where a cheap head is often the best there is: something must be left to try beside."""
LEAST_STEPS = 10
"""Steps per fold below which a first rung says nothing."""
SEGMENT_SECONDS = 40.0
"""Real time of one segment of a long training: what a kill can cost at most, near enough."""
FULL_SHARE = 0.25
"""A full training that costs more than this share of a lane's budget makes the plan commit."""
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


class Rung(Spec):
    """Work at its end (since the experiment began) and the learning rate at its two ends."""

    work: float
    rate: tuple[float, float]


class ProblemPlan:
    """Turns choices into jobs for one problem. See the module's first lines for how it spends the budget."""

    def __init__(
        self,
        settings: Settings,
        *,
        cutter: Cutter,
        finished: Callable[[Experiment], None],
        exists: Callable[[str], bool],
        charged: Callable[[float, Mapping[str, Any]], float] | None = None,
    ) -> None:
        """`charged`: the score after what the outcome's paths cost; None = they cost nothing."""
        self.settings, self.cutter = settings, cutter
        self.space = ProblemSpace(settings)
        self._tell = finished
        self._exists = exists
        self._charged = charged
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
        return self.space.draw(answer)

    def fixed(self, number: int) -> Sketch | None:
        return self.space.fixed(number)

    def begin(self, number: int, sketch: Sketch) -> str:
        self._made[number] = sketch.built
        return label(sketch.built)

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
            starts=design.starts,
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
        macs = self.space.macs(path)
        least = 4e-9 * LEAST_STEPS * recipe.batch * macs * len(self.settings.folds)
        full = self.space.full_work(path)
        lane_work = self._lane_work(clock)
        if self._commits(full, clock):
            known = clock.by_work or self._rate is not None
            # Until the speed of paths is known the real clock alone ends the first one.
            work = min(EXPLORE_RUNG * lane_work, full) if known else 0.1 * full
            return [Rung(work=max(work, least), rate=(1.0, 1.0))]
        self._ladders.add(experiment.number)
        work = max(min(full, FULL_SHARE * lane_work), 9 * least)
        rungs = min(max(1 + int(math.log(work / least, ETA) + 1e-9), FEWEST_RUNGS), MOST_RUNGS)
        ladder = [Rung(work=work / ETA**left, rate=(1.0, 1.0)) for left in range(rungs - 1, 0, -1)]
        return [*ladder, Rung(work=work, rate=(1.0, 0.0))]

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
        if self.settings.seconds is None or (rungs and not self._heavy):
            return left
        head = HEAD_SHARE if self._heavy else ROWS_SHARE
        share = head if not rungs else 1.1 * EXPLORE_RUNG
        return min(left, max(share * self.settings.seconds, 2.0))

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
            self._standing(experiments[number], work_left=left)
            for number in sorted(self._ladders - self._stuck)
            if number >= len(experiments) - RECENT or len(experiments[number].results) > 1
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
            scores=tuple(result.worth for result in results),
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
        epoch = 3e-9 * facts.training_rows * self.space.macs(path) * len(self.settings.folds)
        return epoch <= EXPLORE_RUNG * self._lane_work(clock)

    def _commit(self, experiments: list[Experiment], clock: Clock) -> None:
        """Gives the best explored experiments, one per lane, the rest of the budget."""
        short = [e for e in experiments if len(self._rungs.get(e.number, [])) == 1 and e.results and not e.failed]
        best = sorted(short, key=lambda e: (-e.results[0].worth, e.number))[: clock.lanes]
        self._chosen = [e.number for e in best]
        surplus = 1.0 if clock.by_work else AMPLE
        for experiment in best:
            path = self._made[experiment.number].path
            assert path is not None
            start = experiment.results[0].work
            ahead = min(surplus * (1.0 - EXPLORE_SHARE) * self._lane_work(clock), self.space.full_work(path))
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
        design = self._made.get(experiment.number)  # none where the space raised while building
        method = "" if design is None else design.method
        if method == "constant" and result.ok:
            self._chance = result.worth
        self._progress |= method == "path" and self._chance is not None and result.worth > self._chance

    def tell(self, experiment: Experiment) -> None:
        self._tell(experiment)

    def share(self, experiment: Experiment, result: Result) -> float:
        design = self._made.get(experiment.number)
        if design is None or isinstance(design.recipe, Probe):
            return 1.0
        rungs = self._rungs[experiment.number]
        if len(rungs) > 1:
            return min(rungs[len(experiment.results)].work / rungs[-1].work, 1.0)
        assert design.path is not None  # a first look: how much of a whole training is it?
        return min(rungs[0].work / max(self.space.full_work(design.path), rungs[0].work), 0.99)

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
            charged=self._charged(score, outcome) if ok and score is not None and self._charged else None,
        )
        training_seconds = float(outcome.get("training_seconds") or 0.0)
        if ok and self._rate is None and training_seconds > 0.1:
            self._rate = max(result.work / training_seconds, 1e-3)
        return result


def _rate(progress: float) -> float:
    """Share of the learning rate at a point of the long training: steady, then down to 0."""
    return 1.0 if progress <= STEADY_SHARE else (1.0 - progress) / (1.0 - STEADY_SHARE)
