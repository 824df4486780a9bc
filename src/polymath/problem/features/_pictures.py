"""Turning whatever may be a picture into pixels: limits before decoding, a reason for everything that is none."""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from .common import flat, plain_values

MOST_PIXELS = 25_000_000
"""A picture is refused before decoding beyond this: 100 MB of RGBA, and what a large camera gives."""
MOST_BYTES = 200_000_000
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "ICO", "TGA", "AVIF", "PCX", "SGI")
"""Formats that Pillow decodes by itself; PostScript, for one, would start another program."""
BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, struct.error, zlib.error,
          AttributeError, MemoryError, RuntimeError, AssertionError, Pillow.DecompressionBombError)  # fmt: skip
"""What Pillow's decoders have been seen to raise on damaged files."""
ORIENTATION = 0x0112


class Sizes(NamedTuple):
    """Channels, height and width in pixels."""

    channels: int
    height: int
    width: int


class Seen(NamedTuple):
    """What a sampled picture is like: (height, width) as it will stand, and whether any pixel has a colour."""

    size: tuple[int, int]
    colour: bool


@dataclass(frozen=True)
class Raw:
    """A column of pictures: a path, encoded bytes, an array of pixels, or None = missing, each."""

    items: Sequence[str | bytes | np.ndarray | None]
    low: float | None = None
    high: float | None = None
    """Least and largest value, where the column holds arrays that are not bytes."""


class NoPicture(Exception):
    """Why this is no picture that can be used."""


def raw_pictures(values: pa.ChunkedArray | pa.Array, *, from_file: bool) -> Raw:
    """The column as things to decode. Text where no files are meant is no picture."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        return Raw([item for chunk in array.chunks for item in raw_pictures(chunk, from_file=from_file).items])
    if isinstance(array.type, pa.FixedShapeTensorType):
        return _from_tensors(array)
    if pa.types.is_nested(array.type) or isinstance(array, pa.ExtensionArray):
        return _from_lists(array)
    items = plain_values(flat(array))
    if not from_file:
        return Raw([NO_FILES if isinstance(item, str) else item for item in items])
    return Raw([item if item is None or isinstance(item, bytes) else str(item) for item in items])


NO_FILES = b""
"""Stands for a text where pictures are not given as files: it decodes to 'is empty'."""


def _from_tensors(array: pa.FixedShapeTensorArray) -> Raw:
    valid = array.is_valid()
    stacked = pa.ExtensionArray.from_storage(array.type, array.storage.filter(valid)).to_numpy_ndarray()
    known = iter(stacked)
    return _with_range([next(known) if one else None for one in valid.to_pylist()], stacked)


def _from_lists(array: pa.Array) -> Raw:
    """Lists of rows of pixels; a flat list is a square picture."""
    items: list[np.ndarray | None] = []
    for value in plain_values(array):
        try:
            picture = None if value is None else np.asarray(value, dtype=np.float64)
        except (ValueError, TypeError):
            picture = np.empty((0, 0))
        if picture is not None and picture.ndim == 1 and (side := int(len(picture) ** 0.5)) ** 2 == len(picture):
            picture = picture.reshape(side, side)
        items.append(picture)
    known = [item for item in items if item is not None and item.size]
    return _with_range(items, np.concatenate([item.ravel() for item in known]) if known else np.empty(0))


def _with_range(items: list[np.ndarray | None], values: np.ndarray) -> Raw:
    """Bytes are 0..255; other numbers are stretched: the least becomes black, the largest white."""
    if values.dtype == np.uint8 or not values.size:
        return Raw(items)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return Raw(items, low=low, high=high if high > low else low + 1.0)


def look(raw: Raw) -> list[Seen]:
    """Size and colour of every picture that can be read; what cannot be is left out."""

    def one(item: str | bytes | np.ndarray | None) -> Seen | None:
        if item is None:
            return None
        try:
            picture = _open(item, low=raw.low or 0.0, high=255.0 if raw.high is None else raw.high, hint=None)
        except NoPicture:
            return None
        return Seen((picture.height, picture.width), _has_colour(picture))

    with _pool() as pool:
        return [seen for seen in pool.map(one, raw.items) if seen is not None]


class Whole(NamedTuple):
    """A picture at a problem's scale, uint8 [C, h, w], and the height and width that it came with."""

    pixels: np.ndarray
    height: int
    width: int


