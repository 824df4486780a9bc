"""What a task brings along when it is learned further, and the study that publishes only what is no worse than it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..model.combine import Member, Parted, parted
from ..model.decode.views import views_of
from ..model.layers.moved import Moved
from ..model.path import Path
from ..model.widen import BELOW, widened
from ..predicting import TaskRecord, forward, truth_of
from ..problem import Dataset, Problem
from ..search import Entry, Experiment, Ledger
from ..search.choices import Sketch, Trace
from ..search.generators.base import FIXED
from ..search.spaces.own import Own
from ..search.spaces.rows import problem_space
from ..spec import Spec
from ..store import Store
from ..train.job import Job
from ..train.recipe import GradientRecipe
from .examined import Judged
from .moving import moves_of
from .study import Study
from .viewing import Viewed

NETS, AGAIN = 2, 3
"""Of the best before: nets that are trained on, cheap heads that are fitted anew."""
KEPT, KEPT_BESIDE_NEW = 0.5, 0.25
"""Share of the old path in the new one where the old rows are gone, and where new classes need room beside it."""
TRIED = (0.25, 0.5, 0.75)
"""Shares of the old path that are tried where the new weights alone are worse on a part."""
WORSE = 2.0
"""Standard errors by which a part may be worse: more is no noise."""
RESAMPLES, RESAMPLED_VALUES = 200, 2_000_000
"""Of the bootstrap that tells how much the difference of two scores is worth; fewer where there are many rows."""
OLD, NEW, ALL = "old_rows", "new_rows", "all_rows"


class Verdict(Spec):
    """How the new path did beside the old one, on validation rows that neither was trained on."""

    better: bool
    why: str
    old: dict[str, float | None]
    """Score of the old path by part: `old_rows`, `new_rows`, `all_rows`."""
    new: dict[str, float | None]
    noise: dict[str, float | None]
    """Standard error of their difference."""


@dataclass(frozen=True)
class Known:
    """A task as it stood, ready to be compared with and to go on from."""

    record: TaskRecord
    rows_old: int
    """Rows of the dataset, from the first, that it was learned from; 0 = they are gone."""
    folds: tuple[int, ...]
    members: tuple[tuple[Member, float], ...]
    """Its experiments as members of an ensemble, numbered -1, -2, ..., and their shares; without those whose head
    cannot be widened."""
    raw: dict[str, np.ndarray]
    """Its own answers for the validation rows, scaled, in their order."""
    own: tuple[Own, ...] = ()
    again: tuple[Trace, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)
    """What the origin of the new version says beside what it always says."""
    more_classes: bool = False
    moves: Mapping[int, tuple[Moved, ...]] = field(default_factory=dict)
    """Views of a picture that its members answer beside the picture as it is."""


def known(
    record: TaskRecord,
    dataset: Dataset,
    *,
    rows_old: int,
    folds: tuple[int, ...],
    folds_before: int,
    store: Store,
    scratch: Store,
) -> Known:
    """The task of `record` on `dataset`, whose problem has at least its classes. Weights go to `scratch`.

    It was learned by `folds_before` folds. Each of its parts answers for the rows that it was not trained on. Where the
    old rows are gone, all rows are new to all parts. A part of which only a mean over folds is left has seen all old
    rows: it counts in the comparison, too well, and nothing goes on from it.
    """
    before, problem = Problem.model_validate(record.problem), dataset.problem
    path = Path.model_validate(record.path)
    for address in sorted(path.addresses):
        if not scratch.has(address):
            scratch.put(store.get(address))
    parts, factors = parted(path)
    widths = {f.name: (before.output(f.name).head_width, f.head_width) for f in problem.outputs}
    entries = _entries(Ledger(store, record.name), record, parts)
    members, answers, nets, again = [], [], [], []
    for place, part in enumerate(parts):
        entry = entries.get(part.number)
        by_fold = _by_fold(entry, part, folds_before, scratch=scratch) if rows_old else part.paths
        usable, paths, whole = len(by_fold) == folds_before or not rows_old, by_fold, part.paths
        try:
            paths, whole = (
                tuple(
                    widened(one, widths, problem.all_ports, fetch=scratch.get_tensors, put=scratch.put_tensors)
                    for one in some
                )
                for some in (by_fold, part.paths)
            )
        except ValueError:  # a head of another kind: it still counts in the comparison
            usable = False
        starts = tuple(paths[number % len(paths)] for number in range(len(folds)))
        raw = _answers(starts, dataset, folds, scratch)
        raw = {f.name: _padded(raw[f.name], f.head_width) for f in problem.outputs}
        answers.append((part.weight, raw))
        if usable:
            score = problem.score(_scores(dataset, folds, raw))
            kept = whole if len(whole) < len(starts) else starts
            members.append((Member(-1 - place, score, raw, kept), part.weight))
        recipe = _recipe(entry, problem, rows=len(dataset.training()), path=part.paths[0])
        if recipe is not None and usable:
            nets.append(Own(name=f"e{place}", starts=starts, recipe=recipe))
        elif entry is not None and recipe is None:
            again.append(entry.trace)
    weights = [weight for weight, _ in answers]
    raw = {
        f.name: (f.combine([one[f.name] for _, one in answers], weights) if len(answers) > 1 else answers[0][1][f.name])
        * np.float32(factors[f.name])
        for f in problem.outputs
    }
    return Known(
        record=record,
        rows_old=rows_old,
        folds=folds,
        members=tuple(members),
        raw=raw,
        own=tuple(nets[:NETS]),
        again=tuple(again[:AGAIN]),
        more_classes=any(old != new for old, new in widths.values()),
        moves={-1 - place: part.moves for place, part in enumerate(parts) if part.moves},
    )


def _by_fold(entry: Entry | None, part: Parted, count: int, *, scratch: Store) -> tuple[Path, ...]:
    """The paths of a part by fold: its own, else those that the ledger names, while their weights are there."""
    if len(part.paths) == count or entry is None:
        return part.paths
    found = tuple(Path.model_validate(path) for path in entry.outcome.get("paths", ()))
    there = all(scratch.has(address) for path in found for address in path.addresses)
    return found if len(found) == count and there else part.paths


def _entries(ledger: Ledger, record: TaskRecord, parts: list[Parted]) -> dict[int, Entry]:
    """The ledger's best entry of each experiment in the path, by the number that the path knows it by."""
    labels = {int(one["number"]): str(one["label"]) for one in record.members}
    alone = next(iter(labels)) if len(labels) == 1 and len(parts) == 1 else None
    found: dict[int, Entry] = {}
    for entry in ledger.entries():
        same = (entry.dataset, entry.seed) == (record.origin.get("dataset"), record.origin.get("seed"))
        if entry.ok and same and labels.get(entry.number) == entry.label:
            number = parts[0].number if entry.number == alone else entry.number
            if number not in found or (entry.score or -math.inf) > (found[number].score or -math.inf):
                found[number] = entry
    return found


