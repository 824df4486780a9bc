"""Images: files, encoded bytes or arrays of pixels, to one small size, as bytes."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ..form import Form, pixels
from ._pictures import Raw, Sizes, Whole, decode, look, raw_pictures, whole
from .base import BadValue, Encoded, Feature
from .common import shown, spread

SMALL = 64
"""Images all of one size up to this are taken as they are."""


class Image(Feature):
    """A picture. Input: uint8 [N, C, H, W]; missing = zeros. C is 1 if all sampled pictures are grey, else 3: RGB."""

    type: Literal["image"] = "image"
    from_file: bool = True
    """Text values are paths of files; otherwise a text value is no picture."""
    side: int = Field(default=SMALL, ge=1, le=1024)
    """Pixels on the longer side, unless all pictures have one size of at most 64."""
    fit: Literal["stretch", "canvas"] = "stretch"
    """"stretch": every picture is brought to one size. "canvas": all are scaled by `scale` and laid into the upper left
    corner of a canvas of `height` x `width`, its rest filled with their nearest pixels: where pixels are answers."""
    scale: float = Field(default=1.0, gt=0, le=1)
    channels: Literal[1, 3] | None = None
    height: int | None = Field(default=None, ge=1, le=2048)
    width: int | None = Field(default=None, ge=1, le=2048)
    low: float = 0.0
    high: float = 255.0
    """Values of black and white in arrays that are no bytes."""
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    """Per channel, of bytes 0..255."""

    encoded_once: ClassVar[bool] = True
    most_measured: ClassVar[int] = 1_000

    @property
    def is_measured(self) -> bool:
        return self.mean is not None

    def sized(self, values: pa.ChunkedArray) -> Image:
        """This feature with its size, channels and range of values settled; what is settled already stays.

        The size says nothing about the target, so it may be settled on all rows: then pictures can be decoded, and
        compared, before it is known which rows are for testing.
        """
        if self.channels and self.height and self.width:
            return self
        raw = raw_pictures(spread(values, self.most_measured), from_file=self.from_file)
        seen = look(raw)
        if not seen:
            return self.replace(channels=1, height=8, width=8)  # no picture can be read: each row says so when encoded
        height, width = self._common_size([one.size for one in seen])
        change = {"low": raw.low, "high": raw.high} if raw.low is not None else {}
        colour = any(one.colour for one in seen)
        return self.replace(channels=3 if colour else 1, height=height, width=width, **change)

    def _common_size(self, sizes: list[tuple[int, int]]) -> tuple[int, int]:
        """Height and width: the one size they share if small, else the median shape with the longer side as wished."""
        if self.height and self.width:
            return self.height, self.width
        if len(set(sizes)) == 1 and max(sizes[0]) <= min(SMALL, self.side):
            return sizes[0]
        aspect = float(
            np.median([np.log(height / width) for height, width in sizes])
        )  # in logarithms: up and down alike
        longest = min(self.side, int(np.median([max(size) for size in sizes])))
        height = longest if aspect >= 0 else max(1, round(longest * np.exp(aspect)))
        width = longest if aspect <= 0 else max(1, round(longest * np.exp(-aspect)))
        return height, width

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Image:
        sized = self.sized(values)
        sample = spread(values, self.most_measured)
        return sized.with_statistics(sized.encode(sample).array)

    def with_statistics(self, array: np.ndarray) -> Image:
        channels = self.form.width
        pictures = array[array.any(axis=(1, 2, 3))]  # all zeros: missing
        if not len(pictures):
            return self.replace(mean=(127.5,) * channels, deviation=(64.0,) * channels)
        values = pictures.astype(np.float32)
        mean, deviation = values.mean(axis=(0, 2, 3), dtype=np.float64), values.std(axis=(0, 2, 3), dtype=np.float64)
        return self.replace(mean=tuple(mean.tolist()), deviation=tuple(np.maximum(deviation, 1.0).tolist()))

    @property
    def form(self) -> Form:
        assert self.channels and self.height and self.width, f"feature {self.name!r} is not measured"
        return pixels(self.channels, self.height, self.width)

    def encode(self, values: pa.ChunkedArray) -> Encoded:
        form = self.form
        sizes = Sizes(form.width, form.size[0], form.size[1])
        raw = raw_pictures(values, from_file=self.from_file)
        scale = self.scale if self.fit == "canvas" else None
        array, reasons = decode(raw, sizes, low=self.low, high=self.high, scale=scale)
        bad = [BadValue(row, shown(_name(raw, row)), reason) for row, reason in reasons]
        return Encoded(array, tuple(bad))

    def whole(self, values: pa.ChunkedArray) -> tuple[list[Whole | None], tuple[BadValue, ...]]:
        """Every picture at its own size times `scale`, for answers at every pixel of it; None = missing or bad."""
        raw = raw_pictures(values, from_file=self.from_file)
        found, reasons = whole(raw, self.form.width, low=self.low, high=self.high, scale=self.scale)
        return found, tuple(BadValue(row, shown(_name(raw, row)), reason) for row, reason in reasons)

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        if self.from_file:  # no files are at hand: encoded bytes stand for them
            from ._pictures import as_png

            colours = generator.integers(0, 256, (rows, 12, 10, 3), dtype=np.uint8)
            encoded = [None if generator.random() < 0.1 else as_png(picture) for picture in colours]
            return pa.chunked_array([pa.array(encoded, pa.binary())])
        storage = pa.FixedShapeTensorArray.from_numpy_ndarray(
            generator.integers(0, 256, (rows, 12, 10), dtype=np.uint8)
        )
        return pa.chunked_array([storage])


def _name(raw: Raw, row: int) -> object:
    """What stands for a picture in a message: its path, or what kind of thing it is."""
    value = raw.items[row]
    return value if isinstance(value, str) else f"{len(value):,} bytes" if isinstance(value, bytes) else "pixels"
