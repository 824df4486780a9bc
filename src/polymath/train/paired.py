"""Random views of pictures and of the answers at their pixels: both are moved alike.

Axes: B examples, C channels, H height, W width of a picture, h height and w width of what is shown of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..problem.form import Form
from .recipe import Augmentation

COARSE = 6
"""Cells each way of the field that warps a picture: its bends are as long as a sixth of what is shown."""


@dataclass(frozen=True)
class View:
    """Which pixel of a picture is shown where: flat places int64 [B, h x w]."""

    place: Tensor
    height: int
    width: int

    def __call__(self, x: Tensor) -> Tensor:
        """What is shown of maps [B, C, H, W] or [B, H, W]."""
        flat = x.reshape(len(x), -1, x.shape[-2] * x.shape[-1])
        shown = flat.gather(2, self.place.to(x.device)[:, None].expand(-1, flat.shape[1], -1))
        shape = (self.height, self.width)
        return shown.view(len(x), *x.shape[1:-2], *shape)


def shown_size(size: tuple[int, ...], augmentation: Augmentation) -> tuple[int, int]:
    """Height and width of what is shown of a picture of this size. What is turned is square."""
    height, width = size
    side = augmentation.crop or max(height, width)
    side = min(side, height, width) if augmentation.turn else side
    return min(height, side), min(width, side)


def shown_ports(ports: Mapping[str, Form], augmentation: Augmentation) -> dict[str, Form]:
    """The ports as a path in training sees them."""
    return {
        port: form.replace(size=shown_size(form.size, augmentation)) if form.kind == "map" else form
        for port, form in ports.items()
    }


def view(
    known_BHW: np.ndarray, codes_BHW: np.ndarray | None, augmentation: Augmentation, random: np.random.Generator
) -> View:
    """A random view of each picture of a batch: which part, mirrored, turned, larger, tilted, bent.

    `known`: pixels that teach: what is shown lies around one of them. `codes`: their classes, for `focus`.
    """
    a, (size, height, width) = augmentation, known_BHW.shape
    tall, wide = shown_size((height, width), a)
    centre_B2 = np.array([[height - 1, width - 1]] * size, dtype=np.float32) / 2
    if (tall, wide) != (height, width):
        for row in range(size):
            centre_B2[row] = _centre(known_BHW[row], None if codes_BHW is None else codes_BHW[row], a.focus, random)
        half = (np.array([tall, wide], dtype=np.float32) - 1) / 2
        centre_B2 = np.clip(centre_B2, half, np.array([height, width]) - 1 - half)
    y = np.broadcast_to(np.arange(tall, dtype=np.float32)[None, :, None] - (tall - 1) / 2, (size, tall, wide))
    x = np.broadcast_to(np.arange(wide, dtype=np.float32)[None, None, :] - (wide - 1) / 2, (size, tall, wide))
    y, x = _turned(y, x, a, random, square=tall == wide)
    y, x = y + centre_B2[:, :1, None], x + centre_B2[:, 1:, None]
    if a.warp:
        field = torch.from_numpy(random.normal(0, a.warp, (size, 2, COARSE, COARSE)).astype(np.float32))
        bent = F.interpolate(field, (tall, wide), mode="bicubic", align_corners=True).numpy()
        y, x = y + bent[:, 0], x + bent[:, 1]
    place = mirrored(y, height) * width + mirrored(x, width)
    return View(torch.from_numpy(place.reshape(size, -1)), tall, wide)


def _centre(
    known_HW: np.ndarray, codes_HW: np.ndarray | None, focus: float, random: np.random.Generator
) -> tuple[float, float]:
    """A pixel around which to look: one that teaches, or with the chance `focus` one of a class that is drawn first."""
    chosen = np.flatnonzero(known_HW)
    if codes_HW is not None and len(chosen) and random.random() < focus:
        codes = codes_HW.reshape(-1)
        there = np.flatnonzero(np.bincount(codes[chosen]))
        chosen = np.flatnonzero((codes == random.choice(there)) & known_HW.reshape(-1))
    if not len(chosen):
        return (known_HW.shape[0] - 1) / 2, (known_HW.shape[1] - 1) / 2
    row, column = divmod(int(chosen[random.integers(len(chosen))]), known_HW.shape[1])
    return float(row), float(column)


def _turned(
    y: np.ndarray, x: np.ndarray, a: Augmentation, random: np.random.Generator, *, square: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets from the centre, mirrored, turned, scaled and tilted for each picture by itself."""
    size = len(y)
    if a.flip or a.turn:
        x = x * _signs(size, random)
    if a.turn:
        y = y * _signs(size, random)
        if square:
            swap = (random.random((size, 1, 1)) < 0.5).astype(bool)
            y, x = np.where(swap, x, y), np.where(swap, y, x)
    if a.zoom:
        factor = np.exp(random.uniform(-1, 1, (size, 1, 1)) * np.log1p(a.zoom)).astype(np.float32)
        y, x = y * factor, x * factor
    if a.tilt:
        angle = np.deg2rad(random.uniform(-a.tilt, a.tilt, (size, 1, 1))).astype(np.float32)
        y, x = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    return y, x


def _signs(size: int, random: np.random.Generator) -> np.ndarray:
    return np.where(random.random((size, 1, 1)) < 0.5, np.float32(-1), np.float32(1))


def mirrored(place: np.ndarray, size: int) -> np.ndarray:
    """The nearest pixels, mirrored back at the border where they lie outside; the border itself is not repeated."""
    index = np.abs(np.rint(place).astype(np.int64))
    period = max(2 * (size - 1), 1)
    index = index % period
    return np.asarray(np.minimum(index, period - index) if size > 1 else np.zeros_like(index))


def lit(x_BCHW: Tensor, random: np.random.Generator, *, share: float) -> Tensor:
    """Pictures of other brightness and contrast, as float 0..255."""
    change = random.uniform(-share, share, (2, len(x_BCHW), 1, 1, 1)).astype(np.float32)
    gain, lift = torch.from_numpy(1 + change[0]), torch.from_numpy(128 * change[1])
    return (x_BCHW.float() - 127.5) * gain.to(x_BCHW.device) + 127.5 + lift.to(x_BCHW.device)
