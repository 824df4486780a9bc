"""Token ids of one vocabulary -> ids of another: so that a text encoder reads the texts of any task.

Axes: B examples, T tokens, P pieces of a token.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from .base import Layer


class Recut(Layer):
    """ids [B, T] below the vocabulary it is given -> ids [B, T'] below `vocabulary`, T' up to `pieces` x T.

    Each id stands for one to `pieces` of the other vocabulary, in order; the table is stored, 0 = none. What does not
    fit into `length` is cut off.
    """

    kind: Literal["recut"] = "recut"
    vocabulary: int = Field(ge=2)
    pieces: int = Field(default=4, ge=1, le=16)
    length: int = Field(default=1_024, ge=1, le=65_536)

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "tokens")
        if not given.vocabulary:
            raise ValueError(f"recut takes tokens that are ids of a vocabulary, not {given}")
        return Form(kind="tokens", size=(min(self.pieces * given.size[0], self.length),), vocabulary=self.vocabulary)

    def build(self, *inputs: Form) -> nn.Module:
        return _Recut(self, length=self.form(*inputs).size[0], vocabulary=inputs[0].vocabulary)


class _Recut(nn.Module):
    table: Tensor

    def __init__(self, layer: Recut, *, length: int, vocabulary: int) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("table", torch.zeros(vocabulary, layer.pieces, dtype=torch.int32))
        self.table[1:, 0] = 1  # unknown

    def forward(self, tokens: Tokens) -> Tokens:
        known_BT = tokens.values.long() * tokens.mask.long()
        ids_BT = self.table[known_BT.clamp(0, len(self.table) - 1)].flatten(1).long()
        gaps_BT = (ids_BT == 0).to(torch.uint8)
        ids_BT = ids_BT.gather(1, gaps_BT.argsort(dim=1, stable=True))  # pieces move up to close the gaps
        used = max(1, int((ids_BT != 0).sum(1).max())) if len(ids_BT) else 1
        ids_BT = ids_BT[:, : min(used, self.length)]
        return Tokens(ids_BT, ids_BT != 0)
