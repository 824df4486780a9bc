"""Answers about the classes of a stored task, read as answers about classes of the same names."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from ...problem.form import Form, vector
from .base import Layer

LEAST = 1e-9
"""Probability below which answers do not fall: its logarithm is finite."""


class Namesakes(Layer):
    """Logits of C classes [B, C] -> log probabilities of W classes [B, W], each the sum over its namesakes.

    `classes`: for each of the C classes the place of the class that it is a namesake of, -1 = of none. A class without
    namesakes is as likely as one of C.
    """

    kind: Literal["namesakes"] = "namesakes"
    width: int = Field(ge=2, le=65_536)
    classes: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _places_are_there(self) -> Namesakes:
        if min(self.classes) < -1 or max(self.classes) >= self.width:
            raise ValueError(f"namesakes take places from -1 to {self.width - 1}")
        return self

    def form(self, *inputs: Form) -> Form:
        (x,) = self.take(inputs, "vector")
        if x.width != len(self.classes):
            raise ValueError(f"namesakes speak of {len(self.classes)} classes, got {x}")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Namesakes(self.classes, self.width)

    def work(self, *inputs: Form) -> float:
        return float(len(self.classes) * self.width)


class _Namesakes(nn.Module):
    sums: Tensor
    alone: Tensor

    def __init__(self, classes: tuple[int, ...], width: int) -> None:
        super().__init__()
        sums = torch.zeros(len(classes), width)
        for place, found in enumerate(classes):
            if found >= 0:
                sums[place, found] = 1.0
        self.register_buffer("sums", sums, persistent=False)
        self.register_buffer("alone", (sums.sum(0) == 0) / len(classes), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        probabilities = F.softmax(x.float(), dim=-1)
        return (probabilities @ self.sums + self.alone).clamp_min(LEAST).log()
