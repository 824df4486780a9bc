"""Vectors side by side: where the encoders of several ports meet."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer


class Concat(Layer):
    """Vectors [B, D1], [B, D2], ... -> vector [B, D1 + D2 + ...]. Pool tokens and maps first."""

    kind: Literal["concat"] = "concat"
    num_inputs: ClassVar[int | None] = None

    def form(self, *inputs: Form) -> Form:
        return vector(sum(form.width for form in self.take(inputs, "vector")))

    def build(self, *inputs: Form) -> nn.Module:
        self.take(inputs, "vector")
        return _Concat()


class _Concat(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, dim=-1)
