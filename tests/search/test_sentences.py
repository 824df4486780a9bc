"""The space of sentences: what its paths are before anything is learned."""

from __future__ import annotations

import pytest
import torch

from polymath.model.build import build
from polymath.model.decode import memory
from polymath.problem import Problem, Text
from polymath.problem.subwords import Subwords
from polymath.search.spaces import sentences
from polymath.search.spaces.pieces import recalling


def translated(*inputs: str) -> Problem:
    """Texts of these names, and one to write."""
    pieces = Subwords(pieces=tuple(f"p{i}" for i in range(60)), scores=(-1.0,) * 60)
    texts = [Text(name=name, subwords=pieces, length=9) for name in (*inputs, "de")]
    return Problem(name="t", inputs=texts[:-1], outputs=texts[-1:])


def first(name, options, high=None, /, *, log=False):
    return options[0] if high is None else (options + high) / 2


def test_training_rows_are_kept_by_wish_only_and_of_a_single_text():
    """A stored path holds no training rows unless it was asked to."""
    kinds = [
        [gene.layer.kind for gene in sentences.space(choose, translated(*inputs), rows=20_000)[0].genes]
        for choose, inputs in ((first, ("en",)), (recalling(first), ("en",)), (recalling(first), ("en", "fr")))
    ]
    assert ["recall" in one for one in kinds] == [False, True, False]
    path, _ = sentences.space(recalling(first), translated("en"), rows=10**6)
    module = build(path, translated("en").all_ports)
    assert module.rows_kept == sentences.MOST_PAIRS


@pytest.mark.parametrize("family", sentences.FAMILIES)
def test_what_is_read_arrives_at_the_decoder_loud_enough_to_be_looked_at(family):
    """With values of 0.06, as words once had for LSTMs, nothing was looked at for the first thousand steps."""

    def choose(name, first, high=None, /, *, log=False):
        return family if name == "family" else first[0] if high is None else (first + high) / 2

    problem = translated("en")
    path, _ = sentences.space(choose, problem, rows=20_000)
    module = build(path, problem.all_ports, seed=1).eval()
    ids = torch.randint(2, 62, (32, 9), generator=torch.Generator().manual_seed(1)).numpy()
    with torch.inference_mode():
        _, read = memory(module, "de", {port: ids for port in problem.ports})
    assert 0.5 < float(read.values.std()) < 2.0
