"""Traces as rows of numbers, for generators that learn which choices score well.

Every choice adds its own few numbers to the row: an option is one-hot by what it is (not by its place in the list,
which may differ on another problem), a number of a range is shared between the two nearest of a few knots. A choice
that was not made adds nothing. So the row of a trace with one choice changed is the old row minus one piece plus
another, and a kernel of second degree over rows is a model of all pairs of choices (`fit`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .choices import Choice, Trace, offer_of

KNOTS = 5
"""A number is told apart from others by its distances to so many places of its range."""
SHARED = 0.3
"""How strongly choices whose names differ only in numbers (layer1.width, layer2.width) count as the same choice."""

Piece = tuple[tuple[int, float], ...]
"""What one choice adds to a row: (column, amount) pairs."""


class Encoder:
    """Gives traces their rows; the rows grow to the right when something new is seen."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, str], int] = {}
        self._pieces: dict[tuple[object, ...], Piece] = {}
        self._families: dict[str, str] = {}
        self._options: dict[tuple[str, int, float], Choice] = {}

    @property
    def width(self) -> int:
        """Columns known so far."""
        return len(self._columns)

    def piece(self, choice: Choice) -> Piece:
        """What `choice` adds to the row of its trace."""
        key = (choice.name, choice.options, choice.low, choice.high, choice.log, choice.answer, _hashable(choice.value))
        piece = self._pieces.get(key)
        if piece is None:
            piece = self._pieces[key] = self._made(choice)
        return piece

    def option(self, choice: Choice, answer: float) -> Choice | None:
        """The same choice answered otherwise; None when nobody has taken that option yet, so that it is unknown."""
        return self._options.get((choice.name, choice.options, answer))

    def rows(self, traces: Iterable[Trace]) -> np.ndarray:
        """One row for each trace: float32 (traces, width)."""
        places: list[int] = []
        columns: list[int] = []
        amounts: list[float] = []
        number = 0
        for number, trace in enumerate(traces, start=1):
            for choice in trace.choices:
                for column, amount in self.piece(choice):
                    places.append(number - 1)
                    columns.append(column)
                    amounts.append(amount)
        found = np.zeros((number, self.width), dtype=np.float32)
        np.add.at(found, (places, columns), amounts)
        return found

    def widened(self, rows: np.ndarray) -> np.ndarray:
        """Older rows with zeros for the columns that have come since."""
        missing = self.width - rows.shape[1]
        return np.pad(rows, ((0, 0), (0, missing))) if missing else rows

    def _made(self, choice: Choice) -> Piece:
        if choice.options:
            self._options[choice.name, choice.options, choice.answer] = choice
        family = self._families.get(choice.name)
        if family is None:
            family = self._families[choice.name] = re.sub(r"\d+", "#", choice.name)
        shares = {choice.token: 1.0} if choice.kind == "options" else _knots(choice)
        piece = [(self._column(choice.name, token), share) for token, share in shares.items()]
        if family != choice.name:
            piece += [(self._column(family, token), SHARED * share) for token, share in shares.items()]
        return tuple(piece)

    def _column(self, name: str, token: str) -> int:
        return self._columns.setdefault((name, token), len(self._columns))


def _hashable(value: object) -> object:
    """Something that is equal only for equal options; True, 1 and 1.0 are different ones."""
    return (type(value), value) if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def _knots(choice: Choice) -> dict[str, float]:
    """The nearest knots below and above a number, with shares whose squares sum to one."""
    offer = offer_of(choice)
    values = int(offer.high - offer.low) + 1 if offer.whole else KNOTS
    steps = min(KNOTS, max(values, 1)) - 1
    place = offer.place(choice.answer) * steps
    below = min(int(place), max(steps - 1, 0))
    above = place - below
    shares = {f"knot{below}of{steps}": 1 - above, f"knot{below + 1}of{steps}": above}
    return {knot: share**0.5 for knot, share in shares.items() if share > 0}


@dataclass(frozen=True)
class Quadratic:
    """middle + <linear, x> + x' square x for rows x: what a model of pairs has learned."""

    middle: float
    linear: np.ndarray
    square: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.middle + rows @ self.linear + np.einsum("ij,ij->i", rows @ self.square, rows))

    def widened(self, width: int) -> Quadratic:
        """The same for rows that have grown."""
        missing = width - len(self.linear)
        if not missing:
            return self
        linear = np.pad(self.linear, (0, missing))
        return Quadratic(self.middle, linear, np.pad(self.square, (0, missing)))


def pairs(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How alike rows are in their choices and pairs of choices: (ones, others)."""
    kernel: np.ndarray = (ones @ others.T).astype(np.float64)
    kernel += kernel * kernel / 2
    return kernel


def fit(rows: np.ndarray, targets: np.ndarray, *, ridge: float) -> Quadratic:
    """Ridge regression on choices and pairs of choices by its kernel: k(x, y) = <x, y> + <x, y>^2 / 2.

    rows (n, width), targets (n,). Costs n^3, whatever the number of pairs.
    """
    kernel = pairs(rows, rows)
    kernel[np.diag_indices_from(kernel)] += ridge
    middle = float(targets.mean())
    dual = cho_solve(cho_factor(kernel, lower=True, check_finite=False), targets - middle, check_finite=False)
    single = dual.astype(np.float32)
    return Quadratic(middle, single @ rows, (rows.T * (single / 2)) @ rows)


def ranked(scores: Sequence[float] | np.ndarray, *, reach: float = 1.7) -> np.ndarray:
    """Ranks of scores (ties share theirs), spread evenly over -reach to reach; failures (-inf) share the last place."""
    _, place, counts = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = ends - (counts - 1) / 2 - 0.5
    return np.asarray((2 * middle[place] / len(place) - 1) * reach)


def likeness(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """How alike two fingerprints are: 1 for equal ones, towards 0 with the mean distance of the numbers both have."""
    shared = sorted(set(one) & set(other))
    if not shared:
        return 0.5
    return float(np.exp(-np.mean([abs(one[name] - other[name]) for name in shared])))
