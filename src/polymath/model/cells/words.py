"""A cell for people: its formulas, and one file of plain PyTorch that runs it without Polymath."""

from __future__ import annotations

import re
from collections.abc import Mapping
from keyword import iskeyword
from textwrap import dedent

from ...spec import BadInput
from .graph import Cell, Node
from .plan import planned

SIGNS: Mapping[str, str] = {"add": "+", "subtract": "-", "multiply": "*"}


def formulas(cell: Cell) -> list[str]:
    """One line for each state and for each value that is taken twice, in the order of computing.

    W and U stand for the matrices of x and h, biases are left out; h and c are those of the step before.
    """
    numbers = {node.name: i + 1 for i, node in enumerate(node for node in cell.ordered if node.operation == "linear")}
    own = [node for node in cell.ordered if _has_line(cell, node)]
    letters = iter("pqrstuvwyzabdefgijklmno")
    names = {"h": "h", "c": "c", cell.hidden: "h_t"} | ({} if cell.memory is None else {cell.memory: "c_t"})
    for node in own:
        if node.name not in names:
            names[node.name] = next(letters, node.name)

    def text(name: str, *, whole: bool = False) -> tuple[str, bool]:
        """How a value is written, and whether it needs brackets inside a product."""
        if name in names and not whole:
            return names[name], False
        node = cell.by_name[name]
        if node.operation == "linear":
            parts = [f"{'W' if i == 'x' else 'U'}{numbers[name]} {i}" for i in node.inputs]
            return " + ".join(parts), True
        given = [text(taken) for taken in node.inputs]
        if node.operation in SIGNS:
            product = node.operation == "multiply"
            sides = [
                f"({words})" if brackets and (product or (i == 1 and node.operation == "subtract")) else words
                for i, (words, brackets) in enumerate(given)
            ]
            return f" {SIGNS[node.operation]} ".join(sides), not product
        words = given[0][0]
        return (words, given[0][1]) if node.operation == "identity" else (f"{node.operation}({words})", False)

    return [f"{names[node.name]} = {text(node.name, whole=True)[0]}" for node in own]


def formula(cell: Cell) -> str:
    """All on one line."""
    return "; ".join(formulas(cell))


def _has_line(cell: Cell, node: Node) -> bool:
    return node.name in (cell.hidden, cell.memory) or len(cell.consumers(node.name)) > 1


def source(cell: Cell, name: str) -> str:
    """A Python file with one `nn.Module` that runs the cell and needs PyTorch alone.

    Its weights have the names and shapes of `CellModule`, so that those of a trained layer can be loaded into it.
    Raises BadInput for a name that cannot become that of a class.
    """
    named = "".join(word.capitalize() for word in re.split(r"[-_]", name))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or iskeyword(named):
        raise BadInput(
            "is no name for a class", value=name, remedy="Begin with a letter; use letters, digits, - and _."
        )
    plan = planned(cell)
    slots = len(plan.slots)
    lines = [f"{slot} = {_slot(plan.num_x, plan.first_h, i, slots)}" for i, slot in enumerate(plan.slots)]
    for node in cell.ordered:
        if node.operation != "linear":
            lines.append(f"{node.name} = {_expression(node)}")
    memory = cell.memory or "c"
    body = "\n".join(f"        {line}" for line in [*lines, f"return {cell.hidden}, {memory}"])
    said = "\n".join(f"    {line}" for line in formulas(cell))
    return _FILE.format(
        name=named,
        formulas=said,
        slots=slots,
        num_x=plan.num_x,
        num_h=slots - plan.first_h,
        body=body,
    )


def _slot(num_x: int, first_h: int, place: int, slots: int) -> str:
    from_x = f"from_x[{place}]" if place < num_x else ""
    from_h = f"from_h[{place - first_h}]" if place >= first_h else ""
    return " + ".join(part for part in (from_x, from_h, f"bias[{place}]") if part)


def _expression(node: Node) -> str:
    if node.operation in SIGNS:
        return f" {SIGNS[node.operation]} ".join(node.inputs)
    return node.inputs[0] if node.operation == "identity" else f"torch.{node.operation}({node.inputs[0]})"


_FILE = dedent(
    '''\
    """A recurrent cell that Polymath found, in plain PyTorch."""

    import torch
    from torch import nn


    class {name}(nn.Module):
        """x [B, T, input_size] -> all h [B, T, hidden_size] and the last (h, c).

        W and U are the matrices of x and of the last h; every sum with one of them has a bias.

    {formulas}
        """

        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.hidden_size = hidden_size
            self.map_x = nn.Parameter(torch.empty(input_size, {num_x} * hidden_size))
            self.map_h = nn.Parameter(torch.empty(hidden_size, {num_h} * hidden_size))
            self.bias = nn.Parameter(torch.empty({slots} * hidden_size))
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

        def step(self, from_x, h, c):
            from_h = (h @ self.map_h).split(self.hidden_size, -1)
            bias = self.bias.split(self.hidden_size)
    {body}

        def forward(self, x, state=None):
            h, c = state if state is not None else (x.new_zeros(len(x), self.hidden_size),) * 2
            hidden = []
            for mapped in (x @ self.map_x).unbind(1):
                h, c = self.step(mapped.split(self.hidden_size, -1), h, c)
                hidden.append(h)
            return torch.stack(hidden, 1), (h, c)
    '''
)
