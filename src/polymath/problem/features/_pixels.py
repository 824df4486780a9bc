"""What maps of classes and maps of numbers share: the canvas, and which pixels judge a prediction.

Axes: N rows, C channels, H height, W width, P pixels kept.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field

from ...spec import BadInput, Json
from ..form import Form, pixels
from ._masks import Canvas, raw_masks, size_of
from ._pictures import NoPicture, _pool
from .base import BadValue, Feature
from .common import shown

KEPT = 1024
"""Pixels of a picture that judge a prediction while models are compared; the end looks at all of them."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it fill the numbers between 0 and 1 evenly."""
UPRIGHT = 0.3
"""Deviations by which the upper halves of maps or pictures differ from the lower ones, all on one side, from which up
is up."""
MOST_LOOKED_AT = 200
"""Masks that are measured for statistics, evenly spread; all are looked at for their classes."""


class PixelTarget(Feature):
    """A value for every pixel of a picture, laid on the canvas of its problem (see `Canvas`)."""

    height: int | None = Field(default=None, ge=1, le=2048)
    width: int | None = Field(default=None, ge=1, le=2048)
    scale: float = Field(default=1.0, gt=0, le=1)
    """Of the canvas: settled with the pictures beside it (`problem/pictures.py`); None = the largest mask."""

    upright: bool = False
    """What is above differs from what is below, in the pictures (`problem/pictures.py`) or, measured, in the masks:
    then no picture is turned upside down."""

    can_be_input: ClassVar[bool] = False
    can_be_output: ClassVar[bool] = True

    @property
    def canvas(self) -> Canvas:
        assert self.height and self.width, f"feature {self.name!r} is not measured"
        return Canvas(self.height, self.width, self.scale)

    @property
    def answer(self) -> Form:
        canvas = self.canvas
        return pixels(self.head_width, canvas.height, canvas.width)

    def on_canvas(self, values: pa.ChunkedArray) -> dict[str, int]:
        """Height and width of the canvas: as given, else those of the largest mask that can be read."""
        if self.height and self.width:
            return {"height": self.height, "width": self.width}
        sizes = []
        for item in raw_masks(values):
            try:
                sizes.append((0, 0) if item is None else size_of(item))
            except NoPicture:
                continue
        height, width = (max((size[axis] for size in sizes), default=0) for axis in (0, 1))
        return {"height": min(max(height, 8), 2048), "width": min(max(width, 8), 2048)}

    def refuse(self, reason: str) -> BadInput:
        return BadInput(
            reason, column=self.name, remedy="Give one mask per picture: a PNG whose pixels hold class numbers."
        )

    def known(self, target: np.ndarray) -> np.ndarray:
        return np.asarray(self.holds(target).reshape(len(target), -1).any(axis=1)) if len(target) else np.zeros(0, bool)

    @abstractmethod
    def said(self, raw_CHW: np.ndarray, calibration: Mapping[str, Any]) -> dict[str, Json]:
        """The answer about one picture from its raw prediction, at any size; `calibration` as `decode` takes it."""

    @abstractmethod
    def holds(self, target: np.ndarray) -> np.ndarray:
        """Which pixels hold a value that teaches and judges."""

    def judges(self, target: np.ndarray) -> np.ndarray:
        """Flat places of the pixels of each row that judge it, int64 [N, P]: evenly spread among those that are known,
        one somewhere in each of as many equal parts: equal steps through 512 x 512 pixels would look at two columns.

        A row with fewer known pixels has some twice; without any they are pixels that hold no value.
        """
        flat = self.holds(target).reshape(len(target), target.shape[-2] * target.shape[-1])
        count = min(KEPT, flat.shape[1])
        steps = np.arange(count) + (np.arange(1, count + 1) * GOLDEN) % 1.0
        places = np.zeros((len(target), count), dtype=np.int64)
        for row, held in enumerate(flat):
            there = np.flatnonzero(held)
            if len(there):
                places[row] = there[(steps * len(there) / count).astype(np.int64)]
        return places

    def kept(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Raw predictions [B, C, H, W] at the pixels that judge: [B, C, P]. One for all pixels, [B, C], stays."""
        if prediction.dim() == 2:
            return prediction
        places = torch.from_numpy(self.judges(self._plain(target))).to(prediction.device)
        flat = prediction.flatten(2)
        return flat.gather(2, places[:, None].expand(-1, flat.shape[1], -1))

    def _plain(self, target: torch.Tensor) -> np.ndarray:
        return np.asarray(target.detach().cpu().numpy())

    def _each(self, values: pa.ChunkedArray, read: Any) -> tuple[list[Any], list[BadValue]]:
        """`read(item)` of every value (None where it is missing or bad), and what was bad."""
        items = raw_masks(values)

        def one(item: Any) -> Any:
            if item is None:
                return None
            try:
                return read(item)
            except NoPicture as problem:
                return problem

        with _pool() as pool:
            found = list(pool.map(one, items))
        bad = [
            BadValue(row, shown(name_of(items[row])), str(one), missing=True)
            for row, one in enumerate(found)
            if isinstance(one, NoPicture)
        ]
        return [None if isinstance(one, NoPicture) else one for one in found], bad


def halves_apart(numbers_CHW: np.ndarray) -> float:
    """By how many deviations the upper half of a map lies above the lower one."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of halves where nothing is known
        middle = numbers_CHW.shape[1] // 2
        found = np.nanmean(numbers_CHW[:, :middle]) - np.nanmean(numbers_CHW[:, middle:])
        return float(np.nan_to_num(found / max(float(np.nanstd(numbers_CHW)), 1e-12)))


def everywhere(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Raw predictions [B, C, H, W]; one for all pixels [B, C] is spread over those of the target."""
    if prediction.dim() > 2:
        return prediction
    return prediction[:, :, None, None].expand(-1, -1, *target.shape[-2:])


def name_of(item: Any) -> str:
    """What stands for a mask in a message."""
    if isinstance(item, str):
        return "a data URL" if item.startswith("data:") else item
    if isinstance(item, tuple):
        return ", ".join(str(pair[1]) for pair in item[:3])
    return f"{len(item):,} bytes" if isinstance(item, bytes) else "pixels"


def spread_out(prediction: np.ndarray, count: int) -> np.ndarray:
    """Kept predictions [N, C, P]; one constant for all pixels [N, C] is spread over them."""
    return np.broadcast_to(prediction[:, :, None], (*prediction.shape, count)) if prediction.ndim == 2 else prediction


def weighted(predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean."""
    return np.asarray(np.average(np.stack(predictions), axis=0, weights=weights), dtype=np.float32)
