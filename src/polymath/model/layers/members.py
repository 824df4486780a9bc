"""Many MLPs that share their weights: an ensemble in one net, the strongest plain net on tables."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Activation, Dropout, Layer, activation


class Members(Layer):
    """Vector [B, D] -> raw prediction [B, width] of `members` MLPs with common weights; last gene before an output.

    Each member scales the inputs and outputs of every common linear map by vectors of its own and has its own biases
    and head: TabM (Gorishniy, Kotelnikov, Babenko 2025, arXiv:2410.24210). While training it gives [B, M, width], and
    the loss is the mean over members; otherwise the mean of the raw predictions.
    """

    kind: Literal["members"] = "members"
    width: int = Field(ge=1, le=65_536)
    members: int = Field(default=8, ge=1, le=256)
    blocks: int = Field(default=2, ge=1, le=64)
    hidden: int = Field(default=64, ge=1, le=65_536)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    activation: Activation = "relu"

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "vector")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        (x,) = self.take(inputs, "vector")
        return _Members(self, x.width)

    def work(self, *inputs: Form) -> float:
        sizes = [inputs[0].width, *[self.hidden] * self.blocks]
        shared = sum(a * b + a + b for a, b in pairwise(sizes))
        return float(self.members * (shared + self.hidden * self.width))


class _Members(nn.Module):
    """Axes: B examples, M members, D width before and E width after a map, W width of the raw prediction."""

    def __init__(self, layer: Members, width: int) -> None:
        super().__init__()
        sizes = [width, *[layer.hidden] * layer.blocks]
        self.maps = nn.ModuleList(_Shared(layer.members, *pair, first=not i) for i, pair in enumerate(pairwise(sizes)))
        self.after = nn.Sequential(activation(layer.activation), Dropout(layer.dropout))
        bound = layer.hidden**-0.5
        self.head_MDW = nn.Parameter(torch.empty(layer.members, layer.hidden, layer.width).uniform_(-bound, bound))
        self.bias_MW = nn.Parameter(torch.empty(layer.members, layer.width).uniform_(-bound, bound))

    def forward(self, x_BD: Tensor) -> Tensor:
        first, *others = self.maps
        weight_MED, bias_ME = first()
        x_BE = nn.functional.linear(x_BD, weight_MED.flatten(0, 1), bias_ME.flatten())
        x_MBD = self.after(x_BE).view(len(x_BD), *bias_ME.shape).transpose(0, 1)
        for shared in others:
            weight_MED, bias_ME = shared()
            x_MBD = self.after(torch.baddbmm(bias_ME.unsqueeze(1), x_MBD, weight_MED.mT))
        y_MBW = torch.baddbmm(self.bias_MW.unsqueeze(1), x_MBD, self.head_MDW)
        return y_MBW.transpose(0, 1) if self.training else y_MBW.mean(0)


class _Shared(nn.Module):
    """One linear map for all members, with their own scales before and after; gives each member's own weights.

    Scaling the weights [M, E, D] instead of the values [B, M, D] saves passes over memory: batches outnumber widths.
    """

    def __init__(self, members: int, before: int, after: int, *, first: bool) -> None:
        super().__init__()
        bound = before**-0.5
        self.weight_ED = nn.Parameter(torch.empty(after, before).uniform_(-bound, bound))
        # Members start apart in the first map only: random signs there, ones behind it (section 3.3 of the paper).
        signs = torch.randint(0, 2, (members, before)).float() * 2 - 1
        # Flat, for weight decay spares what has one axis: these are scales around one, and biases.
        self.scale_in = nn.Parameter((signs if first else torch.ones(members, before)).flatten())
        self.scale_out = nn.Parameter(torch.ones(members * after))
        self.bias = nn.Parameter(torch.empty(members * after).uniform_(-bound, bound))
        self.members = members

    def forward(self) -> tuple[Tensor, Tensor]:
        scale_in_M1D = self.scale_in.view(self.members, 1, -1)
        scale_out_ME1 = self.scale_out.view(self.members, -1, 1)
        return self.weight_ED * scale_in_M1D * scale_out_ME1, self.bias.view(self.members, -1)
