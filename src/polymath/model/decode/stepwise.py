"""One token after the other, the likeliest or one drawn at random: what can be shown while it is being written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from ...problem.form import Tokens
from ..layers._answers import Decoder
from .beam import SHRINK, Found
from .settings import Decoding

Pick: TypeAlias = Callable[[Tensor], Tensor]


def stepwise(
    decoder: Decoder, memory: Tokens, how: Decoding, *, most: int, barred: list[int]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields (examples [N], their next ids [N], the logarithms of their probabilities [N]) until all have ended."""
    pick = drawn(how, device=memory.values.device) if how.temperature else likeliest
    state = decoder.begin(memory)
    example_N = torch.arange(len(memory.mask), device=memory.values.device)
    ids_N = torch.full_like(example_N, decoder.end)
    ended_N = torch.zeros_like(example_N, dtype=torch.bool)
    for _ in range(most):
        logits, _, state = decoder.step(state, ids_N)
        logits[:, barred] = -torch.inf
        told = logits.float().log_softmax(1)
        ids_N = pick(told)
        log_probability_N = told.gather(1, ids_N[:, None])[:, 0]
        going = ~ended_N
        yield example_N[going], ids_N[going], log_probability_N[going]
        ended_N = ended_N | (ids_N == decoder.end)
        count = int(ended_N.sum())
        if count == len(ended_N):
            return
        if count >= SHRINK * len(ended_N):
            keep_N = (~ended_N).nonzero()[:, 0]
            state = state.examples(keep_N).hypotheses(keep_N)
            example_N, ids_N, ended_N = example_N[keep_N], ids_N[keep_N], ended_N[keep_N]


def one_pass(decoder: Decoder, memory: Tokens, how: Decoding, *, most: int, barred: list[int]) -> Found:
    """One answer for each example; its score is the mean logarithm of its tokens' probabilities, as eq. 14 has it."""
    count = len(memory.mask)
    ids_BT = torch.zeros(count, most, dtype=torch.long, device=memory.values.device)
    score_B = torch.zeros(count, device=memory.values.device)
    length_B = torch.zeros(count, device=memory.values.device)
    for place, (example, ids, log_probability) in enumerate(stepwise(decoder, memory, how, most=most, barred=barred)):
        ids_BT[example, place] = ids.masked_fill(ids == decoder.end, 0)
        score_B[example] += log_probability
        length_B[example] += 1
    return Found(ids_BT[:, None], (score_B / ((5 + length_B) / 6) ** how.length)[:, None])


def likeliest(told: Tensor) -> Tensor:
    """The likeliest id of each row."""
    return told.argmax(1)


def drawn(how: Decoding, *, device: torch.device) -> Pick:
    """Draws an id of each row from what temperature, `top_k` and `top_p` leave."""
    generator = torch.Generator(device=device).manual_seed(how.seed)

    def pick(told: Tensor) -> Tensor:
        share, ids = (told / how.temperature).softmax(1).sort(dim=1, descending=True)
        if how.top_k:
            share[:, how.top_k :] = 0
        share[share.cumsum(1) - share >= how.top_p] = 0  # the first one is always left
        place = torch.multinomial(share, 1, generator=generator)
        return ids.gather(1, place)[:, 0]

    return pick
