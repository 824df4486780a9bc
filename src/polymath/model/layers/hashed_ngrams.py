"""Texts as bags of hashed n-grams: one row of a table for each n-gram, added up. Cheap and strong for short texts.

Axes: B texts, T tokens, G n-grams of a text, D width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens, vector
from .base import Dropout, Layer

STEP, MIX, WORD = 1_000_003, 0x9E3779B1, 0x7FFFFFFF
"""Two odd numbers that spread n-grams over the buckets, and the bits that are kept between."""


class HashedNgrams(Layer):
    """Token ids [B, T] -> vector [B, width]: sum of the rows of all n-grams, over the square root of their number.

    Several inputs, cut by the same subwords, share one table, and their vectors stand side by side: [B, n width].

    Up to `longest` tokens make an n-gram; its row is found by a hash, so no list of n-grams is kept, and two rare ones
    may share a row. The message encoder of Henderson et al. (2017, arXiv:1705.00652).
    """

    kind: Literal["hashed_ngrams"] = "hashed_ngrams"
    num_inputs: ClassVar[int | None] = None
    width: int = Field(ge=1, le=8192)
    buckets: int = Field(default=65_536, ge=2, le=16_777_216)
    longest: int = Field(default=2, ge=1, le=4)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    def form(self, *inputs: Form) -> Form:
        for given in self.take(inputs, "tokens"):
            if given.vocabulary < 2 or len(given.size) != 1:
                raise ValueError(f"hashed_ngrams takes tokens that are ids of a vocabulary, not {given}")
        return vector(self.width * len(inputs))

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _HashedNgrams(self)

    def work(self, *inputs: Form) -> float:
        return float(sum(form.size[0] for form in inputs) * self.longest * self.width)


class _HashedNgrams(nn.Module):
    def __init__(self, layer: HashedNgrams) -> None:
        super().__init__()
        self.longest, self.buckets = layer.longest, layer.buckets
        self.table = nn.EmbeddingBag(layer.buckets, layer.width, mode="sum", padding_idx=0)
        nn.init.normal_(self.table.weight, std=layer.width**-0.5)
        with torch.no_grad():
            self.table.weight[0].zero_()
        self.dropout = Dropout(layer.dropout)

    def forward(self, *inputs: Tokens) -> Tensor:
        return torch.cat([self._bag(tokens) for tokens in inputs], 1) if len(inputs) > 1 else self._bag(*inputs)

    def _bag(self, tokens: Tokens) -> Tensor:
        ids_BT = tokens.values.long() * tokens.mask
        if not torch.compiler.is_compiling():  # columns that are padding in every text cost as much as words
            used = int(tokens.mask.sum(1).max()) if len(ids_BT) else 1
            ids_BT = ids_BT[:, : max(used, 1)]
        places_BG = places(ids_BT, longest=self.longest, buckets=self.buckets)
        count_B1 = (places_BG > 0).sum(1, keepdim=True).clamp_min(1)
        sums_BD: Tensor = self.table(places_BG)
        return torch.as_tensor(self.dropout(sums_BD * count_B1.to(sums_BD.dtype).rsqrt()))


def places(ids_BT: Tensor, *, longest: int, buckets: int) -> Tensor:
    """The row of each n-gram of up to `longest` ids, [B, G]; 0 where padding is touched."""
    grams = [ids_BT]
    for length in range(1, min(longest, ids_BT.shape[1])):
        before, last = grams[-1][:, :-1], ids_BT[:, length:]
        joined = (before * STEP + last * 7919 + length) & WORD
        grams.append(torch.where((before > 0) & (last > 0), joined, 0))
    grams_BG = torch.cat(grams, 1)
    mixed = (grams_BG * MIX) & WORD
    return torch.where(grams_BG > 0, (mixed ^ (mixed >> 15)) % (buckets - 1) + 1, 0)
