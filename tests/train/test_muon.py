"""Muon: orthogonal steps for filters, AdamW for the rest, resumable."""

from __future__ import annotations

import copy

import torch
from torch import nn

from polymath.train.muon import SHARE, Muon, is_filter, orthogonal


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 3))


def loss(module: nn.Module, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(8, 8, 8, 8, generator=generator), torch.randint(0, 3, (8,), generator=generator)
    return nn.functional.cross_entropy(module(x), y)


def step(module: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> float:
    optimizer.zero_grad()
    value = loss(module, seed)
    value.backward()
    optimizer.step()
    return value.item()


def test_orthogonal_brings_singular_values_near_one_and_keeps_directions() -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = ((12, 40), (12, 60), (12, 40), (96, 300), (96, 300), (30, 70))
    matrices = [torch.randn(*shape, generator=draw) for shape in shapes]
    matrices += [matrix.mT for matrix in matrices]  # tall ones too, all in one call
    for given, turned in zip(matrices, orthogonal(matrices), strict=True):
        assert turned.shape == given.shape
        values = torch.linalg.svdvals(turned)
        assert values.min() > 0.3 and values.max() < 1.4
        left, _, right = torch.linalg.svd(given, full_matrices=False)
        assert nn.functional.cosine_similarity(turned.flatten(), (left @ right).flatten(), dim=0) > 0.97


def test_filters_keep_norm_one_and_learn() -> None:
    module = net()
    optimizer = Muon(module.parameters(), lr=0.1)
    losses = [step(module, optimizer, seed=0) for _ in range(12)]
    assert losses[-1] < 0.3 * losses[0]
    assert 0.9 < float(module[0].weight.detach().norm()) / 16**0.5 < 1.2


def test_what_is_no_filter_follows_adamw() -> None:
    module, peer = nn.Linear(5, 3), nn.Linear(5, 3)
    peer.load_state_dict(module.state_dict())
    ours = Muon(module.parameters(), lr=0.1, weight_decay=0.2)
    groups = [{"params": [peer.weight], "weight_decay": 0.2}, {"params": [peer.bias], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.1 * SHARE, betas=(0.9, 0.99))
    for seed in range(4):
        x = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))
        for one, optimizer in ((module, ours), (peer, theirs)):
            optimizer.zero_grad()
            one(x).square().mean().backward()
            optimizer.step()
    assert torch.allclose(module.weight, peer.weight, atol=1e-6) and torch.allclose(module.bias, peer.bias, atol=1e-6)


def test_going_on_from_its_state_equals_never_stopping() -> None:
    straight = net()
    optimizer = Muon(straight.parameters(), lr=0.1)
    for seed in range(2):
        step(straight, optimizer, seed)
    other = net()
    other.load_state_dict(straight.state_dict())
    again = Muon(other.parameters(), lr=0.1)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert step(straight, optimizer, 2) == step(other, again, 2)
    assert torch.equal(straight[0].weight, other[0].weight)


def test_depthwise_and_dense_weights_are_no_filters() -> None:
    assert is_filter(nn.Conv2d(8, 4, 3).weight)
    assert not is_filter(nn.Conv2d(8, 8, 7, groups=8).weight)
    assert not is_filter(nn.Linear(100, 4).weight)
