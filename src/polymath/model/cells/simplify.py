"""What a cell comes down to: without what changes nothing, and a hash by which equal behaviour is seen.

A space makes many graphs that compute the same: sums of linear maps are one linear map, a relu of a sigmoid is the
sigmoid, nodes that nobody takes do nothing. They are reduced before they are tried, run, drawn or hashed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from ...spec import BadInput, sha256
from .graph import Cell, Node
from .plan import planned
from .running import plainly

COMMUTATIVE = ("add", "multiply")
POSITIVE = ("relu", "sigmoid")
"""Operations whose values relu leaves as they are."""
PROBE_STEPS, PROBE_EXAMPLES, PROBE_WIDTH, PROBE_DIGITS = 6, 4, 3, 7


def simplified(nodes: Iterable[Node], *, hidden: str, memory: str | None) -> Cell:
    """The cell that these nodes come down to, its nodes named anew. Raises BadInput where nothing is left of it."""
    graph = _Graph(list(nodes), hidden, memory)
    graph.check()
    while graph.shrink():
        pass
    return graph.renamed()


class _Graph:
    """Nodes under reduction, each after what it takes."""

    def __init__(self, nodes: list[Node], hidden: str, memory: str | None) -> None:
        self.nodes, self.hidden, self.memory = nodes, hidden, memory

    def check(self) -> None:
        known = {"x", "h", "c"}
        for node in self.nodes:
            assert set(node.inputs) <= known, "nodes stand after what they take"
            known.add(node.name)

    def shrink(self) -> bool:
        """One round of all rules; whether any of them applied."""
        before = (list(self.nodes), self.hidden, self.memory)
        self._drop_idle()
        if self.memory == self.hidden:
            self.memory = None
            self._replace("c", "h")
        if self.memory is not None and not any("c" in node.inputs for node in self.nodes):
            self.memory = None
        for node in self.nodes:
            if self._reduced(node):
                break
        return before != (self.nodes, self.hidden, self.memory)

    def _drop_idle(self) -> None:
        wanted = {self.hidden, self.memory}
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.inputs)
        self.nodes = [node for node in self.nodes if node.name in wanted]

    def _reduced(self, node: Node) -> bool:
        by_name = {one.name: one for one in self.nodes}
        takes = [by_name.get(name) for name in node.inputs]
        first = takes[0]
        bare = first is None or first.operation == "linear"
        if node.operation == "identity" and not (bare and node.name in (self.hidden, self.memory)):
            return self._replace(node.name, node.inputs[0])
        if node.operation == "relu" and first is not None and first.operation in POSITIVE:
            return self._replace(node.name, node.inputs[0])
        if node.operation == "subtract" and node.inputs[0] == node.inputs[1]:
            raise BadInput("a node subtracts something from itself", value=node.inputs[0])
        if node.operation in COMMUTATIVE and node.inputs[0] > node.inputs[1]:
            return self._put(node, node.replace(inputs=node.inputs[::-1]))
        if node.operation in ("add", "subtract") and all(one is not None and self._alone(one) for one in takes):
            merged = {name for one in takes if one is not None for name in one.inputs}
            inputs = tuple(name for name in ("x", "h") if name in merged)
            # What a sum of linear maps gives is a linear map; a state must not be one, so it keeps a node of its own.
            if node.name not in (self.hidden, self.memory):
                return self._put(node, node.replace(operation="linear", inputs=inputs))
            made = Node(name=f"{node.name}_map", operation="linear", inputs=inputs)
            self.nodes.insert(self.nodes.index(node), made)
            return self._put(node, node.replace(operation="identity", inputs=(made.name,)))
        if node.operation != "linear":
            twin = next(
                (one for one in self.nodes if one.name != node.name and _same(one, node)),
                None,
            )
            if twin is not None and self.nodes.index(twin) < self.nodes.index(node):
                return self._replace(node.name, twin.name)
        return False

    def _alone(self, node: Node) -> bool:
        """Whether it is a linear map that one node takes, once."""
        takers = [one.name for one in self.nodes for taken in one.inputs if taken == node.name]
        return node.operation == "linear" and len(takers) == 1

    def _put(self, old: Node, new: Node) -> bool:
        self.nodes[self.nodes.index(old)] = new
        return True

    def _replace(self, name: str, other: str) -> bool:
        """Whoever took `name` takes `other`."""
        self.nodes = [
            node.replace(inputs=tuple(dict.fromkeys(other if i == name else i for i in node.inputs)))
            if node.operation == "linear"
            else node.replace(inputs=tuple(other if i == name else i for i in node.inputs))
            for node in self.nodes
            if node.name != name
        ]
        self.hidden = other if self.hidden == name else self.hidden
        self.memory = other if self.memory == name else self.memory
        return True

    def renamed(self) -> Cell:
        """With names by place: a1, a2 ... for linear maps, n1, n2 ... for the others, h_t and c_t for the states."""
        names = {"x": "x", "h": "h", "c": "c"}
        for letter, linear in (("a", True), ("n", False)):
            chosen = [node.name for node in self.nodes if (node.operation == "linear") is linear]
            names |= {name: f"{letter}{i + 1}" for i, name in enumerate(chosen)}
        names |= {self.hidden: "h_t"} | ({} if self.memory is None else {self.memory: "c_t"})
        nodes = tuple(
            Node(name=names[node.name], operation=node.operation, inputs=tuple(names[i] for i in node.inputs))
            for node in self.nodes
        )
        taken = {name for node in nodes for name in node.inputs}
        if not taken & {"h", "c"}:
            raise BadInput("this cell remembers nothing", remedy="Let a node take h or c.")
        if "x" not in taken:
            raise BadInput("this cell reads no x", remedy="Let a linear node take x.")
        return Cell(nodes=nodes, hidden="h_t", memory=None if self.memory is None else "c_t")


def _same(one: Node, other: Node) -> bool:
    return one.operation == other.operation and one.inputs == other.inputs


def behaviour(cell: Cell) -> str:
    """Hash of what a cell computes with fixed weights: equal behaviour, however it is written, has equal hashes.

    Weights go to linear maps in an order that follows from their place in the graph alone. A cell that is zero
    everywhere on the probe goes by its description.
    """
    plan = planned(cell)
    generator = torch.Generator().manual_seed(6)
    size, count = PROBE_WIDTH, len(plan.slots)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    of_x, of_h, offset = drawn(64, size, size), drawn(64, size, size), drawn(64, size)
    place = {name: i for i, name in enumerate(_in_order(cell))}
    rows = [place[name] for name in plan.slots]
    map_x = torch.cat([of_x[i] for i in rows[: plan.num_x]], 1) if plan.num_x else drawn(size, 0)
    map_h = torch.cat([of_h[i] for i in rows[plan.first_h :]], 1) if plan.first_h < count else drawn(size, 0)
    state = drawn(2, 1, PROBE_EXAMPLES, size)
    hidden, _ = plainly(
        plan,
        drawn(1, PROBE_STEPS, PROBE_EXAMPLES, size),
        map_x=map_x[None],
        map_h=map_h[None],
        bias=torch.cat([offset[i] for i in rows])[None],
        h_SBH=state[0],
        c_SBH=state[1] if cell.memory else torch.zeros_like(state[1]),
    )
    values = hidden.flatten().tolist()
    if all(value == 0 or math.isnan(value) for value in values):
        return cell.digest
    return sha256(" ".join(f"{value:.{PROBE_DIGITS}g}" for value in values).encode())


def _in_order(cell: Cell) -> list[str]:
    """Linear maps by what is above and below them, whatever their names."""
    colour = {name: name for name in ("x", "h", "c")}
    for node in cell.ordered:
        given = [colour[name] for name in node.inputs]
        colour[node.name] = _hash(node.operation, *(sorted(given) if node.operation in COMMUTATIVE else given))
    for node in reversed(cell.ordered):
        takers = sorted(
            _hash(colour[other.name], "" if other.operation in COMMUTATIVE else str(i))
            for other in cell.nodes
            for i, taken in enumerate(other.inputs)
            if taken == node.name
        )
        colour[node.name] = _hash(
            colour[node.name], str(node.name == cell.hidden), str(node.name == cell.memory), *takers
        )
    return sorted((node.name for node in cell.linear), key=colour.__getitem__)


def _hash(*words: str) -> str:
    return sha256("|".join(words).encode())


def written(cell: Cell) -> Cell:
    """A cell, reduced: what a person wrote is brought to the form in which a search would have found it."""
    return simplified(cell.ordered, hidden=cell.hidden, memory=cell.memory)
