"""Consolidate ("sleep"): one trunk learned from the rows of many tasks at once; tasks it serves are moved onto it.

Features of a net that was trained on one small task are of little use to the next. A trunk that must tell all classes
of all tasks apart has features that serve the tasks to come. There is one for each kind of input (`joining`) that two
tasks or more read. Of every task one fold stays out of the trunk's training: on these rows the old answers and a cheap
head on the trunk are compared, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as Folder

from ..engine import cores
from ..predicting import HEAD, TaskRecord, load_record
from ..problem import Dataset, Problem
from ..spec import BadInput, Spec
from ..store import Store
from .compose import learn
from .joining import KINDS, Kind, Source
from .onto_trunk import Moved, move
from .trunks import TRUNK, free_name
from .whitening import whiten
from .wishes import DEFAULT_BUDGET, Listener, Wishes

FEWEST_TASKS = 2
LEAST_SHARE = 0.1
"""Of the budget that a kind of input gets, however few its rows are beside those of others."""


class Trunk(Spec):
    """What one trunk was learned from."""

    trunk: str
    reads: str = "pictures"
    """Kind of its input."""
    classes: int
    rows: int


class Consolidated(Trunk):
    """The trunk, and what became of every task."""

    tasks: tuple[Moved, ...]
    also: tuple[Trunk, ...] = ()
    """Trunks for other kinds of input that were learned in the same call."""

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        """All that were learned."""
        return (self, *self.also)


@dataclass(frozen=True, eq=False)
class _Group:
    """Tasks that read one kind of input."""

    kind: Kind
    sources: list[Source]


def consolidate(store: Store, *, wishes: Wishes, listener: Listener, only: Sequence[str] = ()) -> Consolidated:
    """Learns a trunk for each kind of input that two tasks or more read, and moves the tasks that it serves no worse.

    `wishes`: budget, cache, seed and device as for `learn`; kinds of input share the budget as they share the rows.
    `only`: these tasks. Old records stay in the store. Raises BadInput when no kind of input has two such tasks, or no
    trunk was learned in the time; where only one of several was not, its tasks are left out with the reason.
    """
    cache = Folder(wishes.cache) if wishes.cache else Folder.home() / ".cache" / "polymath"
    groups, left = _groups(store, cache, only=only)
    most = max((len(group.sources) for group in groups), default=0)
    groups = _enough(groups, left)
    for one in left:
        listener.say(f"{one.task}: left out, {one.why}")
    if not groups:
        raise BadInput(
            f"{most} tasks can be consolidated, and it takes {FEWEST_TASKS}",
            file=store.where,
            remedy="Learn more tasks of pictures, or of texts, with classes; see above for those that were left out.",
        )
    made: list[Trunk] = []
    moved: list[Moved] = []
    for place, (group, share) in enumerate(zip(groups, _shares(groups), strict=True)):
        try:
            wish = _shared(wishes, share, first=place == 0)
            trunk = _trunk(store, group, cache, wishes=wish, listener=listener)
        except BadInput as error:
            if not made and group is groups[-1]:
                raise
            why = f"no trunk of {group.kind.several} was learned: {error}"
            left += [Moved(task=source.record.name, why=why) for source in group.sources]
            listener.say(why)
            continue
        made.append(trunk)
        moved += [move(store, source, trunk.trunk, wishes) for source in group.sources]
    return Consolidated(**made[0].model_dump(), tasks=(*moved, *left), also=tuple(made[1:]))


def _trunk(store: Store, group: _Group, cache: Folder, *, wishes: Wishes, listener: Listener) -> Trunk:
    """Learns the trunk of one kind of input and publishes it."""
    name, sources = free_name(store), group.sources
    joined = group.kind.joined(sources, name)
    rows = joined.table.num_rows
    classes = sum(source.dataset.problem.outputs[0].head_width for source in sources)
    listener.say(f"{name}: {len(sources)} tasks of {group.kind.several}, {classes:,} classes, {rows:,} rows")
    lanes = wishes.lanes or cores()
    wish = wishes.replace(name=name, space="families", lanes=1, threads=lanes, members=1, build_on=False)
    record = learn(joined.table, store=store, wishes=wish, listener=listener, problem=joined.problem)
    whiten(store, record, cache, made_of=[source.record.name for source in sources])
    return Trunk(trunk=name, reads=group.kind.several, classes=classes, rows=rows)


def _shared(wishes: Wishes, share: float, *, first: bool) -> Wishes:
    """The wishes for one trunk; the first began when the call did."""
    if share == 1:
        return wishes
    begin = wishes.begin if first else None
    if wishes.work is not None:
        return wishes.replace(work=share * wishes.work, begin=begin)
    return wishes.replace(budget_seconds=share * (wishes.budget_seconds or DEFAULT_BUDGET), begin=begin)


# Gathering -----------------------------------------------------------------------------------------------------------
def _groups(store: Store, cache: Folder, *, only: Sequence[str]) -> tuple[list[_Group], list[Moved]]:
    """Tasks by the kind of input that they read, and those left out with the reason. Raises BadInput for a name that is
    no task.
    """
    names = list(only) or sorted(head.removeprefix(HEAD) for head in store.heads(HEAD))
    groups = [_Group(kind, []) for kind in KINDS]
    left: list[Moved] = []
    for name in names:
        record = load_record(store, name)
        if TRUNK in record.origin:
            continue
        why = _placed(record, cache, groups)
        if why:
            left.append(Moved(task=name, why=why, parameters_before=record.summary.parameters))
    for group in groups:
        unlike = group.kind.unlike(group.sources)
        left += [Moved(task=name, why=why) for name, why in unlike.items()]
        group.sources[:] = [one for one in group.sources if one.record.name not in unlike]
    return [group for group in groups if group.sources], left


def _placed(record: TaskRecord, cache: Folder, groups: Sequence[_Group]) -> str:
    """Puts a task into the group of its kind; else says why it is left out."""
    problem = Problem.model_validate(record.problem)
    if record.private:
        return "it is private"
    if record.state == "learning":
        return "it is still being learned"
    fits = [(group, port) for group in groups if (port := group.kind.port(problem)) is not None]
    if not fits:
        return f"it does not read {' or '.join(f'one {group.kind.one}' for group in groups)} per row"
    if len(problem.outputs) != 1 or problem.outputs[0].averaged != "categories":
        return "its answer is not one class"
    try:
        dataset = Dataset.open(cache / "data" / str(record.origin.get("dataset")))
    except BadInput:
        return "its rows are no longer in the cache"
    if dataset.num_folds < 2:
        return "it has too few rows to hold some out"
    group, port = fits[0]
    group.sources.append(Source(record, dataset, port, problem.outputs[0].name))
    return ""


def _enough(groups: Sequence[_Group], left: list[Moved]) -> list[_Group]:
    """Groups of two tasks or more; who is alone is left out where others are not."""
    enough = [group for group in groups if len(group.sources) >= FEWEST_TASKS]
    for group in groups:
        if enough and group not in enough:
            (alone,) = group.sources
            why = f"no other task of {group.kind.several} can be consolidated"
            left.append(Moved(task=alone.record.name, why=why, parameters_before=alone.record.summary.parameters))
    return enough


def _shares(groups: Sequence[_Group]) -> list[float]:
    """Of the budget, as the groups share the rows, a tenth at least."""
    rows = [sum(len(source.dataset.training()) for source in group.sources) for group in groups]
    shares = [max(one / sum(rows), LEAST_SHARE) for one in rows]
    return [share / sum(shares) for share in shares]
