"""Death tests between two rungs: what need not be asked of any cutter. Nothing here is a failure of an experiment.

An experiment with a verdict is cut: it keeps its results and its score, and is not offered to the cutter again unless
the verdict is gone (more budget given, say).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from .cutters.base import Standing


def verdict(
    standing: Standing,
    *,
    chance: float | None = None,
    predictions: str | None = None,
    seen: Mapping[str, int] | None = None,
    work_left: float = math.inf,
) -> str:
    """Why an experiment with one finished rung or more should not go on, in a few words; empty = it lives.

    `chance`: score of the answer that looks at no input (the constant head), if known. `predictions`: address of what
    it predicted in its last rung; `seen`: such addresses -> the lowest number of an experiment that gave them (see
    `note`), so that of two with equal behaviour the earlier one lives. `work_left`: of the budget, on one lane.
    """
    if not standing.scores:
        return ""
    if not math.isfinite(standing.scores[-1]):
        return "diverged: its score is not a finite number"
    if chance is not None and max(standing.scores) <= chance:
        return f"no progress: {max(standing.scores):.6g} is not better than {chance:.6g} for a constant answer"
    twin = (seen or {}).get(predictions, standing.number) if predictions else standing.number
    if twin < standing.number:
        return f"behaves exactly as experiment {twin}"
    if standing.next_work > work_left:
        return f"too dear: its next rung costs {standing.next_work:.4g} units, {max(work_left, 0.0):.4g} are left"
    return ""


def note(seen: dict[str, int], predictions: str | None, number: int) -> None:
    """Remembers in `seen` who gave these predictions first, by number and not by time of arrival."""
    if predictions:
        seen[predictions] = min(number, seen.get(predictions, number))
