"""Answers about whole pictures as the mean over views of them: mirrored, moved by a pixel; kept where they are better.

Only nets whose training has shown such views are asked for them. Tried on validation rows when a task is made, in the
time there is. A net of 820 steps on CIFAR-10 went from 82.0 % to 83.3 % with its mirror image, 83.7 % with moved ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from ..model.build import PathModule, build
from ..model.combine import Member
from ..model.layers.moved import Moved
from ..model.layers.stored import Fetch
from ..model.moving import moved
from ..model.path import Path
from ..predicting import forward, truth_of
from ..problem import Dataset
from ..search.spaces.designs import Design
from ..train.recipe import GradientRecipe
from .viewing import LEAST_GAIN, Viewed

MOST_PASSES = 8
"""Passes of single nets that one answer may take: many folds and members are a mean over enough."""
FEWEST_JUDGED, PILOT = 200, 64
"""Validation rows that are asked again; with time for fewer nothing is tried. Rows that tell what one costs."""
MOST_LOSS = 5e-3
"""Share of another score that may be lost: a mean of probabilities is a little too careful until it is calibrated."""
TIME_SHARE = 0.4
"""Of the time that is left for the end: what the trial may take, and what it leaves for the test."""

Moves: TypeAlias = Mapping[int, tuple[Moved, ...]]
"""Number of an experiment -> the views that it answers beside the picture as it is."""
Known: TypeAlias = dict[tuple[int, Moved], dict[str, np.ndarray]]
"""Number of an experiment and a view -> its answers: every try has the views of the one before it."""


def moves_of(design: object) -> tuple[tuple[Moved, ...], ...]:
    """Ever more views, each set with all before it, that the training of a design has shown."""
    recipe = design.recipe if isinstance(design, Design) else None
    shown = recipe.augmentation if isinstance(recipe, GradientRecipe) else None
    if shown is None:
        return ((), ())
    mirrored = (Moved(mirror=True),) if shown.flip else ()
    shifted = (Moved(down=-1, right=-1), Moved(mirror=shown.flip, down=1, right=1)) if shown.shift else ()
    return mirrored, (*mirrored, *shifted)


def with_moves(member: Member, moves: Sequence[Moved], dataset: Dataset) -> Member:
    """The member with a path for every view: equal parts of its answer, as its folds are."""
    pictures = _pictures(dataset)
    paths = (one for path in member.paths for one in (path, *(moved(path, by, pictures=pictures) for by in moves)))
    return replace(member, paths=tuple(paths)) if moves else member


def _pictures(dataset: Dataset) -> set[str]:
    return {port for port, form in dataset.problem.ports.items() if form.kind == "map"}


def best_moves(
    trial: Trial, *, tries: Sequence[Moves], judge: Callable[[Viewed], tuple[float, ...]], ends: float | None
) -> Viewed:
    """The answers that one score of `judge` calls better and none much worse; the plain ones where there are none.

    `tries`: views by member, ever more; `ends`: `time.monotonic()` at which the test must be over, None = no end.
    """
    plain = trial.plain
    tries = [one for place, one in enumerate(tries) if any(one.values()) and one not in tries[:place]]
    tries = [one for one in tries if trial.passes(one) <= MOST_PASSES]
    rows, tries = trial.affordable(tries, ends)
    if not tries or rows < min(FEWEST_JUDGED, len(plain.rows)):
        return plain
    chosen = np.unique(np.linspace(0, len(plain.rows) - 1, min(rows, len(plain.rows))).astype(np.int64))
    best = replace(plain, rows=plain.rows[chosen], raw={name: raw[chosen] for name, raw in plain.raw.items()})
    scores, known = judge(best), Known()
    for moves in tries:
        more = Viewed(1, best.rows, trial.answers(moves, chosen, known), moves)
        found = judge(more)
        gains = [(new - old) / max(abs(old), 1e-9) for new, old in zip(found, scores, strict=True)]
        if max(gains) > LEAST_GAIN and min(gains) >= -MOST_LOSS:
            best, scores = more, found
    return best if best.moves else plain


@dataclass(frozen=True)
class Trial:
    """Members that are asked about validation rows once more; `plain`: what they together answered."""

    plain: Viewed
    members: Sequence[Member]
    weights: Mapping[int, float]
    dataset: Dataset
    fetch: Fetch

    def passes(self, moves: Moves) -> int:
        """Passes of single nets for one answer."""
        return sum(len(one.paths) * (1 + len(moves.get(one.number, ()))) for one in self.members)

    def affordable(self, tries: Sequence[Moves], ends: float | None) -> tuple[int, Sequence[Moves]]:
        """Validation rows for which there is time, and the tries after which there is time for the test."""
        if not tries or ends is None:
            return len(self.plain.rows), tries
        each = self._seconds(next(one for one in self.members if tries[-1].get(one.number)))
        left = max(ends - time.monotonic(), 0.0)
        tries = [one for one in tries if each * self.passes(one) * len(self.dataset.test) <= (1 - TIME_SHARE) * left]
        asked = sum(len(views) for one in tries[-1:] for views in one.values())
        return int(TIME_SHARE * left / max(asked * each, 1e-9)), tries

    def _seconds(self, member: Member) -> float:
        """What one pass of a member takes for one row."""
        module = self._module(member.paths[0])
        rows = self.plain.rows[:PILOT]
        self._asked(module, rows[:1])  # what is made when it is first needed is not the price of a row
        begin = time.monotonic()
        self._asked(module, rows)
        return (time.monotonic() - begin) / len(rows)

    def answers(self, moves: Moves, chosen: np.ndarray, known: Known) -> dict[str, np.ndarray]:
        """What all members together answer for these places of the validation rows; `known` keeps each view."""
        outputs = self.dataset.problem.outputs
        each = [self._answered(member, moves.get(member.number, ()), chosen, known) for member in self.members]
        shares = [self.weights[member.number] for member in self.members]
        if len(each) == 1:
            return each[0]
        return {f.name: f.combine([one[f.name] for one in each], shares) for f in outputs}

    def _answered(
        self, member: Member, moves: Sequence[Moved], chosen: np.ndarray, known: Known
    ) -> dict[str, np.ndarray]:
        own = {name: raw[chosen] for name, raw in member.predictions.items()}
        if not moves:
            return own
        for by in moves:
            if (member.number, by) not in known:
                known[member.number, by] = self._view(member, by, self.plain.rows[chosen])
        views = [own, *(known[member.number, by] for by in moves)]
        share = [1 / len(views)] * len(views)
        return {f.name: f.combine([one[f.name] for one in views], share) for f in self.dataset.problem.outputs}

    def _view(self, member: Member, by: Moved, rows: np.ndarray) -> dict[str, np.ndarray]:
        """One view of each row, by the path that did not learn from it."""
        folds = self.dataset.folds[rows]
        found: dict[str, np.ndarray] = {}
        for place, fold in enumerate(dict.fromkeys(self.dataset.folds[self.plain.rows].tolist())):
            here = np.flatnonzero(folds == fold)
            module = self._module(moved(member.paths[place], by, pictures=_pictures(self.dataset)))
            for name, raw in self._asked(module, rows[here]).items():
                found.setdefault(name, np.zeros((len(rows), *raw.shape[1:]), raw.dtype))[here] = raw
        return found

    def _module(self, path: Path) -> PathModule:
        return build(path, self.dataset.problem.all_ports, fetch=self.fetch).eval()

    def _asked(self, module: PathModule, rows: np.ndarray) -> dict[str, np.ndarray]:
        inputs = {port: self.dataset.inputs[port][rows] for port in module.ports}
        return forward(module, inputs, truth=truth_of(self.dataset, rows))
