"""The space of sentences: what its paths are before anything is learned."""

from __future__ import annotations

import pytest
import torch

from polymath.model.build import build
from polymath.model.decode import memory
from polymath.problem import Problem, Text
from polymath.problem.subwords import Subwords
from polymath.search.spaces import sentences


@pytest.mark.parametrize("family", sentences.FAMILIES)
def test_what_is_read_arrives_at_the_decoder_loud_enough_to_be_looked_at(family):
    """With values of 0.06, as words once had for LSTMs, nothing was looked at for the first thousand steps."""

    def choose(name, first, high=None, /, *, log=False):
        return family if name == "family" else first[0] if high is None else (first + high) / 2

    pieces = Subwords(pieces=tuple(f"p{i}" for i in range(60)), scores=(-1.0,) * 60)
    texts = [Text(name=name, subwords=pieces, length=9) for name in ("en", "de")]
    problem = Problem(name="t", inputs=texts[:1], outputs=texts[1:])
    path, _ = sentences.space(choose, problem, rows=20_000)
    module = build(path, problem.all_ports, seed=1).eval()
    ids = torch.randint(2, 62, (32, 9), generator=torch.Generator().manual_seed(1)).numpy()
    with torch.inference_mode():
        _, read = memory(module, "de", {port: ids for port in problem.ports})
    assert 0.5 < float(read.values.std()) < 2.0
