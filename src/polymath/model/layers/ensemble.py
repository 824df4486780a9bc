"""Raw predictions of several models -> the raw prediction of all of them: an ensemble is a gene with several inputs."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from ...problem.form import Form, vector
from .base import Layer

Combine = Literal["values", "categories", "labels"]


class Ensemble(Layer):
    """Weighted mean of raw predictions [B, W], or of maps [B, W, height, width], of equal width -> the same.

    `combine` says what is averaged: "values" the raw predictions themselves; "categories" the probabilities of a
    softmax (gives their logarithm); "labels" the probabilities of W sigmoids (gives their logit). Weights are made to
    sum to one; without weights all count alike. They are few, so they are part of the description.
    """

    kind: Literal["ensemble"] = "ensemble"
    num_inputs: ClassVar[int | None] = None
    combine: Combine = "values"
    weights: tuple[float, ...] = Field(default=())

    @field_validator("weights")
    @classmethod
    def _weights_are_shares(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if weights and (min(weights) < 0 or not sum(weights) > 0):
            raise ValueError(f"weights of an ensemble are 0 or more, one of them more, got {weights}")
        return weights

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "map" if inputs and inputs[0].kind == "map" else "vector")
        if len({form.width for form in inputs}) > 1:
            raise ValueError(f"ensemble takes answers of equal width, got {', '.join(map(str, inputs))}")
        if len({form.size for form in inputs}) > 1:
            raise ValueError(f"ensemble takes maps of equal size, got {', '.join(map(str, inputs))}")
        if self.weights and len(self.weights) != len(inputs):
            raise ValueError(f"ensemble has {len(self.weights)} weights for {len(inputs)} inputs")
        return inputs[0] if inputs[0].kind == "map" else vector(inputs[0].width)

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Ensemble(self.combine, self.weights or (1.0,) * len(inputs))

    def work(self, *inputs: Form) -> float:
        return float(sum(math.prod((form.width, *form.size)) for form in inputs))


class _Ensemble(nn.Module):
    def __init__(self, how: Combine, weights: tuple[float, ...]) -> None:
        super().__init__()
        self.how: Combine = how
        self.shares = [weight / sum(weights) for weight in weights]

    def forward(self, *inputs: Tensor) -> Tensor:
        means = [x.mean(1) if x.dim() == 3 else x for x in inputs]  # over members
        used = [(x, share) for x, share in zip(means, self.shares, strict=True) if share > 0]
        if len(used) == 1:
            return used[0][0]
        return combine([x for x, _ in used], [share for _, share in used], how=self.how)


def combine(predictions: list[Tensor], shares: list[float], *, how: Combine) -> Tensor:
    """Weighted mean of raw predictions of equal shape, in the sense of `how`; shares are positive and sum to one.

    Their second axis is that of the classes.
    """
    x = torch.stack(predictions)
    share = x.new_tensor(shares).view(-1, *[1] * (x.dim() - 1))
    if how == "values":
        return (x * share).sum(0)
    logs = x.new_tensor([math.log(part) for part in shares]).view_as(share)
    if how == "categories":
        return (F.log_softmax(x, 2) + logs).logsumexp(0)
    return (F.logsigmoid(x) + logs).logsumexp(0) - (F.logsigmoid(-x) + logs).logsumexp(0)
