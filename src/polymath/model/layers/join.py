"""Several values of one form -> one: where the branches of a free architecture meet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import masked
from .base import Layer


class Join(Layer):
    """Maps, tokens or vectors -> one of the same form: side by side (`concat`) or summed (`add`).

    `add` gives the width of the last input; inputs of another width pass a linear map (a 1x1 convolution) first. Larger
    maps are averaged down to the smallest height and width; Zoph and Le 2017 (arXiv:1611.01578) pad instead.
    Tokens are as many as the inputs have: the texts behind them must be the same.
    """

    kind: Literal["join"] = "join"
    num_inputs: ClassVar[int | None] = None
    how: Literal["concat", "add"] = "concat"

    def form(self, *inputs: Form) -> Form:
        given = self._taken(inputs)
        width = given[-1].width if self.how == "add" else sum(form.width for form in given)
        return Form(kind=given[0].kind, width=width, size=_smallest(given))

    def build(self, *inputs: Form) -> nn.Module:
        form, given = self.form(*inputs), self._taken(inputs)
        return _Join(form, [one.width for one in given], add=self.how == "add")

    def work(self, *inputs: Form) -> float:
        form, given = self.form(*inputs), self._taken(inputs)
        places = form.size[0] * form.size[-1] if form.kind == "map" else form.size[0] if form.size else 1
        changed = [one.width for one in given if one.width != form.width] if self.how == "add" else []
        return float(places * form.width * sum(changed))

    def _taken(self, inputs: tuple[Form, ...]) -> tuple[Form, ...]:
        kind = inputs[0].kind if inputs else "vector"
        given = self.take(inputs, kind if kind in ("map", "tokens") else "vector")
        if any(form.vocabulary for form in given):
            raise ValueError(f"join takes tokens that are vectors, got {given[0]}; embed them first")
        if kind == "tokens" and len({form.size for form in given}) > 1:
            raise ValueError(f"join takes tokens of one length, got {', '.join(map(str, given))}")
        return given


def _smallest(forms: Sequence[Form]) -> tuple[int, ...]:
    return tuple(min(sizes) for sizes in zip(*(form.size for form in forms), strict=True))


class _Join(nn.Module):
    def __init__(self, form: Form, widths: list[int], *, add: bool) -> None:
        super().__init__()
        self.add, is_map = add, form.kind == "map"
        self.axis = 1 if is_map else -1
        changed = [add and width != form.width for width in widths]
        maps: list[nn.Module] = [
            nn.Conv2d(width, form.width, 1, bias=False) if is_map else nn.Linear(width, form.width, bias=False)
            for width, changes in zip(widths, changed, strict=True)
            if changes
        ]
        self.maps = nn.ModuleList(maps)
        self.changed = changed

    def forward(self, *inputs: Tensor | Tokens) -> Tensor | Tokens:
        if not isinstance(inputs[0], Tokens):
            return self._joined([cast(Tensor, one) for one in inputs])
        given = [cast(Tokens, one) for one in inputs]
        mask_BT = given[0].mask
        for other in given[1:]:
            mask_BT = mask_BT | other.mask
        return Tokens(masked(self._joined([masked(one.values, one.mask) for one in given]), mask_BT), mask_BT)

    def _joined(self, values: list[Tensor]) -> Tensor:
        if self.axis == 1:
            # Sizes are those at hand: a path may be shown other sizes than it was described with.
            height, width = (min(x.shape[axis] for x in values) for axis in (2, 3))
            values = [
                x if x.shape[2:] == (height, width) else nn.functional.adaptive_avg_pool2d(x, (height, width))
                for x in values
            ]
        if not self.add:
            return torch.cat(values, self.axis) if len(values) > 1 else values[0]
        maps = iter(self.maps)
        brought = [next(maps)(x) if changes else x for x, changes in zip(values, self.changed, strict=True)]
        return reduce(torch.add, brought)
