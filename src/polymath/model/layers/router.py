"""Several vectors -> one, weighed for each example: where stored paths meet that know different things.

Axes: B examples (and members, see `layers.base`), N inputs, D width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer


class Router(Layer):
    """Vectors of any widths -> a vector of `width`: `sum of gate_n * map_n(norm(x_n))`.

    The gates are a softmax of a linear map of all normalised inputs. It begins at zero, so that all inputs count alike
    before anything is learned (Gesmundo 2022, arXiv:2209.07326, begins with most of the weight on one path, trains
    each path as if it were alone, and slows the gates down).
    """

    kind: Literal["router"] = "router"
    num_inputs: ClassVar[int | None] = None
    width: int = Field(ge=1, le=65_536)

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "vector")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        return _Router([one.width for one in self.take(inputs, "vector")], self.width)

    def work(self, *inputs: Form) -> float:
        return float(sum(one.width for one in inputs) * (self.width + len(inputs)))


class _Router(nn.Module):
    def __init__(self, widths: list[int], width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(one) for one in widths)
        self.maps = nn.ModuleList(nn.Linear(one, width) for one in widths)
        self.gates = nn.Linear(sum(widths), len(widths))
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)

    def forward(self, *inputs: Tensor) -> Tensor:
        normed = [norm(one) for norm, one in zip(self.norms, inputs, strict=True)]
        gates_BN = self.gates(torch.cat(normed, -1)).softmax(-1)
        mapped_BDN = torch.stack([one(x) for one, x in zip(self.maps, normed, strict=True)], -1)
        result: Tensor = (mapped_BDN * gates_BN.unsqueeze(-2)).sum(-1)
        return result
