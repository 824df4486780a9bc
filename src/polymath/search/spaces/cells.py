"""Recurrent cells by choices: free graphs, of which LSTM and GRU are points, and the trees of Zoph and Le.

A free graph is some linear maps of x, h or both, each with an activation, then nodes that each combine two values
known before, the left one through an activation of its own. The defaults are the LSTM. A tree (Zoph and Le 2017,
arXiv:1611.01578, section 3.4) combines x and h in every leaf and pairs of nodes up to the root; c_{t-1} is combined
into one node, and one node gives c_t before its activation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...model.cells import ELMAN, Cell, Node
from ...model.cells.graph import Operation
from ...model.cells.simplify import simplified
from ...model.layers import Layer
from ...model.layers.cell import CellLayer
from ...model.layers.recurrent import Recurrent
from ...spec import BadInput, Spec
from ..choices import Choose

ACTIVATIONS: tuple[Operation, ...] = ("identity", "tanh", "sigmoid", "relu")
COMBINES: tuple[Operation, ...] = ("multiply", "add", "subtract")
MOST_MAPS, MOST_NODES = 6, 10
Graph = tuple[list[Node], str, str | None]
"""Nodes, each after what it takes, and which of them give h_t and c_t."""

_MAPS = ("sigmoid", "sigmoid", "tanh", "sigmoid")  # of an LSTM: i, f, g, o
_NODES = (
    ("m1", "identity", "multiply", "c"),
    ("m0", "identity", "multiply", "m2"),
    ("n0", "identity", "add", "n1"),
    ("n2", "tanh", "multiply", "m3"),
)

GRU: Mapping[str, Any] = {
    "graph.memory": False,
    "graph.maps": 4,
    **{"map2.reads": "x", "map3.reads": "h", "map2.activation": "identity", "map3.activation": "identity"},
    "graph.nodes": 5,
    **{"node0.left": "m0", "node0.through": "identity", "node0.operation": "multiply", "node0.right": "m3"},
    **{"node1.left": "n0", "node1.through": "identity", "node1.operation": "add", "node1.right": "m2"},
    **{"node2.left": "n1", "node2.through": "tanh", "node2.operation": "subtract", "node2.right": "h"},
    **{"node3.left": "n2", "node3.through": "identity", "node3.operation": "multiply", "node3.right": "m1"},
    **{"node4.left": "n1", "node4.through": "tanh", "node4.operation": "subtract", "node4.right": "n3"},
}
"""The choices that make a GRU, where they are not the first options."""


def _gated(*nodes: tuple[str, Operation, Operation, str], maps: Sequence[tuple[str, Operation]]) -> dict[str, Any]:
    """A graph as choices: maps (what is read, activation), nodes (left, through, operation, right)."""
    found: dict[str, Any] = {"graph.memory": any("c" in (left, right) for left, _, _, right in nodes)}
    found |= {"graph.maps": len(maps), "graph.nodes": len(nodes)}
    for i, (reads, activation) in enumerate(maps):
        found |= {f"map{i}.reads": reads, f"map{i}.activation": activation}
    for i, (left, through, operation, right) in enumerate(nodes):
        found |= {f"node{i}.left": left, f"node{i}.through": through}
        found |= {f"node{i}.operation": operation, f"node{i}.right": right}
    return found


_GATE: tuple[str, Operation] = ("x h", "sigmoid")
_APART: Sequence[tuple[str, Operation]] = (("x", "identity"), ("h", "identity"))
KNOWN: Mapping[str, Mapping[str, Any]] = {
    "lstm": {},
    "gru": GRU,
    # The forget gate is 1 minus the input gate: three maps (Greff et al. 2017, arXiv:1503.04069, CIFG).
    "coupled": {
        **_gated(
            ("c", "identity", "subtract", "m1"),
            ("n0", "identity", "multiply", "m0"),
            ("n1", "identity", "add", "m1"),
            ("n2", "tanh", "multiply", "m2"),
            maps=[_GATE, ("x h", "tanh"), _GATE],
        ),
        "graph.memory.node": "n2",
    },
    # One gate for both of the GRU's (Zhou et al. 2016, arXiv:1603.09420), reset after the product as torch's GRU.
    "minimal": _gated(
        ("m0", "identity", "multiply", "m2"),
        ("n0", "identity", "add", "m1"),
        ("n1", "tanh", "subtract", "h"),
        ("n2", "identity", "multiply", "m0"),
        ("n3", "identity", "add", "h"),
        maps=[_GATE, *_APART],
    ),
    # h moves towards a plain net's (Collins et al. 2017, arXiv:1611.09913, UGRNN).
    "update gate": _gated(
        ("m1", "identity", "subtract", "h"),
        ("n0", "identity", "multiply", "m0"),
        ("n1", "identity", "add", "h"),
        maps=[_GATE, ("x h", "tanh")],
    ),
    # The same around W x * (1 + U h) (Wu et al. 2016, arXiv:1606.06630, multiplicative integration).
    "multiplicative": _gated(
        ("m1", "identity", "multiply", "m2"),
        ("n0", "identity", "add", "m1"),
        ("n1", "tanh", "subtract", "h"),
        ("n2", "identity", "multiply", "m0"),
        ("n3", "identity", "add", "h"),
        maps=[_GATE, *_APART],
    ),
    "multiplicative, coupled": {
        **_gated(
            ("m1", "identity", "multiply", "m2"),
            ("n0", "identity", "add", "m1"),
            ("n1", "tanh", "subtract", "c"),
            ("n2", "identity", "multiply", "m0"),
            ("n3", "identity", "add", "c"),
            ("n4", "tanh", "multiply", "m3"),
            maps=[_GATE, *_APART, _GATE],
        ),
        "graph.memory.node": "n4",
    },
}
"""Cells that people made, as points of this space: what is not named is the first option."""


class AdoptedCell(Spec):
    """A cell that a store has adopted, as an option of a choice."""

    name: str
    cell: Cell


def cells(choose: Choose) -> Cell:
    """A recurrent cell of any kind; a graph that comes down to nothing becomes the simplest cell there is."""
    made = graph if choose("form", ["graph", "tree"]) == "graph" else tree
    nodes, hidden, memory = made(choose)
    try:
        return simplified(nodes, hidden=hidden, memory=memory)
    except BadInput:
        return ELMAN


def recurrent(cell: str | AdoptedCell, *, width: int, depth: int = 1, dropout: float = 0.0) -> Layer:
    """The layer of a cell that was chosen: torch's own for `gru` and `lstm`."""
    if isinstance(cell, AdoptedCell):
        return CellLayer(width=width, cell=cell.cell, depth=depth, dropout=dropout)
    return Recurrent(width=width, cell=cell, depth=depth, dropout=dropout)


