"""Recurrent layers of any cell: what a search invented, or a graph that a person wrote."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from ...problem.form import Form
from ..cells import Cell
from ..cells.module import CellModule
from ._pieces import embedded
from .base import Layer
from .recurrent import Stacked


class CellLayer(Layer):
    """tokens -> tokens of `width`, twice that when `both_ways`: as `recurrent`, with a cell of one's own.

    `depth` layers of the cell stand on top of each other, with residual connections where widths agree.
    """

    kind: Literal["cell"] = "cell"
    width: int = Field(ge=1, le=8192)
    cell: Cell
    both_ways: bool = True
    depth: int = Field(default=1, ge=1, le=16)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def form(self, *inputs: Form) -> Form:
        given = embedded(self, inputs)
        return Form(kind="tokens", width=self.width * (2 if self.both_ways else 1), size=given.size)

    def build(self, *inputs: Form) -> nn.Module:
        def one(given: int) -> nn.Module:
            return CellModule(self.cell, given, self.width)

        return Stacked(one, self._widths(*inputs), both_ways=self.both_ways, dropout=self.dropout)

    def work(self, *inputs: Form) -> float:
        steps, ways = embedded(self, inputs).size[0], 2 if self.both_ways else 1
        return float(sum(steps * ways * self.cell.num_parameters(self.width, given) for given in self._widths(*inputs)))

    def _widths(self, *inputs: Form) -> list[int]:
        """What each layer reads."""
        return [embedded(self, inputs).width, *[self.form(*inputs).width] * (self.depth - 1)]
