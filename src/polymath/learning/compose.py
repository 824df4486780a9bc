"""Learn: composes the rooms. Data -> problem -> dataset -> search -> ensemble -> task, usable at any moment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ..engine import Engine, FirstInLine, InLine, Processes, cores, pick_device
from ..gating import Gate, gate_of, parse
from ..importing import HEAD as IMPORTED
from ..inventing.cells import adopted_cells
from ..inventing.optimizers import adopted_rules
from ..model.layers import bring
from ..predicting import HEAD, TaskRecord, load_record
from ..problem import Dataset, Problem
from ..problem.pictures import answers_pixels
from ..problem.sources import Rows
from ..search import Clock, Experiment, Ledger, Setting, run
from ..search.cutters import cutters
from ..search.generators import Experience, Generator, generators
from ..search.spaces.designs import Settings, fingerprint, methods, mirrored, usual_work
from ..search.spaces.parents import Parent, in_time
from ..search.spaces.problems import ProblemPlan
from ..search.spaces.sentences import recallable
from ..spec import BadInput
from ..store import Store
from ..train import Context
from ..train.rung import Runner
from . import few, memory
from . import parents as built_upon
from .origin import already, continues, origin, unused, versions
from .preparing import facts_of, prepare, rotation
from .renewal import Known, Renewal
from .study import Provenance, Study
from .wishes import DEFAULT_BUDGET, Listener, Wishes, check, interruptible

SPACE_VERSION = 3
"""Raised when a choice changes its meaning: experiments of another version are not compared."""
RESERVE_SHARE, RESERVE_SECONDS = 0.02, 1.2
"""Kept back of a time budget for the last ensemble and publishing."""
FOR_WRITING = 0.5
"""Seconds of it in which nothing is computed any more."""
LAST_PATHS, MACS_PER_SECOND = 3, 5e10
"""Nets in a usual ensemble, and multiply-adds per second when it is tested (two modest cores)."""
WHOLE_SHARE, WHOLE_SECONDS = 0.05, 2.0
"""Kept back besides where whole answers are made for the test: for the fewest rows; more get what time is left."""
VIEWS_SHARE = 0.01
"""Kept back besides where pictures are read: other views of them are tried on validation rows."""
PIXEL_PASSES = 4
"""The same where every pixel is answered, in passes of others."""

FOR_NETS, FOR_HEADS = "torch._dynamo", "sklearn.ensemble"
"""What experiments import when they first need it (torch's optimizers the former): else a second for each worker."""


def learn(data: Any, *, store: Store, wishes: Wishes, listener: Listener, problem: Problem | None = None) -> TaskRecord:
    """Learns a task and publishes it in the store; returns its record.

    Stopped by Ctrl-C it publishes the best so far. Called again with the same data and wishes it goes on where it was;
    what was already done costs nothing. Raises BadInput if nothing can be learned from the data.
    """
    begin = wishes.begin if wishes.begin is not None else time.monotonic()
    check(wishes)
    bring(wishes.layers)
    cache = Path(wishes.cache) if wishes.cache else Path.home() / ".cache" / "polymath"
    engine = engine_of(wishes)  # before the data are read: its workers import torch meanwhile
    try:
        rows, dataset = prepare(data, wishes, cache=cache, listener=listener, problem=problem, store=store)
        name = wishes.name or dataset.problem.name
        gate = _gate(store, wishes, rows, name=name)
        budget = None if wishes.work is not None else wishes.budget_seconds or DEFAULT_BUDGET
        done = already(store, name, dataset, wishes, budget)
        if done is not None:
            listener.say(f"Task {name!r} was learned from these data before, with this budget or more; nothing to do.")
            return done
        if store.head(HEAD + name) is not None and not continues(store, name, dataset):
            listener.say(
                f"Task {name!r} is there already; from other data it is learned anew. To learn it further: refresh."
            )
        with interruptible() as stopped:
            record, _ = search(
                store, rows, dataset, Call(name, wishes, listener, engine, begin, budget, stopped, gate=gate)
            )
            assert record is not None
            return record
    finally:
        engine.close()


def engine_of(wishes: Wishes) -> Engine:
    """Where experiments run."""
    lanes = wishes.lanes or cores()
    if wishes.engine == "inline":
        return InLine(Runner(), lanes=lanes)
    each = None if wishes.memory_bytes is None else wishes.memory_bytes // (lanes + 1)
    if wishes.space in ("paths", "families"):  # nets alone: the first would take long in this process
        return Processes(Runner(), lanes=lanes, memory_bytes=each, preload=[FOR_NETS])
    processes = Processes(Runner(), lanes=lanes, memory_bytes=each, preload=[FOR_HEADS, FOR_NETS])
    return FirstInLine(Runner(), processes)  # most searches begin with what takes a moment, while workers import torch


@dataclass(frozen=True)
class Call:
    """One call of `learn`: what was asked, who is told, when it began and when it must end."""

    name: str
    wishes: Wishes
    listener: Listener
    engine: Engine
    begin: float
    budget: float | None
    stopped: Callable[[], bool]
    known: Known | None = None
    """The version of the task that is learned further."""
    gate: Gate | None = None
    """The task that will be asked before this one."""


def search(store: Store, rows: Rows, dataset: Dataset, call: Call) -> tuple[TaskRecord | None, Study]:
    """Searches until the budget is spent and publishes; None when what there was before is better."""
    with Store.open(store.path / "scratch" / call.name) as scratch:
        ledger = Ledger(store, call.name)
        lanes = call.engine.lanes
        spent = sum(entry.seconds for entry in ledger.entries() if entry.dataset == dataset.digest) / lanes
        experience = Experience(
            fingerprint=fingerprint(dataset.problem, facts_of(dataset)),
            past=ledger.past(space=_space(call.wishes), dataset=dataset.digest),
        )
        settings = _settings(store, scratch, dataset, call, experience, source=rows.fingerprint)
        study = _study(store, scratch, rows, dataset, call, settings=settings, spent=spent)
        if few.one_each(dataset):
            record = few.unjudged(study, settings.parents, namesakes=settings.namesakes, seed=call.wishes.seed)
            seen = (
                f"as {', '.join(record.built_on)} sees it" if record.built_on else "with nothing stored to build upon"
            )
            call.listener.say(f"One example of every class: nothing to validate with. The nearest answers, {seen}.")
            return record, study
        deadline = math.inf if call.budget is None else call.begin + call.budget
        study.ends = None if call.budget is None else deadline - spent - FOR_WRITING
        clock = Clock(
            lanes=lanes,
            work=call.wishes.work,
            deadline=deadline - spent - _reserve(call.budget, dataset),
            begin=call.begin - spent,
        )
        published = _searched(study, settings, ledger, clock, call=call, experience=experience)
    if published is None and call.known is None:
        if call.stopped():
            raise KeyboardInterrupt
        raise BadInput(
            f"nothing could be learned within the budget; {study.failures()}",
            file=rows.source,
            remedy="Give a longer --budget, or look at the failures with `polymath leaderboard`.",
        )
    return published, study


def _space(wishes: Wishes) -> str:
    """Name of the space in the ledger."""
    return f"{wishes.space}-{SPACE_VERSION}"


def _settings(
    store: Store, scratch: Store, dataset: Dataset, call: Call, experience: Experience, *, source: str
) -> Settings:
    """What is searched, and upon what it may build: the weights of that are put where experiments look for them.

    `source`: the fingerprint of the rows.
    """
    wishes, known, facts = call.wishes, call.known, facts_of(dataset)
    if wishes.space == "recall" and not recallable(dataset.problem):
        raise BadInput(
            "nothing can be recalled: that takes one text that is read, nothing beside it, and one that is written",
            value="--space recall",
            remedy="Leave --space out.",
        )
    context = Context(
        dataset_folder=str(dataset.folder),
        scratch=str(scratch.path),
        device=pick_device(wishes.device),
        threads=wishes.threads,
        memory_bytes=wishes.memory_bytes,
        layers=wishes.layers,
    )
    settings = Settings(
        dataset=dataset.digest,
        facts=facts,
        problem=dataset.problem,
        context=context,
        folds=rotation(dataset) if known is None else known.folds,
        seed=wishes.seed,
        methods=methods(dataset.problem, facts, seconds=call.budget),
        seconds=call.budget,
        mirrored=mirrored(dataset),
        space=wishes.space,
        layers=bring(wishes.layers),
        cells=adopted_cells(store),
        rules=adopted_rules(store),
        parents=_parents(store, dataset, call, experience),
        namesakes=built_upon.namesakes(store, dataset, but=call.name, source=source) if wishes.build_on else (),
        own=known.own if known else (),
        again=known.again if known else (),
    )
    built_upon.fetch((*settings.parents, *settings.namesakes), store=store, scratch=scratch)
    return settings


def _parents(store: Store, dataset: Dataset, call: Call, experience: Experience) -> tuple[Parent, ...]:
    """What may be built upon. What comes from outside can be dearer than all that is learned here in such a time."""
    if not call.wishes.build_on:
        return ()
    found = built_upon.parents(store, dataset.problem, but=call.name, experience=experience)
    if call.budget is None:
        return found
    outside = tuple(parent for parent in found if parent.task.startswith(IMPORTED))
    rows = len(dataset.folds)
    quick = in_time(outside, dataset.problem.all_ports, rows=rows, seconds=call.budget)
    dear = [parent for parent in outside if parent not in quick]
    for parent in dear:
        call.listener.say(f"{parent.task} is not tried: {rows:,} rows are too many for it in so short a time.")
    return tuple(parent for parent in found if parent not in dear)


def _study(
    store: Store, scratch: Store, rows: Rows, dataset: Dataset, call: Call, *, settings: Settings, spent: float
) -> Study:
    """Where what is found is gathered: a study, or the renewal of a task that is known."""
    known = call.known
    return (partial(Renewal, known=known) if known else Study)(
        store,
        scratch,
        dataset,
        name=call.name,
        begin=call.begin - (spent if call.budget is not None else 0.0),
        provenance=Provenance(
            origin(rows, dataset, call.wishes, settings.context.device)
            | {"parents": built_upon.said(settings.parents)}
            | (known.origin if known else {}),
            unused(rows, dataset),
            (*settings.parents, *settings.namesakes),
            call.wishes.private,
            rows.table,
            known.record.gate if known else call.gate,
            call.wishes.cost,
        ),
        members=call.wishes.members,
    )


def _searched(
    study: Study, settings: Settings, ledger: Ledger, clock: Clock, *, call: Call, experience: Experience
) -> TaskRecord | None:
    """Runs the search on its clock and publishes what it found, or the best so far when it was stopped."""
    wishes, dataset, store = call.wishes, study.dataset, study.store

    def finished(experiment: Experiment) -> None:
        study.add(experiment)
        call.listener.tried(experiment, study, clock)

    plan = ProblemPlan(
        settings,
        cutter=cutters()[wishes.cutter](),
        finished=finished,
        exists=study.scratch.has,
        charged=study.charged if wishes.cost else None,
    )
    setting = Setting(
        dataset=dataset.digest,
        space=_space(wishes),
        seed=wishes.seed,
        environment={"device": settings.context.device, **versions()},
        fingerprint=dict(experience.fingerprint),
    )
    generator = _generator(plan, setting, wishes, ledger=ledger, store=store, experience=experience)
    try:
        # The lanes keep the cores busy: threads of algebra beside them would spin, and a fit of 9 ms take 100.
        with threadpool_limits(1):
            run(
                plan,
                generator=generator,
                engine=call.engine,
                ledger=ledger,
                clock=clock,
                setting=setting,
                stop=lambda: call.stopped() or clock.seconds_left < -0.3,
            )
    finally:  # a second Ctrl-C comes here from anywhere: what was published last stays
        call.engine.close()
    if call.stopped():
        call.listener.say("Stopping: storing the best so far. Once more stops at once.")
        return study.publish("stopped")
    published = study.publish("done")
    memory.end(store, generator.memory(), generator=wishes.generator, space=setting.space)
    study.tidy()
    return published


def _generator(
    plan: ProblemPlan, setting: Setting, wishes: Wishes, *, ledger: Ledger, store: Store, experience: Experience
) -> Generator:
    """The generator asked for, with what all earlier tasks of the store have taught."""
    search = f"{ledger.task} {setting.dataset} {wishes.generator} {setting.space} {setting.seed}"
    weights = memory.begin(store, search, generator=wishes.generator, space=setting.space)
    return generators()[wishes.generator](plan.draw, seed=wishes.seed, experience=replace(experience, weights=weights))


def _reserve(budget: float | None, dataset: Dataset) -> float:
    """Seconds kept back for the end: the last ensemble, and one pass of a few nets over the test rows."""
    if budget is None:
        return 0.0
    scoring = LAST_PATHS * usual_work(dataset.problem, facts_of(dataset).rows) * len(dataset.test) / MACS_PER_SECOND
    if answers_pixels(dataset.problem):
        scoring *= PIXEL_PASSES  # at the canvas and at the size of the pictures, bound by memory
    if any(output.generated or output.answer.kind == "map" for output in dataset.problem.outputs):
        scoring += WHOLE_SECONDS + WHOLE_SHARE * budget
    elif any(form.kind == "map" for form in dataset.problem.ports.values()):
        scoring += VIEWS_SHARE * budget
    return min(RESERVE_SECONDS + RESERVE_SHARE * budget + scoring, 0.3 * budget)


def _gate(store: Store, wishes: Wishes, rows: Rows, *, name: str) -> Gate | None:
    """The gate that was asked for. Raises BadInput where it cannot be asked about these rows."""
    if not wishes.gate:
        return None
    task, _, _ = parse(wishes.gate)
    if task == name:
        raise BadInput("a task cannot be its own gate", value=wishes.gate, remedy="Name another task.")
    gate = gate_of(load_record(store, task).model_dump(mode="json"), wishes.gate)
    lacking = sorted(set(Problem.model_validate(gate.record["problem"]).columns) - set(rows.table.column_names))
    if lacking:
        raise BadInput(f"the gate {gate.task!r} reads this column, and the data lack it", column=lacking[0])
    return gate
