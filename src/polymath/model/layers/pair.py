"""Two vectors meet: what a message and the reply to it are, side by side, so that a loss can compare all with all."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ...problem.form import Form, vector
from .base import Layer


class Pair(Layer):
    """Message [B, D] and reply [B, D] -> vector [B, 2D]: both of length 1, the message times a scale that is learned.

    The dot product of a message's half and a reply's half is then a logit: how much better this reply fits.
    """

    kind: Literal["pair"] = "pair"
    num_inputs: ClassVar[int | None] = 2
    scale: float = Field(default=20.0, gt=0.0, le=100.0)
    """Where the scale begins."""

    def form(self, *inputs: Form) -> Form:
        message, reply = self.take(inputs, "vector")
        if message.width != reply.width:
            raise ValueError(f"pair takes two vectors of one width, got {message} and {reply}")
        return vector(2 * message.width)

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Pair(self)

    def work(self, *inputs: Form) -> float:
        return 4.0 * inputs[0].width


class _Pair(nn.Module):
    most = math.log(100.0)

    def __init__(self, layer: Pair) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([math.log(layer.scale)]))

    def forward(self, message_BD: Tensor, reply_BD: Tensor) -> Tensor:
        scale = self.log_scale.clamp_max(self.most).exp()
        message_BD = F.normalize(message_BD.float(), dim=-1, eps=1e-6) * scale
        return torch.cat([message_BD, F.normalize(reply_BD.float(), dim=-1, eps=1e-6)], dim=-1)