def whole(
    raw: Raw, channels: int, *, low: float, high: float, scale: float
) -> tuple[list[Whole | None], list[tuple[int, str]]]:
    """Every picture at its own size times `scale` (None = missing or bad), and (row, reason) for bad ones."""
    reasons: list[tuple[int, str]] = []

    def one(row: int) -> Whole | None:
        item = raw.items[row]
        if item is None:
            return None
        try:
            picture = _open(item, low=low, high=high, hint=None)
            return Whole(_scaled(picture, channels, scale), picture.height, picture.width)
        except NoPicture as problem:
            reasons.append((row, str(problem)))
            return None

    with _pool() as pool:
        return list(pool.map(one, range(len(raw.items)))), sorted(reasons)


def _scaled(picture: Pillow.Image, channels: int, scale: float) -> np.ndarray:
    height, width = max(1, round(picture.height * scale)), max(1, round(picture.width * scale))
    return _fit(picture, Sizes(channels, height, width))


def decode(
    raw: Raw, sizes: Sizes, *, low: float, high: float, scale: float | None = None
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Pictures as uint8 [N, C, H, W], and (row, reason) for those that could not be used, which are left black.

    Every picture is stretched to the size; with `scale` it is scaled by that and laid into the upper left corner, the
    rest filled with its nearest pixels.
    """
    result = np.zeros((len(raw.items), *sizes), dtype=np.uint8)

    def one(row: int) -> str | None:
        item = raw.items[row]
        if item is None:
            return None
        try:
            picture = _open(item, low=low, high=high, hint=sizes if scale is None else None)
            result[row] = (
                _fit(picture, sizes) if scale is None else _laid(_scaled(picture, sizes.channels, scale), sizes)
            )
        except NoPicture as problem:
            return str(problem)
        return None

    with _pool() as pool:
        # Many rows per task: handing one picture to a thread costs as much as decoding a small one.
        count = len(raw.items)
        step = max(1, min(64, -(-count // (4 * (os.cpu_count() or 1)))))
        blocks = [range(start, min(start + step, count)) for start in range(0, count, step)]
        reasons = [
            (row, reason)
            for block, found in zip(blocks, pool.map(lambda block: [one(row) for row in block], blocks), strict=True)
            for row, reason in zip(block, found, strict=True)
            if reason
        ]
    return result, reasons


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for decoding: Pillow lets go of the interpreter while it works. Its warnings are our reasons."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        warnings.simplefilter("ignore")
        yield pool


def _open(item: str | bytes | np.ndarray, *, low: float, high: float, hint: Sizes | None) -> Pillow.Image:
    """A decoded picture in mode L or RGB, upright. `hint` lets JPEG decode at a fraction. Raises NoPicture."""
    if isinstance(item, np.ndarray):
        return _from_pixels(item, low=low, high=high)
    content = _read(item) if isinstance(item, str) else item
    if not content:
        raise NoPicture("is empty")
    try:
        with Pillow.open(io.BytesIO(content), formats=_formats()) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise NoPicture(f"has {picture.width} x {picture.height} pixels; {MOST_PIXELS:,} are the limit")
            if hint is not None:
                side = 2 * max(hint.height, hint.width)  # twice, so that the resampling still has something to average
                picture.draft(None, (side, side))
            picture.load()
            turned = picture.getexif().get(ORIENTATION, 1) != 1
            return _plain(ImageOps.exif_transpose(picture) if turned else picture)
    except NoPicture:
        raise
    except UnidentifiedImageError:
        raise NoPicture("is no image in a known format") from None
    except Pillow.DecompressionBombError:
        raise NoPicture(f"has more than {MOST_PIXELS:,} pixels") from None
    except BROKEN as error:
        raise NoPicture(f"is damaged: {str(error).strip() or type(error).__name__}") from None


@cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with; naming another would be an error."""
    Pillow.init()
    return tuple(name for name in FORMATS if name in Pillow.OPEN)


def _read(path: str) -> bytes:
    """Bytes of a file. Raises NoPicture for what is no ordinary file (a pipe would wait forever) or too large."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise NoPicture("is no file")
        if status.st_size > MOST_BYTES:
            raise NoPicture(f"has {status.st_size:,} bytes; {MOST_BYTES:,} are the limit")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NoPicture(f"cannot be read: {error.strerror or error}") from None
    except ValueError:  # a NUL character in a name
        raise NoPicture("is no possible file name") from None


def _plain(picture: Pillow.Image) -> Pillow.Image:
    """Mode L or RGB: deep greys to bytes, what is transparent on white, palettes and inks to colours."""
    if picture.mode in ("L", "RGB") and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if picture.mode.startswith("I") and values.max(initial=0) > 255 else 255.0
        if picture.mode == "F" and values.max(initial=0) <= 1.0:
            top = 1.0
        return Pillow.fromarray((np.nan_to_num(values / top).clip(0, 1) * 255).round().astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        white = Pillow.new("RGBA", seen.size, (255, 255, 255, 255))
        return Pillow.alpha_composite(white, seen).convert("RGB")
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _from_pixels(pixels: np.ndarray, *, low: float, high: float) -> Pillow.Image:
    """An array [H, W], [H, W, C] or [C, H, W] as a picture."""
    if pixels.ndim == 3 and pixels.shape[-1] not in (1, 3, 4) and pixels.shape[0] in (1, 3, 4):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.size == 0 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] not in (3, 4)):
        raise NoPicture(
            f"is an array of shape {pixels.shape}; a picture is [height, width] or [height, width, colours]"
        )
    if pixels.size > 4 * MOST_PIXELS:
        raise NoPicture(f"has more than {MOST_PIXELS:,} pixels")
    if pixels.dtype != np.uint8:
        share = (pixels.astype(np.float64) - low) / (high - low)
        pixels = (np.nan_to_num(share).clip(0, 1) * 255).round().astype(np.uint8)
    return _plain(Pillow.fromarray(np.ascontiguousarray(pixels)))


def _has_colour(picture: Pillow.Image) -> bool:
    """Whether red, green and blue differ somewhere by more than a JPEG encoder makes of grey."""
    if picture.mode == "L":
        return False
    small = np.asarray(
        picture.resize((min(64, picture.width), min(64, picture.height)), Pillow.Resampling.BOX), np.int16
    )
    return bool((small.max(axis=2) - small.min(axis=2)).max() > 8)


def _fit(picture: Pillow.Image, sizes: Sizes) -> np.ndarray:
    """The picture as [C, H, W] bytes: the mean of the pixels that fall together, or between them where it grows."""
    picture = picture.convert("L" if sizes.channels == 1 else "RGB")
    if picture.size != (sizes.width, sizes.height):
        shrinks = picture.width >= sizes.width and picture.height >= sizes.height
        how = Pillow.Resampling.BOX if shrinks else Pillow.Resampling.BILINEAR
        picture = picture.resize((sizes.width, sizes.height), how)
    array = np.asarray(picture)
    return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)


def _laid(array_CHW: np.ndarray, sizes: Sizes) -> np.ndarray:
    """A picture in the upper left corner of a canvas, the rest filled with its nearest pixels."""
    kept = array_CHW[:, : sizes.height, : sizes.width]
    below, right = sizes.height - kept.shape[1], sizes.width - kept.shape[2]
    return np.pad(kept, ((0, 0), (0, below), (0, right)), mode="edge") if below or right else kept


def as_png(pixels: np.ndarray) -> bytes:
    """Pixels [H, W] or [H, W, 3] as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def image_hashes(pictures: np.ndarray) -> np.ndarray:
    """A uint64 per picture [N, C, H, W] that re-encoding, resizing and small changes of light seldom alter.

    Equal numbers = near-duplicates; 0 = no picture (all zeros). It is the difference hash (N. Krawetz 2013): the
    picture as 8 x 9 grey areas, one bit per neighbouring pair. A picture that is nearly flat has no such bits and gets
    a hash of its very bytes.
    """
    result = np.empty(len(pictures), dtype=np.uint64)
    weights = np.uint64(1) << np.arange(64, dtype=np.uint64)
    step = max(1, min(1024, 1024 * 64 * 64 // max(pictures.shape[2] * pictures.shape[3], 1)))
    for start in range(0, len(pictures), step):
        block = pictures[start : start + step]
        small = _areas(block.mean(axis=1, dtype=np.float32), 8, 9)
        bits = (small[:, :, 1:] - small[:, :, :-1] > 2.0).reshape(len(block), 64)
        hashes = (bits * weights).sum(axis=1, dtype=np.uint64)
        for index in np.flatnonzero((bits.sum(axis=1) < 6) | (bits.sum(axis=1) > 58)):
            content = block[index].tobytes()
            hashes[index] = np.uint64(zlib.crc32(content) << 32 | zlib.adler32(content)) if block[index].any() else 0
        result[start : start + len(block)] = hashes
    return result


def _areas(grey: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means [N, height, width] over equal areas of [N, H, W]; an area smaller than a pixel takes the nearest."""

    def edges(length: int, parts: int) -> list[slice]:
        cuts = np.linspace(0, length, parts + 1)
        starts = np.minimum(np.floor(cuts[:-1]).astype(int), length - 1)
        return [slice(a, max(b, a + 1)) for a, b in zip(starts, np.ceil(cuts[1:]).astype(int), strict=True)]

    rows = np.stack([grey[:, part, :].mean(axis=1) for part in edges(grey.shape[1], height)], axis=1)
    return np.stack([rows[:, :, part].mean(axis=2) for part in edges(grey.shape[2], width)], axis=2)
