"""Anything -> tokens: so that what writes an answer can look at it."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens, tokens
from ._pieces import masked
from .base import Layer


class AsTokens(Layer):
    """Vectors, maps and tokens, one or more of them -> tokens of `width`, in a row.

    A vector becomes `number` tokens, a map one for each of its places, with a learned vector that tells them apart
    (Dosovitskiy et al. 2021, arXiv:2010.11929); tokens stay so many. Each input has a linear map of its own.
    """

    num_inputs: ClassVar[int | None] = None
    kind: Literal["as_tokens"] = "as_tokens"
    width: int = Field(ge=1, le=8192)
    number: int = Field(default=4, ge=1, le=4096)
    """Tokens that a vector becomes."""

    def form(self, *inputs: Form) -> Form:
        for one in inputs:
            self.take((one,), one.kind if one.kind in ("vector", "tokens", "map") else "vector")
            if one.vocabulary:
                raise ValueError(f"as_tokens takes tokens that are vectors, got {one}; embed them first")
        if not inputs:
            raise ValueError("as_tokens takes one or more inputs, got none")
        return tokens(sum(self._count(one) for one in inputs), width=self.width)

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _AsTokens([_Part(one, self.width, self._count(one)) for one in inputs])

    def work(self, *inputs: Form) -> float:
        return float(sum(self._count(one) * one.width * self.width for one in inputs))

    def _count(self, given: Form) -> int:
        return self.number if given.kind == "vector" else math.prod(given.size)


class _AsTokens(nn.Module):
    def __init__(self, parts: list[_Part]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, *inputs: Tensor | Tokens) -> Tokens:
        made: list[Tokens] = [part(one) for part, one in zip(self.parts, inputs, strict=True)]
        if len(made) == 1:
            return made[0]
        return Tokens(torch.cat([one.values for one in made], 1), torch.cat([one.mask for one in made], 1))


class _Part(nn.Module):
    """One input as tokens."""

    def __init__(self, given: Form, width: int, count: int) -> None:
        super().__init__()
        self.kind, self.count = given.kind, count
        self.map = nn.Linear(given.width, width * (count if given.kind == "vector" else 1))
        self.places = nn.Parameter(torch.randn(count, width) * width**-0.5) if given.kind == "map" else None

    def forward(self, given: Tensor | Tokens) -> Tokens:
        if isinstance(given, Tokens):
            return Tokens(masked(self.map(given.values), given.mask), given.mask)
        if self.places is not None:
            x_BTD: Tensor = self.map(given.flatten(2).transpose(1, 2)) + self.places
        else:
            x_BTD = self.map(given).unflatten(-1, (self.count, -1))
        return Tokens(x_BTD, x_BTD.new_ones(x_BTD.shape[:2], dtype=torch.bool))
