"""Beam search with length normalisation and coverage penalty (Wu et al. 2016, arXiv:1609.08144, section 7).

Axes: B examples, K hypotheses kept of each, V ids, S tokens read, T tokens of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...problem.form import Tokens
from ..layers._answers import Decoder, State
from .best import best
from .settings import Decoding

SHRINK = 0.25
"""Share of the examples that must be done before the others are computed without them: it costs a copy."""


@dataclass(frozen=True)
class Found:
    """Answers, the best first."""

    ids_BKT: Tensor
    """Without the end; padding behind."""
    scores_BK: Tensor
    """Equation 14; minus infinity where there is no such answer."""


def beam_search(decoder: Decoder, memory: Tokens, how: Decoding, *, most: int, barred: list[int]) -> Found:
    """The `how.beam` best answers found for each example, of at most `most` tokens, none of them `barred`."""
    search = _Search(decoder, memory, how, most=most, barred=barred)
    while search.active and search.place < most:
        search.step()
    return search.result()


class _Search:
    """Hypotheses of the examples that are not done, and the answers found for all."""

    def __init__(self, decoder: Decoder, memory: Tokens, how: Decoding, *, most: int, barred: list[int]) -> None:
        count, device = len(memory.mask), memory.values.device
        self.decoder, self.how, self.most = decoder, how, most
        self.barred = torch.tensor(barred, device=device)
        self.state: State = decoder.begin(memory)
        self.place = 0
        self.example_B = torch.arange(count, device=device)
        """Which example each active one is."""
        self.done_B = torch.zeros(count, dtype=torch.bool, device=device)
        """Active ones that are done: they take up nothing more, as if they had been left out at once."""
        self.scores_BK = torch.zeros(count, 1, device=device)
        self.ids_BKT = torch.full((count, 1, 1), decoder.end, device=device)
        self.mask_BS = memory.mask
        self.covered_BKS = memory.values.new_zeros(count, 1, memory.mask.shape[1]) if how.coverage else None
        self.found_ids = torch.zeros(count, how.beam, most, dtype=torch.long, device=device)
        self.found_scores = torch.full((count, how.beam), -torch.inf, device=device)

    @property
    def active(self) -> int:
        """Examples that are not done."""
        return len(self.example_B)

    def step(self) -> None:
        """One more token for every hypothesis."""
        beam, (count, width) = self.how.beam, self.scores_BK.shape
        logits, looked, self.state = self.decoder.step(self.state, self.ids_BKT[:, :, -1].flatten())
        self.place += 1
        logits[:, self.barred] = -torch.inf
        scores, parent_BC, ids_BC = best(logits.float().log_softmax(1), self.scores_BK, 2 * beam)
        row_BC = parent_BC + width * torch.arange(count, device=scores.device)[:, None]
        if self.covered_BKS is not None and looked is not None:
            self.covered_BKS = self.covered_BKS + looked.view(self.covered_BKS.shape)
        self._finish(scores, ids_BC, row_BC)
        alive = scores.masked_fill(ids_BC == self.decoder.end, -torch.inf)
        self.scores_BK, place = alive.topk(min(beam, alive.shape[1]), dim=1)
        row_BK = row_BC.gather(1, place)
        before = self.ids_BKT.flatten(0, 1)[row_BK]
        self.ids_BKT = torch.cat([before, ids_BC.gather(1, place)[..., None]], 2)
        if self.covered_BKS is not None:
            self.covered_BKS = self.covered_BKS.flatten(0, 1)[row_BK]
        self._go_on(row_BK)

    def _finish(self, scores_BC: Tensor, ids_BC: Tensor, row_BC: Tensor) -> None:
        """Take up the hypotheses that end here, if they are among the best `beam`."""
        beam = self.how.beam
        ends = (ids_BC[:, :beam] == self.decoder.end) & ~self.done_B[:, None]
        if not bool(ends.any()):
            return
        told = self._told(scores_BC[:, :beam], row_BC[:, :beam], self.place).masked_fill(~ends, -torch.inf)
        self._take_up(told, self.ids_BKT.flatten(0, 1)[row_BC[:, :beam]][:, :, 1:])

    def _take_up(self, told_BC: Tensor, ids_BCT: Tensor) -> None:
        rows = self.example_B
        padded = torch.nn.functional.pad(ids_BCT, (0, self.most - ids_BCT.shape[2]))
        scores, which = torch.cat([self.found_scores[rows], told_BC], 1).topk(self.how.beam, dim=1)
        ids = torch.cat([self.found_ids[rows], padded], 1)
        self.found_scores[rows] = scores
        self.found_ids[rows] = ids.gather(1, which[..., None].expand(-1, -1, self.most))

    def _told(self, scores: Tensor, row: Tensor, length: int) -> Tensor:
        """Equation 14: log-probability over the length penalty, plus the coverage penalty."""
        told: Tensor = scores / ((5 + length) / 6) ** self.how.length
        if self.covered_BKS is not None:
            covered_BS = self.covered_BKS.flatten(0, 1)[row].clamp(1e-6, 1).log()
            told = told + self.how.coverage * (covered_BS * self.mask_BS[:, None]).sum(-1)
        return told

    def _go_on(self, row_BK: Tensor) -> None:
        """The state of the hypotheses kept; examples are left out once enough of them are done."""
        found = self.found_scores[self.example_B]
        longest = ((5 + self.most) / 6) ** self.how.length
        hopeless = self.scores_BK[:, 0] / longest <= found[:, self.how.n_best - 1]
        self.done_B = self.done_B | found.isfinite().all(1) | hopeless
        count = int(self.done_B.sum())
        if count and count >= SHRINK * self.active:
            keep_B = (~self.done_B).nonzero()[:, 0]
            self.example_B, self.done_B = self.example_B[keep_B], self.done_B[keep_B]
            self.mask_BS = self.mask_BS[keep_B]
            self.scores_BK, self.ids_BKT, row_BK = self.scores_BK[keep_B], self.ids_BKT[keep_B], row_BK[keep_B]
            if self.covered_BKS is not None:
                self.covered_BKS = self.covered_BKS[keep_B]
            self.state = self.state.examples(keep_B)
        if self.active:
            self.state = self.state.hypotheses(row_BK.flatten())

    def result(self) -> Found:
        """What was found; where that is too little, what was begun and never ended stands behind it."""
        if self.active:
            width = torch.arange(self.scores_BK.numel(), device=self.scores_BK.device).view(self.scores_BK.shape)
            told = self._told(self.scores_BK, width, self.place)
            ended = self.found_scores[self.example_B].isfinite().any(1, keepdim=True)
            self._take_up(told.masked_fill(ended, -torch.inf), self.ids_BKT[:, :, 1:])
        return Found(self.found_ids, self.found_scores)
