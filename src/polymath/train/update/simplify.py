"""The same rule with fewer parts. Only steps that change no result are taken, however small the numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from ...spec import Json
from .expression import Expression, Graph, Node, constants, used
from .vocabulary import OPERANDS, SHORT

_EVEN = ("abs", "square", "sqrt", "log", "power")
"""Functions for which the sign of their first input makes no difference."""


def simplify(expression: Expression) -> Expression:
    """A rule that says the same, with constants folded and what changes nothing taken out; a fixed point of itself.

    Parts that are used more than once become blocks, and what has a short name gets it. A rule with several
    draws of random numbers may make them in another order.
    """
    graph = expression.graph
    while True:
        smaller = _once(graph)
        if smaller == graph:
            return as_expression(graph)
        graph = smaller


def _once(graph: Graph) -> Graph:
    known = constants(graph)
    made = _Made()
    places: list[int] = []
    for place, node in enumerate(graph):
        value = known[place]
        if value is not None:
            places.append(made.number(value))
        else:
            places.append(made.node(node.function, tuple(places[i] for i in node.inputs), node.number))
    return made.graph(places[-1])


class _Made:
    """A graph in the making: gives the place of every node asked for, or of a simpler one that is equal to it."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._places: dict[Node, int] = {}

    def graph(self, root: int) -> Graph:
        """What `root` needs."""
        return used(tuple(self._nodes), root)

    def number(self, value: float) -> int:
        return self._add(Node("constant", number=value))

    def node(self, name: str, inputs: tuple[int, ...], number: float | None) -> int:
        if len(inputs) == 2:
            return self._two(name, *inputs)
        if len(inputs) == 1:
            return self._one(name, inputs[0], number)
        return self._add(Node(name, inputs, number))

    def _one(self, name: str, x: int, number: float | None) -> int:
        below = self._nodes[x]
        if name == "negate" and below.function == "negate":
            return below.inputs[0]
        if name in _EVEN and below.function in ("negate", "abs"):
            return self._one(name, below.inputs[0], number)
        if name == "abs" and below.function in ("square", "sqrt", "exp", "power"):
            return x
        if name == "sign":
            if below.function == "sign":
                return x
            if below.function == "negate":
                return self._one("negate", self._one("sign", below.inputs[0], None), None)
            factor, rest = self._factor(below)
            if factor is not None:
                signed = self._one("sign", rest, None)
                return signed if factor > 0 else self._one("negate", signed, None)
        if name == "clip" and below.function == "clip":
            assert number is not None and below.number is not None
            return self._one("clip", below.inputs[0], min(number, below.number))
        if name in ("mean", "raw_mean") and number == 0:
            return x
        return self._add(Node(name, (x,), number))

    def _factor(self, node: Node) -> tuple[float | None, int]:
        """The constant that a product or quotient has on one side, and the other side."""
        if node.function in ("*", "/"):
            x, y = node.inputs
            if self._nodes[y].function == "constant":
                return self._nodes[y].number, x
            if node.function == "*" and self._nodes[x].function == "constant":
                return self._nodes[x].number, y
        return None, 0

    def _two(self, name: str, x: int, y: int) -> int:
        left, right = self._nodes[x], self._nodes[y]
        if name == "-" and right.function == "negate":
            return self._two("+", x, right.inputs[0])
        if name == "+" and right.function == "negate":
            return self._two("-", x, right.inputs[0])
        if name == "+" and left.function == "negate":
            return self._two("-", y, left.inputs[0])
        if name == "power" and left.function in ("negate", "abs"):
            return self._two(name, left.inputs[0], y)
        zero, one, minus = (Node("constant", number=value) for value in (0.0, 1.0, -1.0))
        if (name in ("+", "-") and right == zero) or (name in ("*", "/") and right == one):
            return x
        if (name == "+" and left == zero) or (name == "*" and left == one):
            return y
        if name == "-" and left == zero:
            return self._one("negate", y, None)
        if name in ("*", "/") and right == minus:
            return self._one("negate", x, None)
        if name == "*" and left == minus:
            return self._one("negate", y, None)
        if name in ("*", "/") and left.function == "negate":
            return self._one("negate", self._two(name, left.inputs[0], y), None)
        if name == "*" and right.function == "negate":
            return self._one("negate", self._two(name, x, right.inputs[0]), None)
        if name == "*" and x == y:
            return self._one("square", x, None)
        if name == "*" and Node("square", (x,)) == right:
            return self._one("cube", x, None)
        if name == "*" and Node("square", (y,)) == left:
            return self._one("cube", y, None)
        return self._add(Node(name, (x, y)))

    def _add(self, node: Node) -> int:
        if node not in self._places:
            self._places[node] = len(self._nodes)
            self._nodes.append(node)
        return self._places[node]


def as_expression(graph: Graph) -> Expression:
    """A graph as JSON, the same for equal graphs: shared parts are blocks `a`, `b`, ... in the order of the graph."""
    names = short_names(graph)
    shown = reachable(graph, names)
    uses = [0] * len(graph)
    for place in shown:
        if place not in names:
            for source in graph[place].inputs:
                uses[source] += 1
    blocks: dict[str, Json] = {}
    written: list[Json] = []
    fresh = block_names()
    for place, node in enumerate(graph):
        value: Json
        if place in names or place not in shown:
            value = names.get(place)
        elif node.function == "constant":
            value = node.number
        elif node.function in OPERANDS:
            value = node.function
        else:
            number = [] if node.number is None else [node.number]
            value = [node.function, *(written[source] for source in node.inputs), *number]
            if uses[place] > 1:
                name = next(fresh)
                blocks[name], value = value, name
        written.append(value)
    return Expression(update=written[-1], blocks=blocks)


def short_names(graph: Graph) -> dict[int, str]:
    """Places of a graph that have a short name, such as `m`."""
    table: dict[tuple[object, ...], int] = {}
    mine = _structures(graph, table)
    theirs = {_structures(Expression(update=name).graph, table)[-1]: name for name in SHORT}
    return {place: theirs[number] for place, number in enumerate(mine) if number in theirs}


def _structures(graph: Graph, table: dict[tuple[object, ...], int]) -> list[int]:
    """A number for each node, the same for nodes of equal structure in all graphs that share the table."""
    found: list[int] = []
    for node in graph:
        key = (node.function, tuple(found[place] for place in node.inputs), node.number)
        found.append(table.setdefault(key, len(table)))
    return found


def block_names() -> Iterator[str]:
    """Names for blocks that mean nothing else."""
    for number in itertools.count():
        for letter in "abcdefhijklnopqrstuxz":
            yield letter if number == 0 else f"{letter}{number}"


def reachable(graph: Graph, names: Mapping[int, str]) -> set[int]:
    """The places that are written out, when those with a name are not opened."""
    found: set[int] = set()
    stack = [len(graph) - 1]
    while stack:
        place = stack.pop()
        if place not in found:
            found.add(place)
            if place not in names:
                stack.extend(graph[place].inputs)
    return found
