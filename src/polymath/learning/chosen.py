"""Which experiments become one path: the best together by the rows that judge, or a safe mean where these are few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..model.alike import MOST, alike, weighed
from ..model.combine import Member, select
from ..problem import Problem
from .examined import scores_of

PIXELS_BETTER = 1e-4
"""By which an ensemble of answers at every pixel must be better than its best part: each member costs a whole net."""
SMOOTH = 0.1
"""Weight of the smooth loss beside a metric that moves in steps when ensembles are compared."""


def best_together(
    members: Sequence[Member],
    problem: Problem,
    targets: Mapping[str, np.ndarray],
    *,
    rows: np.ndarray,
    charged: Callable[[float, frozenset[int]], float],
) -> dict[int, float]:
    """Weights by member number that make the best score. `rows` [M]: those of the members' answers that are compared.

    `targets`: what holds for these rows, by output. `charged`: a score after what the members of these numbers cost.
    """
    judged = [
        replace(member, predictions={name: array[rows] for name, array in member.predictions.items()})
        for member in members
    ]

    def judge(raw: Mapping[str, np.ndarray], numbers: frozenset[int]) -> float:
        scores = scores_of(problem, raw, targets)
        smooth = [one["log_loss"] for one in scores.values() if "log_loss" in one]
        return charged(problem.score(scores), numbers) - (SMOOTH * float(np.mean(smooth)) if smooth else 0.0)

    of_pixels = any(output.answer.kind == "map" for output in problem.outputs)
    return select(judged, problem.outputs, judge, least=PIXELS_BETTER if of_pixels else 0.0)


def safe_mean(
    members: Sequence[Member],
    problem: Problem,
    targets: Mapping[str, np.ndarray],
    *,
    is_head: Callable[[int], bool],
    lent: set[str],
    most: int | None,
) -> dict[int, float]:
    """Weights of the heads that few rows do not tell from the best, where one on what is stored is among them.

    Few rows choose badly among many: such a mean is safer than any one of them. Nets that were trained on these
    rows are left out then: they cost more, and fit few rows by chance. Empty where nothing stored is as good.

    `is_head`: whether the experiment of a number is a cheap head. `lent`: addresses of the weights that stored tasks
    lend. `most`: experiments in the final path.
    """
    heads = [one for one in alike(members, problem.outputs, targets) if is_head(one.number)]
    weights = weighed(heads, problem.outputs, targets, most=min(MOST, most or MOST)) if heads else {}
    stored = {one.number for one in heads if any(lent & path.addresses for path in one.paths)}
    return weights if stored & weights.keys() else {}
