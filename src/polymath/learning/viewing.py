"""How many views of a picture answers at every pixel are the mean of: tried on validation rows, kept if better.

Only views that training has shown are tried: mirror images where pictures were mirrored, all eight where pictures were
turned too, as they are where nothing shows which way is up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..model.build import PathModule, build
from ..model.decode.views import COUNTS, mean_answers
from ..model.layers.moved import Moved
from ..model.layers.stored import Fetch
from ..model.path import Path
from ..predicting import truth_of
from ..problem import Dataset
from ..search.spaces.designs import Design
from ..train.recipe import GradientRecipe

MOST_JUDGED, FEWEST_JUDGED = 100, 16
"""Validation rows that are asked again, evenly spread; with time for fewer nothing is tried."""
LEAST_GAIN = 1e-3
"""Share of the score by which more views must be better: every doubling makes answers twice as dear."""
TIME_SHARE = 0.3
"""Of the time that is left for the end: what the trial may take."""


@dataclass(frozen=True)
class Viewed:
    """Answers for some validation rows, each the mean over so many views."""

    views: int
    rows: np.ndarray
    raw: dict[str, np.ndarray]
    moves: Mapping[int, tuple[Moved, ...]] = field(default_factory=dict)
    """Of answers about whole pictures: by experiment the views beside the picture as it is (`moving`)."""


def most_views(designs: Sequence[object]) -> int:
    """Views that the training of every one of these designs has shown; cheap heads know the picture alone."""
    each = []
    for design in designs:
        recipe = design.recipe if isinstance(design, Design) else None
        views = recipe.augmentation if isinstance(recipe, GradientRecipe) else None
        each.append(1 if views is None else COUNTS[-1] if views.turn else COUNTS[1] if views.flip else 1)
    return min(each, default=1)


def best_views(
    first: Viewed,
    paths: Mapping[int, Path],
    dataset: Dataset,
    *,
    most: int,
    judge: Callable[[Viewed], float],
    fetch: Fetch,
    ends: float | None,
) -> Viewed:
    """The answers of most use, `first` those of one view. `paths`: fold -> the path that did not learn from it.

    `ends`: `time.monotonic()` at which the test must be over; None = there is time for every trial.
    """
    modules = {fold: build(path, dataset.problem.all_ports, fetch=fetch).eval() for fold, path in paths.items()}
    counts = [count for count in COUNTS[1:] if count <= most]
    rows = len(first.rows) if ends is None else _affordable(modules, dataset, first.rows, sum(counts), ends)
    if not counts or rows < min(FEWEST_JUDGED, len(first.rows)):
        return first
    chosen = np.unique(np.linspace(0, len(first.rows) - 1, min(rows, MOST_JUDGED)).astype(np.int64))
    best = Viewed(1, first.rows[chosen], {name: raw[chosen] for name, raw in first.raw.items()})
    score = judge(best)
    for views in counts:
        more = Viewed(views, best.rows, _asked(modules, dataset, best.rows, views))
        if (found := judge(more)) > score + LEAST_GAIN * abs(score):
            best, score = more, found
    return first if best.views == 1 else best


def _affordable(modules: Mapping[int, PathModule], dataset: Dataset, rows: np.ndarray, passes: int, ends: float) -> int:
    """Rows for whose passes there is time, by how long one takes."""
    _asked(modules, dataset, rows[:1], 1)  # what is made when it is first needed is not the price of a row
    begin = time.monotonic()
    _asked(modules, dataset, rows[:1], 1)
    each = time.monotonic() - begin
    return int(TIME_SHARE * max(ends - time.monotonic(), 0.0) / max(passes * each, 1e-9))


def _asked(modules: Mapping[int, PathModule], dataset: Dataset, rows: np.ndarray, views: int) -> dict[str, np.ndarray]:
    """What is kept of the answers for these rows, in their order."""
    how = {output.name: output.averaged for output in dataset.problem.outputs}
    found: dict[str, list[np.ndarray]] = {name: [] for name in how}
    with torch.inference_mode():
        for row in rows:
            module, one = modules[int(dataset.folds[row])], np.array([row])
            batch = {port: torch.from_numpy(np.array(dataset.inputs[port][one])) for port in module.ports}
            truth = truth_of(dataset, one)
            for name, raw in mean_answers(module, batch, views=views, how=how).items():
                feature, target = truth[name]
                found[name].append(feature.kept(raw.float(), torch.from_numpy(target)).numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}