def _recipe(entry: Entry | None, problem: Problem, *, rows: int, path: Path) -> GradientRecipe | None:
    """How a net was trained, else how one usually is; None for cheap heads."""
    if entry is not None and entry.request:
        recipe = Job.model_validate(entry.request).recipe
        return recipe if isinstance(recipe, GradientRecipe) else None
    fitted = {"trees", "ngrams", "constant", "patches", "one_hot", "oriented_gradients"}
    if fitted & {str(getattr(gene.layer, "kind", "")) for gene in path.genes}:
        return None
    from ..search.choices import Recorder, first

    return problem_space(Recorder(first), problem, rows=rows)[1]


def _answers(
    starts: tuple[Path, ...], dataset: Dataset, folds: tuple[int, ...], scratch: Store
) -> dict[str, np.ndarray]:
    """Raw predictions for the validation rows of the folds, each by its own path."""
    from ..model.build import build

    chunks: list[dict[str, np.ndarray]] = []
    for path, fold in zip(starts, folds, strict=True):
        module = build(path, dataset.problem.all_ports, fetch=scratch.get_tensors).eval()
        rows = dataset.validation(fold)
        for start in range(0, len(rows), 4096):
            some = rows[start : start + 4096]
            inputs = {port: dataset.inputs[port][some] for port in path.ports}
            chunks.append(forward(module, inputs, truth=truth_of(dataset, some)))
    return {output: np.concatenate([chunk[output] for chunk in chunks]) for output in starts[0].outputs}


def _padded(raw: np.ndarray, width: int) -> np.ndarray:
    """Answers of a head that knows fewer classes: the others are unlikely."""
    if raw.shape[1] == width:
        return raw
    less = raw.min(axis=1, keepdims=True) - np.float32(BELOW)
    return np.concatenate([raw, np.repeat(less, width - raw.shape[1], axis=1)], axis=1)


