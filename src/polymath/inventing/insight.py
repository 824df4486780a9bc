"""What makes a rule good: sub-expressions that recur among the best, and a rule with one part left out at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..spec import Json, canonical
from ..train.update import Expression
from ..train.update.expression import Graph


def written(graph: Graph, place: int = -1) -> Json:
    """A node of a graph as JSON, whole."""
    node = graph[place]
    if node.function == "constant":
        return node.number
    number = [] if node.number is None else [node.number]
    if not node.inputs and not number:
        return node.function
    return [node.function, *(written(graph, source) for source in node.inputs), *number]


def parts(rule: Expression) -> list[Json]:
    """Every sub-expression that computes something, each once; the whole rule is the last."""
    graph = rule.graph
    return [written(graph, place) for place, node in enumerate(graph) if node.inputs]


@dataclass(frozen=True)
class Recurring:
    """A sub-expression that more of the best rules hold than of all."""

    part: Json
    best: int
    """Of the best rules, how many hold it."""
    every: int
    """Of all rules that trained."""
    lift: float
    """How much more often it is met among the best."""


def recurring(ranked: Sequence[Expression], *, best: int = 50, least: int = 3) -> list[Recurring]:
    """Sub-expressions of the first `best` rules, those that set them apart first.

    `ranked`: the rules that trained, the best first. What fewer than `least` of the best hold is left out, and so is
    what stands inside something larger that recurs as often.
    """
    best = min(best, max(len(ranked) // 4, 1))
    held = [{_key(part): part for part in parts(rule)} for rule in ranked]
    by_key = {key: part for one in held for key, part in one.items()}
    among_best = Counter(key for one in held[:best] for key in one)
    among_all = Counter(key for one in held for key in one)
    found = [
        Recurring(by_key[key], count, among_all[key], (count / best) / (among_all[key] / len(ranked)))
        for key, count in among_best.items()
        if count >= least
    ]
    found.sort(key=lambda one: (-one.best * math.log(max(one.lift, 1.0)), -len(_key(one.part))))
    kept: list[Recurring] = []
    for one in found:
        if not any(one.best == larger.best and _key(one.part) in _key(larger.part) for larger in kept):
            kept.append(one)
    return kept


def _key(part: Json) -> str:
    return canonical(part)


def ablations(rule: Expression) -> list[tuple[Json, Expression]]:
    """The rule with one part replaced by one of its inputs, in every way: (what was left out, what remains).

    A part that reads nothing but numbers is not taken out; what is no rule any more (a division by zero) is not listed,
    nor what is the same rule.
    """
    found: dict[str, tuple[Json, Expression]] = {}
    whole = written(rule.graph)
    for place, part in _places(whole):
        assert isinstance(part, list)
        for child in part[1:]:
            if not isinstance(child, (str, list)):
                continue
            try:
                remains = Expression(update=_replaced(whole, place, child))
            except ValueError:
                continue
            key = _key(written(remains.graph))
            if remains.graph != rule.graph:
                found.setdefault(key, (part, remains))
    return list(found.values())


def _places(value: Json, place: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Json]]:
    """Every function with inputs, by the way to it."""
    if isinstance(value, list):
        if any(isinstance(child, (str, list)) for child in value[1:]):
            yield place, value
        for number, child in enumerate(value[1:], 1):
            yield from _places(child, (*place, number))


def _replaced(value: Json, place: tuple[int, ...], new: Json) -> Json:
    if not place:
        return new
    assert isinstance(value, list)
    return [*value[: place[0]], _replaced(value[place[0]], place[1:], new), *value[place[0] + 1 :]]
