"""A recurrent cell as a description: a directed graph from x_t, h_{t-1} and c_{t-1} to h_t and c_t.

Nodes are linear maps of x and h, and elementwise operations on what they gave. Every linear map reads x_t or h_{t-1}
or both, never another node: so all maps of x run over the whole sequence in one matrix product, and a step costs one
product more, as in an LSTM. Elman networks, LSTM (Hochreiter and Schmidhuber 1997), GRU (Cho et al. 2014, in the form
of cuDNN and torch) and the trees of Zoph and Le (2017, arXiv:1611.01578, section 3.4) are such graphs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from keyword import iskeyword
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from ...spec import BadInput, Spec

Operation = Literal["linear", "add", "subtract", "multiply", "tanh", "sigmoid", "relu", "identity"]
BINARY: tuple[Operation, ...] = ("add", "subtract", "multiply")
UNARY: tuple[Operation, ...] = ("tanh", "sigmoid", "relu", "identity")
SOURCES = ("x", "h", "c")
"""What goes in: the input of this step, the hidden state and the memory of the last one."""
RESERVED = (*SOURCES, "self", "torch", "bias", "from_x", "from_h")
"""No names for nodes: a file of plain PyTorch has them already."""
MOST_NODES = 64
MOST_DEPTH = 32
"""Elementwise nodes one after the other: as many as nobody has needed, and few enough to be followed."""


class Node(Spec):
    """One node: `linear` maps x, h or both (each with its own matrix; one bias); the others work value by value."""

    name: str
    operation: Operation
    inputs: tuple[str, ...]


class Cell(Spec):
    """Nodes by name, in any order, and which of them give h_t and c_t. Raises BadInput for what is no cell.

    `memory` is None for a cell without c. All values have the width of the layer; x may have another.
    """

    nodes: tuple[Node, ...]
    hidden: str
    memory: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _known_words(cls, given: Any) -> Any:
        """A word that is no operation is said plainly, before pydantic lists all that it is not."""
        nodes = given.get("nodes") if isinstance(given, Mapping) else None
        for node in nodes if isinstance(nodes, (list, tuple)) else ():
            word = node.get("operation") if isinstance(node, Mapping) else None
            if isinstance(word, str) and word not in ("linear", *BINARY, *UNARY):
                raise BadInput(
                    f"node {node.get('name')!r} has an unknown operation",
                    value=word,
                    remedy=f"One of: linear, {', '.join((*BINARY, *UNARY))}.",
                )
        return given

    @model_validator(mode="after")
    def _is_a_cell(self) -> Cell:
        names = [node.name for node in self.nodes]
        if not names or len(names) > MOST_NODES:
            raise BadInput(f"a cell has 1 to {MOST_NODES} nodes", value=len(names))
        for name in names:
            if not name.isidentifier() or iskeyword(name) or name in RESERVED:
                remedy = "Use letters, digits and _; not x, h or c."
                raise BadInput("is no name for a node", value=name, remedy=remedy)
            if names.count(name) > 1:
                raise BadInput(f"two nodes are named {name!r}", remedy="Give each node its own name.")
        for node in self.nodes:
            _check_inputs(node, names, memory=self.memory is not None)
        self._check_outputs()
        self._check_depth()
        idle = sorted(set(names) - self._reached)
        if idle:
            raise BadInput(f"nodes that nothing takes: {', '.join(idle)}", remedy="Leave them out.")
        if not any("x" in node.inputs for node in self.nodes):
            raise BadInput("this cell reads no x", remedy="Let a linear node take x.")
        return self

    def _check_outputs(self) -> None:
        for role, name in (("hidden", self.hidden), ("memory", self.memory)):
            if name is None:
                continue
            if name not in self.by_name:
                raise BadInput(f"{role} names no node", value=name, remedy=f"Nodes: {', '.join(self.by_name)}.")
            if self.by_name[name].operation == "linear":
                raise BadInput(
                    f"{role} is a linear node", value=name, remedy="Put an elementwise node behind it, such as tanh."
                )
        if self.memory is not None and not self.consumers("c"):
            raise BadInput("this cell has a memory that nothing reads", value=self.memory, remedy="Let a node take c.")
        if self.memory == self.hidden:
            raise BadInput("hidden and memory are one node", value=self.hidden, remedy="Read h, and give no memory.")

    def _check_depth(self) -> None:
        deepest = max(self.depths.values())
        if deepest > MOST_DEPTH:
            raise BadInput(f"this cell has {deepest} elementwise nodes in a row; {MOST_DEPTH} at most")

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def ordered(self) -> tuple[Node, ...]:
        """The nodes, each after what it takes. Raises BadInput naming a circle."""
        done: dict[str, Node] = {}
        left = dict(self.by_name)
        while left:
            ready = [node for node in left.values() if all(i in done or i in SOURCES for i in node.inputs)]
            if not ready:
                raise BadInput(
                    f"this cell has a circle: {' -> '.join(_circle(left))}",
                    remedy="What comes back from the last step is h or c.",
                )
            for node in ready:
                done[node.name] = left.pop(node.name)
        return tuple(done.values())

    @cached_property
    def depths(self) -> Mapping[str, int]:
        """Elementwise nodes on the longest way to each node, itself included."""
        depths = dict.fromkeys(SOURCES, 0)
        for node in self.ordered:
            depths[node.name] = max(depths[i] for i in node.inputs) + (node.operation != "linear")
        return depths

    @cached_property
    def _reached(self) -> frozenset[str]:
        """What h_t or c_t depends on."""
        reached: set[str] = set()
        waiting = [name for name in (self.hidden, self.memory) if name is not None]
        while waiting:
            name = waiting.pop()
            if name not in reached and name not in SOURCES:
                reached.add(name)
                waiting += self.by_name[name].inputs
        return frozenset(reached)

    def consumers(self, name: str) -> list[str]:
        """Nodes that take it, once for each time."""
        return [node.name for node in self.nodes for taken in node.inputs if taken == name]

    @property
    def linear(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.operation == "linear")

    def num_parameters(self, width: int, given: int) -> int:
        """Weights of one layer of this width that reads `given` values per step."""
        matrices = sum(
            (given if "x" in node.inputs else 0) + (width if "h" in node.inputs else 0) for node in self.linear
        )
        return width * (matrices + len(self.linear))


def _check_inputs(node: Node, names: list[str], *, memory: bool) -> None:
    where = f"node {node.name!r} ({node.operation})"
    known = (*SOURCES, *names)
    for taken in node.inputs:
        if taken not in known:
            raise BadInput(f"{where} takes an unknown name", value=taken, remedy=f"One of: {', '.join(known)}.")
        if taken == "c" and not memory:
            raise BadInput(f"{where} takes c, but this cell has no memory", remedy="Say which node gives it: memory.")
    if node.operation == "linear":
        if not node.inputs or len(set(node.inputs)) < len(node.inputs) or not set(node.inputs) <= {"x", "h"}:
            raise BadInput(f"{where} maps x, h or both", value=list(node.inputs))
        return
    wanted = 2 if node.operation in BINARY else 1
    if len(node.inputs) != wanted:
        raise BadInput(f"{where} takes {wanted} input(s)", value=list(node.inputs))
    if "x" in node.inputs:
        raise BadInput(
            f"{where} takes x, whose width may be another", remedy="Map it first: a linear node that takes x alone."
        )


def _circle(left: Mapping[str, Node]) -> list[str]:
    """A circle among nodes that all wait for each other."""
    way = [next(iter(left))]
    while True:
        following = next(taken for taken in left[way[-1]].inputs if taken in left)
        if following in way:
            return [*way[way.index(following) :], following]
        way.append(following)


def parse_cell(description: Mapping[str, Any]) -> Cell:
    """A cell from its JSON description. Raises BadInput with the one thing that is wrong with it first."""
    try:
        return Cell.model_validate(dict(description))
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, BadInput):
            raise cause from None
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"is no cell: {where}: {first['msg']}") from None


def _cell(hidden: str, memory: str | None = None, **nodes: str) -> Cell:
    """A cell written short: name="operation input input"."""
    made = [
        Node(name=name, operation=words.split()[0], inputs=tuple(words.split()[1:])) for name, words in nodes.items()
    ]
    return Cell(nodes=tuple(made), hidden=hidden, memory=memory)


LSTM = _cell(
    "h_t",
    "c_t",
    a_i="linear x h",
    a_f="linear x h",
    a_g="linear x h",
    a_o="linear x h",
    i="sigmoid a_i",
    f="sigmoid a_f",
    g="tanh a_g",
    o="sigmoid a_o",
    kept="multiply f c",
    new="multiply i g",
    c_t="add kept new",
    squashed="tanh c_t",
    h_t="multiply o squashed",
)
"""As in torch.nn.LSTM, whose two biases per gate are one here."""

GRU = _cell(
    "h_t",
    a_r="linear x h",
    a_z="linear x h",
    a_x="linear x",
    a_h="linear h",
    r="sigmoid a_r",
    z="sigmoid a_z",
    past="multiply r a_h",
    sum="add past a_x",
    n="tanh sum",
    step="subtract n h",
    part="multiply z step",
    h_t="subtract n part",
)
"""As in torch.nn.GRU: h_t = n - z (n - h), which is (1 - z) n + z h."""

ELMAN = _cell("h_t", a="linear x h", h_t="tanh a")
KNOWN: Mapping[str, Cell] = {"lstm": LSTM, "gru": GRU, "elman": ELMAN}
