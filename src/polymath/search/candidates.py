"""Where a model looks for what to try next: the whole of a small space, or all around the best of a large one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .choices import Answer, Choice, Sketch, Trace, as_traced, at_random, crossed, neighbours
from .encoding import Encoder, Quadratic

Draw = Callable[[Answer], Sketch]
MOST_POINTS = 100_000
"""Of a grid: larger spaces are searched around the best."""
DOUBLES = 100
"""Pairs of changes tried of each parent, beside all single ones."""
DRAWN = 3
"""Changed traces that are really drawn and judged again, per proposal that is asked for."""


class Grid:
    """A small space whose choices are lists of options that do not depend on each other: every point has its answer.

    A quadratic in rows that are sums of pieces is a sum of one table per choice and one per pair of choices, so all
    points are judged by adding those up, without a row for any of them.
    """

    def __init__(self, draw: Draw, choices: Sequence[Sequence[Choice]]) -> None:
        self._draw = draw
        self._choices = choices
        self._sizes = tuple(len(options) for options in choices)
        self._names = tuple(options[0].name for options in choices)
        self._closed = np.zeros(math.prod(self._sizes), dtype=bool)
        """Points that need no further look: tried, equal to what was tried, or broken."""

    @classmethod
    def of(cls, draw: Draw, traces: Sequence[Trace]) -> Grid | None:
        """The grid of a space, by the traces seen so far; None when it is none, or too large."""
        first = traces[0].choices
        offers = [(choice.name, choice.options) for choice in first]
        points = math.prod(choice.options for choice in first)
        if not 1 < points <= MOST_POINTS or any([(c.name, c.options) for c in t.choices] != offers for t in traces):
            return None
        choices: list[list[Choice]] = []
        for place, choice in enumerate(first):
            options: list[Choice] = []
            for answer in range(choice.options):
                made = draw(as_traced(traces[0], changed={choice.name: answer})).trace.choices
                if [(one.name, one.options) for one in made] != offers:
                    return None
                options.append(made[place])
            choices.append(options)
        return cls(draw, choices)

    def best(
        self,
        model: Quadratic,
        encoder: Encoder,
        *,
        count: int,
        noise: float,
        generator: np.random.Generator,
        begun: set[str],
    ) -> list[Sketch]:
        """The `count` best points by the model's answers plus noise that have not begun; fewer when none are left."""
        judged = self._judged(model, encoder) + np.float32(noise) * generator.standard_normal(
            len(self._closed), dtype=np.float32
        )
        judged[self._closed] = -np.inf
        found: list[Sketch] = []
        identities = set(begun)
        order = _descending(judged, most=20 * count)
        for index in order:
            if len(found) == count or not np.isfinite(judged[index]):
                break
            answers = np.unravel_index(index, self._sizes)
            given = {name: float(answer) for name, answer in zip(self._names, answers, strict=True)}
            sketch = self._draw(as_traced(Trace(), changed=given))
            self._closed[index] = True
            if not sketch.error and sketch.identity not in identities:
                identities.add(sketch.identity)
                found.append(sketch)
        return found

    def _judged(self, model: Quadratic, encoder: Encoder) -> np.ndarray:
        pieces = [encoder.rows([Trace.model_construct(choices=(one,)) for one in options]) for options in self._choices]
        pieces = [encoder.widened(piece) for piece in pieces]
        model = model.widened(encoder.width)
        whole = np.full(self._sizes, model.middle, dtype=np.float32)
        ones = (1,) * len(pieces)
        for i, one in enumerate(pieces):
            alone = one @ model.linear + np.einsum("ij,ij->i", one @ model.square, one)
            whole += alone.reshape(*ones[:i], -1, *ones[i + 1 :])
            for j in range(i + 1, len(pieces)):
                pairs = 2 * one @ model.square @ pieces[j].T
                whole += pairs.reshape(*ones[:i], len(one), *ones[i + 1 : j], -1, *ones[j + 1 :])
        return whole.ravel()


@dataclass(frozen=True)
class _Change:
    """Some answers of a parent changed, and the row that this gives when no other choice opens or closes."""

    parent: Trace
    answers: dict[str, float]


def around(
    parents: Sequence[Trace],
    model: Quadratic,
    encoder: Encoder,
    *,
    draw: Draw,
    count: int,
    noise: float,
    generator: np.random.Generator,
) -> list[Sketch]:
    """Changes of one or two choices of the parents, the best by the model's answers, and crossings: really drawn.

    Changes are judged as if no choice opened or closed by them; only the `DRAWN * count` best are drawn, and are then
    for the caller to judge by what they really are.
    """
    rows = encoder.rows(parents)
    changes: list[_Change] = []
    changed: list[np.ndarray] = []
    for trace, row in zip(parents, rows, strict=True):
        singles = list(neighbours(trace))
        steps = _steps(trace, singles, encoder)
        pairs = generator.integers(len(singles), size=(DOUBLES, 2)) if len(singles) > 1 else np.zeros((0, 2), int)
        pairs = np.array([pair for pair in pairs if set(singles[pair[0]]) != set(singles[pair[1]])], int).reshape(-1, 2)
        row = np.pad(row, (0, steps.shape[1] - len(row)))
        changed += [row + steps, row + steps[pairs[:, 0]] + steps[pairs[:, 1]]]
        changes += [_Change(trace, single) for single in singles]
        changes += [_Change(trace, singles[i] | singles[j]) for i, j in pairs]
    found: list[Sketch] = []
    if changes:
        every = np.concatenate([encoder.widened(part) for part in changed])
        judged = model.widened(encoder.width)(every) + noise * generator.standard_normal(len(every))
        for index in _descending(judged, most=DRAWN * count):
            change = changes[index]
            found.append(draw(as_traced(change.parent, otherwise=at_random(generator), changed=change.answers)))
    for _ in range(count):
        mother, father = (parents[int(place)] for place in generator.integers(len(parents), size=2))
        found.append(draw(crossed(mother, father, generator)))
    return found


def _steps(trace: Trace, singles: Sequence[dict[str, float]], encoder: Encoder) -> np.ndarray:
    """What each change of one choice adds to the row of `trace`: (changes, width)."""
    made = {choice.name: choice for choice in trace.choices}
    pieces = []
    for single in singles:
        ((name, answer),) = single.items()
        old = made[name]
        new = encoder.option(old, answer) if old.options else old.model_copy(update={"answer": answer})
        pieces.append((encoder.piece(old), encoder.piece(new) if new is not None else ()))
    steps = np.zeros((len(singles), encoder.width), dtype=np.float32)
    for step, (old_piece, new_piece) in zip(steps, pieces, strict=True):
        for column, amount in old_piece:
            step[column] -= amount
        for column, amount in new_piece:
            step[column] += amount
    return steps


def _descending(values: np.ndarray, *, most: int) -> np.ndarray:
    """Indices of the `most` largest values, largest first."""
    most = min(most, len(values))
    largest = np.argpartition(-values, most - 1)[:most]
    return np.asarray(largest[np.argsort(-values[largest], kind="stable")])
