"""Reading what stands for a picture's pixels: masks of class values or colours, maps of numbers, one file per class.

Axes: H height, W width in pixels, C channels.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image as Pillow
from PIL import ImageOps, ImageSequence, UnidentifiedImageError

from ._pictures import BROKEN, MOST_PIXELS, ORIENTATION, NoPicture, _formats, _read
from .common import flat, plain_values

COLOUR = 1 << 24
"""Values from here on are colours, `COLOUR + red * 65536 + green * 256 + blue`; below are grey values and indices."""
LOSSY = 64
"""A JPEG mask with more values than this has been blurred by its compression."""
MOST_CHANNELS = 64
"""Of a map of numbers."""
PNG, TIFF = "data:image/png;base64,", "data:image/tiff;base64,"


class Canvas(NamedTuple):
    """What all pictures of a problem are laid on: each is scaled by `scale` and put into the upper left corner."""

    height: int
    width: int
    scale: float = 1.0

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a picture at the problem's scale; it may be larger than the canvas."""
        if self.scale == 1.0:
            return height, width
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))


def raw_masks(values: pa.ChunkedArray | pa.Array) -> list[Any]:
    """The column as things to read: paths, data URLs, bytes, arrays [H, W], pairs (class, path), None = missing."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        return [item for chunk in array.chunks for item in raw_masks(chunk)]
    if isinstance(array.type, pa.FixedShapeTensorType):
        valid = array.is_valid()
        stacked = pa.ExtensionArray.from_storage(array.type, array.storage.filter(valid)).to_numpy_ndarray()
        known = iter(stacked)
        return [next(known) if one else None for one in valid.to_pylist()]
    return [_pixels_of(item) if isinstance(item, list) else item for item in plain_values(flat(array))]


def _pixels_of(item: list[Any]) -> Any:
    """Lists of rows of numbers as an array; pairs (class, path) as they are, a tuple of tuples."""
    if item and all(isinstance(one, tuple) and len(one) == 2 for one in item):
        return tuple(item)
    try:
        return np.asarray(item, dtype=np.float64)
    except (ValueError, TypeError):
        return np.empty((0, 0))


def read_values(item: Any, *, parts: Sequence[str] = ()) -> np.ndarray:
    """A mask as int64 [H, W] of grey values, palette indices or colours. Raises NoPicture.

    `parts`: names of the classes where a mask is several files, one per class: the value is a class's place among
    them plus one; 0 is no class at all, and where two overlap the later one counts.
    """
    if isinstance(item, tuple):
        return _from_parts(item, parts)
    if isinstance(item, np.ndarray):
        return _from_array(item)
    with opened(item) as picture:
        values = _values_of(picture)
        if picture.format == "JPEG" and len(np.unique(values)) > LOSSY:
            raise NoPicture("is a mask blurred by JPEG compression; save it as PNG")
        return values


def coloured(values: np.ndarray) -> np.ndarray:
    """Grey values as the colours they are: a mask of colours that shows black and grey alone is read as grey values."""
    return np.where((values >= 0) & (values < 256), COLOUR + values * 0x010101, values)


def read_numbers(item: Any, *, channels: int | None = None) -> np.ndarray:
    """A map of numbers as float32 [C, H, W], NaN where it holds none. Raises NoPicture."""
    if isinstance(item, np.ndarray):
        array = item[None] if item.ndim == 2 else item
        if array.ndim != 3 or not array.size:
            raise NoPicture(f"is an array of shape {item.shape}; a map of numbers is [height, width] or [C, H, W]")
        found = array.astype(np.float32)
    else:
        with opened(item) as picture:
            if (pages := getattr(picture, "n_frames", 1)) > MOST_CHANNELS:
                raise NoPicture(f"has {pages:,} pages; {MOST_CHANNELS} are possible")
            frames = [np.asarray(_upright(frame.copy()), dtype=np.float32) for frame in ImageSequence.Iterator(picture)]
        if len({frame.shape for frame in frames}) > 1:
            raise NoPicture("has pages of different sizes")
        found = np.stack(frames)
        if found.ndim == 4:
            found = np.moveaxis(found, -1, 1).reshape(-1, *found.shape[1:3])
    if len(found) > MOST_CHANNELS:
        raise NoPicture(f"has {len(found):,} channels; {MOST_CHANNELS} are possible, as [C, H, W]")
    if channels is not None and len(found) != channels:
        raise NoPicture(f"has {len(found)} channels where the others have {channels}")
    return np.where(np.isfinite(found), found, np.float32(np.nan))


def size_of(item: Any) -> tuple[int, int]:
    """Height and width of a mask or picture, from its header where that is enough. Raises NoPicture."""
    if isinstance(item, tuple):
        return size_of(item[0][1])
    if isinstance(item, np.ndarray):
        if item.ndim not in (2, 3) or not item.size:
            raise NoPicture(f"is an array of shape {item.shape}")
        shape = item.shape if item.ndim == 2 else item.shape[-2:] if item.shape[0] <= item.shape[-1] else item.shape[:2]
        return int(shape[0]), int(shape[1])
    with opened(item, load=False) as picture:
        turned = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


@contextmanager
def opened(item: Any, *, load: bool = True) -> Iterator[Pillow.Image]:
    """A picture of a path, of bytes or of a data URL, decoded unless told otherwise; what goes wrong as NoPicture."""
    content = _content(item)
    if not content:
        raise NoPicture("is empty")
    try:
        with Pillow.open(io.BytesIO(content), formats=_formats()) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise NoPicture(f"has more than {MOST_PIXELS:,} pixels")
            if load:
                picture.load()
            yield picture
    except NoPicture:
        raise
    except UnidentifiedImageError:
        raise NoPicture("is no image in a known format") from None
    except BROKEN as error:
        raise NoPicture(f"is damaged: {str(error).strip() or type(error).__name__}") from None


def _content(item: Any) -> bytes:
    if isinstance(item, bytes):
        return item
    if not isinstance(item, str):
        raise NoPicture("is no picture")
    if item.startswith("data:image/"):
        try:
            return base64.b64decode(item.partition(";base64,")[2], validate=True)
        except (binascii.Error, ValueError):
            raise NoPicture("is a broken data URL") from None
    return _read(item)


def _upright(picture: Pillow.Image) -> Pillow.Image:
    return ImageOps.exif_transpose(picture) if picture.getexif().get(ORIENTATION, 1) != 1 else picture


def _values_of(picture: Pillow.Image) -> np.ndarray:
    picture = _upright(picture)
    if picture.mode in ("RGBA", "LA", "PA"):
        picture = picture.convert("RGB" if picture.mode == "RGBA" else "L")
    array = np.asarray(picture)
    if array.ndim == 2:
        if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
            raise NoPicture("holds fractions; as numbers per pixel they can be learned (type pixel_numbers)")
        return array.astype(np.int64)
    if array.ndim == 3 and array.shape[2] == 3:
        wide = array.astype(np.int64)
        if (wide[..., 0] == wide[..., 1]).all() and (wide[..., 1] == wide[..., 2]).all():
            return np.asarray(wide[..., 0])
        return np.asarray(COLOUR + wide[..., 0] * 65536 + wide[..., 1] * 256 + wide[..., 2])
    raise NoPicture(f"has pixels of mode {picture.mode}, which are no classes")


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 2 or not array.size:
        raise NoPicture(f"is an array of shape {array.shape}; a mask is [height, width]")
    values = np.nan_to_num(array.astype(np.float64), nan=-1.0, posinf=-1.0, neginf=-1.0)
    if not np.array_equal(values, np.floor(values)):
        raise NoPicture("holds fractions; as numbers per pixel they can be learned (type pixel_numbers)")
    return values.astype(np.int64)


def _from_parts(pairs: Sequence[Any], names: Sequence[str]) -> np.ndarray:
    result: np.ndarray | None = None
    for pair in pairs:
        if pair[0] not in names:
            raise NoPicture("holds a class that is not known")
        part = read_values(pair[1]) > 0
        if result is None:
            result = np.zeros(part.shape, dtype=np.int64)
        if part.shape != result.shape:
            raise NoPicture("has masks of different sizes")
        result[part] = 1 + list(names).index(pair[0])
    if result is None:
        raise NoPicture("names no file")
    return result


def laid(array: np.ndarray, canvas: Canvas, *, fill: float) -> np.ndarray:
    """[..., H, W] at the scale of a canvas by nearest pixels, on the canvas; what is left over holds `fill`."""
    height, width = canvas.scaled(*array.shape[-2:])
    if (height, width) != array.shape[-2:]:
        rows = (np.arange(height) + 0.5) * array.shape[-2] / height
        columns = (np.arange(width) + 0.5) * array.shape[-1] / width
        array = array[..., rows.astype(np.int64)[:, None], columns.astype(np.int64)[None, :]]
    result = np.full((*array.shape[:-2], canvas.height, canvas.width), fill, dtype=array.dtype)
    height, width = min(height, canvas.height), min(width, canvas.width)
    result[..., :height, :width] = array[..., :height, :width]
    return result


def as_mask(values_HW: np.ndarray) -> bytes:
    """Class values as the bytes of a PNG: a palette picture up to 255, 16 bit above, colours where they are colours."""
    if values_HW.max(initial=0) >= COLOUR:
        colour = values_HW - COLOUR
        picture = Pillow.fromarray(np.stack([colour >> 16 & 255, colour >> 8 & 255, colour & 255], -1).astype(np.uint8))
    elif values_HW.max(initial=0) > 255:
        picture = Pillow.fromarray(values_HW.astype(np.uint16))
    else:
        picture = Pillow.fromarray(values_HW.astype(np.uint8)).convert("P")
        picture.putpalette(palette())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def palette() -> bytes:
    """256 colours, neighbours far apart: the palette of PASCAL VOC, where the bits of a number are dealt to R, G, B."""
    colours = bytearray()
    for value in range(256):
        red = green = blue = 0
        rest = value
        for place in range(7, -1, -1):
            red |= (rest & 1) << place
            green |= (rest >> 1 & 1) << place
            blue |= (rest >> 2 & 1) << place
            rest >>= 3
        colours += bytes((red, green, blue))
    return bytes(colours)


def as_tiff(numbers_CHW: np.ndarray) -> bytes:
    """Numbers as the bytes of a TIFF file of 32-bit floats, a page per channel."""
    pages = [Pillow.fromarray(np.ascontiguousarray(page, dtype=np.float32)) for page in numbers_CHW]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", compression="tiff_adobe_deflate", save_all=len(pages) > 1, append_images=pages[1:])
    return buffer.getvalue()


def as_url(content: bytes) -> str:
    """A file as a data URL: text that fits JSON, that a browser shows, and that is read back as the file."""
    start = PNG if content[:4] == b"\x89PNG" else TIFF
    return start + base64.b64encode(content).decode("ascii")


def some(items: Sequence[Any], most: int) -> Iterator[Any]:
    """At most so many of the items that are there, evenly spread."""
    known = [item for item in items if item is not None]
    step = max(1, -(-len(known) // most))
    yield from known[::step]
