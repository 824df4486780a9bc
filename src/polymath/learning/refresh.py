"""Refresh: a task goes on learning from new rows, by the problem it has; nothing is started over.

The old version stays in the store. The new one is published only where it is no worse, on old rows and on new ones.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from ..evaluating import rows_of
from ..model.layers import bring
from ..predicting import HEAD, TaskRecord, load_record, versions
from ..problem import Category, Dataset, Feature, Problem, near_duplicates
from ..problem import splits as rowsplits
from ..problem.features.common import shown
from ..problem.joined import REPEATED, joined
from ..problem.pictures import matched
from ..problem.sources import Rows
from ..spec import BadInput, Spec
from ..store import Store
from .compose import Call, engine_of, search
from .preparing import rotation, split_of
from .renewal import NEW, OLD, Known, Renewal, known
from .wishes import DEFAULT_BUDGET, Listener, Wishes, check, interruptible

LOOKED_AT = 10_000
"""Rows of each column that are looked at for values of another kind."""
STRANGE = 0.1
"""Share of a column's values that must be unlike those learned before it is worth a line."""
NAMED = 5
"""New classes that are named."""


class Refreshed(Spec):
    """What became of a refresh, as `polymath refresh --json` prints it."""

    task: str
    state: str
    """Of the version in force."""
    published: bool
    why: str
    metric: str
    greater_is_better: bool
    old: dict[str, float | None]
    """Score of the version before, by part: `old_rows` (its validation rows), `new_rows` (those of the new ones)."""
    new: dict[str, float | None]
    """Score of what was learned now, on the same rows; None where the old rows are gone."""
    noise: dict[str, float | None] = Field(default_factory=dict)
    """Standard error of the difference."""
    rows_new: int
    rows_repeated: int
    """New rows that are among the old ones."""
    rows_old: int
    """0: they are no longer in the cache."""
    noticed: tuple[str, ...] = ()
    """What is unlike before: classes, columns, kinds of values."""
    versions: int
    """Of the task in the store."""
    seconds: float


def refresh(data: Any, *, store: Store, wishes: Wishes, listener: Listener) -> tuple[TaskRecord, Refreshed]:
    """Learns the task `wishes.name` further from new rows; returns the version in force and what became of it.

    Of the wishes those about the problem (targets, types, split ...) do not count: the task has its own. Old rows that
    are still in the cache count too. Raises BadInput when the new rows do not fit.
    """
    begin = wishes.begin if wishes.begin is not None else time.monotonic()
    check(wishes)
    record = load_record(store, wishes.name)
    if record.state == "learning":
        raise BadInput("was never learned to an end", value=record.name, remedy="Give the `learn` command again first.")
    layers = tuple(dict.fromkeys((*record.origin.get("layers", ()), *wishes.layers)))
    bring(layers)
    wishes = wishes.replace(private=record.private, layers=layers)
    cache = Path(wishes.cache) if wishes.cache else Path.home() / ".cache" / "polymath"
    problem = Problem.model_validate(record.problem)
    rows = matched(rows_of(data, problem, memory_bytes=wishes.memory_bytes), problem)
    problem, noticed = _noticed(problem, rows, name=record.name)
    for line in noticed:
        listener.say(line)
    old = _old(record, cache)
    new = _encoded(rows, problem, old, seed=wishes.seed, cache=cache)
    both = joined(old, new, cache / "data") if old is not None else new
    repeated = both.unused_counts.get(REPEATED, 0)
    counts = {
        "rows_new": int((new.folds >= -1).sum()) - repeated,
        "rows_repeated": repeated,
        "rows_old": int((old.folds >= -1).sum()) if old is not None else 0,
    }
    listener.ready(both, rows)
    if old is None:
        listener.say("The rows learned before are no longer in the cache: what they taught is kept by the old path.")

    def told(published: bool, why: str, renewal: Renewal | None) -> Refreshed:
        verdict = renewal.verdict if renewal is not None else None
        summary = record.summary
        return Refreshed(
            task=record.name,
            state=load_record(store, record.name).state,
            published=published,
            why=why,
            metric=summary.metric,
            greater_is_better=summary.greater_is_better,
            old=verdict.old if verdict else {OLD: summary.validation, NEW: None},
            new=verdict.new if verdict else {OLD: None, NEW: None},
            noise=verdict.noise if verdict else {},
            **counts,
            noticed=noticed,
            versions=len(versions(store, record.name)),
            seconds=round(time.monotonic() - begin, 3),
        )

    if counts["rows_new"] <= 0:
        return record, told(False, "all these rows were learned before", None)
    engine = engine_of(wishes)
    try:
        budget = None if wishes.work is not None else wishes.budget_seconds or DEFAULT_BUDGET
        with interruptible() as stopped:
            before = _known(record, both, old, store=store, counts=counts)
            call = Call(record.name, wishes, listener, engine, begin, budget, stopped, before)
            published, study = search(store, rows, both, call)
    finally:
        engine.close()
    assert isinstance(study, Renewal)
    why = study.verdict.why if study.verdict else study.failures()
    return published or record, told(published is not None, why, study)


