"""A linear head on weighted n-grams of tokens, kept as sorted keys with a row of weights each.

Axes: B texts, T tokens, G n-grams of a batch, M n-grams known, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_serializer
from torch import Tensor, nn

from ...problem.form import Form, Tokens, vector
from .base import Layer

KEY_BITS, MOST_BITS = 60, 20
"""Bits of a key for its ids, and of one id: with the place of the input 63, so keys are exact, not hashed."""
MOST_INPUTS = 8
MOST_KEYS = 4_000_000
"""Sorted at once: the n-grams of long texts, letter by letter, would fill the memory."""


class Ngrams(Layer):
    """Token ids [B, T], one or more inputs -> vector [B, width]: sublinear tf-idf of n-grams times weights."""

    kind: Literal["ngrams"] = "ngrams"
    num_inputs: ClassVar[int | None] = None
    width: int = Field(ge=1)
    longest: int = Field(ge=1, le=5)
    num_ngrams: int = Field(ge=1)
    blank: int = Field(default=0, ge=0)
    """Id at which an n-gram may begin or end, but which it may not cross: tokens are letters then, and n-grams parts of
    words (the `char_wb` of scikit-learn). 0 = none."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: Callable[[Ngrams], dict[str, Any]]) -> dict[str, Any]:
        """Without `blank` where there is none: genes of earlier releases keep their identity."""
        return {name: value for name, value in dump(self).items() if name != "blank" or value}

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "tokens")
        most = bits(self.longest)
        if len(inputs) > MOST_INPUTS or any(not 0 < form.vocabulary <= 1 << most for form in inputs):
            raise ValueError(f"ngrams of {self.longest} takes up to {MOST_INPUTS} inputs of token ids below 2**{most}")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Ngrams(self)

    def work(self, *inputs: Form) -> float:
        return float(sum(form.size[0] for form in inputs) * self.longest * (self.width + 20))


class _Ngrams(nn.Module):
    key: Tensor
    rarity: Tensor

    def __init__(self, layer: Ngrams) -> None:
        super().__init__()
        self._longest, self._blank = layer.longest, layer.blank
        self.register_buffer("key", torch.arange(layer.num_ngrams))
        self.register_buffer("rarity", torch.ones(layer.num_ngrams))
        self.weight = nn.Parameter(torch.zeros(layer.num_ngrams, layer.width))
        self.bias = nn.Parameter(torch.zeros(layer.width))

    def forward(self, *inputs: Tokens) -> Tensor:
        width = self._longest * sum(x.values.shape[1] for x in inputs)
        rows = max(MOST_KEYS // max(width, 1), 1)
        parts = zip(*(x.values.split(rows) for x in inputs), strict=True)
        return torch.cat([self._sums(part) for part in parts])

    def _sums(self, inputs: Sequence[Tensor]) -> Tensor:
        made = [keys(ids, place=i, longest=self._longest, blank=self._blank) for i, ids in enumerate(inputs)]
        keys_BG = torch.cat(made, 1)
        text, key, count = counted(keys_BG)
        place = torch.searchsorted(self.key, key).clamp_max_(len(self.key) - 1)
        known = self.key[place] == key
        text, place, count = text[known], place[known], count[known]
        value = (1 + count.to(self.rarity).log()) * self.rarity[place]
        squares_B = value.new_zeros(len(keys_BG)).index_add_(0, text, value.square())
        value = value * squares_B.clamp_min(1e-12).rsqrt()[text]
        begin_B = torch.searchsorted(text, torch.arange(len(keys_BG), device=text.device))
        sums_BW = nn.functional.embedding_bag(place, self.weight, begin_B, mode="sum", per_sample_weights=value)
        return sums_BW + self.bias


def bits(longest: int) -> int:
    """Bits of an id in the keys of n-grams up to `longest`."""
    return min(MOST_BITS, KEY_BITS // longest)


def keys(ids_BT: Tensor, *, place: int, longest: int, blank: int = 0) -> Tensor:
    """Keys of all n-grams up to `longest`, [B, G]; 0 where padding is touched. `place` is that of the input."""
    ids_BT = ids_BT.long()
    parts = [ids_BT]
    for _ in range(1, min(longest, ids_BT.shape[1])):
        before, after = parts[-1][:, :-1], ids_BT[:, len(parts) :]
        whole = (before > 0) & (after > 0)
        if blank and len(parts) > 1:  # it stands inside now
            whole &= ids_BT[:, len(parts) - 1 : -1] != blank
        parts.append(torch.where(whole, (before << bits(longest)) | after, 0))
    keys_BG = torch.cat(parts, 1)
    return torch.where(keys_BG > 0, keys_BG | (place << KEY_BITS), 0)


def counted(keys_BG: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The different keys of every text: (text, key, how often), by text and then key; padding left out."""
    keys_BG = keys_BG.sort(1).values
    first_BG = torch.ones_like(keys_BG, dtype=torch.bool)
    first_BG[:, 1:] = keys_BG[:, 1:] != keys_BG[:, :-1]
    at = first_BG.flatten().nonzero().squeeze(1)
    count = torch.diff(at, append=at.new_tensor([keys_BG.numel()]))
    key = keys_BG.flatten()[at]
    real = key > 0
    return (at // max(keys_BG.shape[1], 1))[real], key[real], count[real]
