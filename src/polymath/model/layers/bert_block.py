"""One block of encoders of the BERT kind, so that their published weights fit.

Axes: B examples, T tokens, N tokens of all examples that are there, D width, H heads.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import attendable, attention, embedded
from .base import Activation, Layer, activation


class BertBlock(Layer):
    """tokens -> tokens of the same width: self-attention, then two layers with a GELU between (exact, by the error
    function), each added to what it reads and then normed (Vaswani et al. 2017, arXiv:1706.03762, with the norm behind;
    Devlin et al. 2018, arXiv:1810.04805).
    """

    kind: Literal["bert_block"] = "bert_block"
    heads: int = Field(default=12, ge=1, le=128)
    hidden: int = Field(default=1536, ge=1, le=65_536)
    activation: Activation = "gelu"
    epsilon: float = Field(default=1e-12, ge=0, le=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def form(self, *inputs: Form) -> Form:
        given = embedded(self, inputs)
        if given.width % self.heads:
            raise ValueError(f"bert_block takes tokens whose width is a multiple of {self.heads} heads, got {given}")
        return given

    def build(self, *inputs: Form) -> nn.Module:
        return _Block(self, width=self.form(*inputs).width)

    def work(self, *inputs: Form) -> float:
        given = self.form(*inputs)
        length, width = given.size[0], given.width
        return float(length * width * (4 * width + 2 * self.hidden) + 2 * length * length * width)


class _Block(nn.Module):
    """The names of all parts are those of published weights.

    Padding costs nothing but in the products of queries and keys: all else is computed for the tokens that are there.
    """

    def __init__(self, layer: BertBlock, *, width: int) -> None:
        super().__init__()
        self.attention = _Attention(layer, width)
        dense = OrderedDict(dense=nn.Linear(width, layer.hidden), activation=activation(layer.activation))
        self.intermediate = nn.Sequential(dense)
        self.output = _Sum(layer, layer.hidden, width)

    def forward(self, tokens: Tokens) -> Tokens:
        x_BTD, mask_BT = tokens
        there = mask_BT.nonzero(as_tuple=True)
        x_ND = self.attention(x_BTD[there], there, mask_BT)
        x_ND = self.output(self.intermediate(x_ND), x_ND)
        return Tokens(x_ND.new_zeros(x_BTD.shape).index_put(there, x_ND), mask_BT)


class _Sum(nn.Module):
    """What attention and activation end with: a layer, added to what was read, and the norm."""

    def __init__(self, layer: BertBlock, inputs: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps=layer.epsilon)
        self.dropout = nn.Dropout(layer.dropout)

    def forward(self, y_ND: Tensor, x_ND: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(x_ND + self.dropout(self.dense(y_ND)))
        return normed


class _Attention(nn.Module):
    def __init__(self, layer: BertBlock, width: int) -> None:
        super().__init__()
        self.parts = ("query", "key", "value")
        self.add_module("self", nn.ModuleDict({name: nn.Linear(width, width) for name in self.parts}))
        self.output = _Sum(layer, width, width)
        self.heads, self.rate = layer.heads, layer.dropout

    def forward(self, x_ND: Tensor, there: tuple[Tensor, ...], mask_BT: Tensor) -> Tensor:
        seen_B1QK = attendable(mask_BT)[:, None, None, :]
        rate = self.rate if self.training else 0.0
        y_BHTE = attention(*self._split(x_ND, there, mask_BT), seen=seen_B1QK, dropout=rate)
        y_BTD = y_BHTE.transpose(1, 2).flatten(2)
        summed: Tensor = self.output(y_BTD[there], x_ND)
        return summed

    def _split(self, x_ND: Tensor, there: tuple[Tensor, ...], mask_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, H, T, D / H]."""
        found = []
        for name in self.parts:
            y_ND = self.get_submodule(f"self.{name}")(x_ND)
            y_BTD = y_ND.new_zeros(*mask_BT.shape, y_ND.shape[-1]).index_put(there, y_ND)
            found.append(y_BTD.unflatten(2, (self.heads, -1)).transpose(1, 2))
        query, key, value = found
        return query, key, value
