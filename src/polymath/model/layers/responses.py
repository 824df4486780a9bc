"""A set of responses whose vectors are known: a message is compared with all of them by one matrix product."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ...problem.form import Form, vector
from .base import Layer


class Responses(Layer):
    """Message [B, D] -> vector [B, width]: a logit for each of `width` responses.

    The unit vector of the message times `scale`, times the vector of each response, plus its bias. The table of vectors
    was computed once, so nothing of the net that makes them is needed to answer. Always stored frozen.
    """

    kind: Literal["responses"] = "responses"
    width: int = Field(ge=1, le=1_000_000)
    """Number of responses."""

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "vector")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        (message,) = self.take(inputs, "vector")
        return _Responses(self.width, message.width)

    def work(self, *inputs: Form) -> float:
        return float(self.width * inputs[0].width)


class _Responses(nn.Module):
    def __init__(self, responses: int, width: int) -> None:
        super().__init__()
        self.table_RD = nn.Parameter(F.normalize(torch.randn(responses, width), dim=-1))
        self.bias_R = nn.Parameter(torch.zeros(responses))
        self.scale = nn.Parameter(torch.tensor([20.0]))

    def forward(self, message_BD: Tensor) -> Tensor:
        unit_BD = F.normalize(message_BD.float(), dim=-1, eps=1e-6) * self.scale
        return torch.addmm(self.bias_R, unit_BD, self.table_RD.T)
