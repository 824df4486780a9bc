"""Tokens -> one vector per example."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import attendable, embedded, masked
from .base import Layer

How = Literal["mean", "max", "mean_max", "attention", "last"]


class PoolTokens(Layer):
    """Pool over the tokens that are there: mean, maximum, both, mean weighted by learned attention, or the last.

    An example without tokens gives zeros.
    """

    kind: Literal["pool_tokens"] = "pool_tokens"
    how: How = "mean"

    def form(self, *inputs: Form) -> Form:
        given = embedded(self, inputs)
        return Form(kind="vector", width=given.width * (2 if self.how == "mean_max" else 1))

    def build(self, *inputs: Form) -> nn.Module:
        return _PoolTokens(embedded(self, inputs).width, how=self.how)

    def work(self, *inputs: Form) -> float:
        given = embedded(self, inputs)
        return float(2 * given.width * given.size[0]) if self.how == "attention" else 0.0


class _PoolTokens(nn.Module):
    def __init__(self, width: int, *, how: How) -> None:
        super().__init__()
        self.how = how
        self.score = nn.Linear(width, 1) if how == "attention" else None
        if self.score is not None:
            nn.init.zeros_(self.score.weight)  # starts as the plain mean

    def forward(self, tokens: Tokens) -> Tensor:
        x_BTD, mask_BT = masked(tokens.values, tokens.mask), tokens.mask
        if self.score is not None:
            score_BT = self.score(x_BTD)[..., 0].masked_fill(~attendable(mask_BT), -torch.inf)
            return torch.einsum("btd,bt->bd", x_BTD, score_BT.softmax(1).to(x_BTD.dtype))
        if self.how == "last":
            place_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
            last_B = (mask_BT * (place_T + 1)).amax(1).sub(1).clamp_min(0)
            return x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), last_B]
        parts = []
        if self.how != "max":
            parts.append(x_BTD.sum(1) / mask_BT.sum(1, keepdim=True).clamp_min(1).to(x_BTD.dtype))
        if self.how != "mean":
            lowest_BTD = x_BTD.masked_fill(~mask_BT[..., None], torch.finfo(x_BTD.dtype).min)
            parts.append(masked(lowest_BTD.amax(1)[:, None], mask_BT.any(1, keepdim=True))[:, 0])
        return torch.cat(parts, 1)
