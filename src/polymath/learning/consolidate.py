"""Consolidate ("sleep"): one trunk learned from the rows of many tasks at once; tasks it serves are moved onto it.

Features of a net that was trained on one small task are of little use to the next. A trunk that must tell all classes
of all tasks apart has features that serve the tasks to come. Of every task one fold stays out of the trunk's training:
on these rows the old answers and a cheap head on the trunk are compared, and nowhere else.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as Folder
from typing import Any

import numpy as np
import pyarrow as pa

from ..engine import cores
from ..model.combine import Member, mean_head
from ..model.layers.linear import Linear
from ..model.layers.unit import Unit
from ..model.path import Gene, Path
from ..model.prefix import END, prefixes
from ..model.probes import LinearProbe, PrototypesProbe
from ..predicting import HEAD, TaskRecord, load_record
from ..problem import Category, Dataset, Problem, Split
from ..problem.features import Image
from ..search import Entry, Experiment, Ledger
from ..search.choices import Sketch, Trace
from ..search.run import Result
from ..search.spaces.parents import Parent, features
from ..spec import BadInput, Spec, canonical, plain, sha256
from ..store import Store
from ..train import Context
from ..train.features import FrozenFeatures
from ..train.job import Job
from ..train.rung import run
from .compose import learn, rotation
from .parents import TRUNK, parents
from .study import Provenance, Study
from .wishes import Listener, Wishes

HELD_OUT = 0
"""The fold of every task that the trunk never learns from."""
FEWEST_TASKS = 2
MOST_ROWS, MOST_BYTES = 400_000, 1 << 30
"""Of all tasks together; of larger ones an even sample of each."""
CHUNK = 2048
"""Pictures that are brought to another size at a time."""
MOST_JUDGED = 5_000
"""Held-out rows on which the trunk itself is judged while it is trained."""
SHRINKAGE = 0.1
"""Of the covariance within classes towards an even one, when features are whitened: 0.03 and 0.3 were no better."""
HEADS = (LinearProbe(), PrototypesProbe(standardised=False))


class Moved(Spec):
    """What became of one task."""

    task: str
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


class Consolidated(Spec):
    """The trunk, and what became of every task."""

    trunk: str
    classes: int
    rows: int
    tasks: tuple[Moved, ...]


@dataclass(frozen=True)
class _Source:
    """A task whose rows are still in the cache."""

    record: TaskRecord
    dataset: Dataset
    port: str
    output: str

    @property
    def pictures(self) -> np.ndarray:
        return self.dataset.inputs[self.port]

    @property
    def size(self) -> tuple[int, ...]:
        return self.dataset.problem.ports[self.port].size


def consolidate(store: Store, *, wishes: Wishes, listener: Listener, only: Sequence[str] = ()) -> Consolidated:
    """Learns a trunk from the training rows of all tasks that read pictures, and moves those it serves no worse.

    `wishes`: budget, cache, seed and device as for `learn`. `only`: these tasks. Old records stay in the store. Raises
    BadInput when there are fewer than two such tasks.
    """
    cache = Folder(wishes.cache) if wishes.cache else Folder.home() / ".cache" / "polymath"
    sources, left = _sources(store, cache, only=only)
    for one in left:
        listener.say(f"{one.task}: left out, {one.why}")
    if len(sources) < FEWEST_TASKS:
        raise BadInput(
            f"{len(sources)} tasks can be consolidated, and it takes {FEWEST_TASKS}",
            file=store.where,
            remedy="Learn more tasks of pictures with classes; see above for those that were left out.",
        )
    name = _free_name(store)
    table, problem = _joined(sources, name)
    classes = sum(source.dataset.problem.outputs[0].head_width for source in sources)
    listener.say(f"{name}: {len(sources)} tasks, {classes:,} classes, {table.num_rows:,} rows")
    lanes = wishes.lanes or cores()
    wish = wishes.replace(name=name, space="families", lanes=1, threads=lanes, members=1, build_on=False)
    record = learn(table, store=store, wishes=wish, listener=listener, problem=problem)
    _whiten(store, record, cache, made_of=[source.record.name for source in sources])
    moved = [_move(store, source, name, wishes) for source in sources]
    return Consolidated(trunk=name, classes=classes, rows=table.num_rows, tasks=(*moved, *left))


# Gathering -----------------------------------------------------------------------------------------------------------
def _sources(store: Store, cache: Folder, *, only: Sequence[str]) -> tuple[list[_Source], list[Moved]]:
    """Tasks to consolidate, and those left out with the reason. Raises BadInput for a name that is no task."""
    names = list(only) or sorted(head.removeprefix(HEAD) for head in store.heads(HEAD))
    found: list[_Source] = []
    left: list[Moved] = []
    for name in names:
        record = load_record(store, name)
        if TRUNK in record.origin:
            continue
        why, source = _source(record, cache)
        if source is not None:
            found.append(source)
        else:
            left.append(Moved(task=name, why=why, parameters_before=record.summary.parameters))
    rows: Counter[int] = Counter()
    for one in found:
        rows[one.pictures.shape[1]] += len(one.dataset.training())
    channels = rows.most_common(1)[0][0] if rows else 0
    other = [one for one in found if one.pictures.shape[1] != channels]
    why = "its pictures are grey, others are coloured" if channels == 3 else "its pictures are coloured, others grey"
    left += [Moved(task=one.record.name, why=why) for one in other]
    return [one for one in found if one.pictures.shape[1] == channels], left


def _source(record: TaskRecord, cache: Folder) -> tuple[str, _Source | None]:
    problem = Problem.model_validate(record.problem)
    ports = problem.ports
    if record.private:
        return "it is private", None
    if record.state == "learning":
        return "it is still being learned", None
    if [form.kind for form in ports.values()] != ["map"]:
        return "it does not read one picture per row", None
    if len(problem.outputs) != 1 or problem.outputs[0].averaged != "categories":
        return "its answer is not one class", None
    try:
        dataset = Dataset.open(cache / "data" / str(record.origin.get("dataset")))
    except BadInput:
        return "its rows are no longer in the cache", None
    if dataset.num_folds < 2:
        return "it has too few rows to hold some out", None
    return "", _Source(record, dataset, next(iter(ports)), problem.outputs[0].name)


def _joined(sources: Sequence[_Source], name: str) -> tuple[pa.Table, Problem]:
    """All rows as one table of pictures of one size, the class as TASK/CLASS, and which rows train."""
    sizes: Counter[tuple[int, ...]] = Counter()
    for source in sources:
        sizes[source.size] += len(source.dataset.training())
    size = sizes.most_common(1)[0][0]
    total = sum(len(source.dataset.training()) for source in sources)
    most = min(MOST_ROWS, MOST_BYTES // (sources[0].pictures.shape[1] * math.prod(size)))
    held = sum(len(source.dataset.validation(HELD_OUT)) for source in sources)
    pictures, labels, parts = [], [], []
    for source in sources:
        for part, rows, share in (
            ("train", source.dataset.training(HELD_OUT), most / total),
            ("validation", source.dataset.validation(HELD_OUT), MOST_JUDGED / max(held, 1)),
        ):
            codes = np.asarray(source.dataset.targets[source.output][rows]).reshape(-1)
            kept = _even(rows[codes >= 0], share)
            codes = np.asarray(source.dataset.targets[source.output][kept]).reshape(-1)
            feature = source.dataset.problem.outputs[0]
            assert isinstance(feature, Category)
            classes = feature.classes
            assert classes is not None
            pictures.append(_sized(np.asarray(source.pictures[kept]), size))
            labels += [f"{source.record.name}/{classes[code]}" for code in codes]
            parts += [part] * len(kept)
    array = np.ascontiguousarray(np.moveaxis(np.concatenate(pictures), 1, 3))  # [N, H, W, C]
    if array.shape[3] == 1:
        array = array[..., 0]
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(array)
    table = pa.table({"picture": column, "class": labels, "part": parts})
    channels: Any = 1 if array.ndim == 3 else 3
    picture = Image(name="picture", from_file=False, channels=channels, height=size[0], width=size[1])
    target = Category(name="class", classes=tuple(sorted(set(labels))))  # named: there may be more than a column's
    split = Split(kind="given", column="part", test_fraction=0.0)
    return table, Problem(name=name, inputs=(picture,), outputs=(target,), split=split)


def _even(rows: np.ndarray, share: float) -> np.ndarray:
    """At most this share of the rows, evenly spread; one at least."""
    if share >= 1 or not len(rows):
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, max(1, int(share * len(rows)))).astype(np.int64)])


def _sized(pictures: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """uint8 [N, C, H, W] at another size."""
    if pictures.shape[2:] == size:
        return pictures
    import torch

    result = np.empty((*pictures.shape[:2], *size), dtype=np.uint8)
    for start in range(0, len(pictures), CHUNK):
        some = torch.from_numpy(pictures[start : start + CHUNK]).float()
        values = torch.nn.functional.interpolate(some, size=size, mode="bilinear", antialias=True, align_corners=False)
        result[start : start + CHUNK] = values.round().clamp(0, 255).to(torch.uint8).numpy()
    return result


def _free_name(store: Store) -> str:
    taken = store.heads(HEAD)
    return next(name for name in (f"trunk-{n}" for n in range(1, len(taken) + 2)) if HEAD + name not in taken)


def _whiten(store: Store, record: TaskRecord, cache: Folder, *, made_of: list[str]) -> None:
    """Puts whitened features of unit length, and prototypes on them, in place of the trunk's head.

    What makes pictures of one class differ is the same in task after task. Divided by it, the features told letters of
    new scripts apart with 1, 2 and 5 examples of each by 7 to 10 points better. The record is marked as a trunk.
    """
    problem, path = Problem.model_validate(record.problem), Path.model_validate(record.path)
    dataset = Dataset.open(cache / "data" / str(record.origin["dataset"]))
    output = problem.outputs[0].name
    part = prefixes(path, problem.ports)[0]
    end = part.outputs[END]
    with Store.open(store.path / "scratch" / record.name) as scratch:
        rows = dataset.training(HELD_OUT)
        frozen = FrozenFeatures(dataset, fetch=scratch.get_tensors).get(part, end)
        weights = _whitening(np.asarray(frozen[rows]), np.asarray(dataset.targets[output][rows]).reshape(-1))
        white = scratch.put_tensors(weights)
        genes = (
            *(gene.replace(frozen=True) for gene in part.genes),
            Gene(name="whitened", layer=Linear(width=frozen.shape[1]), inputs=(end,), weights=white, frozen=True),
            Gene(name="direction", layer=Unit(), inputs=("whitened",), frozen=True),
        )
        job = Job(
            dataset=dataset.digest,
            path=Path(genes=genes, outputs={output: "direction"}),
            recipe=PrototypesProbe(standardised=False),
            folds=(HELD_OUT,),
        )
        found = _experiment(store, scratch, record, dataset, [job], label="prototypes on whitened features")
        if found is None:
            raise BadInput("the trunk gives no usable features", value=record.name, remedy="Give a longer --budget.")
        provenance = Provenance({**record.origin, TRUNK: made_of}, record.unused)
        begin = time.monotonic() - record.summary.seconds
        study = Study(store, scratch, dataset, name=record.name, begin=begin, provenance=provenance)
        study.adopt(found, _member(scratch, found, output))
        study.publish("done" if record.state == "done" else "stopped")


def _whitening(features: np.ndarray, codes: np.ndarray) -> dict[str, np.ndarray]:
    """A linear layer after which features have mean 0 and, within classes, no correlation and deviation 1."""
    features = features.astype(np.float64)
    counts = np.bincount(codes)
    means = np.zeros((len(counts), features.shape[1]))
    np.add.at(means, codes, features)
    inner = features - (means / np.maximum(counts, 1)[:, None])[codes]
    within = inner.T @ inner / max(len(features) - int((counts > 0).sum()), 1)
    even = max(float(np.trace(within)) / len(within), 1e-9)
    values, vectors = np.linalg.eigh((1 - SHRINKAGE) * within + SHRINKAGE * even * np.eye(len(within)))
    turned = (vectors / np.sqrt(values)).T
    return {"0.weight": turned.astype(np.float32), "0.bias": (-turned @ features.mean(0)).astype(np.float32)}


# Moving --------------------------------------------------------------------------------------------------------------
def _move(store: Store, source: _Source, trunk: str, wishes: Wishes) -> Moved:
    """A cheap head on the trunk for one task; published if it is no worse where the trunk has not been taught."""
    record, problem = source.record, source.dataset.problem
    feature, metric = problem.outputs[0], problem.metric_of(source.output)
    kept = Moved(
        task=record.name,
        metric=metric.name,
        parameters_before=record.summary.parameters,
        parameters_after=record.summary.parameters,
    )
    own = next((p for p in parents(store, problem, but=record.name) if p.task == trunk), None)
    if own is None:
        return kept.replace(why="the trunk does not take pictures of its size")
    with Store.open(store.path / "scratch" / record.name) as scratch:
        for address in sorted(own.path.addresses):
            if not scratch.has(address):
                scratch.put(store.get(address))
        rows = source.dataset.validation(HELD_OUT)
        targets = np.asarray(source.dataset.targets[source.output][rows])
        fitted = [one for probe in HEADS if (one := _fitted(store, scratch, source, own, probe, wishes)) is not None]
        if not fitted:
            return kept.replace(why="no head could be fitted on the trunk")
        best = max(fitted, key=lambda one: one.results[-1].score)
        after = best.results[-1].score
        before = _old_score(store, scratch, source, rows, targets)
        shown = feature.scores(_raw(scratch, best, source.output), targets).get(metric.name)
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
        study.adopt(best, _member(scratch, best, source.output))
        published = study.publish("done" if record.state == "done" else "stopped")
    assert published is not None
    return kept.replace(moved=True, parameters_after=published.summary.parameters)


def _fitted(
    store: Store, scratch: Store, source: _Source, parent: Parent, probe: LinearProbe | PrototypesProbe, wishes: Wishes
) -> Experiment | None:
    """A head on the trunk for every fold, as an experiment of the task: judged on the held-out fold alone."""
    path, dataset = features(parent, (source.output,)), source.dataset
    folds = tuple(range(dataset.num_folds)) if rotation(dataset) != (HELD_OUT,) else (HELD_OUT,)
    jobs = [Job(dataset=dataset.digest, path=path, recipe=probe, folds=(fold,), seed=wishes.seed) for fold in folds]
    return _experiment(store, scratch, source.record, dataset, jobs, label=f"{probe.method} on {parent.task}")


def _experiment(
    store: Store, scratch: Store, record: TaskRecord, dataset: Dataset, jobs: Sequence[Job], *, label: str
) -> Experiment | None:
    """Runs one job per fold and notes the first, which is the one that judges, in the ledger; None when it failed."""
    ledger = Ledger(store, record.name)
    number = 1 + max((entry.number for entry in ledger.entries()), default=-1)
    context = Context(dataset_folder=str(dataset.folder), scratch=str(scratch.path))
    outcomes = [run(job, context, dataset=dataset, store=scratch) for job in jobs]
    first, request = outcomes[0], jobs[0].model_dump(mode="json")
    if not first.ok or first.score is None:
        return None
    entry = Entry(
        task=record.name,
        dataset=dataset.digest,
        space="consolidate",
        seed=int(record.origin.get("seed") or 0),
        key=sha256(canonical(request).encode()),
        number=number,
        rung=0,
        label=label,
        generator="consolidate",
        trace=Trace(),
        ok=True,
        score=first.score,
        work=first.work,
        seconds=first.seconds,
        outcome=plain(first.model_dump(mode="json")),
        request=request,
    )
    ledger.add(entry)
    every = first.replace(paths=tuple(one.paths[0] for one in outcomes if one.ok)).model_dump(mode="json")
    result = Result(True, first.score, first.work, first.seconds, every)
    return Experiment(number, Sketch(Trace()), label, "consolidate", started=1, results=[result])


def _raw(scratch: Store, experiment: Experiment, output: str) -> np.ndarray:
    return scratch.get_tensors(str(experiment.results[-1].outcome["predictions"]))[f"output/{output}"]


def _member(scratch: Store, experiment: Experiment, output: str) -> tuple[np.ndarray, Member]:
    """Rows and answers of the held-out fold, and the one path that is the mean of the heads of all folds."""
    result = experiment.results[-1]
    paths = tuple(Path.model_validate(path) for path in result.outcome["paths"])
    path = mean_head(paths, fetch=scratch.get_tensors, put=scratch.put_tensors)
    rows = scratch.get_tensors(str(result.outcome["predictions"]))["rows"]
    answers = {output: _raw(scratch, experiment, output)}
    return rows, Member(number=experiment.number, score=result.score, predictions=answers, paths=(path,))


def _old_score(
    store: Store, scratch: Store, source: _Source, rows: np.ndarray, targets: np.ndarray
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
