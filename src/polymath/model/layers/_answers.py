"""What decoders share: the answer as they read it, tied tables, and their state between two tokens.

Axes: B examples, N hypotheses (B times as many as are kept of each example), S tokens that were read, T of the answer,
D width, V tokens of the vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...problem.form import Form, Tokens, tokens
from .base import Dropout, Layer


class State(NamedTuple):
    """Where a decoder stands after some tokens of each hypothesis."""

    memory: tuple[Tensor, ...]
    """By example [B, ...]: what was read, prepared once."""
    past: tuple[Tensor, ...]
    """By hypothesis [N, ...]; the hypotheses of one example stand together."""
    place: int = 0
    """Tokens so far."""

    def hypotheses(self, index_N: Tensor) -> State:
        """The state of these hypotheses, which may come again or be left out."""
        return self._replace(past=tuple(one.index_select(0, index_N) for one in self.past))

    def examples(self, index_B: Tensor) -> State:
        """The state of these examples; `past` stays as it is."""
        return self._replace(memory=tuple(one.index_select(0, index_B) for one in self.memory))


class Decoder(nn.Module, ABC):
    """A module that maps (memory, answer) to the logits of each token of the answer, at once or token by token.

    `forward` reads the answer shifted right: the logits at a place depend on the tokens before it only. `step` gives
    the same logits for one more token.
    """

    end: int
    """Id that ends an answer, and stands before its first token."""

    def about(self, *others: Tokens) -> Decoder:
        """The decoder of examples of which this is read too, beside the memory."""
        assert not others, f"{type(self).__name__} reads nothing but its memory"
        return self

    def ready(self) -> None:
        """Computes what its copies can share, before they are made."""
        return

    @abstractmethod
    def begin(self, memory: Tokens) -> State:
        """State before the first token, one hypothesis for each example."""

    @abstractmethod
    def step(self, state: State, ids_N: Tensor) -> tuple[Tensor, Tensor | None, State]:
        """Logits [N, V] of the token after `ids_N`, where the layer looked [N, S] (None: nowhere), the state after."""


class Table(nn.Module):
    """One table that turns ids into vectors and vectors into logits (Press and Wolf 2017, arXiv:1608.05859)."""

    def __init__(self, vocabulary: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.scale = width**0.5
        self.weight = nn.Parameter(torch.randn(vocabulary, width) / self.scale)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.dropout = Dropout(dropout)
        self.faster: nn.Module | None = None
        """Stands in for the map to logits: the same in integers."""

    def vectors(self, ids: Tensor) -> Tensor:
        found: Tensor = self.dropout(F.embedding(ids, self.weight) * self.scale)
        return found

    def logits(self, x: Tensor) -> Tensor:
        if self.faster is not None:
            faster: Tensor = self.faster(x)
            return faster
        return F.linear(x, self.weight, self.bias)


def answer_form(layer: Layer, inputs: tuple[Form, ...]) -> Form:
    """Logits for every token of the answer. Raises ValueError unless inputs are tokens that are vectors, then ids."""
    name = type(layer).model_fields["kind"].default
    layer.take(inputs, "tokens")
    read, answer = inputs
    if read.vocabulary:
        raise ValueError(f"{name} reads tokens that are vectors, got {read}; embed them first (layer 'embedding')")
    if answer.vocabulary < 3 or len(answer.size) != 1:
        raise ValueError(f"{name} takes the ids of an answer as its second input, got {answer}")
    return tokens(answer.size[0], width=answer.vocabulary)


def shifted(answer: Tokens, *, end: int) -> tuple[Tensor, Tensor]:
    """The answer one place to the right, behind `end`, and its mask; both without columns of nothing but padding."""
    ids_BT, mask_BT = answer.values.long(), answer.mask.bool()
    if not torch.compiler.is_compiling():
        used = int(mask_BT.any(0).nonzero().max()) + 1 if bool(mask_BT.any()) else 1
        ids_BT, mask_BT = ids_BT[:, :used], mask_BT[:, :used]
    return F.pad(ids_BT[:, :-1], (1, 0), value=end), mask_BT
