"""The nearest of many stored texts: cosine of tf-idf of their n-grams of ids, by postings of each n-gram.

Axes: B texts that ask, P texts that are stored, T tokens, K nearest, M n-grams known, E postings.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .ngrams import counted, keys

LONGEST = 2
"""Tokens of an n-gram."""
COMMON = 2_000
"""N-grams of more texts than these do not count: a seventh of the work, and the nearest are as good (LOG.md)."""
ASKED = 128
"""Texts compared at a time: their similarities to all that are stored are in memory together."""


class Nearest(NamedTuple):
    """Postings of the n-grams of stored texts. Nothing in it changes, so copies share it."""

    texts_PT: Tensor
    key_M: Tensor
    rarity_M: Tensor
    begin_M: Tensor
    """Of each n-gram's postings; they end where those of the next begin."""
    count_M: Tensor
    text_E: Tensor
    value_E: Tensor

    @classmethod
    def of(cls, texts_PT: Tensor) -> Nearest:
        """The postings of these texts; empty ones are near to nothing."""
        text, key, count = counted(keys(texts_PT, place=0, longest=LONGEST))
        key_M, which, count_M = torch.unique(key, return_inverse=True, return_counts=True)
        rarity_M = torch.where(count_M > COMMON, 0.0, _rarity(count_M, len(texts_PT)))
        value = _unit(text, (1 + count.float().log()) * rarity_M[which], len(texts_PT))
        order = which.argsort(stable=True)
        begin_M = count_M.cumsum(0) - count_M
        return cls(texts_PT.clone(), key_M, rarity_M, begin_M, count_M, text[order], value[order])

    def __deepcopy__(self, memo: dict[int, object]) -> Nearest:
        return self

    def holds(self, texts_PT: Tensor) -> bool:
        """Whether these are the texts that it was made of."""
        mine = self.texts_PT
        return mine.device == texts_PT.device and mine.dtype == texts_PT.dtype and torch.equal(mine, texts_PT)

    def to(self, asked_BT: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
        """Cosines and places [B, K] of the `count` nearest to each, nearest first; fewer where fewer are stored."""
        found = [self._some(part, min(count, len(self.texts_PT))) for part in asked_BT.split(ASKED)]
        return torch.cat([cosine for cosine, _ in found]), torch.cat([place for _, place in found])

    def _some(self, asked_BT: Tensor, count: int) -> tuple[Tensor, Tensor]:
        stored = len(self.texts_PT)
        cosine_BP = self.rarity_M.new_zeros(len(asked_BT), stored)
        if len(self.key_M):
            text, key, often = counted(keys(asked_BT, place=0, longest=LONGEST))
            place = torch.searchsorted(self.key_M, key).clamp_max_(len(self.key_M) - 1)
            known = self.key_M[place] == key
            # An n-gram that no stored text has makes a text less near to all of them.
            rarity = torch.where(known, self.rarity_M[place], _rarity(torch.zeros_like(key), stored))
            value = _unit(text, (1 + often.float().log()) * rarity, len(asked_BT))
            counts = known & (rarity > 0)
            text, place, value = text[counts], place[counts], value[counts]
            many = self.count_M[place]
            first = many.cumsum(0) - many
            steps = torch.arange(int(many.sum()), device=many.device) - first.repeat_interleave(many)
            posting = self.begin_M[place].repeat_interleave(many) + steps
            at = text.repeat_interleave(many) * stored + self.text_E[posting]
            cosine_BP.view(-1).index_add_(0, at, value.repeat_interleave(many) * self.value_E[posting])
        cosine_BK, place_BK = cosine_BP.topk(count, dim=1)
        return cosine_BK, place_BK


def _rarity(texts: Tensor, stored: int) -> Tensor:
    return ((1 + stored) / (1 + texts.float())).log()


def _unit(text: Tensor, value: Tensor, texts: int) -> Tensor:
    """Values divided by the length of their text's vector."""
    squares = value.new_zeros(texts).index_add_(0, text, value.square())
    return value * squares.clamp_min(1e-12).rsqrt()[text]
