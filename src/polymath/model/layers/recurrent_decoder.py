"""Recurrent decoder: LSTM or GRU layers that look back at what was read."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._answers import Decoder, State, Table, answer_form, shifted
from ._pieces import attendable, masked
from .base import Dropout, Layer
from .transformer import turned, turns


class RecurrentDecoder(Layer):
    """(tokens that were read, ids of the answer) -> logits of every token of the answer, from those before it.

    The structure of Wu et al. 2016 (arXiv:1609.08144): the bottom layer asks where to look, and every layer above it
    is given what was seen there, with residual connections from the second layer up. Ours asks with the bottom layer's
    present output, as Luong et al. 2015 (arXiv:1508.04025), not with the last one: no layer then waits for another
    one's next token, so that a whole answer is trained in one call per layer.

    `look`: `dot` compares by scaled products of several heads, turned by their places as in `transformer_decoder`,
    `additive` by a hidden layer (Bahdanau et al. 2015, arXiv:1409.0473), `none` only starts from the first and last
    token read (Sutskever et al. 2014, arXiv:1409.3215).
    """

    num_inputs: ClassVar[int | None] = 2
    kind: Literal["recurrent_decoder"] = "recurrent_decoder"
    width: int = Field(ge=1, le=8192)
    cell: Literal["gru", "lstm"] = "lstm"
    depth: int = Field(default=2, ge=1, le=16)
    look: Literal["dot", "additive", "none"] = "dot"
    heads: int = Field(default=1, ge=1, le=64)
    dropout: float = Field(default=0.2, ge=0, lt=1)

    def form(self, *inputs: Form) -> Form:
        given = answer_form(self, inputs)
        least = self.heads * (2 if self.look == "dot" else 1)
        if self.width % least:
            raise ValueError(f"recurrent_decoder takes a width that is a multiple of {least}, for {self.heads} heads")
        return given

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _RecurrentDecoder(self, read=inputs[0].width, vocabulary=inputs[1].vocabulary)

    def work(self, *inputs: Form) -> float:
        (read,), (length,), wide = inputs[0].size, self.form(*inputs).size, self.width
        looks, gates = self.look != "none", 3 if self.cell == "gru" else 4
        cells = length * gates * wide * wide * (2 * self.depth + (self.depth - 1) * looks)
        attention = looks * (2 * read * inputs[0].width * wide + length * wide * (wide + 2 * read))
        return float(cells + attention + length * wide * (wide * (1 + looks) + inputs[1].vocabulary))


class _RecurrentDecoder(Decoder):
    def __init__(self, layer: RecurrentDecoder, *, read: int, vocabulary: int) -> None:
        super().__init__()
        wide = layer.width
        looks = layer.look != "none"
        self.end = vocabulary - 1
        self.table = Table(vocabulary, wide, dropout=layer.dropout)
        self.look = _Look(layer, read=read) if looks else None
        cell = nn.LSTM if layer.cell == "lstm" else nn.GRU
        self.has_cell = layer.cell == "lstm"
        self.bottom = cell(wide, wide, batch_first=True)
        self.above = nn.ModuleList(cell(wide * (1 + looks), wide, batch_first=True) for _ in range(layer.depth - 1))
        self.first = nn.Linear(2 * read, wide * layer.depth * (1 + self.has_cell))
        self.last = nn.Linear(wide * (1 + looks), wide)
        self.dropout = Dropout(layer.dropout)
        # Maps that keep the size of what goes through (Glorot and Bengio 2010): PyTorch's own make it a third.
        for part in (self.first, self.last):
            nn.init.xavier_uniform_(part.weight)

    def forward(self, memory: Tokens, answer: Tokens) -> Tokens:
        ids_BT, mask_BT = shifted(answer, end=self.end)
        read = self.look.read(memory) if self.look is not None else ()
        logits_BTV, _, _ = self._run(self.table.vectors(ids_BT), self._first(memory), read, place=0)
        return Tokens(logits_BTV, mask_BT)

    def begin(self, memory: Tokens) -> State:
        read = self.look.read(memory) if self.look is not None else (memory.mask,)
        return State(read, self._first(memory))

    def step(self, state: State, ids_N: Tensor) -> tuple[Tensor, Tensor | None, State]:
        read = state.memory if self.look is not None else ()
        x_N1D = self.table.vectors(ids_N)[:, None]
        logits, looked, past = self._run(x_N1D, state.past, read, place=state.place)
        return logits[:, 0], None if looked is None else looked[:, 0], State(state.memory, past, state.place + 1)

    def _first(self, memory: Tokens) -> tuple[Tensor, ...]:
        """States of all layers before the first token, from the first and the last token read."""
        values_BSD = masked(memory.values, memory.mask)
        place_S = torch.arange(1, memory.mask.shape[1] + 1, device=memory.mask.device)
        last_B = ((memory.mask * place_S).amax(1) - 1).clamp(min=0)
        last_BD = values_BSD[torch.arange(len(last_B), device=last_B.device), last_B]
        made: Tensor = self.first(torch.cat([values_BSD[:, 0], last_BD], -1)).tanh()
        return made.chunk((1 + len(self.above)) * (1 + self.has_cell), -1)

    def _run(
        self, x_NTD: Tensor, past: tuple[Tensor, ...], read: tuple[Tensor, ...], *, place: int
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
        """Logits [N, T, V] of the tokens after those given, where it looked [N, T, S], states after the last."""
        now: list[Tensor] = []
        seen: list[Tensor] = []
        looked = None
        width = 1 + self.has_cell
        for i, cell in enumerate((self.bottom, *self.above)):
            first = [one[None].contiguous() for one in past[i * width : (i + 1) * width]]
            y_NTD, after = cell(torch.cat([x_NTD, *seen], -1), tuple(first) if self.has_cell else first[0])
            now += [one[0] for one in (after if self.has_cell else (after,))]
            x_NTD = self.dropout(y_NTD) + x_NTD if i else self.dropout(y_NTD)
            if i == 0 and self.look is not None:
                context, looked = self.look(x_NTD, read, place=place)
                seen = [context]
        hidden = self.dropout(self.last(torch.cat([x_NTD, *seen], -1)).tanh())
        return self.table.logits(hidden), looked, tuple(now)


class _Look(nn.Module):
    """Attention of the bottom layer to what was read."""

    def __init__(self, layer: RecurrentDecoder, *, read: int) -> None:
        super().__init__()
        wide = layer.width
        self.heads, self.width = layer.heads, wide // layer.heads
        self.query, self.key_value = nn.Linear(wide, wide), nn.Linear(read, 2 * wide)
        self.score = nn.Parameter(torch.randn(self.heads, self.width)) if layer.look == "additive" else None
        for part in (self.query, self.key_value):
            nn.init.xavier_uniform_(part.weight)

    def read(self, memory: Tokens) -> tuple[Tensor, ...]:
        """Mask [B, 1, 1, S], keys and values [B, heads, S, D / heads]."""
        keys, values = self.key_value(memory.values).chunk(2, -1)
        keys = self._turned(self._split(keys), memory.mask.shape[1])
        return attendable(memory.mask)[:, None, None, :], keys, self._split(values).contiguous()

    def forward(self, x_NTD: Tensor, read: tuple[Tensor, ...], *, place: int) -> tuple[Tensor, Tensor]:
        """What the tokens from `place` on saw [N, T, D], and where [N, T, S], the mean of all heads."""
        seen_B11S, keys, values = read
        # All hypotheses of an example ask the same keys: as many queries, no copies.
        query = self._split(self.query(x_NTD).view(len(keys), -1, x_NTD.shape[-1]))
        query = self._turned(query, x_NTD.shape[1], first=place)
        if self.score is None:
            logits = query @ keys.transpose(-1, -2) * self.width**-0.5
        else:
            hidden = (query[:, :, :, None] + keys[:, :, None]).tanh()
            logits = torch.einsum("bhqsd,hd->bhqs", hidden, self.score) * self.width**-0.5
        share = logits.masked_fill(~seen_B11S, -torch.inf).softmax(-1)
        context = (share @ values).transpose(1, 2).reshape(x_NTD.shape)
        return context, share.mean(1).reshape(*x_NTD.shape[:2], -1)

    def _turned(self, x: Tensor, length: int, *, first: int = 0) -> Tensor:
        """Queries or keys of places from `first` on, turned by their rotary angles where products compare them."""
        if self.score is not None:
            return x
        return turned(x, turns(length, self.width, like=x, first=first))

    def _split(self, x_BTD: Tensor) -> Tensor:
        batch, length, _ = x_BTD.shape
        return x_BTD.view(batch, length, self.heads, self.width).transpose(1, 2)
