"""What each rater will say, beside what is true: for learning from the labels of people who err in their own ways."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer

SURE = 4.0
"""Logit by which a fresh rater says what is true: of ten classes they err in 14 % of rows."""


class Raters(Layer):
    """Raw prediction [B, C] -> [B, C]; while training [B, (1 + K) C]: log probabilities of the truth, then of what each
    of K raters will say. Last gene before an output that several raters graded (`Graded.loss`).

    `votes`: all say what is true, so each label counts as one vote. `matrices`: each says class l where c is true with
    a probability of their own, learned with the rest: the crowd layer of Rodrigues and Pereira (2018, arXiv:1709.01779,
    section 3, 'MW'), normalised. `tendencies`: each favours some classes, whatever is true ('B' of the same paper).
    `joint`: as `matrices`, but [B, C + K C C], the matrices themselves, so that the labels of a row are explained by
    one truth (Raykar et al. 2010, equation 9; for nets, Khetan et al. 2018, arXiv:1712.04577).
    """

    kind: Literal["raters"] = "raters"
    raters: int = Field(ge=2, le=1024)
    how: Literal["votes", "matrices", "tendencies", "joint"] = "votes"

    def form(self, *inputs: Form) -> Form:
        return vector(self.take(inputs, "vector")[0].width)

    def build(self, *inputs: Form) -> nn.Module:
        return _Raters(self, self.take(inputs, "vector")[0].width)

    def work(self, *inputs: Form) -> float:
        return float(self.raters * inputs[0].width ** (2 if self.how in ("matrices", "joint") else 1))


class _Raters(nn.Module):
    def __init__(self, layer: Raters, width: int) -> None:
        super().__init__()
        self.raters, self.how = layer.raters, layer.how
        # Flat, so that weight decay spares them: they describe people, and are no weights to be kept small.
        if layer.how in ("matrices", "joint"):
            self.logits = nn.Parameter((SURE * torch.eye(width)).expand(layer.raters, -1, -1).flatten().clone())
        elif layer.how == "tendencies":
            self.logits = nn.Parameter(torch.zeros(layer.raters * width))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        log_C = x.float().log_softmax(-1)
        width = x.shape[-1]
        if self.how == "votes":
            return log_C.repeat(*(1,) * (x.ndim - 1), 1 + self.raters)
        if self.how == "tendencies":
            told_KC = (log_C.unsqueeze(-2) + self.logits.view(self.raters, width)).log_softmax(-1)
        else:
            log_KCC = self.logits.view(self.raters, width, width).log_softmax(-1)
            if self.how == "joint":
                return torch.cat([log_C, log_KCC.flatten().expand(*x.shape[:-1], -1)], -1)
            told_KC = (log_C[..., None, :, None] + log_KCC).logsumexp(-2)
        return torch.cat([log_C, told_KC.flatten(-2)], -1)
