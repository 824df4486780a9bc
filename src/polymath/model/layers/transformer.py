"""Transformer blocks over tokens."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import attendable, attention, embedded, in_place, masked
from .base import Activation, Layer


class Transformer(Layer):
    """tokens -> tokens of the same width: `depth` pre-norm blocks of self-attention and a feed-forward net.

    Vaswani et al. 2017 (arXiv:1706.03762) with the norm before each part (Xiong et al. 2020, arXiv:2002.04745) and
    rotary positions (Su et al. 2021, arXiv:2104.09864), which need no longest length. `causal`: a token sees itself and
    earlier ones only.
    """

    kind: Literal["transformer"] = "transformer"
    depth: int = Field(default=2, ge=1, le=64)
    heads: int = Field(default=4, ge=1, le=64)
    expansion: int = Field(default=4, ge=1, le=16)
    positions: Literal["rotary", "none"] = "rotary"
    activation: Activation = "gelu"
    dropout: float = Field(default=0.1, ge=0, lt=1)
    causal: bool = False

    def form(self, *inputs: Form) -> Form:
        given = embedded(self, inputs)
        if given.width % (2 * self.heads):
            raise ValueError(
                f"transformer takes tokens whose width is a multiple of 2 x {self.heads} heads, got {given}"
            )
        return given

    def build(self, *inputs: Form) -> nn.Module:
        return _Transformer(self, width=self.form(*inputs).width)

    def work(self, *inputs: Form) -> float:
        given = self.form(*inputs)
        length, width = given.size[0], given.width
        block = length * width * width * (4 + 2 * self.expansion) + 2 * length * length * width
        return float(self.depth * block)


class _Transformer(nn.Module):
    def __init__(self, layer: Transformer, *, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(layer, width=width) for _ in range(layer.depth))
        self.norm = nn.LayerNorm(width)
        self.rotary = width // layer.heads if layer.positions == "rotary" else 0
        self.causal = layer.causal

    def forward(self, tokens: Tokens) -> Tokens:
        x_BTD, mask_BT = tokens
        seen_B1QK = attendable(mask_BT)[:, None, None, :]
        if self.causal:
            length = mask_BT.shape[1]
            earlier_QK = torch.ones(length, length, dtype=torch.bool, device=mask_BT.device).tril()
            itself_QK = torch.eye(length, dtype=torch.bool, device=mask_BT.device)
            seen_B1QK = (seen_B1QK & earlier_QK) | itself_QK
        turn = turns(x_BTD.shape[1], self.rotary, like=x_BTD) if self.rotary else None
        for block in self.blocks:
            x_BTD = block(x_BTD, seen_B1QK, turn)
        return Tokens(masked(self.norm(x_BTD), mask_BT), mask_BT)


class _Block(nn.Module):
    def __init__(self, layer: Transformer, *, width: int) -> None:
        super().__init__()
        self.heads, self.rate = layer.heads, layer.dropout
        self.attention_norm, self.forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        hidden = layer.expansion * width
        self.feed = nn.Sequential(nn.Linear(width, hidden), in_place(layer.activation), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(layer.dropout)
        # Each block begins as the identity: no warm-up is then needed for depth (Zhang et al. 2019, arXiv:1901.09321).
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.feed[2].weight)  # type: ignore[arg-type]

    def forward(self, x_BTD: Tensor, seen: Tensor, turn: tuple[Tensor, Tensor] | None) -> Tensor:
        x_BTD = x_BTD + self.dropout(self._attend(self.attention_norm(x_BTD), seen, turn))
        result: Tensor = x_BTD + self.dropout(self.feed(self.forward_norm(x_BTD)))
        return result

    def _attend(self, x_BTD: Tensor, seen: Tensor, turn: tuple[Tensor, Tensor] | None) -> Tensor:
        batch, length, width = x_BTD.shape
        parts = self.query_key_value(x_BTD).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if turn is not None:
            query, key = turned(query, turn), turned(key, turn)
        rate = self.rate if self.training else 0.0
        seen_heads = attention(query, key, value, seen=seen, dropout=rate)
        result: Tensor = self.out(seen_heads.transpose(1, 2).reshape(batch, length, width))
        return result


def turns(length: int, width: int, *, like: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, width] of the angles of places from `first` on, half of the sines negated for `turned`."""
    speed = 10000.0 ** (-torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width)
    angle = torch.outer(torch.arange(first, first + length, device=like.device, dtype=torch.float32), speed)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat([cosine, cosine], -1).to(like.dtype), torch.cat([-sine, sine], -1).to(like.dtype)


def turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Queries or keys [..., T, width] turned by the angles of their places."""
    left, right = x.chunk(2, -1)
    return torch.addcmul(x * turn[0], torch.cat([right, left], -1), turn[1]).to(x.dtype)
