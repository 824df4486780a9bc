"""Transformer decoder: what was read and the answer so far -> the next token."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._answers import Decoder, State, Table, answer_form, shifted
from ._pieces import attendable, attention, in_place
from .base import Activation, Dropout, Layer
from .transformer import turned, turns


class TransformerDecoder(Layer):
    """(tokens that were read, ids of the answer) -> logits of every token of the answer, from those before it.

    Vaswani et al. 2017 (arXiv:1706.03762) with the norm before each part, rotary positions (also from the answer to
    what was read) and one table for ids and logits. Its width is that of the tokens read.
    """

    num_inputs: ClassVar[int | None] = 2
    kind: Literal["transformer_decoder"] = "transformer_decoder"
    depth: int = Field(default=2, ge=1, le=64)
    heads: int = Field(default=4, ge=1, le=64)
    expansion: int = Field(default=4, ge=1, le=16)
    activation: Activation = "relu"
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def form(self, *inputs: Form) -> Form:
        given = answer_form(self, inputs)
        if inputs[0].width % (2 * self.heads):
            raise ValueError(
                f"transformer_decoder reads tokens whose width is a multiple of 2 x {self.heads} heads, got {inputs[0]}"
            )
        return given

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _TransformerDecoder(self, width=inputs[0].width, vocabulary=inputs[1].vocabulary)

    def work(self, *inputs: Form) -> float:
        (read,), (length,), width = inputs[0].size, self.form(*inputs).size, inputs[0].width
        block = length * width * width * (6 + 2 * self.expansion) + 2 * read * width * width
        attention = 2 * length * (length + read) * width
        return float(self.depth * (block + attention) + length * width * inputs[1].vocabulary)


class _TransformerDecoder(Decoder):
    def __init__(self, layer: TransformerDecoder, *, width: int, vocabulary: int) -> None:
        super().__init__()
        self.end = vocabulary - 1
        self.table = Table(vocabulary, width, dropout=layer.dropout)
        self.blocks = nn.ModuleList(_Block(layer, width=width) for _ in range(layer.depth))
        self.norm = nn.LayerNorm(width)
        self.turning = width // layer.heads

    def forward(self, memory: Tokens, answer: Tokens) -> Tokens:
        ids_BT, mask_BT = shifted(answer, end=self.end)
        x_BTD = self.table.vectors(ids_BT)
        seen_B11S = attendable(memory.mask)[:, None, None, :]
        turn = turns(x_BTD.shape[1], self.turning, like=x_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD, memory.values, seen_B11S, turn)
        return Tokens(self.table.logits(self.norm(x_BTD)), mask_BT)

    def begin(self, memory: Tokens) -> State:
        made = [attendable(memory.mask)[:, None, None, :]]
        past: list[Tensor] = []
        for block in self.blocks:
            assert isinstance(block, _Block)
            # Side by side in memory, once: products with views of one matrix would copy them for every token.
            made += [one.contiguous() for one in block.read(memory.values)]
            empty = memory.values.new_zeros(len(memory.mask), block.heads, 0, self.turning)
            past += [empty, empty]
        return State(tuple(made), tuple(past))

    def step(self, state: State, ids_N: Tensor) -> tuple[Tensor, Tensor | None, State]:
        x_ND = self.table.vectors(ids_N)
        turn = turns(1, self.turning, like=x_ND, first=state.place)
        seen_B11S, *read = state.memory
        past: list[Tensor] = []
        looked_NS = None
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            keys, values = state.past[2 * i : 2 * i + 2]
            key_S, value_S = read[2 * i : 2 * i + 2]
            x_ND, keys, values = block.next_token(x_ND, keys, values, turn)
            x_ND, looked_NS = block.look(x_ND, key_S, value_S, seen_B11S, turn)
            x_ND = x_ND + block.feed(block.forward_norm(x_ND))
            past += [keys, values]
        return self.table.logits(self.norm(x_ND)), looked_NS, State(state.memory, tuple(past), state.place + 1)


class _Block(nn.Module):
    """Attention to the answer so far, attention to what was read, a feed-forward net; each beside a residual path."""

    def __init__(self, layer: TransformerDecoder, *, width: int) -> None:
        super().__init__()
        self.heads = layer.heads
        self.attention_norm, self.look_norm, self.forward_norm = (nn.LayerNorm(width) for _ in range(3))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.look_out = nn.Linear(width, width)
        hidden = layer.expansion * width
        self.feed = nn.Sequential(
            nn.Linear(width, hidden), in_place(layer.activation), Dropout(layer.dropout), nn.Linear(hidden, width)
        )
        self.dropout = Dropout(layer.dropout)
        # Not the identity, as in `transformer`: with one table for ids and logits the first guess would be the token
        # before, and until that is unlearned nothing teaches where to look. Glorot and Bengio 2010, equation 16.
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)

    def forward(self, x_BTD: Tensor, read_BSD: Tensor, seen_B11S: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        query, key, value = self._split(self.query_key_value(self.attention_norm(x_BTD)), 3)
        # The answer's padding stands behind its tokens, so 'earlier only' hides it too.
        heads = attention(turned(query, turn), turned(key, turn), value, causal=True)
        x_BTD = x_BTD + self.dropout(self.out(_merged(heads)))
        (query,) = self._split(self.query(self.look_norm(x_BTD)), 1)
        key, value = self.read(read_BSD)
        heads = attention(turned(query, turn), key, value, seen=seen_B11S)
        x_BTD = x_BTD + self.dropout(self.look_out(_merged(heads)))
        result: Tensor = x_BTD + self.dropout(self.feed(self.forward_norm(x_BTD)))
        return result

    def read(self, read_BSD: Tensor) -> list[Tensor]:
        """Keys and values [B, heads, S, D / heads] of what was read, keys turned by their places as the answer's are.

        Languages keep more or less one order: a Transformer that need not learn it from words alone learns faster.
        """
        key, value = self._split(self.key_value(read_BSD), 2)
        return [turned(key, turns(key.shape[2], key.shape[3], like=read_BSD)), value]

    def next_token(
        self, x_ND: Tensor, keys: Tensor, values: Tensor, turn: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attention of one more token to those before it, whose keys and values are kept."""
        query, key, value = self._split(self.query_key_value(self.attention_norm(x_ND))[:, None], 3)
        keys, values = torch.cat([keys, turned(key, turn)], 2), torch.cat([values, value], 2)
        share = (turned(query, turn) @ keys.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        return x_ND + self.out(_merged(share @ values)[:, 0]), keys, values

    def look(
        self, x_ND: Tensor, keys: Tensor, values: Tensor, seen_B11S: Tensor, turn: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Attention of one more token to what was read; where it looked [N, S], the mean of all heads."""
        # The hypotheses of one example are so many queries to the same keys: nothing is copied for them.
        query_BND = self.query(self.look_norm(x_ND)).view(len(keys), -1, x_ND.shape[-1])
        query = turned(self._split(query_BND, 1)[0], turn)
        logits = query @ keys.transpose(-1, -2) * query.shape[-1] ** -0.5
        share = logits.masked_fill(~seen_B11S, -torch.inf).softmax(-1)
        looked = self.look_out(_merged(share @ values))
        return x_ND + looked.reshape(x_ND.shape), share.mean(1).flatten(0, 1)

    def _split(self, x_BTD: Tensor, parts: int) -> list[Tensor]:
        """Parts [B, heads, T, D / heads] of vectors that stand side by side."""
        batch, length, width = x_BTD.shape
        return list(x_BTD.view(batch, length, parts, self.heads, width // parts // self.heads).permute(2, 0, 3, 1, 4))


def _merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)
