"""A task is moved onto a trunk where that is no worse on rows that the trunk has not seen."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from ..model.probes import LinearProbe, PrototypesProbe
from ..search import Entry, Experiment, Ledger
from ..search.spaces.parents import Parent, features
from ..spec import Spec
from ..store import Store
from ..train.job import Job
from .fitting import answers, experiment, member
from .joining import Source
from .joining.base import HELD_OUT
from .parents import fetch, parents
from .preparing import rotation
from .study import Provenance, Study
from .wishes import Wishes

HEADS = (LinearProbe(), PrototypesProbe(standardised=False))


class Moved(Spec):
    """What became of one task."""

    task: str
    trunk: str = ""
    """That it was tried on."""
    metric: str = ""
    before: float | None = None
    """Score of its old path on the rows that the trunk has not seen; None when it cannot be told any more."""
    after: float | None = None
    """Score of the best cheap head on the trunk, on the same rows."""
    moved: bool = False
    why: str = ""
    """Why it was kept or left out."""
    parameters_before: int = 0
    parameters_after: int = 0


def move(store: Store, source: Source, trunk: str, wishes: Wishes) -> Moved:
    """A cheap head on the trunk for one task; published if it is no worse where the trunk has not been taught."""
    record, problem = source.record, source.dataset.problem
    feature, metric = problem.outputs[0], problem.metric_of(source.output)
    kept = Moved(
        task=record.name,
        trunk=trunk,
        metric=metric.name,
        parameters_before=record.summary.parameters,
        parameters_after=record.summary.parameters,
    )
    own = next((p for p in parents(store, problem, but=record.name) if p.task == trunk), None)
    if own is None:
        return kept.replace(why="the trunk does not take its rows")
    with Store.open(store.path / "scratch" / record.name) as scratch:
        fetch((own,), store=store, scratch=scratch)
        rows = source.dataset.validation(HELD_OUT)
        targets = np.asarray(source.dataset.targets[source.output][rows])
        fitted = [one for probe in HEADS if (one := _fitted(store, scratch, source, own, probe, wishes)) is not None]
        if not fitted:
            return kept.replace(why="no head could be fitted on the trunk")
        best = max(fitted, key=lambda one: one.results[-1].score)
        after = best.results[-1].score
        before = _old_score(store, scratch, source, rows, targets)
        shown = feature.scores(answers(scratch, best, source.output), targets).get(metric.name)
        kept = kept.replace(after=shown)
        if before is None:
            return kept.replace(why="its old answers are gone, so there is nothing to compare with")
        kept = kept.replace(before=before[1])
        if after < before[0]:
            return kept.replace(why="worse on the trunk")
        study = Study(
            store,
            scratch,
            source.dataset,
            name=record.name,
            begin=time.monotonic() - record.summary.seconds,
            provenance=Provenance(record.origin, record.unused, (own,), record.private, gate=record.gate),
        )
        study.adopt(best, member(scratch, best, source.output))
        published = study.publish("done" if record.state == "done" else "stopped")
    assert published is not None
    return kept.replace(moved=True, parameters_after=published.summary.parameters)


def _fitted(
    store: Store, scratch: Store, source: Source, parent: Parent, probe: LinearProbe | PrototypesProbe, wishes: Wishes
) -> Experiment | None:
    """A head on the trunk for every fold, as an experiment of the task: judged on the held-out fold alone."""
    path, dataset = features(parent, (source.output,)), source.dataset
    folds = tuple(range(dataset.num_folds)) if rotation(dataset) != (HELD_OUT,) else (HELD_OUT,)
    jobs = [Job(dataset=dataset.digest, path=path, recipe=probe, folds=(fold,), seed=wishes.seed) for fold in folds]
    return experiment(store, scratch, source.record, dataset, jobs, label=f"{probe.method} on {parent.task}")


def _old_score(
    store: Store, scratch: Store, source: Source, rows: np.ndarray, targets: np.ndarray
) -> tuple[float, float] | None:
    """Score (higher is better) and metric of the old path's members on the held-out rows, from models without them."""
    record, problem = source.record, source.dataset.problem
    feature, wanted = (
        problem.outputs[0],
        {(int(m["number"]), str(m["label"])): float(m["weight"]) for m in record.members},
    )
    best: dict[int, Entry] = {}
    for entry in Ledger(store, record.name).entries():
        if (entry.number, entry.label) in wanted and entry.dataset == source.dataset.digest and entry.ok:
            earlier = best.get(entry.number)
            if earlier is None or (entry.score or -np.inf) >= (earlier.score or -np.inf):
                best[entry.number] = entry
    if len(best) < len(wanted) or not best:
        return None
    parts, weights = [], []
    for (number, _), weight in wanted.items():
        address = str(best[number].outcome.get("predictions"))
        if not scratch.has(address):
            return None
        found = _of_rows(scratch.get_tensors(address), rows, source.output)
        if found is None:
            return None
        parts.append(found)
        weights.append(weight)
    raw = feature.combine(parts, weights) if len(parts) > 1 else parts[0]
    scores: Mapping[str, float] = feature.scores(raw, targets)
    return problem.score({source.output: dict(scores)}), float(scores[problem.metric_of(source.output).name])


def _of_rows(tensors: Mapping[str, np.ndarray], rows: np.ndarray, output: str) -> np.ndarray | None:
    """The answers for these rows, in their order; None when some are missing."""
    order = np.argsort(tensors["rows"], kind="stable")
    places = np.searchsorted(tensors["rows"], rows, sorter=order)
    if (places >= len(order)).any():
        return None
    places = order[places]
    if not np.array_equal(tensors["rows"][places], rows):
        return None
    return np.asarray(tensors[f"output/{output}"][places])
