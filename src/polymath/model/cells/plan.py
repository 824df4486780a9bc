"""How a cell is run fast: where each value lives, and in which order.

The linear maps of a cell are *slots* side by side: those of x alone, then those of x and h, then those of h alone. One
matrix product maps x for the whole sequence into the first two kinds, one product per step adds h to the last two.
An activation that is all that reads a slot overwrites it, and equal activations stand side by side, so that one call
does for several. A product that only a sum takes is never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, permutations, product

from .graph import UNARY, Cell, Node

State = str
"""`h` or `c`."""


@dataclass(frozen=True)
class Call:
    """One operation of a step: `activate` overwrites slots `first` to `last`; others write the value of `node`."""

    operation: str
    node: str = ""
    inputs: tuple[str, ...] = ()
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Plan:
    """The slots of a cell and the calls of a step. `columns`: slots, then `h` and `c` where read value by value."""

    cell: Cell
    slots: tuple[str, ...]
    """Names of linear nodes in the order of their slots."""
    num_x: int
    """Slots that x feeds: the first ones."""
    first_h: int
    """First of the slots that h feeds: all from there on."""
    calls: tuple[Call, ...]
    home: Mapping[str, str]
    """Where the value of a node lives, for nodes that overwrote a slot: the name of the linear node."""
    columns: tuple[str, ...]
    earlier: State
    """Of h and c, the one whose node does not depend on the other's; gradients of the other pass through it."""
    later: State
    ranges: Mapping[State, tuple[int, int]]
    """Columns that h_t and c_t depend on, not counting through `earlier`: from, to."""

    @property
    def states(self) -> tuple[State, ...]:
        return ("h", "c") if self.cell.memory else ("h",)

    @property
    def overlap(self) -> bool:
        """Whether some columns feed both states, so that their gradients are summed."""
        if len(self.states) == 1:
            return False
        (a, b), (c, d) = self.ranges["h"], self.ranges["c"]
        return a < d and c < b

    def node_of(self, state: State) -> str:
        """The node that gives a state."""
        name = self.cell.hidden if state == "h" else self.cell.memory
        assert name is not None
        return name


@cache
def planned(cell: Cell) -> Plan:
    """The plan of a cell."""
    outputs = {cell.hidden, cell.memory}
    home: dict[str, str] = {}
    for node in cell.linear:
        takers = cell.consumers(node.name)
        if len(takers) == 1 and cell.by_name[takers[0]].operation in UNARY and takers[0] not in outputs:
            home[takers[0]] = node.name
    over = {slot: cell.by_name[name].operation for name, slot in home.items()}
    earlier, later = _states(cell)
    reach = {"h": _reach(cell, cell.hidden, stop=cell.memory if earlier == "c" else None)}
    if cell.memory:
        reach["c"] = _reach(cell, cell.memory, stop=cell.hidden if earlier == "h" else None)
    slots, columns = _ordered(cell, over, reach)
    kinds = [set(cell.by_name[name].inputs) for name in slots]
    ranges = {state: _range([i for i, name in enumerate(columns) if name in names]) for state, names in reach.items()}
    return Plan(
        cell=cell,
        slots=slots,
        num_x=sum("x" in kind for kind in kinds),
        first_h=sum("h" not in kind for kind in kinds),
        calls=_calls(cell, slots, over, home),
        home=home,
        columns=columns,
        earlier=earlier,
        later=later,
        ranges=ranges,
    )


def _states(cell: Cell) -> tuple[State, State]:
    """(earlier, later): the memory's node may depend on the hidden one, or the other way round."""
    if cell.memory is None:
        return "h", "h"
    return ("h", "c") if cell.hidden in _reach(cell, cell.memory) else ("c", "h")


def _reach(cell: Cell, name: str, *, stop: str | None = None) -> frozenset[str]:
    """All that a node depends on within the step, sources too; not beyond `stop`."""
    reached: set[str] = set()
    waiting = list(cell.by_name[name].inputs)
    while waiting:
        one = waiting.pop()
        if one in reached:
            continue
        reached.add(one)
        if one != stop and one in cell.by_name and cell.by_name[one].operation != "linear":
            waiting += cell.by_name[one].inputs
    return frozenset(reached)


def _range(places: Sequence[int]) -> tuple[int, int]:
    return (min(places), max(places) + 1) if places else (0, 0)


def _ordered(
    cell: Cell, over: Mapping[str, str], reach: Mapping[State, frozenset[str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Slots and columns: of all orders by kind, activation and state, the one with least overlap and fewest calls."""
    kinds: list[set[str]] = [{"x"}, {"x", "h"}, {"h"}]
    activations = sorted({over.get(node.name, "") for node in cell.linear})
    read = [state for state in ("h", "c") if any(state in names for names in reach.values())]
    side = {node.name: sum(1 if s == "h" else -1 for s in reach if node.name in reach[s]) for node in cell.linear}
    best: tuple[tuple[int, int], tuple[str, ...], tuple[str, ...]] | None = None
    for order, signs in product(permutations(activations), product((-1, 1), repeat=len(activations))):
        sign = dict(zip(activations, signs, strict=True))
        keys = {
            node.name: (
                kinds.index(set(node.inputs)),
                order.index(over.get(node.name, "")),
                sign[over.get(node.name, "")] * side[node.name],
            )
            for node in cell.linear
        }
        slots = tuple(sorted(keys, key=keys.__getitem__))
        changes = sum(over.get(a) != over.get(b) for a, b in pairwise(slots))
        for states in permutations(read):
            columns = (*slots, *states)
            ranges = [_range([i for i, n in enumerate(columns) if n in names]) for names in reach.values()]
            shared = min(end for _, end in ranges) - max(begin for begin, _ in ranges) if len(ranges) > 1 else 0
            cost = (max(shared, 0) + changes, max(shared, 0))
            if best is None or cost < best[0]:
                best = (cost, slots, columns)
    assert best is not None
    return best[1:]


def _calls(cell: Cell, slots: Sequence[str], over: Mapping[str, str], home: Mapping[str, str]) -> tuple[Call, ...]:
    calls: list[Call] = []
    start = 0
    while start < len(slots):
        stop = start + 1
        while stop < len(slots) and over.get(slots[stop]) == over.get(slots[start]):
            stop += 1
        if over.get(slots[start], "identity") != "identity":
            calls.append(Call(operation=over[slots[start]], first=start, last=stop))
        start = stop
    fused = _fused(cell)
    for node in cell.ordered:
        if node.operation != "linear" and node.name not in home and node.name not in fused:
            calls.append(_call(cell, node, fused))
    return tuple(calls)


def _fused(cell: Cell) -> frozenset[str]:
    """Products that only one sum takes: one call does for both."""
    outputs = {cell.hidden, cell.memory}
    found: set[str] = set()
    for node in cell.nodes:
        if node.operation not in ("add", "subtract"):
            continue
        for taken in reversed(node.inputs) if node.operation == "add" else node.inputs[1:]:
            inner = cell.by_name.get(taken)
            single = inner is not None and inner.operation == "multiply" and cell.consumers(taken) == [node.name]
            if single and taken not in outputs:
                found.add(taken)
                break
    return frozenset(found)


def _call(cell: Cell, node: Node, fused: frozenset[str]) -> Call:
    for place, taken in enumerate(node.inputs):
        if taken in fused:
            other = node.inputs[1 - place]
            operation = "add_product" if node.operation == "add" else "subtract_product"
            return Call(operation=operation, node=node.name, inputs=(other, *cell.by_name[taken].inputs))
    return Call(operation=node.operation, node=node.name, inputs=node.inputs)
