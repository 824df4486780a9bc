"""A vector brought to unit length: only its direction counts, so that likeness is an angle."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ...problem.form import Form, vector
from .base import Layer


class Unit(Layer):
    """`sqrt(D) x / |x|`: vector [B, D] -> [B, D]; its mean square is one (Wang et al. 2019, arXiv:1911.04623)."""

    kind: Literal["unit"] = "unit"

    def form(self, *inputs: Form) -> Form:
        return vector(self.take(inputs, "vector")[0].width)

    def build(self, *inputs: Form) -> nn.Module:
        self.take(inputs, "vector")
        return _Unit()

    def work(self, *inputs: Form) -> float:
        return 2.0 * inputs[0].width


class _Unit(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x.float(), dim=-1, eps=1e-6) * math.sqrt(x.shape[-1])
