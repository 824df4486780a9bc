"""What every layer can do: the contract that `polymath.testing.check_layer` holds.

A layer is a description (JSON) that says which forms it takes and gives, and builds its own `nn.Module`. One file per
layer; the list of layers in `layers/__init__.py` is the vocabulary: a stored path can name nothing else.

Axes: B examples, M members (see `members`), D width. A vector value is [B, D]; while training it may be [B, M, D], and
layers that take vectors treat all axes but the last alike.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ...problem.form import Form, Kind
from ...spec import Spec

Activation = Literal["none", "relu", "gelu", "silu"]


class Layer(Spec):
    """Description of a kind of `nn.Module`. Subclasses set `kind` (a Literal); `layers/__init__.py` lists them."""

    num_inputs: ClassVar[int | None] = 1
    """How many inputs it takes; None = one or more."""

    @abstractmethod
    def form(self, *inputs: Form) -> Form:
        """Form it gives for these inputs. Raises ValueError with what it takes and what it got if they do not fit."""

    @abstractmethod
    def build(self, *inputs: Form) -> nn.Module:
        """A module with fresh weights from torch's current generator; `forward(*inputs)` maps values to a value.

        A module may have a method `prepare(*inputs)`: called once with a sample of training rows before any training
        (bin edges, whitening). What it computes lives in buffers, so it is stored with the weights.

        A module may have an attribute `extra_loss`, a scalar tensor or None: what its last forward pass adds to the
        loss of the problem while training.
        """

    def work(self, *inputs: Form) -> float:
        """Multiply-adds of one forward pass of one example; 0 for layers that are free."""
        return 0.0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Stored objects that the description itself names: what its module fetches when it is needed."""
        return ()

    def take(self, inputs: tuple[Form, ...], kind: Kind, *, codes: bool = False) -> tuple[Form, ...]:
        """The inputs, once their number and kind fit; `codes` = columns of category codes are welcome.

        Raises ValueError with what the layer takes and what it got.
        """
        name = type(self).model_fields["kind"].default
        right = bool(inputs) if self.num_inputs is None else len(inputs) == self.num_inputs
        if not right or any(form.kind != kind for form in inputs):
            number = "one or more inputs" if self.num_inputs is None else f"{self.num_inputs} input(s)"
            raise ValueError(f"{name} takes {number} of form {kind}, got {', '.join(map(str, inputs)) or 'none'}")
        if not codes and any(any(form.categories) for form in inputs):
            raise ValueError(f"{name} takes numbers, got category codes; encode them first (layer 'columns')")
        if any((form.vocabulary or form.width) < 1 for form in inputs):
            raise ValueError(f"{name} takes inputs that are not empty, got {', '.join(map(str, inputs))}")
        return inputs


class KeepsForm(Layer):
    """A layer that gives the form it takes: what a layer of one's own derives from, so that any place suits it.

    Subclasses set `kind` and `takes` and write `build`; `work` where it is not small. Tokens are vectors, never ids.
    """

    takes: ClassVar[Kind] = "vector"

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, self.takes)
        if given.vocabulary:
            raise ValueError(f"{type(self).model_fields['kind'].default} takes tokens that are vectors, got {given}")
        return given.replace(categories=())


def activation(name: Activation) -> nn.Module:
    """The module of an activation."""
    modules: dict[Activation, type[nn.Module]] = {
        "none": nn.Identity,
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
    }
    return modules[name]()


class Dropout(nn.Module):
    """Zeroes a share of the values while training and scales the others up (Srivastava et al. 2014).

    On a CPU one random byte decides on each value, and the share is a multiple of 1/256: torch's own dropout draws
    32 bits per value, is four times as slow, and took a third of the time of a step of `members`.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.threshold = round(256 * share)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.threshold == 0:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.share)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        keep = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.threshold
        return x * keep.to(x.dtype).mul_(256 / (256 - self.threshold))


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of the last axis of [B, D] or [B, M, D]; one row alone is treated as when not training."""

    def forward(self, input: Tensor) -> Tensor:
        flat = input.reshape(-1, input.shape[-1])
        if self.training and len(flat) == 1:
            mean, variance = self.running_mean, self.running_var
            assert mean is not None and variance is not None
            return nn.functional.batch_norm(flat, mean, variance, self.weight, self.bias, eps=self.eps).view_as(input)
        return super().forward(flat).view_as(input)
