"""How encoders of the BERT kind read ids, so that their published weights fit.

Axes: B examples, T tokens, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import masked
from .base import Layer


class BertEmbeddings(Layer):
    """ids [B, T] -> tokens [B, T', D]: vectors of word, place and kind added, and a norm (Devlin et al. 2018,
    arXiv:1810.04805).

    `first` and `last` stand around what is read, so T' = T + 2, at most `length`; the ids behind are cut off. A text
    without ids stays without. Ids are those of the published vocabulary, but for 1, which is `unknown` there.
    """

    kind: Literal["bert_embeddings"] = "bert_embeddings"
    width: int = Field(ge=1, le=8192)
    first: int = Field(default=101, ge=1)
    last: int = Field(default=102, ge=1)
    unknown: int = Field(default=100, ge=1)
    length: int = Field(default=512, ge=3, le=65_536)
    places: int = Field(default=512, ge=3, le=65_536)
    """Rows of the table of places: no less than `length`."""
    kinds: int = Field(default=2, ge=1, le=64)
    """Rows of the table of kinds of tokens; a single text is of kind 0."""
    epsilon: float = Field(default=1e-12, ge=0, le=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _places_enough(self) -> BertEmbeddings:
        if self.length > self.places:
            raise ValueError(f"bert_embeddings: {self.places} places for texts of {self.length}")
        return self

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "tokens")
        if len(given.size) != 1 or given.vocabulary <= max(self.first, self.last, self.unknown):
            raise ValueError(
                f"bert_embeddings takes ids of a vocabulary that holds {self.first}, {self.last} and {self.unknown}, "
                f"got {given}"
            )
        return Form(kind="tokens", width=self.width, size=(min(given.size[0] + 2, self.length),))

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Embeddings(self, vocabulary=inputs[0].vocabulary)


class _Embeddings(nn.Module):
    """The names of the parts are those of published weights."""

    def __init__(self, layer: BertEmbeddings, *, vocabulary: int) -> None:
        super().__init__()
        self.layer = layer
        self.word_embeddings = nn.Embedding(vocabulary, layer.width, padding_idx=0)
        self.position_embeddings = nn.Embedding(layer.places, layer.width)
        self.token_type_embeddings = nn.Embedding(layer.kinds, layer.width)
        self.LayerNorm = nn.LayerNorm(layer.width, eps=layer.epsilon)
        self.dropout = nn.Dropout(layer.dropout)
        for table in (self.word_embeddings, self.position_embeddings, self.token_type_embeddings):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Tokens) -> Tokens:
        ids_BT, mask_BT = self._between_ends(tokens)
        x_BTD: Tensor = self.word_embeddings(ids_BT)
        x_BTD = x_BTD + self.token_type_embeddings.weight[0] + self.position_embeddings.weight[: ids_BT.shape[1]]
        return Tokens(masked(self.dropout(self.LayerNorm(x_BTD)), mask_BT), mask_BT)

    def _between_ends(self, tokens: Tokens) -> Tokens:
        """Ids as the published weights know them, with one before and one behind; no longer than the longest text."""
        layer, most = self.layer, self.layer.length - 2
        ids_BT, mask_BT = tokens.values[:, :most].long(), tokens.mask[:, :most].bool()
        place_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
        count_B = (mask_BT * (place_T + 1)).amax(1)
        if not torch.compiler.is_compiling():
            ids_BT = ids_BT[:, : int(count_B.max()) if len(count_B) else 0]
        ids_BT = torch.where(ids_BT == 1, layer.unknown, ids_BT)
        ends_BT = torch.nn.functional.pad(ids_BT, (1, 1))
        ends_BT[:, 0] = layer.first
        ends_BT.scatter_(1, count_B[:, None] + 1, layer.last)
        place_T = torch.arange(ends_BT.shape[1], device=mask_BT.device)
        there_BT = (place_T < count_B[:, None] + 2) & (count_B[:, None] > 0)
        return Tokens(ends_BT * there_BT, there_BT)
