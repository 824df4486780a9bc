"""Update rules as JSON expressions, checked once, and the graph that everything else works on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from ...spec import BadInput, Json, Spec, canonical, loads, printable
from .vocabulary import FUNCTIONS, MEANS, OPERANDS, RANDOM, SCHEDULES, SHORT

MAX_DEPTH = 40
"""Functions within functions; the rules that people made have at most 8."""
MAX_NODES = 120
MAX_MEANS = 8
"""Running means: each is as large as the weights."""
LARGEST = 1e12


@dataclass(frozen=True)
class Node:
    """One value of a rule: an operand, a constant, or a function of earlier nodes (by their places in the graph)."""

    function: str
    """A name in `FUNCTIONS` or `OPERANDS`, or `constant`."""
    inputs: tuple[int, ...] = ()
    number: float | None = None
    """The constant, or the number that its function takes."""


Graph = tuple[Node, ...]
"""Nodes with inputs before what uses them, no two alike; the last is the update."""


class Expression(Spec):
    """What is subtracted from the weights, times the learning rate: `weights -= learning_rate * update`.

    `update` is an operand (`"g"`), a number, or a list of a function, its inputs and its number:
    `["*", ["exp", ["*", ["sign", "g"], ["sign", "m"]]], "g"]` is PowerSign. `blocks` are named parts that `update` and
    other blocks may use by name, as often as they like. Equal parts are computed once, named or not. Raises ValueError
    (`BadInput` from `parse`) for what is not a rule.
    """

    update: Any
    blocks: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """A bare expression, without blocks, needs no wrapping."""
        if value is None or isinstance(value, bool):
            raise BadInput("not an update rule", value=_short(value), remedy=_FORM)
        return {"update": value} if isinstance(value, (str, int, float, list)) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ = self.graph
        return self

    @cached_property
    def graph(self) -> Graph:
        """The rule as a graph without repetitions; short names, `identity`, `left` and `reciprocal` are gone."""
        return _Builder(self.blocks).build(self.update)

    @property
    def means(self) -> tuple[tuple[int, float], ...]:
        """The state it keeps: (place of what is averaged, memory) of every running mean, each once."""
        return running_means(self.graph)

    @property
    def random(self) -> bool:
        """Whether it draws random numbers."""
        return any(node.function in RANDOM for node in self.graph)

    @property
    def scheduled(self) -> bool:
        """Whether it must know the progress of the training."""
        return any(node.function in SCHEDULES for node in self.graph)

    @property
    def weighted(self) -> bool:
        """Whether it reads the weights."""
        return any(node.function == "w" for node in self.graph)

    def __hash__(self) -> int:
        return hash(self.graph)


def parse(value: Expression | Json) -> Expression:
    """The rule that this is: an Expression, its JSON text, or plain JSON data. Raises BadInput, in one sentence."""
    if isinstance(value, Expression):
        return value
    try:
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            try:
                value = loads(value)
            except ValueError as error:
                raise BadInput(f"an update rule that is not JSON: {error}", value=value) from None
        return Expression.model_validate(value)
    except RecursionError:
        raise _deep() from None
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, BadInput):
            raise cause from None
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"an update rule: {where}: {first['msg']}", remedy=_FORM) from None


@lru_cache(maxsize=4096)
def running_means(graph: Graph) -> tuple[tuple[int, float], ...]:
    """(place of what is averaged, memory) of every running mean, in order of first use, each once."""
    found: dict[tuple[int, float], None] = {}
    needed = needed_nodes(graph)
    for place, node in enumerate(graph):
        if needed[place] and node.function in MEANS:
            assert node.number is not None
            found[(node.inputs[0], node.number)] = None
    return tuple(found)


@lru_cache(maxsize=4096)
def constants(graph: Graph) -> tuple[float | None, ...]:
    """The value of every node that is the same whatever the gradients, else None. `x - x` and `0 * x` are 0."""
    found: list[float | None] = []
    for node in graph:
        found.append(_constant(node, found))
    return tuple(found)


@lru_cache(maxsize=4096)
def needed_nodes(graph: Graph) -> tuple[bool, ...]:
    """Which nodes count: not those that only constants use, such as `m` in `0 * m`."""
    known = constants(graph)
    needed = [False] * len(graph)
    needed[-1] = True
    for place in range(len(graph) - 1, -1, -1):
        if needed[place] and known[place] is None:
            for source in graph[place].inputs:
                needed[source] = True
    return tuple(needed)


def _constant(node: Node, known: Sequence[float | None]) -> float | None:
    """Raises BadInput for a division by zero and for what is no finite number."""
    if node.function == "constant":
        return node.number
    values = [known[place] for place in node.inputs]
    if node.function == "/" and values[-1] == 0:
        raise BadInput(
            "an update rule divides by what is always zero", remedy="Take the division out, or its denominator."
        )
    if node.function == "-" and node.inputs[0] == node.inputs[1]:
        return 0.0
    if node.function in ("*", "/") and 0 in values:
        return 0.0
    if node.function in ("drop", *MEANS) and values[0] == 0:
        return 0.0
    function = FUNCTIONS.get(node.function)
    if function is None or function.constant is None or None in values or not values:
        return None
    numbers = values if node.number is None else [*values, node.number]
    try:
        result = float(function.constant(*numbers))
    except OverflowError:
        result = math.inf
    if not abs(result) <= LARGEST:
        raise BadInput(f"an update rule computes {result:g}", remedy=f"Constants stay within {LARGEST:g}.")
    return result


class _Builder:
    """Reads JSON into a graph; equal nodes become one."""

    def __init__(self, blocks: dict[str, Any]) -> None:
        self._blocks = blocks
        self._places: dict[Node, int] = {}
        self._open: list[str] = []
        self._done: dict[str, int] = {}
        self._visits = 0
        for name in blocks:
            if name in SHORT or name in OPERANDS or name in FUNCTIONS:
                raise BadInput(f"a block is called {name!r}, which means something else", remedy="Give another name.")

    def build(self, update: Any) -> Graph:
        root = self._read(update, 0)
        for name in self._blocks:  # blocks that nothing uses must be right too
            self._block(name, 0)
        graph = used(tuple(self._places), root)
        if len(graph) > MAX_NODES:
            raise BadInput(f"an update rule is too large: {len(graph)} parts", remedy=f"At most {MAX_NODES}.")
        if _depth(graph) > MAX_DEPTH:
            raise _deep()
        num_means = len(running_means(graph))
        if num_means > MAX_MEANS:
            raise BadInput(
                f"an update rule keeps {num_means} running means, each as large as the weights",
                remedy=f"At most {MAX_MEANS} fit.",
            )
        _ = constants(graph)
        return graph

    def _read(self, value: Any, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise _deep()
        self._visits += 1
        if self._visits > 50 * MAX_NODES:
            raise BadInput("an update rule is too large", remedy=f"At most {MAX_NODES} different parts.")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._number(value)
        if isinstance(value, str):
            return self._name(value, depth)
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], str):
            return self._call(value[0], list(value[1:]), depth)
        raise BadInput("not an update rule", value=_short(value), remedy=_FORM)

    def _number(self, value: float) -> int:
        if not abs(value) <= LARGEST:
            raise BadInput(
                "a constant of an update rule is no number of use", value=value, remedy=f"Within {LARGEST:g}."
            )
        return self._add(Node("constant", number=float(value)))

    def _name(self, name: str, depth: int) -> int:
        if name in OPERANDS:
            return self._add(Node(name))
        if name in SHORT:
            return self._read(SHORT[name], depth)
        if name in self._blocks:
            return self._block(name, depth)
        if name in FUNCTIONS:
            raise BadInput(f"{name!r} stands alone", remedy=f"It is written {_usage(name)}.")
        known = ", ".join([*OPERANDS, *SHORT, *self._blocks])
        raise BadInput("an update rule names something unknown", value=name, remedy=f"Known are {known}.")

    def _block(self, name: str, depth: int) -> int:
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise BadInput(f"blocks use each other in a circle: {circle}", remedy="A block uses earlier ones only.")
        if name not in self._done:
            self._open.append(name)
            self._done[name] = self._read(self._blocks[name], depth + 1)
            self._open.pop()
        return self._done[name]

    def _call(self, name: str, rest: list[Any], depth: int) -> int:
        if name not in FUNCTIONS:
            if not rest:
                return self._name(name, depth)
            raise BadInput(
                "an update rule names an unknown function", value=name, remedy=f"Known are {', '.join(FUNCTIONS)}."
            )
        function = FUNCTIONS[name]
        if len(rest) != function.inputs + (function.number is not None):
            takes = function.inputs + (function.number is not None)
            raise BadInput(f"{name!r} takes {takes}, not {len(rest)}", remedy=f"It is written {_usage(name)}.")
        number = None
        if function.number is not None:
            number, (low, high) = rest.pop(), function.number
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not low <= number <= high:
                raise BadInput(f"the number of {name!r}", value=_short(number), remedy=f"From {low:g} to {high:g}.")
            number = float(number)
        inputs = tuple(self._read(value, depth + 1) for value in rest)
        if name in ("identity", "left"):
            return inputs[0]
        if name == "reciprocal":
            return self._add(Node("/", (self._number(1.0), inputs[0])))
        return self._add(Node(name, inputs, number))

    def _add(self, node: Node) -> int:
        return self._places.setdefault(node, len(self._places))


def used(nodes: Graph, root: int) -> Graph:
    """The nodes that `root` needs, in their order, with `root` last."""
    needed, stack = set(), [root]
    while stack:
        place = stack.pop()
        if place not in needed:
            needed.add(place)
            stack.extend(nodes[place].inputs)
    kept = sorted(needed)  # inputs come before what uses them, so the root is the last
    moved = {place: new for new, place in enumerate(kept)}
    return tuple(
        Node(nodes[place].function, tuple(moved[i] for i in nodes[place].inputs), nodes[place].number) for place in kept
    )


def _depth(graph: Graph) -> int:
    depths: list[int] = []
    for node in graph:
        depths.append(1 + max((depths[place] for place in node.inputs), default=0))
    return max(depths)


def _usage(name: str) -> str:
    function = FUNCTIONS[name]
    inputs = ["a", "b"][: function.inputs] + (["number"] if function.number else [])
    return canonical([name, *inputs])


def _short(value: Any) -> str:
    return printable(
        repr(value) if isinstance(value, (int, float, str, bool)) or value is None else type(value).__name__
    )


def _deep() -> BadInput:
    return BadInput(
        f"an update rule is deeper than {MAX_DEPTH} functions", remedy="Use fewer functions within functions."
    )


_FORM = 'A rule is an operand ("g"), a number, or a list of a function and its inputs: ["sign", "m"].'