def offering(choose: Choose, adopted: Sequence[AdoptedCell]) -> Choose:
    """The same choices, with adopted cells as further options wherever a recurrent cell is chosen."""

    def wider(name: str, options: Any, *high: Any, **how: Any) -> Any:
        offered = [*options, *adopted] if name.endswith(".cell") and "lstm" in options else options
        return choose(name, offered, *high, **how)

    return wider


def graph(choose: Choose) -> Graph:
    """A free graph; all defaults together are the LSTM."""
    has_memory = choose("graph.memory", [True, False])
    values: list[str] = []
    nodes: list[Node] = []
    for i in range(choose("graph.maps", _from(4, range(1, MOST_MAPS + 1)))):
        reads = choose(f"map{i}.reads", ["x h", "x", "h"])
        default = _MAPS[i] if i < len(_MAPS) else "tanh"
        nodes.append(Node(name=f"m{i}_map", operation="linear", inputs=tuple(reads.split())))
        activation = choose(f"map{i}.activation", _from(default, ACTIVATIONS))
        nodes.append(Node(name=f"m{i}", operation=activation, inputs=(f"m{i}_map",)))
        values.append(f"m{i}")
    values += ["h", "c"] if has_memory else ["h"]
    number = choose("graph.nodes", _from(4, range(1, MOST_NODES + 1)))
    for i in range(number):
        usual = _NODES[i] if i < len(_NODES) else (values[-1], "identity", "add", values[0])
        left = choose(f"node{i}.left", _from(usual[0], values))
        through = choose(f"node{i}.through", _from(usual[1], ACTIVATIONS))
        operation = choose(f"node{i}.operation", _from(usual[2], COMBINES))
        right = choose(f"node{i}.right", _from(usual[3], values))
        nodes.append(Node(name=f"n{i}_left", operation=through, inputs=(left,)))
        nodes.append(Node(name=f"n{i}", operation=operation, inputs=(f"n{i}_left", right)))
        values.append(f"n{i}")
    memory = choose("graph.memory.node", _from("n2", [f"n{i}" for i in range(number)])) if has_memory else None
    outside = choose("graph.out", ACTIVATIONS)
    nodes.append(Node(name="out", operation=outside, inputs=(f"n{number - 1}",)))
    return nodes, "out", memory


def tree(choose: Choose) -> Graph:
    """A tree of base 8, or smaller. Nodes are numbered from the leaves to the root."""
    base = choose("tree.base", [8, 4, 2])
    count = 2 * base - 1
    inject, give = choose("tree.inject", list(range(count))), choose("tree.give", list(range(count))[::-1])
    nodes: list[Node] = []
    for i in range(count):
        combine = choose(f"tree{i}.combine", ["add", "multiply"] if i < base else ["multiply", "add"])
        nodes += (
            _leaf(i, combine)
            if i < base
            else [Node(name=f"t{i}_raw", operation=combine, inputs=(f"t{2 * (i - base)}", f"t{2 * (i - base) + 1}"))]
        )
        activation = choose(f"tree{i}.activation", ["tanh", "sigmoid", "identity", "relu"])
        if i == inject:
            nodes.append(Node(name=f"t{i}_own", operation=activation, inputs=(f"t{i}_raw",)))
            with_c = choose("inject.combine", ["add", "multiply"])
            nodes.append(Node(name=f"t{i}_with_c", operation=with_c, inputs=(f"t{i}_own", "c")))
            after = choose("inject.activation", ACTIVATIONS)
            nodes.append(Node(name=f"t{i}", operation=after, inputs=(f"t{i}_with_c",)))
        else:
            nodes.append(Node(name=f"t{i}", operation=activation, inputs=(f"t{i}_raw",)))
    given = f"t{give}_with_c" if give == inject else f"t{give}_raw"
    nodes.append(Node(name="memory", operation="identity", inputs=(given,)))
    return nodes, f"t{count - 1}", "memory"


def _leaf(i: int, combine: Operation) -> list[Node]:
    """x and h, mapped and added (one map of both) or multiplied."""
    if combine == "add":
        return [Node(name=f"t{i}_raw", operation="linear", inputs=("x", "h"))]
    maps = [Node(name=f"t{i}_{one}", operation="linear", inputs=(one,)) for one in ("x", "h")]
    return [*maps, Node(name=f"t{i}_raw", operation=combine, inputs=(f"t{i}_x", f"t{i}_h"))]


def _from(default: Any, options: Any) -> list[Any]:
    """The options, the default first."""
    rest = [option for option in options if option != default]
    return [default, *rest] if len(rest) < len(options) else rest
