"""A decoder with a translation memory: it recalls the answers to texts like the one that is read, and quotes them.

Axes: B examples, N hypotheses, S tokens of the text that is read, T of the answer, K recalled answers, L their tokens,
V ids of the answer, P pairs that are kept, E places of recalled answers at which what is written goes on.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._answers import Decoder, State, shifted
from ._nearest import Nearest
from .base import Layer
from .recurrent_decoder import RecurrentDecoder
from .transformer_decoder import TransformerDecoder

RUN = 8
"""Tokens of context that are told apart: a longer run of the same tokens counts as this many."""
CODES = 2 * (RUN + 1)
"""The length of the run, where the last token is the same; behind them, what is left of a run that it broke."""
TRUST = 0.27
"""c below: 0 quotes whatever the writer thinks of it, 1 quotes nothing that the writer holds impossible."""


class Recall(Layer):
    """(tokens that were read, ids of the text, ids of the answer) -> the logits of `writer`, more where it recalls.

    The answers to the `recalled` kept texts that are nearest to this one (cosine of tf-idf) are followed while the
    answer is written: where the last tokens of both are the same, the recalled answer's next token gets likelier,
    p(v) ~ p_writer(v) + p_writer(v)^c sum exp(a + b cosine) with a by how many tokens are the same. So the writer mends
    what a translation memory finds (Bulte and Tezcan 2019, P19-1175); the sum over places is that of Grave et al. 2017
    (arXiv:1612.04426, equation 5) and Khandelwal et al. 2021 (arXiv:2010.00710, equation 2), with texts in place of
    hidden states as keys.

    Up to `pairs` training rows are kept as weights, those that `remember` is shown first. While training, nothing is
    recalled: a writer that is told what stands beside it learns less, and costs half as much again. The few numbers
    were chosen on validation pages of software documentation (benchmarks/LOG.md).
    """

    num_inputs: ClassVar[int | None] = 3
    kind: Literal["recall"] = "recall"
    writer: Annotated[RecurrentDecoder | TransformerDecoder, Field(discriminator="kind")]
    pairs: int = Field(ge=1, le=1_000_000)
    recalled: int = Field(default=8, ge=1, le=64)

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "tokens")
        read, text, answer = inputs
        if not 0 < text.vocabulary <= 1 << 20:
            raise ValueError(f"recall takes the ids of a text as its second input, got {text}")
        return self.writer.form(read, answer)

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        read, text, answer = inputs
        return _Recall(self, self.writer.build(read, answer), text=text, answer=answer)

    def work(self, *inputs: Form) -> float:
        read, _, answer = inputs
        followed = self.recalled * answer.size[0] ** 2
        return self.writer.work(read, answer) + float(self.pairs + followed)


class _Recall(Decoder):
    text_PS: Tensor
    answer_PL: Tensor
    offset: Tensor
    slope: Tensor
    trust: Tensor

    def __init__(self, layer: Recall, writer: nn.Module, *, text: Form, answer: Form) -> None:
        super().__init__()
        assert isinstance(writer, Decoder)
        self.writer, self.end = writer, writer.end
        self.rows_kept, self.count = layer.pairs, layer.recalled
        self.register_buffer("text_PS", torch.zeros(layer.pairs, text.size[0], dtype=_type(text)))
        self.register_buffer("answer_PL", torch.zeros(layer.pairs, answer.size[0], dtype=_type(answer)))
        run = torch.arange(CODES) % (RUN + 1)
        broken = torch.arange(CODES) > RUN
        # A nearly equal text and a long run are 30 to 1 for what is recalled.
        self.register_buffer("offset", 0.25 * run - 3.5 - 1.7 * broken)
        self.register_buffer("slope", torch.tensor([5.0]))
        self.register_buffer("trust", torch.tensor([TRUST]))
        self._nearest: Nearest | None = None

    def remember(self, text: Tokens, answer: Tokens) -> None:
        """Keeps these pairs, as many as there is room for."""
        for kept, shown in ((self.text_PS, text.values), (self.answer_PL, answer.values)):
            kept.zero_()
            rows, width = min(len(kept), len(shown)), min(kept.shape[1], shown.shape[1])
            kept[:rows, :width] = shown[:rows, :width].to(kept)

    def ready(self) -> None:
        if self._nearest is None or not self._nearest.holds(self.text_PS):
            self._nearest = Nearest.of(self.text_PS)

    def forward(self, memory: Tokens, text: Tokens, answer: Tokens) -> Tokens:
        written: Tokens = self.writer(memory, answer)
        if self.training:
            return written
        told_BKL, cosine_BK = self.recall(text)
        before_BT, _ = shifted(answer, end=self.end)
        codes, run_BKL = [], torch.zeros_like(told_BKL, dtype=torch.uint8)
        for ids_B in before_BT.unbind(1):
            run_BKL, code_BKL = followed(run_BKL, told_BKL, ids_B, end=self.end)
            codes.append(code_BKL)
        return Tokens(self._quoting(written.values, torch.stack(codes, 1), told_BKL, cosine_BK), written.mask)

    @torch.no_grad()
    def recall(self, text: Tokens) -> tuple[Tensor, Tensor]:
        """Ids of the answers to the nearest texts [B, K, L] and their cosines [B, K]."""
        self.ready()
        assert self._nearest is not None
        cosine_BK, place_BK = self._nearest.to(text.values, count=self.count)
        told_BKL = self.answer_PL[place_BK].long().masked_fill((cosine_BK <= 0)[..., None], 0)
        used = int((told_BKL != 0).any(0).any(0).sum())
        return told_BKL[:, :, : max(used, 1)], cosine_BK

    def about(self, *others: Tokens) -> Decoder:
        (text,) = others
        return _Recalling(self, *self.recall(text))

    def begin(self, memory: Tokens) -> State:
        raise AssertionError("which answers to recall is told by `about`")

    def step(self, state: State, ids_N: Tensor) -> tuple[Tensor, Tensor | None, State]:
        *read, told_BKL, cosine_BK = state.memory
        *past, run_NKL = state.past
        logits_NV, looked, after = self.writer.step(State(tuple(read), tuple(past), state.place), ids_N)
        kept = len(ids_N) // max(len(told_BKL), 1)
        told_NKL, cosine_NK = (one.repeat_interleave(kept, 0) for one in (told_BKL, cosine_BK))
        run_NKL, code_NKL = followed(run_NKL, told_NKL, ids_N, end=self.end)
        logits = self._quoting(logits_NV[:, None], code_NKL[:, None], told_NKL, cosine_NK)[:, 0]
        return logits, looked, State(state.memory, (*after.past, run_NKL), after.place)

    def _quoting(self, logits_NTV: Tensor, code_NTKL: Tensor, told_NKL: Tensor, cosine_NK: Tensor) -> Tensor:
        """The logits, and what recalled answers add to those of the tokens with which they go on."""
        logits_NTV = logits_NTV.float()
        (_, length, vocabulary), flat = logits_NTV.shape, logits_NTV.reshape(-1)
        row_E, time_E, answer_E, place_E = code_NTKL.nonzero().unbind(1)
        code_E = code_NTKL[row_E, time_E, answer_E, place_E].long()
        vote_E = (self.offset[code_E] + self.slope * cosine_NK[row_E, answer_E]).exp()
        line_E = row_E * length + time_E
        at, which_E = (line_E * vocabulary + told_NKL[row_E, answer_E, place_E]).unique(return_inverse=True)
        votes = vote_E.new_zeros(len(at)).index_add(0, which_E, vote_E)
        writer = flat[at] - logits_NTV.logsumexp(-1).view(-1)[at // vocabulary]
        # p + p^c votes, of which the logits have p already.
        added = F.softplus(votes.clamp_min(1e-12).log() - (1 - self.trust) * writer)
        return flat.index_add(0, at, added).view(logits_NTV.shape)


class _Recalling(Decoder):
    """The decoder of some examples, whose recalled answers are known."""

    def __init__(self, decoder: _Recall, told_BKL: Tensor, cosine_BK: Tensor) -> None:
        super().__init__()
        self.decoder, self.end = decoder, decoder.end
        self._told_BKL, self._cosine_BK = told_BKL, cosine_BK

    def begin(self, memory: Tokens) -> State:
        first = self.decoder.writer.begin(memory)
        run_BKL = torch.zeros_like(self._told_BKL, dtype=torch.uint8)
        return State((*first.memory, self._told_BKL, self._cosine_BK), (*first.past, run_BKL), first.place)

    def step(self, state: State, ids_N: Tensor) -> tuple[Tensor, Tensor | None, State]:
        return self.decoder.step(state, ids_N)


def followed(run_NKL: Tensor, told_NKL: Tensor, ids_N: Tensor, *, end: int) -> tuple[Tensor, Tensor]:
    """Runs and codes [N, K, L] of every place of recalled answers, as what might follow these tokens.

    `run_NKL`: how many tokens before a place were the same, as of the token before. A token that is another halves the
    run, so that behind a word that was mended the answer is found again; at its begin, a run is a whole one. The end is
    not quoted: what was read may say more than the recalled text did, and answers got a quarter too short.
    """
    same = F.pad(told_NKL[:, :, :-1], (1, 0), value=end) == ids_N[:, None, None]
    before = F.pad(run_NKL[:, :, :-1], (1, 0))
    now = torch.where(same, (before + 1).clamp_max(RUN), before // 2)
    now[:, :, 0] = RUN * same[:, :, 0]
    now = now.masked_fill(told_NKL == 0, 0)
    return now, torch.where(same | (now == 0), now, now + RUN + 1).masked_fill(told_NKL == end, 0)


def _type(form: Form) -> torch.dtype:
    return torch.int16 if form.vocabulary < 1 << 15 else torch.int32
