"""Where a model looks for what to try next: the whole of a small space, or all around the best of a large one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .choices import Answer, Choice, Sketch, Trace, as_traced, at_random, crossed, offer_of
from .encoding import Encoder, Quadratic

Draw = Callable[[Answer], Sketch]
MOST_POINTS = 60_000
"""Of a grid, each of which is passed through once: larger spaces are searched around the best."""
REACH = 2
"""Changes away from the best that count as near it."""
NUMBERS = 8
"""Other numbers tried of a range."""
DOUBLES = 100
"""Pairs of changes tried of each parent, beside all single ones."""
DRAWN = 3
"""Changed traces that are really drawn and judged again, per proposal that is asked for."""


class Grid:
    """A small space, whole: its choices are lists of options that do not depend on each other.

    Every point is passed through once, to learn which points build the same thing. Those are one thing with one row,
    the mean of theirs, so that what is learned does not depend on the choices by which it was tried.
    """

    def __init__(self, draw: Draw, choices: Sequence[Sequence[Choice]]) -> None:
        self._draw = draw
        self._choices = choices
        self._names = tuple(options[0].name for options in choices)
        self._points = np.indices([len(options) for options in choices]).reshape(len(choices), -1).T
        self.identities: list[str] = []
        """Of all different things that can be built."""
        self._number: dict[str, int] = {}
        self._thing = np.array([self._thing_at(point) for point in self._points])
        """For each point the number of what it builds; -1 where building fails."""
        things, points = np.unique(self._thing, return_index=True)
        self._point = points[things >= 0]
        """The first point of each thing."""
        self._rows: np.ndarray = np.zeros((0, 0), dtype=np.float32)

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

    def _sketch(self, point: np.ndarray) -> Sketch:
        answers = dict(zip(self._names, map(float, point), strict=True))
        return self._draw(lambda offer: answers[offer.name])

    def _thing_at(self, point: np.ndarray) -> int:
        sketch = self._sketch(point)
        if sketch.error:
            return -1
        number = self._number.setdefault(sketch.identity, len(self.identities))
        if number == len(self.identities):
            self.identities.append(sketch.identity)
        return number

    def rows(self, traces: Sequence[Trace], encoder: Encoder) -> np.ndarray:
        """The rows of the things that traces build; of other spaces' traces their own rows."""
        every = self._every(encoder)
        rows = encoder.rows(traces)
        every = encoder.widened(every)
        places = [{(c.name, c.token): place for place, c in enumerate(options)} for options in self._choices]
        sizes = [len(options) for options in self._choices]
        for index, trace in enumerate(traces):
            found = [known.get((c.name, c.token)) for known, c in zip(places, trace.choices, strict=False)]
            if len(found) == len(sizes) == len(trace.choices) and None not in found:
                thing = self._thing[np.ravel_multi_index(found, sizes)]  # type: ignore[arg-type]
                if thing >= 0:
                    rows[index] = every[thing]
        return rows

    def _every(self, encoder: Encoder) -> np.ndarray:
        """The rows of all things: (things, width)."""
        pieces = [encoder.rows([Trace.model_construct(choices=(one,)) for one in options]) for options in self._choices]
        if self._rows.shape[1] == encoder.width:
            return self._rows
        good = self._thing >= 0
        things = self._thing[good]
        whole = np.zeros((int(good.sum()), encoder.width), dtype=np.float32)
        for place, piece in enumerate(pieces):
            whole += encoder.widened(piece)[self._points[good, place]]
        order = np.argsort(things, kind="stable")
        starts = np.flatnonzero(np.diff(things[order], prepend=-1))
        self._rows = np.add.reduceat(whole[order], starts, axis=0)
        self._rows /= np.bincount(things)[:, None]
        return self._rows

    def best(
        self,
        model: Quadratic,
        encoder: Encoder,
        *,
        count: int,
        noise: float,
        generator: np.random.Generator,
        begun: set[str],
        near: Trace | None = None,
    ) -> list[Sketch]:
        """The `count` best things by the model's answers plus noise that have not begun; fewer when few are left.

        With `near` the last of them is the best by the model alone within `REACH` changes of that trace.
        """
        rows = self._every(encoder)
        expected = model.widened(encoder.width)(rows)
        expected[[self._number[identity] for identity in begun if identity in self._number]] = -np.inf
        blurred = expected + noise * generator.standard_normal(len(rows))
        chosen = _descending(blurred, most=count)
        if near is not None and count > 1:
            close = np.zeros(len(rows), dtype=bool)
            close[self._around(near)] = True
            close[chosen[:-1]] = False
            last = int(np.where(close, expected, -np.inf).argmax())
            if close[last] and np.isfinite(expected[last]):
                chosen = np.array([*chosen[: count - 1], last])
        return [self._sketch(self._points[self._point[index]]) for index in chosen if np.isfinite(expected[index])]

    def _around(self, trace: Trace) -> np.ndarray:
        """The things that a few changes of a trace of this space give."""
        answers = np.array([choice.answer for choice in trace.choices])
        things = self._thing[(self._points != answers).sum(axis=1) <= REACH]
        return np.asarray(things[things >= 0])


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
        singles = _singles(trace, generator)
        steps = _steps(trace, singles, encoder)
        pairs = generator.integers(len(singles), size=(DOUBLES, 2)) if len(singles) > 1 else np.zeros((0, 2), int)
        pairs = np.array([(i, j) for i, j in pairs.tolist() if singles[i].keys() != singles[j].keys()], int).reshape(
            -1, 2
        )
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


def _singles(trace: Trace, generator: np.random.Generator) -> list[dict[str, float]]:
    """Changes of one choice: every other option, some other numbers of a range."""
    found: list[dict[str, float]] = []
    for choice in trace.choices:
        offer = offer_of(choice)
        if offer.options:
            found += [{choice.name: float(n)} for n in range(offer.options) if n != choice.answer]
        elif offer.is_open:
            numbers = {offer.another(choice.answer, generator) for _ in range(NUMBERS)} - {choice.answer}
            found += [{choice.name: number} for number in sorted(numbers)]
    return found


def _steps(trace: Trace, singles: Sequence[dict[str, float]], encoder: Encoder) -> np.ndarray:
    """What each change of one choice adds to the row of `trace`: (changes, width)."""
    made = {choice.name: choice for choice in trace.choices}
    pieces = []
    for single in singles:
        ((name, answer),) = single.items()
        old = made[name]
        if old.options:
            new = encoder.option(old, answer)
        else:
            new = Choice.model_construct(**{**old.__dict__, "answer": answer})
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
