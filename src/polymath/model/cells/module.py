"""A cell with weights: an `nn.Module` over sequences that can take the weights of torch's own LSTM and GRU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .graph import GRU, LSTM, Cell
from .plan import planned
from .running import plainly, run

GATES = {"lstm": ("a_i", "a_f", "a_g", "a_o"), "gru": ("a_r", "a_z", "a_n")}
"""Torch's order of gates."""


class CellModule(nn.Module):
    """One cell over [B, T, D] -> [B, T, width] and the last (h, c); called as torch.nn.LSTM(batch_first=True) is.

    `map_x` [D, slots of x * width], `map_h` [width, slots of h * width], `bias` [slots * width]; slots in the order of
    the plan. All begin uniformly within 1 / sqrt(width), as torch's own cells do.
    """

    def __init__(self, cell: Cell, given: int, width: int) -> None:
        super().__init__()
        self.plan, self.width = planned(cell), width
        slots = len(self.plan.slots)
        self.map_x = nn.Parameter(torch.empty(given, self.plan.num_x * width))
        self.map_h = nn.Parameter(torch.empty(width, (slots - self.plan.first_h) * width))
        self.bias = nn.Parameter(torch.empty(slots * width))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def forward(
        self, x_BTD: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        with torch.autocast(x_BTD.device.type, enabled=False):
            x_1TBD = x_BTD.to(self.map_x.dtype).transpose(0, 1)[None]
            if state is None:
                state = (x_1TBD.new_zeros(len(x_BTD), self.width),) * 2
            h_1TBH, c_1BH = (plainly if torch.compiler.is_compiling() else run)(
                self.plan,
                x_1TBD,
                map_x=self.map_x[None],
                map_h=self.map_h[None],
                bias=self.bias[None],
                h_SBH=state[0][None],
                c_SBH=state[1][None],
            )
        return h_1TBH[0].transpose(0, 1), (h_1TBH[0, -1], c_1BH[0])

    @torch.no_grad()
    def load_torch(self, other: nn.LSTM | nn.GRU) -> None:
        """Takes the weights of torch's LSTM or GRU of one layer, one way. Raises ValueError for another cell."""
        kind = "lstm" if isinstance(other, nn.LSTM) else "gru"
        if self.plan.cell != {"lstm": LSTM, "gru": GRU}[kind] or other.num_layers != 1 or other.bidirectional:
            raise ValueError(f"this cell is no {kind} of one layer, one way: its weights cannot be taken")
        width = self.width
        by_x, by_h, offset_x, offset_h = (
            dict(zip(GATES[kind], parameter.split(width), strict=True)) for parameter in other.parameters()
        )
        first_h = self.plan.first_h
        for place, slot in enumerate(self.plan.slots):
            name = slot if kind == "lstm" or slot in by_x else "a_n"
            part = slice(place * width, (place + 1) * width)
            self.bias[part] = 0
            if place < self.plan.num_x:
                self.map_x[:, part] = by_x[name].T
                self.bias[part] += offset_x[name]
            if place >= first_h:
                self.map_h[:, (place - first_h) * width : (place - first_h + 1) * width] = by_h[name].T
                self.bias[part] += offset_h[name]
