"""Random changes to whole training batches, all rows at once.

Axes: B examples, C channels, H height, W width in pixels, P pixels (H x W), T tokens, D columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..problem.features._pixels import PixelTarget
from ..problem.form import Form
from .paired import View, lit, mirrored, view
from .recipe import PAIRED, Augmentation


@dataclass(frozen=True)
class Mix:
    """Each example is blended with another: `share` of itself and the rest of example `other[b]`."""

    share: float
    other: Tensor


class Augmenter:
    """Applies one `Augmentation` to the ports of a path; draws nothing when everything is off."""

    def __init__(
        self,
        augmentation: Augmentation,
        ports: Mapping[str, Form],
        fills: Mapping[str, Tensor],
        pixels: Mapping[str, PixelTarget] | None = None,
    ) -> None:
        """`fills`: port of form map -> mean colour [C], what a cut-out square is filled with.

        `pixels`: outputs that answer for every pixel: what moves a picture moves their targets too.
        """
        self._augmentation = augmentation
        self._pixels = dict(pixels or {})
        self._ports = dict(ports)
        self._fills = dict(fills)
        kinds = {form.kind for form in ports.values()}
        a = augmentation
        self._maps = "map" in kinds and bool(a.flip or a.shift or a.cutout) and not self._pixels
        self._mixes = kinds == {"map"} and a.mixup > 0 and not self._pixels
        self.paired = bool(self._pixels) and any(getattr(a, name) for name in ("flip", *PAIRED))
        """Whether targets change with their pictures: `both` then does it."""
        self._drops = ("tokens" in kinds and a.drop_tokens > 0) or ("vector" in kinds and a.drop_columns > 0)

    @property
    def active(self) -> bool:
        return self._maps or self._mixes or self._drops

    def both(
        self, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], random: np.random.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Another view of every picture, and of the targets at its pixels."""
        name, feature = next(iter(self._pixels.items()))
        known = feature.holds(targets[name].cpu().numpy())
        codes = targets[name].cpu().numpy() if feature.averaged == "categories" else None
        shown = view(known, codes, self._augmentation, random)
        light = self._augmentation.light
        changed = {}
        for port, value in inputs.items():
            if self._ports[port].kind == "map":
                value = shown(value)
                value = lit(value, random, share=light) if light else value
            changed[port] = value
        return changed, {output: shown(one) if output in self._pixels else one for output, one in targets.items()}

    def __call__(
        self, inputs: Mapping[str, Tensor], random: np.random.Generator
    ) -> tuple[dict[str, Tensor], Mix | None]:
        """Changed inputs, and how examples were blended, if they were."""
        a = self._augmentation
        changed = {}
        for port, value in inputs.items():
            form = self._ports[port]
            if form.kind == "map" and self._maps:
                value = move(value, random, flip=a.flip, shift=a.shift)
                value = cut_out(value, random, side=a.cutout, fill=self._fills[port]) if a.cutout else value
            elif form.kind == "tokens" and a.drop_tokens and form.vocabulary:
                value = drop_tokens(value, random, share=a.drop_tokens)
            elif form.kind == "vector" and a.drop_columns:
                value = drop_columns(value, random, share=a.drop_columns, categories=form.categories)
            changed[port] = value
        if not self._mixes:
            return changed, None
        share = float(random.beta(a.mixup, a.mixup))
        size = len(next(iter(changed.values())))
        device = next(iter(changed.values())).device
        mix = Mix(share, torch.from_numpy(random.permutation(size)).to(device))
        return {port: blend(value, mix) for port, value in changed.items()}, mix


def move(x_BCHW: Tensor, random: np.random.Generator, *, flip: bool, shift: int) -> Tensor:
    """Each image shifted by its own whole number of pixels, mirrored at the border, and half of them flipped."""
    size, _, height, width = x_BCHW.shape
    rows_BH = np.broadcast_to(np.arange(height), (size, height))
    columns_BW = np.broadcast_to(np.arange(width), (size, width))
    if flip:
        columns_BW = np.where(random.random((size, 1)) < 0.5, columns_BW[:, ::-1], columns_BW)
    if shift:
        down, right = min(shift, height - 1), min(shift, width - 1)
        rows_BH = mirrored(rows_BH + random.integers(-down, down + 1, (size, 1)), height)
        columns_BW = mirrored(columns_BW + random.integers(-right, right + 1, (size, 1)), width)
    place = rows_BH[:, :, None] * width + columns_BW[:, None, :]
    return View(torch.from_numpy(place.reshape(size, -1)), height, width)(x_BCHW)


def cut_out(x_BCHW: Tensor, random: np.random.Generator, *, side: int, fill: Tensor) -> Tensor:
    """A square of `side` pixels around a random centre of each image set to `fill` [C]; it may stick out."""
    size, _, height, width = x_BCHW.shape
    inside = []
    for length in (height, width):
        start = random.integers(0, length, (size, 1)) - side // 2
        place = np.arange(length)
        inside.append(torch.from_numpy((place >= start) & (place < start + side)).to(x_BCHW.device))
    hole_B1HW = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    return torch.where(hole_B1HW, fill.to(x_BCHW)[None, :, None, None], x_BCHW)


def drop_tokens(ids_BT: Tensor, random: np.random.Generator, *, share: float) -> Tensor:
    """A share of the tokens replaced by padding; the first stays, so that no text becomes empty."""
    dropped = random.random(tuple(ids_BT.shape), dtype=np.float32) < share
    dropped[:, 0] = False
    return ids_BT.masked_fill(torch.from_numpy(dropped).to(ids_BT.device), 0)


def drop_columns(row_BD: Tensor, random: np.random.Generator, *, share: float, categories: Sequence[int]) -> Tensor:
    """A share of the cells made missing: NaN for numbers, code 0 for categories."""
    dropped = torch.from_numpy(random.random(tuple(row_BD.shape), dtype=np.float32) < share).to(row_BD.device)
    missing = torch.tensor([0.0 if n else float("nan") for n in categories or (0,) * row_BD.shape[1]])
    return torch.where(dropped, missing.to(row_BD), row_BD)


def blend(x: Tensor, mix: Mix) -> Tensor:
    """`share` of each example and the rest of its partner, as float."""
    x = x.float()
    return torch.lerp(x[mix.other], x, mix.share)
