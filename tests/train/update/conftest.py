"""Streams of gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

SHAPES = ((7, 5), (5,), (3, 4, 2, 2), ())


@pytest.fixture
def parameters() -> Callable[..., list[torch.nn.Parameter]]:
    """The same parameters of some shapes at every call."""

    def make(shapes=SHAPES, *, dtype=torch.float32) -> list[torch.nn.Parameter]:
        generator = torch.Generator().manual_seed(1)
        return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]

    return make


@pytest.fixture
def follow() -> Callable[..., list[list[torch.Tensor]]]:
    """Takes steps of an optimizer over a fixed stream of gradients, some of them 0; gives the weights after each."""

    def steps(optimizer, weights, *, number=50, seed=0, skip=0) -> list[list[torch.Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        found = []
        for step in range(number):
            for weight in weights:
                noise = torch.randn(weight.shape, generator=generator)
                gradient = 0.1 * noise + 0.02 * weight.detach().float() * (noise.abs() > 0.2)
                weight.grad = gradient.to(weight.dtype)
            if step >= skip:
                optimizer.step()
                found.append([weight.detach().clone() for weight in weights])
        return found

    return steps
