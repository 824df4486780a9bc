"""Depthwise convolutions train as `nn.Conv2d` does, by other means."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from polymath.model.layers._depthwise import Depthwise


def gradients(module: nn.Conv2d, x: Tensor, *, plain: bool, half: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What it gives, and the gradients of pixels and weights of a sum that treats every number differently."""
    x = x.clone().requires_grad_()
    module.weight.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        made = nn.Conv2d.forward(module, x) if plain else module(x)
    (made.float() * torch.linspace(-1, 1, made.numel()).view_as(made)).sum().backward()
    assert x.grad is not None and module.weight.grad is not None
    return made.float(), x.grad, module.weight.grad


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 5), (7, 2), (9, 8)])
def test_gradients_are_those_of_a_plain_convolution(shape: tuple[int, int], stride: int, size: int, half: bool) -> None:
    torch.manual_seed(0)
    module = Depthwise(6, size=size, stride=stride)
    x = torch.randn(5, 6, *shape).contiguous(memory_format=torch.channels_last)
    expected = gradients(module, x, plain=True, half=half)
    for one, other in zip(gradients(module, x, plain=False, half=half), expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= (2e-2 if half else 1e-5) * other.abs().max()


def test_weights_and_answers_are_those_of_a_plain_convolution() -> None:
    torch.manual_seed(0)
    module = Depthwise(4, size=5, stride=2).eval()
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4, 5, 2, 2, groups=4, bias=False)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(module.weight, plain.weight) and torch.equal(module(x), plain(x))
    assert module.state_dict().keys() == plain.state_dict().keys()
