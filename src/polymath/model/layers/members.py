"""Many MLPs that share their weights: an ensemble in one net, the strongest plain net on tables."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Activation, Layer, activation


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
    hidden: int = Field(default=128, ge=1, le=65_536)
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
    def __init__(self, layer: Members, width: int) -> None:
        super().__init__()
        sizes = [width, *[layer.hidden] * layer.blocks]
        maps: list[nn.Module] = []
        for depth, (before, after) in enumerate(pairwise(sizes)):
            maps += [_Shared(layer.members, before, after, first=depth == 0), activation(layer.activation)]
            if layer.dropout:
                maps.append(nn.Dropout(layer.dropout))
        self.trunk = nn.Sequential(*maps)
        bound = layer.hidden**-0.5
        self.head_MDW = nn.Parameter(torch.empty(layer.members, layer.hidden, layer.width).uniform_(-bound, bound))
        self.bias_MW = nn.Parameter(torch.empty(layer.members, layer.width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        x_BMD = self.trunk(x.unsqueeze(1))
        y_BMW = torch.einsum("bmd,mdw->bmw", x_BMD, self.head_MDW) + self.bias_MW
        return y_BMW if self.training else y_BMW.mean(1)


class _Shared(nn.Module):
    """One linear map for all members, with their own scales before and after: [B, M or 1, D] -> [B, M, E]."""

    def __init__(self, members: int, before: int, after: int, *, first: bool) -> None:
        super().__init__()
        bound = before**-0.5
        self.weight = nn.Parameter(torch.empty(after, before).uniform_(-bound, bound))
        # Members start apart in the first map only: random signs there, ones behind it (section 3.3 of the paper).
        signs = torch.randint(0, 2, (members, before)).float() * 2 - 1
        # Flat, for weight decay spares what has one axis: these are scales around one, and biases.
        self.scale_in = nn.Parameter((signs if first else torch.ones(members, before)).flatten())
        self.scale_out = nn.Parameter(torch.ones(members * after))
        self.bias = nn.Parameter(torch.empty(members * after).uniform_(-bound, bound))
        self.members = members

    def forward(self, x: Tensor) -> Tensor:
        scale_in_MD, scale_out_ME, bias_ME = (
            flat.view(self.members, -1) for flat in (self.scale_in, self.scale_out, self.bias)
        )
        return torch.addcmul(bias_ME, nn.functional.linear(x * scale_in_MD, self.weight), scale_out_ME)
