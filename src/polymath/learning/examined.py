"""The test: what was learned is asked, once, about rows that nothing was learned from, in the time left for it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.layers.stored import Fetch
from ..model.path import Path
from ..predicting import forward, said, truth_of
from ..problem import Dataset, Feature, Problem

if TYPE_CHECKING:
    import pyarrow as pa

    from ..model.build import PathModule

RESAMPLES, FEWEST_RESAMPLES = 400, 20
"""Of the bootstrap behind the confidence interval of the test score; the fewest, if time is short."""
RESAMPLED_VALUES = 40_000_000
"""Raw predictions drawn for it in all, at most."""
EVIDENCE_VALUES = 4_000_000
"""Raw predictions kept for the report at most (16 MB): of more rows an even sample."""
SAID_ROWS = 1_000
"""Test rows whose whole answers are made and scored at the end; `evaluate` takes as many as it is given."""
CAUTION = 0.8
"""Share of the time left that is planned with: the machine may be slower in a moment."""
PILOT_ROWS, FEWEST_ROWS = 8, 24
"""Rows by which is timed what an answer takes; rows that are tested however short the time."""


@dataclass(frozen=True)
class Judged:
    """Answers for rows whose truth is known: raw predictions and targets by output, and the scores they got."""

    rows: np.ndarray
    raw: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    scores: dict[str, dict[str, float]]

    def evidence(self, most: int) -> dict[str, np.ndarray]:
        """What a report draws from, of at most `most` values: row numbers, raw predictions, targets. No inputs."""
        count = max(1, most // max(1, sum(math.prod(array.shape[1:]) for array in self.raw.values())))
        kept = np.unique(np.linspace(0, len(self.rows) - 1, min(count, len(self.rows))).astype(np.int64))
        tensors: dict[str, np.ndarray] = {"row": np.asarray(self.rows, dtype=np.int64)[kept]}
        tensors |= {f"output/{name}": np.asarray(array, dtype=np.float32)[kept] for name, array in self.raw.items()}
        return tensors | {f"target/{name}": array[kept] for name, array in self.targets.items()}


def examine(
    path: Path,
    dataset: Dataset,
    calibration: Mapping[str, Mapping[str, Any]],
    *,
    fetch: Fetch,
    table: pa.Table | None,
    ends: float | None,
) -> tuple[Judged, tuple[float, float] | None]:
    """Answers and scores on the test rows, and the 95 % interval of the score shown: a bootstrap over rows.

    `table`: all rows as they came, for scores of whole answers; after a refresh the last ones alone, the new rows.
    `ends`: `time.monotonic()` at which it must be over; where whole answers take longer (pictures answered at every
    pixel, texts), an even sample of the rows is tested.
    """
    from ..model.build import build

    problem = dataset.problem
    exam = _Exam(dataset, build(path, problem.all_ports, fetch=fetch).eval(), calibration, table)
    rows, whole = exam.affordable(ends)
    raw, targets = exam.raw(rows), {name: np.asarray(array[rows]) for name, array in dataset.targets.items()}
    scores = scores_of(problem, raw, targets, calibration)
    kept = shown_score(problem, scores)
    for output, more in exam.whole_scores(whole).items():
        # What only some rows tell takes the place of nothing that all of them do.
        scores[output] = more | scores[output] if exam.first else scores[output] | more
    judged = Judged(rows, raw, targets, scores)
    interval = _interval(problem, judged, calibration, ends=ends)
    if interval is None:
        return judged, None
    # What whole answers scored is what is shown: the interval of what was kept of them lies around it.
    apart = shown_score(problem, scores) - kept
    apart = apart if math.isfinite(apart) else 0.0
    return judged, (interval[0] + apart, interval[1] + apart)


def scores_of(
    problem: Problem,
    raw: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    calibration: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, float]]:
    """Scores by output; with `calibration`, those of what the user is told."""
    told = calibration or {}
    return {f.name: f.scores(f.calibrated(raw[f.name], told.get(f.name, {})), targets[f.name]) for f in problem.outputs}


def shown_score(problem: Problem, scores: Mapping[str, Mapping[str, float]]) -> float:
    """The score as people read it: in the units and the direction of its metric."""
    value = problem.score(scores)
    single = len(problem.outputs) == 1
    return value if not single or problem.metric_of(problem.outputs[0].name).greater_is_better else -value


def _interval(
    problem: Problem, judged: Judged, calibration: Mapping[str, Mapping[str, Any]], *, ends: float | None
) -> tuple[float, float] | None:
    generator, count = np.random.default_rng(0), len(judged.rows)
    values = sum(array.size for array in judged.raw.values())
    drawn: list[float] = []
    for place in range(min(RESAMPLES, max(50, int(RESAMPLED_VALUES / max(values, 1))))):
        if place >= FEWEST_RESAMPLES and ends is not None and time.monotonic() > ends:
            break
        again = generator.integers(count, size=count)
        raw, targets = ({n: a[again] for n, a in part.items()} for part in (judged.raw, judged.targets))
        drawn.append(shown_score(problem, scores_of(problem, raw, targets, calibration)))
    finite = [value for value in drawn if math.isfinite(value)]
    if not finite:
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    if low == high and len(problem.outputs) == 1 and problem.metric_of(problem.outputs[0].name).name == "accuracy":
        return _of_all_alike(float(low), problem.outputs[0], judged)
    return float(low), float(high)


def _of_all_alike(value: float, feature: Feature, judged: Judged) -> tuple[float, float]:
    """Of an accuracy where every row is right, or every row wrong: drawing rows again then tells nothing.

    The share of unseen rows that is right is bounded as a binomial's is (Clopper and Pearson 1934).
    """
    from scipy.stats import binomtest

    count = int(feature.known(judged.targets[feature.name]).sum())
    if not count:
        return value, value
    found = binomtest(round(value * count), count).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class _Exam:
    """A path that is asked about rows of a dataset."""

    dataset: Dataset
    module: PathModule
    calibration: Mapping[str, Mapping[str, Any]]
    table: pa.Table | None

    @property
    def judging(self) -> list[Feature]:
        """Outputs that have scores of whole answers."""
        if self.table is None:
            return []
        return [one for one in self.dataset.problem.outputs if type(one).said_scores is not Feature.said_scores]

    @property
    def first(self) -> int:
        """The first row of the dataset that the table holds."""
        return 0 if self.table is None else len(self.dataset.folds) - self.table.num_rows

    def affordable(self, ends: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Test rows to ask about, and those of them whose whole answers are made: as many as there is time for."""
        rows = self.dataset.test
        at_hand = rows[rows >= self.first]
        whole = _even(at_hand, SAID_ROWS) if self.judging else rows[:0]
        if ends is None or len(whole) <= FEWEST_ROWS:
            return rows, whole
        self.whole_scores(_even(at_hand, 2))  # what is made when it is first needed is not the price of a row
        pilot, begin = _even(rows, PILOT_ROWS), time.monotonic()
        if begin > ends:
            return _even(rows, FEWEST_ROWS), _even(at_hand, FEWEST_ROWS)
        self.raw(pilot)
        middle = time.monotonic()
        self.whole_scores(_even(at_hand, PILOT_ROWS))
        end = time.monotonic()
        cost = (len(rows) * (middle - begin) + len(whole) * (end - middle)) / len(pilot)
        share = CAUTION * max(ends - end, 0.0) / max(cost, 1e-9)
        if share >= 1:
            return rows, whole
        rows = _even(rows, max(FEWEST_ROWS, int(share * len(rows))))
        return rows, _even(at_hand, max(FEWEST_ROWS, int(share * len(whole))))

    def raw(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """What is kept of raw predictions."""
        inputs = {port: array[rows] for port, array in self.dataset.inputs.items()}
        return forward(self.module, inputs, truth=truth_of(self.dataset, rows))

    def whole_scores(self, rows: np.ndarray) -> dict[str, dict[str, float]]:
        """By output, scores of whole answers, where an output has such."""
        problem, judging = self.dataset.problem, self.judging
        if not judging or not len(rows):
            return {}
        assert self.table is not None
        if any(one.answer.kind == "map" for one in judging):
            from ..model.decode.tiles import answer_pixels

            table = self.table.take(rows - self.first)
            kept, told, _ = answer_pixels(self.module, problem, table, calibration=self.calibration)
            return {one.name: one.said_scores(told[one.name], table[one.name].take(kept)) for one in judging}
        inputs = {port: self.dataset.inputs[port][rows] for port in problem.ports}
        answers = said(self.module, problem, inputs, calibration=self.calibration)
        table = self.table.select([one.name for one in judging]).take(rows - self.first)
        return {one.name: one.said_scores(answers[one.name], table[one.name]) for one in judging}


def _even(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly spread."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64))]
