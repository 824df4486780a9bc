"""One family: two thirds of its tasks are learned into a store, then each other one, with the store and without it.

Every finished piece is kept at once under a key, so that a run that was interrupted goes on. The store stays in the
cache until a run is begun anew.
"""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import common

from . import rivals, stored
from .cold import NAMES, cold
from .few import Task

Record = dict[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """Sizes and budgets of one family."""

    sources: int
    targets: int
    each: int
    """Examples per class of the tasks learned first."""
    source_seconds: float
    gather_seconds: float
    """For the trunk, or what is absorbed, between the sources and the others."""
    target_seconds: float
    net_seconds: float
    """Of a net that begins from nothing, with ten examples and more; see `NET_SHARES`."""
    examples: tuple[int, ...]
    """With the store."""
    times: tuple[int, ...] = (1, 5, 10)
    """Of these numbers of examples without it, as far as there are so many."""
    most: int = 60
    most_trees: int = 20
    """Examples per class up to which boosted trees are run: many classes are dear, and they never led."""
    ladder: int = 0
    """Examples with which the work to reach the cold result is measured; 0 = not measured."""
    compared: tuple[int, ...] = ()
    """Examples with which fine-tuning and a linear head are compared at equal work."""

    @property
    def sizes(self) -> list[int]:
        """Examples per class that the cold methods are given."""
        return sorted({n for each in self.examples for times in self.times if (n := times * each) <= self.most})


@dataclass(frozen=True)
class Family:
    """What growing.py knows of a family."""

    name: str
    title: str
    about: str
    tasks: Callable[[Path], list[Task]]
    full: Plan
    quick: Plan
    gather: Callable[[Path, Sequence[Task], Plan, int], Record] | None = None
    """(place, sources, plan, seed) -> what was made of the sources."""
    before: str = ""
    """Family whose store is the one that this begins with."""
    alone: bool = False
    """Whether Polymath with an empty store is measured too."""


NET_SHARES = ((10, 1.0), (5, 0.6), (0, 0.4))
"""From so many examples on this share of the net's seconds: sixty rows are learned by heart in two of them."""
STORE_STEPS, NET_STEPS = (0.25, 0.5, 1.0), (0.125, 0.25, 0.5)
"""Shares of the usual budget with which the work to reach the cold result is looked for, beside all of it."""


class Kept:
    """Records of one family and seed in a file, each under its key."""

    def __init__(self, file: Path, *, family: str, seed: int) -> None:
        self.file, self.of = file, {"family": family, "seed": seed}
        mine = [r for r in common.kept(file) if r.get("family") == family and r["seed"] == seed]
        self.records: dict[Key, Record] = {tuple(record["key"]): record for record in mine}

    def add(self, key: Key, record: Record) -> None:
        whole = {**self.of, "key": list(key), **record}
        self.records[key] = whole
        common.keep(self.file, whole)

    def of_part(self, part: str) -> list[Record]:
        return [record for key, record in self.records.items() if key[0] == part]


def place_of(family: str, *, stem: str, seed: int, cache: Path) -> Path:
    """The folder that holds the store of a family."""
    return cache / "runs" / f"{stem}-{family}-{seed}"


def run(family: Family, plan: Plan, *, kept: Kept, place: Path, begin_with: Path | None, cache: Path) -> None:
    """All that is not kept yet. `begin_with`: the folder of the family whose store this one begins with."""
    assert place.exists() or not kept.records, f"{place} is gone, and its results are kept: begin with --again"
    if not kept.records:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if begin_with is not None:
            _begun(place, begin_with)
    seed = int(kept.of["seed"])
    tasks = family.tasks(cache)
    order = np.random.default_rng(seed).permutation(len(tasks))
    chosen = [tasks[n] for n in order[: plan.sources + plan.targets]]
    sources, targets = chosen[: plan.sources], chosen[plan.sources :]
    witness = stored.Witness(place, chosen, kept.of_part("said"))
    workers = common.cores()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {("source", task.name): partial(source, task, plan, place) for task in sources}
        for key, record in _done(pool, jobs, kept):
            say(family.name, key, record)
            witness.look()
            noted(witness, kept, key[1])
        if family.gather is not None and ("gathered",) not in kept.records:
            begin = time.monotonic()
            made = family.gather(place, sources, plan, seed)
            kept.add(("gathered",), {**made, "seconds": round(time.monotonic() - begin, 1)})
            witness.look()
            for task in sources:
                noted(witness, kept, task.name)
        jobs = {}
        for task in targets:
            jobs |= pieces(family, plan, task, place)
        left = {task.name: sum(key[1] == task.name and key not in kept.records for key in jobs) for task in targets}
        for key, record in _done(pool, jobs, kept):
            say(family.name, key, record)
            left[key[1]] -= 1
            if not left[key[1]]:
                witness.look()
                noted(witness, kept, key[1])
    kept.add(("looks", time.time_ns()), {"looks": witness.looks, "changed": witness.changed})
    kept.add(("whole",), whole(place, sources, targets))


def _begun(place: Path, other: Path) -> None:
    from polymath import Polymath

    assert (other / "store").exists(), f"{other} is missing: the family that this one begins with comes first"
    with Polymath(other / "store", read_only=True) as knowledge:
        knowledge.backup(place / "store")


def noted(witness: stored.Witness, kept: Kept, task: str) -> None:
    """Keeps what the newest record of a task says."""
    said = witness.note(task, name=task)
    if said is not None:
        kept.add(("said", said["address"]), said)


def _done(
    pool: ProcessPoolExecutor, jobs: Mapping[Key, Callable[[], Record]], kept: Kept
) -> Iterator[tuple[Key, Record]]:
    """Runs what is not kept, keeps it, and gives it in order."""
    running: dict[Key, Future[Record]] = {key: pool.submit(job) for key, job in jobs.items() if key not in kept.records}
    try:
        for key, future in running.items():
            record = future.result()
            kept.add(key, record)
            yield key, record
    finally:  # after a failure nobody waits for half an hour of work that would not be kept
        for future in running.values():
            future.cancel()


# Pieces of work, each in a process of its own ------------------------------------------------------------------------
def source(task: Task, plan: Plan, place: Path) -> Record:
    """One of the tasks learned first."""
    found = stored.learned(task, plan.each, place=place, name=task.name, seconds=plan.source_seconds, private=False)
    return {"classes": task.classes, **found}


def pieces(family: Family, plan: Plan, task: Task, place: Path) -> dict[Key, Callable[[], Record]]:
    """Key (part, task, system, examples) -> what is to be measured of a task that is new to the store."""
    found: dict[Key, Callable[[], Record]] = {}
    for each in plan.examples:
        found["target", task.name, "store", each] = partial(target, task, each, plan=plan, place=place)
        if family.alone:
            found["target", task.name, "alone", each] = partial(alone, task, each, plan=plan, place=place)
    for each in plan.sizes:
        seconds = plan.net_seconds * next(share for least, share in NET_SHARES if each >= least)
        for method in NAMES:
            if method != "trees" or each <= plan.most_trees:
                found["target", task.name, method, each] = partial(cold, task, each, method=method, seconds=seconds)
    if plan.ladder:
        for share in STORE_STEPS:
            found["work", task.name, "store", share] = partial(
                target, task, plan.ladder, plan=plan, place=place, share=share
            )
        for share in NET_STEPS:
            found["work", task.name, "net", share] = partial(
                cold, task, plan.ladder, method="net", seconds=share * plan.net_seconds
            )
    return found


def target(task: Task, each: int, *, plan: Plan, place: Path, share: float | None = None) -> Record:
    """A task that is new to the store. Only the one with the most examples is there for later tasks to build upon.

    `share`: of the usual budget. Where rivals are compared, they get as much processor time as this took.
    """
    last = share is None and each == plan.examples[-1]
    name = task.name if last else f"{task.name}{TRIAL}{each}" + ("" if share is None else f"-{100 * share:.0f}")
    seconds = plan.target_seconds * (share or 1.0)
    found = stored.learned(task, each, place=place, name=name, seconds=seconds, private=not last)
    if share is None and each in plan.compared:
        for rival in (rivals.finetuned, rivals.frozen):
            found[rival.__name__] = rival(task, each, place=place, name=name, seconds=found["cpu_seconds"])
    return {"classes": task.classes, **found}


TRIAL = "-with-"
"""In the name of a task that is learned to be measured, and is no part of the model that is drawn and counted."""


def alone(task: Task, each: int, *, plan: Plan, place: Path) -> Record:
    """The same, in a store that knows nothing."""
    empty = place / f"alone-{task.name}-{each}"
    shutil.rmtree(empty, ignore_errors=True)
    found = stored.learned(task, each, place=empty, name="alone", seconds=plan.target_seconds, private=False)
    shutil.rmtree(empty)
    return found


# The whole model -----------------------------------------------------------------------------------------------------
def grown(place: Path) -> Any:
    """The union of the tasks that stay: without those that were learned with fewer examples to be measured."""
    from polymath import growing
    from polymath.store import Store

    store = Store.open(place / "store", read_only=True)
    every = growing.union(store)
    return growing.Union(
        [one for one in every.stored.values() if TRIAL not in one.name],
        count=lambda address: growing.num_values(store, address),
    )


def whole(place: Path, sources: Sequence[Task], targets: Sequence[Task]) -> Record:
    """Sizes of the model, and each task's share of it."""
    union = grown(place)
    shares = {task.name: union.share(task.name) for task in [*sources, *targets]}
    return {
        "tasks": len(union.tasks),
        "all_parameters": union.all_parameters,
        "active": {name: share.active for name, share in shares.items()},
        "active_work": {name: share.active_work for name, share in shares.items()},
    }


def say(family: str, key: Key, record: Record) -> None:
    part, task, *rest = key
    what = " ".join(str(one) for one in (rest or [part]))
    more = record.get("path", "")[:50]
    print(
        f"{family:8} {task:24} {what:14} {record['accuracy']:.3f} {record.get('seconds', 0):6.1f} s  {more}", flush=True
    )
