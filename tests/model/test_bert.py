"""Encoders of the BERT kind against the formulas of the paper, written out in plain tensor operations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from polymath.model.build import build, get_weights
from polymath.model.path import Path
from polymath.problem.form import Tokens, tokens

WIDTH, HEADS, HIDDEN, DEPTH, WORDS = 12, 3, 20, 2, 30
UNKNOWN, FIRST, LAST = 4, 2, 3
SHARED = {"epsilon": 1e-6, "dropout": 0.1}
NAMES = [f"encoder.layer.{place}" for place in range(DEPTH)]


def encoder(length: int = 16) -> Path:
    ends = {"first": FIRST, "last": LAST, "unknown": UNKNOWN}
    embeddings = {"kind": "bert_embeddings", "width": WIDTH, **ends, "length": length, "places": 20, **SHARED}
    block = {"kind": "bert_block", "heads": HEADS, "hidden": HIDDEN, **SHARED}
    genes = [{"name": "embeddings", "layer": embeddings, "inputs": ["in:text"]}]
    genes += [{"name": name, "layer": block, "inputs": [genes[-1]["name"]]} for name in NAMES[:1]]
    genes += [{"name": NAMES[1], "layer": block, "inputs": [NAMES[0]]}]
    genes += [{"name": "pooled", "layer": {"kind": "pool_tokens"}, "inputs": [NAMES[1]]}]
    genes += [{"name": "unit", "layer": {"kind": "unit"}, "inputs": ["pooled"]}]
    return Path.model_validate({"genes": genes, "outputs": {"features": "unit"}})


def plain(ids: list[int], weights: dict[str, Tensor]) -> Tensor:
    """The vector of one text, no padding, in float64."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        middle = x.mean(-1, keepdim=True)
        spread = ((x - middle) ** 2).mean(-1, keepdim=True)
        scale, shift = weights[f"{name}.LayerNorm.weight"], weights[f"{name}.LayerNorm.bias"]
        return (x - middle) / (spread + 1e-6).sqrt() * scale + shift

    known = [FIRST, *(UNKNOWN if one == 1 else one for one in ids), LAST]
    x = weights["embeddings.word_embeddings.weight"][known]
    x = x + weights["embeddings.position_embeddings.weight"][: len(known)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
    for name in NAMES:
        parts = [linear(x, f"{name}.attention.self.{part}").chunk(HEADS, -1) for part in ("query", "key", "value")]
        seen = [(q @ k.T / math.sqrt(WIDTH / HEADS)).softmax(-1) @ v for q, k, v in zip(*parts, strict=True)]
        x = norm(x + linear(torch.cat(seen, -1), f"{name}.attention.output.dense"), f"{name}.attention.output")
        hidden = linear(x, f"{name}.intermediate.dense")
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
        x = norm(x + linear(hidden, f"{name}.output.dense"), f"{name}.output")
    mean = x.mean(0)
    return mean / mean.norm()


@pytest.fixture
def made() -> torch.nn.Module:
    module = build(encoder(), {"text": tokens(14, vocabulary=WORDS)}, seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():  # norms and biases too: at their start they would hide a mistake
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def test_it_computes_what_the_papers_say(made: torch.nn.Module) -> None:
    weights = {
        f"{gene}.{name}": torch.from_numpy(array).double()
        for gene in ("embeddings", *NAMES)
        for name, array in get_weights(made.module(gene)).items()
    }
    texts = [[7, 8, 1, 9], [5], list(range(5, 19)), [6, 6, 29]]
    ids = torch.zeros(len(texts), 14, dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
    with torch.inference_mode():
        ours = made({"text": ids})["features"] / math.sqrt(WIDTH)
    theirs = torch.stack([plain(text, weights) for text in texts])
    assert (ours - theirs).abs().max() < 1e-6


def test_a_text_alone_and_beside_longer_ones_is_the_same(made: torch.nn.Module) -> None:
    ids = torch.tensor([[7, 8, 9, *[0] * 11], [*range(5, 19)], [0] * 14])
    with torch.inference_mode():
        together, alone = made({"text": ids})["features"], made({"text": ids[:1]})["features"]
    assert torch.allclose(together[0], alone[0], atol=1e-6)
    assert not together[2].any()


def test_what_is_too_long_is_cut_before_its_end() -> None:
    module = build(encoder(5), {"text": tokens(14, vocabulary=WORDS)}, seed=3).eval()
    read = module.module("embeddings")._between_ends(Tokens(torch.tensor([[5, 6, 7, 8, 9]]), torch.ones(1, 5).bool()))
    assert read.values.tolist() == [[FIRST, 5, 6, 7, LAST]]
    assert np.array_equal(read.mask, np.ones((1, 5), bool))


@pytest.mark.parametrize(
    ("change", "said"), [({"length": 30}, "20 places"), ({"first": 40}, "holds 40"), ({"width": 13}, "multiple of 3")]
)
def test_what_does_not_fit_is_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        path = encoder().model_dump(mode="json")
        path["genes"][0]["layer"].update(change)
        Path.model_validate(path).forms({"text": tokens(14, vocabulary=WORDS)})