def _old(record: TaskRecord, cache: Path) -> Dataset | None:
    """The dataset that the task was learned from, while the cache still holds it."""
    digest = str(record.origin.get("dataset") or "")
    folder = cache / "data" / digest
    return Dataset.open(folder) if digest and (folder / "dataset.json").exists() else None


def _encoded(rows: Rows, problem: Problem, old: Dataset | None, *, seed: int, cache: Path) -> Dataset:
    """The new rows by the problem's own measure, with a test part and folds of their own, as many as the old ones."""
    if len(rows) < rowsplits.FEWEST_ROWS:
        raise BadInput(
            f"{len(rows)} new rows are too few to tell whether they teach anything",
            file=rows.source,
            remedy=f"Wait until there are {rowsplits.FEWEST_ROWS} or more; old rows among them do no harm.",
        )
    if problem.split.kind == "given" and problem.split.column not in rows.table.column_names:
        problem = problem.replace(split=problem.split.replace(kind="auto", column=None))
    split = split_of(problem, rows, seed=seed)
    if old is not None and split.kind != "given":
        split = split.replace(folds=old.num_folds if old.num_folds > 2 or problem.split.folds == 2 else 1)
    twins = near_duplicates(rows, problem, cache / "data")
    folds = rowsplits.assign(rows, split, inputs=problem.columns, outputs=problem.outputs, hashes=twins)
    return Dataset.build(rows, problem, folds, cache / "data", measured=True)


def _known(record: TaskRecord, dataset: Dataset, old: Dataset | None, *, store: Store, counts: dict[str, int]) -> Known:
    """The version in force on all rows. Where old rows count, only folds validate that it can be judged on."""
    folds = rotation(dataset)
    before = len(rotation(old)) if old is not None else len(folds)
    with Store.open(store.path / "scratch" / record.name) as scratch:
        found = known(
            record,
            dataset,
            rows_old=len(old.folds) if old is not None else 0,
            folds=folds if before >= len(folds) else folds[:1],
            folds_before=before,
            store=store,
            scratch=scratch,
        )
    earlier = [*record.origin.get("earlier", ()), record.origin.get("source")]
    found.origin.update(earlier=earlier, refreshes=store.head(HEAD + record.name), **counts)
    return found


def _noticed(problem: Problem, rows: Rows, *, name: str) -> tuple[Problem, tuple[str, ...]]:
    """The problem with the classes that are new, and a line for everything that is unlike before. Raises BadInput."""
    table, lines = rows.table, []
    anew = f"To learn the task anew from all rows: polymath learn DATA --name {name}."
    for feature in (*problem.inputs, *problem.outputs):
        if feature.name not in table.column_names:
            role = "reads" if feature in problem.inputs else "answers for"
            raise BadInput(
                f"the new rows lack this column, which task {name!r} {role}",
                file=rows.source,
                column=feature.name,
                remedy=f"Add it; cells that are not known may be empty. {anew}",
            )
    used = {f.name for f in (*problem.inputs, *problem.outputs)} | {one.column for one in problem.ignored}
    used |= {name for name in (problem.weights, problem.split.column, rows.given_split) if name}
    more = [column for column in table.column_names if column not in used]
    if more:
        lines.append(f"not used, because new: column {', '.join(map(repr, more[:NAMED]))}. {anew}")
    for feature in problem.inputs:
        if not feature.encoded_once and (line := _strange(feature, table[feature.name].slice(0, LOOKED_AT))):
            lines.append(line)
    outputs = []
    for feature in problem.outputs:
        wider, classes = feature.wider(table[feature.name])
        outputs.append(wider)
        if classes:
            some = ", ".join(shown(one) for one in classes[:NAMED])
            rest = f" and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
            lines.append(f"column {feature.name!r}: {len(classes)} new: {some}{rest}; the head is widened")
    return problem.replace(outputs=tuple(outputs)), tuple(lines)


def _strange(feature: Feature, values: pa.ChunkedArray) -> str:
    """A line for a column whose values are of another kind than those learned; else empty."""
    present = values.is_valid().to_numpy(zero_copy_only=False)
    encoded = feature.encode(values)
    strange = np.zeros(len(values), dtype=bool)
    strange[[one.row for one in encoded.bad]] = True
    if isinstance(feature, Category):
        strange |= encoded.array[:, 0] == 0
    share = float((strange & present).sum() / max(present.sum(), 1))
    if share < STRANGE:
        return ""
    row = int(np.flatnonzero(strange & present)[0])
    what = "are new" if isinstance(feature, Category) else f"are no {feature.type}"
    value = shown(values[row].as_py())
    return f"column {feature.name!r}: {share:.0%} of its values {what}, the first {value}; they count as missing"
