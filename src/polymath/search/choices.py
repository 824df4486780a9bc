"""Named choices: a space is a function that calls `choose`, and the trace of its choices is the genotype.

    def space(choose):
        depth = choose("depth", 1, 8)
        return [choose(f"layer{i}.width", [64, 128, 256]) for i in range(depth)]

`draw(space, answer)` passes through a space once and gives a `Sketch`: what was built and its trace. A trace replays
exactly, mutates by one choice, crosses with another. Numbers: `choose(name, low, high)` gives an int when both bounds
are ints, else a float; `log=True` draws evenly on the logarithm. The first option of a list is the default: what a
person would take who knew nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, overload

import numpy as np

from ..engine import JobFailed
from ..spec import BadInput, Spec, canonical, sha256

PLAIN = (str, int, float, bool, type(None))


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
    value: Any = None
    """The option that was taken, as JSON: lists may grow and change their order between releases and problems."""

    @property
    def token(self) -> str:
        """What was answered, for people and for comparing with other problems: the option, else the number."""
        return canonical(self.value) if self.kind == "options" else f"{self.answer:.6g}"


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


Space = Callable[[Choose], Any]
"""A function that builds something by making named choices, and does nothing else."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An open choice, as a generator sees it: `options` > 0 for a list, else a range."""

    name: str
    options: int = 0
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    values: tuple[Any, ...] = ()
    """What the options are, while a space is being passed through: who learns from other problems goes by these."""

    @property
    def is_open(self) -> bool:
        """Whether more than one answer is allowed."""
        return self.options > 1 or (self.options == 0 and self.high > self.low)

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

    def another(self, answer: float, generator: np.random.Generator) -> float:
        """A random allowed answer other than `answer`; half of the time a step of a fifth of a range, else anywhere."""
        if self.options:
            return float((int(answer) + 1 + int(generator.integers(max(self.options - 1, 1)))) % self.options)
        for _ in range(20):
            drawn = self.random(generator)
            if generator.random() < 0.5:
                drawn = self.at(self.place(answer) + generator.normal(0, 0.2))
            if drawn != answer:
                return drawn
        return answer

    def place(self, answer: float) -> float:
        """Where an answer lies in its range: 0 at the low end, 1 at the high end, by logarithm where so offered."""
        if self.high <= self.low:
            return 0.0
        if self.log:
            return math.log(max(answer, self.low) / self.low) / math.log(self.high / self.low)
        return (answer - self.low) / (self.high - self.low)

    def at(self, place: float) -> float:
        """The allowed answer nearest to a place in the range: the inverse of `place`."""
        place = min(max(place, 0.0), 1.0)
        if self.log:
            return self.clip(self.low * (self.high / self.low) ** place)
        return self.clip(self.low + place * (self.high - self.low))


def offer_of(choice: Choice) -> Offer:
    """The offer that a recorded choice answered."""
    return Offer(
        name=choice.name,
        options=choice.options,
        low=choice.low,
        high=choice.high,
        log=choice.log,
        whole=choice.whole,
    )


Answer = Callable[[Offer], float]
"""Who makes the choices: gives the index of an option or a number of a range."""


