"""Named choices: a space is a function that calls `choose`, and the trace of its choices is the genotype.

    def space(choose):
        depth = choose("depth", 1, 8)
        return [choose(f"layer{i}.width", [64, 128, 256]) for i in range(depth)]

A trace replays exactly. Numbers: `choose(name, low, high)` gives an int when both bounds are ints, else a float;
`log=True` draws evenly on the logarithm. The first option of a list is the default: what a person would take who knew
nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, overload

import numpy as np

from ..spec import Spec


class Choice(Spec):
    """One choice as it was offered and answered. Lists are answered by index, ranges by value."""

    name: str
    kind: Literal["options", "range"]
    options: int = 0
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    answer: float


class Trace(Spec):
    """All choices of one pass through a space, in order. Equal digests mean equal things."""

    choices: tuple[Choice, ...] = ()

    @property
    def answers(self) -> dict[str, float]:
        return {choice.name: choice.answer for choice in self.choices}


class Choose(Protocol):
    """What a space is given to make its choices with."""

    @overload
    def __call__(self, name: str, options: Sequence[Any], /) -> Any: ...
    @overload
    def __call__(self, name: str, low: int, high: int, /, *, log: bool = False) -> int: ...
    @overload
    def __call__(self, name: str, low: float, high: float, /, *, log: bool = False) -> float: ...


class Offer(Spec):
    """An open choice, as a generator sees it: `options` > 0 for a list, else a range."""

    name: str
    options: int = 0
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    def clip(self, answer: float) -> float:
        """The nearest allowed answer."""
        if self.options:
            return float(min(max(int(answer), 0), self.options - 1))
        answer = min(max(float(answer), self.low), self.high)
        return float(round(answer)) if self.whole else answer

    def random(self, generator: np.random.Generator) -> float:
        """A random allowed answer."""
        if self.options:
            return float(generator.integers(self.options))
        if self.log:
            low, high = math.log(self.low), math.log(self.high + (1 if self.whole else 0))
            return self.clip(
                math.floor(math.exp(generator.uniform(low, high)))
                if self.whole
                else math.exp(generator.uniform(low, high))
            )
        if self.whole:
            return float(generator.integers(int(self.low), int(self.high) + 1))
        return float(generator.uniform(self.low, self.high))


Answer = Callable[[Offer], float]


class Recorder:
    """The `choose` of one pass: asks `answer`, checks what the space offers, keeps the trace."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._choices: list[Choice] = []
        self._names: set[str] = set()

    @property
    def trace(self) -> Trace:
        return Trace(choices=tuple(self._choices))

    def __call__(self, name: str, first: Any, high: Any = None, /, *, log: bool = False) -> Any:
        if name in self._names:
            raise ValueError(f"the space names the choice {name!r} twice; give each choice a name of its own")
        self._names.add(name)
        if high is None:
            return self._option(name, first)
        return self._number(name, first, high, log=log)

    def _option(self, name: str, options: Sequence[Any]) -> Any:
        if isinstance(options, (str, bytes, Mapping)) or not hasattr(options, "__len__"):
            raise ValueError(f"choice {name!r}: give a list of options or two bounds, not {type(options).__name__}")
        if len(options) == 0:
            raise ValueError(f"choice {name!r} has an empty list of options")
        offer = Offer(name=name, options=len(options))
        index = int(offer.clip(self._answer(offer)))
        self._choices.append(Choice(name=name, kind="options", options=len(options), answer=index))
        return options[index]

    def _number(self, name: str, low: float, high: float, *, log: bool) -> float | int:
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"choice {name!r}: bounds must be finite and in order, got {low!r} to {high!r}")
        if log and low <= 0:
            raise ValueError(f"choice {name!r}: a logarithmic range must begin above zero, got {low!r}")
        whole = isinstance(low, int) and isinstance(high, int)
        offer = Offer(name=name, low=low, high=high, log=log, whole=whole)
        value = offer.clip(self._answer(offer))
        self._choices.append(Choice(name=name, kind="range", low=low, high=high, log=log, whole=whole, answer=value))
        return int(value) if whole else value


def replay(trace: Trace, *, otherwise: Answer | None = None) -> Recorder:
    """A recorder that answers as `trace` did; `otherwise` (default: first option, lower bound) answers new names.

    Replaying a trace in the space that made it builds the same thing again. After a change (a mutation, a newer version
    of the space) later choices are kept where they are still valid.
    """
    answers = trace.answers

    def answer(offer: Offer) -> float:
        if offer.name in answers:
            return offer.clip(answers[offer.name])
        return otherwise(offer) if otherwise is not None else first(offer)

    return Recorder(answer)


def first(offer: Offer) -> float:
    """The default answer: the first option; the middle of a range."""
    if offer.options:
        return 0.0
    middle = math.sqrt(offer.low * offer.high) if offer.log else (offer.low + offer.high) / 2
    return offer.clip(middle)