def _scores(dataset: Dataset, folds: tuple[int, ...], raw: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    rows = np.concatenate([dataset.validation(fold) for fold in folds])
    return {f.name: f.scores(raw[f.name], np.asarray(dataset.targets[f.name][rows])) for f in dataset.problem.outputs}


class Renewal(Study):
    """A study that begins with the task's old path, and publishes only at the end, and only what is no worse."""

    def __init__(self, *args: Any, known: Known, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known = known
        self.verdict: Verdict | None = None
        self._kept = 0.0
        labels = [str(one["label"]).removesuffix(" (before)") for one in known.record.members]
        self.take_rows(np.concatenate([self.dataset.validation(fold) for fold in known.folds]))
        for member, _ in known.members:
            place = -1 - member.number
            label = labels[place] if place < len(labels) else "path"
            self.experiments[member.number] = Experiment(member.number, Sketch(Trace()), f"{label} (before)", FIXED)
            self.members[member.number] = member
            if self.best is None or member.score > self.best.score:
                self.best = member

    def publish(self, state: Literal["learning", "stopped", "done"]) -> TaskRecord | None:
        """The old version stays in force until the end."""
        if state == "learning":
            return None
        self.members |= {member.number: member for member, _ in self.known.members}  # however many were found since
        for kept in self._shares():
            self._kept = kept
            record = super().publish(state)
            if record is not None:
                return record
        return None

    def _shares(self) -> tuple[float, ...]:
        """Shares of the answer that the old path keeps, to be tried in turn.

        Where the old rows are gone nothing tells what new weights have forgotten: it keeps its say from the first, as
        when weights are averaged to stay robust (Wortsman et al. 2022, arXiv:2109.01903).
        """
        if not self.known.members:
            return (0.0,)
        kept = KEPT_BESIDE_NEW if self.known.more_classes else KEPT
        return (0.0, *TRIED) if self.known.rows_old else (kept,)

    def _choose(self) -> dict[int, float]:
        chosen = super()._choose()
        if not self._kept:
            return chosen
        whole = sum(weight for _, weight in self.known.members)
        mixed = {number: (1 - self._kept) * weight for number, weight in chosen.items()}
        for member, weight in self.known.members:
            mixed[member.number] = mixed.get(member.number, 0.0) + self._kept * weight / whole
        return mixed

    def _built_on(self, path: Path, weights: Mapping[int, float]) -> tuple[str, ...]:
        return tuple(sorted({*super()._built_on(path, weights), *self.known.record.built_on}))

    def _viewed(self, weights: Mapping[int, float]) -> Viewed:
        """With as many views of a picture as before: the two versions are compared by the picture alone."""
        before = self.known.moves
        views = set().union(*before.values())
        built = {number: self.experiments[number].sketch.built for number in weights if number >= 0}
        moves = {number: tuple(one for one in moves_of(design)[-1] if one in views) for number, design in built.items()}
        return replace(self._plain(weights), views=views_of(self.known.record.calibration), moves={**before, **moves})

    def worthy(self, judged: Judged, calibration: Mapping[str, Mapping[str, Any]]) -> bool:
        """Better on all rows by more than noise, and on neither the old nor the new ones worse by more than it."""
        told = self.known.record.calibration
        is_old = judged.rows < self.known.rows_old
        old: dict[str, float | None] = {OLD: self.known.record.summary.validation}
        new: dict[str, float | None] = {OLD: None}
        noise: dict[str, float | None] = {}
        gains: dict[str, float] = {}
        for part, mask in ((OLD, is_old), (NEW, ~is_old), (ALL, np.ones_like(is_old))):
            if not mask.any():
                continue
            targets = {name: array[mask] for name, array in judged.targets.items()}
            sides = [
                ({name: array[mask] for name, array in self.known.raw.items()}, told),
                ({name: array[mask] for name, array in judged.raw.items()}, calibration),
            ]
            scores = [self._scores(raw, targets, one) for raw, one in sides]
            values = [self.dataset.problem.score(one) for one in scores]
            gains[part] = values[1] - values[0]
            noise[part] = self._noise(sides, targets)
            old[part], new[part] = (_finite(self._shown(one)) for one in scores)
        lost = [part for part in (OLD, NEW) if gains.get(part, 0.0) < -WORSE * (noise.get(part) or 0.0)]
        if lost:
            why = f"it is worse on the {' and the '.join(part.replace('_', ' ') for part in lost)}"
        elif not gains[ALL] > (noise[ALL] or 0.0):  # the best of many is a little better by luck alone
            why = "it is not better by more than noise"
        else:
            why = "it is better by more than noise" + (", and worse on no part" if self.known.rows_old else "")
        better = why.startswith("it is better")
        if better or self.verdict is None:
            self.verdict = Verdict(better=better, why=why, old=old, new=new, noise=noise)
        return better

    def _noise(self, sides: list[tuple[dict[str, np.ndarray], Any]], targets: dict[str, np.ndarray]) -> float | None:
        """Standard error of the difference of two scores: a bootstrap over rows, the same for both."""
        rows = len(next(iter(targets.values())))
        values = sum(array.size for array in sides[0][0].values())
        generator, found = np.random.default_rng(0), []
        for _ in range(int(min(RESAMPLES, max(RESAMPLED_VALUES / max(values, 1), 30)))):
            drawn = generator.integers(rows, size=rows)
            some = {name: array[drawn] for name, array in targets.items()}
            one, other = (
                self.dataset.problem.score(self._scores({n: a[drawn] for n, a in raw.items()}, some, told))
                for raw, told in sides
            )
            found.append(other - one)
        finite = [value for value in found if math.isfinite(value)]
        return float(np.std(finite)) if len(finite) > 1 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