class Recorder:
    """The `choose` of one pass: asks `answer`, checks what the space offers, keeps the trace."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._choices: list[Choice] = []
        self._names: set[str] = set()

    @property
    def trace(self) -> Trace:
        return Trace.model_construct(choices=tuple(self._choices))

    def __call__(self, name: str, first: Any, high: Any = None, /, *, log: bool = False) -> Any:
        if not isinstance(name, str) or not name:
            raise SpaceMistake("a choice needs a name", value=name)
        if name in self._names:
            raise SpaceMistake(f"the space names the choice {name!r} twice", remedy="Give each choice its own name.")
        self._names.add(name)
        if high is None:
            return self._option(name, first)
        return self._number(name, first, high, log=log)

    def _option(self, name: str, options: Sequence[Any]) -> Any:
        if isinstance(options, (str, bytes, Mapping)) or not hasattr(options, "__len__"):
            raise SpaceMistake(f"choice {name!r}: give a list of options or two bounds, not {type(options).__name__}")
        if len(options) == 0:
            raise SpaceMistake(f"choice {name!r} has an empty list of options", remedy="Offer at least one.")
        for option in options:
            if not isinstance(option, PLAIN) or (isinstance(option, float) and not math.isfinite(option)):
                as_json(option, name=name)
        offer = Offer(name=name, options=len(options), low=0.0, high=0.0, log=False, whole=False, values=tuple(options))
        index = int(offer.clip(self._answer(offer)))
        self._choices.append(
            Choice.model_construct(
                name=name,
                kind="options",
                options=len(options),
                low=0.0,
                high=0.0,
                log=False,
                whole=False,
                answer=float(index),
                value=as_json(options[index], name=name),
            )
        )
        return options[index]

    def _number(self, name: str, low: float, high: float, *, log: bool) -> float | int:
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise SpaceMistake(f"choice {name!r}: bounds must be finite and in order, got {low!r} to {high!r}")
        if log and low <= 0:
            raise SpaceMistake(f"choice {name!r}: a logarithmic range must begin above zero, got {low!r}")
        whole = isinstance(low, int) and isinstance(high, int)
        offer = Offer(name=name, options=0, low=float(low), high=float(high), log=log, whole=whole)
        value = offer.clip(self._answer(offer))
        self._choices.append(
            Choice.model_construct(
                name=name,
                kind="range",
                options=0,
                low=float(low),
                high=float(high),
                log=log,
                whole=whole,
                answer=value,
                value=None,
            )
        )
        return int(value) if whole else value


class SpaceMistake(BadInput):
    """A space that nobody could search: it offers nothing, names a choice twice, offers what JSON cannot hold."""


def as_json(option: Any, *, name: str) -> Any:
    """An option as plain JSON data. Raises SpaceMistake naming the choice."""
    if isinstance(option, Spec):
        return option.model_dump(mode="json")
    if isinstance(option, (list, tuple)):
        return [as_json(one, name=name) for one in option]
    try:
        canonical(option)
    except (TypeError, ValueError) as error:
        raise SpaceMistake(
            f"choice {name!r} offers an option that cannot be written as JSON",
            value=option,
            remedy="Offer its name, and look the thing up by name in the space.",
        ) from error
    return option


# One pass through a space ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sketch:
    """What one pass through a space gave: the choices made and what was built of them."""

    trace: Trace
    built: Any = None
    error: str = ""
    """Traceback when the space raised while building: a failed experiment, not the end of the search."""
    by: str = ""
    """Who proposed it, where a generator asks others; empty: the generator itself."""
    measure: Callable[[Any], Mapping[str, float]] | None = field(default=None, compare=False, repr=False)
    identify: Callable[[Any], str] | None = field(default=None, compare=False, repr=False)
    """Gives equal things equal names where their descriptions differ, by their behaviour for example."""

    @cached_property
    def identity(self) -> str:
        """Equal things have equal identities, by whatever choices they came about; what is no JSON goes by trace."""
        if self.identify is not None and self.built is not None:
            return self.identify(self.built)
        try:
            text = canonical(as_json(self.built, name="")) if self.built is not None else ""
        except SpaceMistake:
            text = ""
        return sha256(text.encode()) if text else self.trace.digest

    @cached_property
    def proxies(self) -> Mapping[str, float]:
        """Cheap numbers known before any training (log of multiply-adds, depth ...): features for a surrogate."""
        return {} if self.measure is None or self.built is None else self.measure(self.built)


def draw(
    space: Space,
    answer: Answer,
    *,
    measure: Callable[[Any], Mapping[str, float]] | None = None,
    identify: Callable[[Any], str] | None = None,
) -> Sketch:
    """Passes through `space` once. A space that raises gives a sketch with its traceback; raises SpaceMistake."""
    recorder = Recorder(answer)
    try:
        built = space(recorder)
    except SpaceMistake:
        raise
    except Exception as error:  # the user's own builder: recorded as a failed experiment
        return Sketch(recorder.trace, error=JobFailed.of(error).traceback)
    return Sketch(recorder.trace, built, measure=measure, identify=identify)


# Answers made from traces ----------------------------------------------------------------------------------------
def first(offer: Offer) -> float:
    """The default answer: the first option; the middle of a range."""
    if offer.options:
        return 0.0
    middle = math.sqrt(offer.low * offer.high) if offer.log else (offer.low + offer.high) / 2
    return offer.clip(middle)


def answering(wanted: Mapping[str, Any]) -> Answer:
    """Answers by the option that is wanted under a name; all else is answered by `first`."""

    def answer(offer: Offer) -> float:
        return float(offer.values.index(wanted[offer.name])) if offer.name in wanted else first(offer)

    return answer


def as_traced(trace: Trace, *, otherwise: Answer = first, changed: Mapping[str, float] | None = None) -> Answer:
    """Answers as `trace` did, but for the names in `changed`; `otherwise` answers names that are new."""
    answers = {**trace.answers, **(changed or {})}

    def answer(offer: Offer) -> float:
        return offer.clip(answers[offer.name]) if offer.name in answers else otherwise(offer)

    return answer


def replay(trace: Trace, *, otherwise: Answer | None = None) -> Recorder:
    """A recorder that answers as `trace` did; `otherwise` (default: first option, middle of a range) answers new names.

    Replaying a trace in the space that made it builds the same thing again. After a change (a mutation, a newer version
    of the space) later choices are kept where they are still valid.
    """
    return Recorder(as_traced(trace, otherwise=otherwise or first))


def at_random(generator: np.random.Generator) -> Answer:
    """Answers every choice at random."""
    return lambda offer: offer.random(generator)


def mutated(trace: Trace, generator: np.random.Generator) -> Answer:
    """Answers as `trace` with one choice changed at random; choices that only the change opens are random."""
    open_choices = [choice for choice in trace.choices if offer_of(choice).is_open]
    changed: dict[str, float] = {}
    if open_choices:
        choice = open_choices[int(generator.integers(len(open_choices)))]
        changed[choice.name] = offer_of(choice).another(choice.answer, generator)
    return as_traced(trace, otherwise=at_random(generator), changed=changed)


def crossed(mother: Trace, father: Trace, generator: np.random.Generator) -> Answer:
    """Answers each name as one of two traces did, by the toss of a coin (uniform crossover)."""
    ours, theirs = mother.answers, father.answers
    answers = {
        name: (ours if name not in theirs or (name in ours and generator.random() < 0.5) else theirs)[name]
        for name in [*ours, *(name for name in theirs if name not in ours)]
    }
    return as_traced(Trace(), otherwise=at_random(generator), changed=answers)


def neighbours(trace: Trace, *, steps: int = 4) -> Iterator[dict[str, float]]:
    """All changes of one choice, each as name -> answer: every other option; of a range `steps` steps each way."""
    for choice in trace.choices:
        offer = offer_of(choice)
        if not offer.is_open:
            continue
        if offer.options:
            answers = [float(n) for n in range(offer.options)]
        else:
            place = offer.place(choice.answer)
            answers = [offer.at(place + step / (2 * steps)) for step in range(-steps, steps + 1)]
        for answer in sorted(set(answers) - {choice.answer}):
            yield {choice.name: answer}
