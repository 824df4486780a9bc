"""The canvas of a problem that answers for every pixel: pictures and their masks at one scale, laid on one size.

Pictures of unlike sizes are neither stretched nor cut: all are scaled by one factor, so that things keep their relative
sizes, and laid into the upper left corner of a canvas as large as the largest. What is not covered is void.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from ..spec import BadInput
from .features import Image
from .features._masks import COLOUR, Canvas, opened, raw_masks, read_values, size_of, some
from .features._pictures import NoPicture, _pool
from .features._pixels import UPRIGHT, PixelTarget, halves_apart
from .features.common import spread
from .features.pixel_map import VOID_NAMES
from .problem import Problem
from .sources.rows import Rows, Unused

MOST_SIDE = 1024
"""Pixels of a canvas each way at most; larger pictures are scaled down, and answered at their own size."""
MOST_BYTES = 4 << 30
"""Of all pictures of a problem on their canvases."""
GRID = 32
"""Sides of a canvas, and of pictures when they are answered, are multiples of this, unless all have one size."""
LIT, LIT_SIDE = 64, 32
"""Pictures looked at for where they are bright, and their side then."""
USUAL = 95
"""Percentile of the sides that a canvas holds: of a few pictures that are larger yet, training sees a part."""


def answers_pixels(problem: Problem) -> bool:
    """Whether any output is a map of pixels."""
    return any(isinstance(feature, PixelTarget) for feature in problem.outputs)


def settled(rows: Rows, problem: Problem) -> tuple[Problem, str]:
    """The problem with one canvas for its pictures and pixels, and a sentence about it. Raises BadInput without any."""
    pictures = [feature for feature in problem.inputs if isinstance(feature, Image)]
    if not pictures:
        raise BadInput(
            "a value for every pixel is asked for, and there is no picture to look at",
            column=problem.outputs[0].name,
            remedy="Add a column that names image files, or a folder images/ beside the masks.",
        )
    known = sizes(rows, pictures[0].name)
    known = known[known[:, 0] > 0]
    if not len(known):
        raise BadInput(
            "no picture can be read",
            file=rows.origin(0)[0],
            column=pictures[0].name,
            remedy="Give images in a known format, as PNG or JPEG.",
        )
    canvas, note = canvas_of(known, count=len(rows) * len(pictures))
    shape = {"height": canvas.height, "width": canvas.width, "scale": canvas.scale}
    inputs = tuple(one.replace(**shape, fit="canvas") if isinstance(one, Image) else one for one in problem.inputs)
    upright = have_an_up(rows, pictures[0])
    outputs = tuple(
        one.replace(**shape, upright=one.upright or upright) if isinstance(one, PixelTarget) else one
        for one in problem.outputs
    )
    return problem.replace(inputs=inputs, outputs=outputs), note


def matched(rows: Rows, problem: Problem) -> Rows:
    """The rows whose pictures and masks have one size; the others are counted, each with its reason.

    Of a row whose mask is missing or cannot be read nothing is said here: that is found when it is encoded.
    """
    pictures = [feature.name for feature in problem.inputs if isinstance(feature, Image)]
    masks = [
        one.name for one in problem.outputs if isinstance(one, PixelTarget) and one.name in rows.table.column_names
    ]
    if not pictures or not masks:
        return rows
    base = sizes(rows, pictures[0])
    reasons: dict[int, str] = {}
    for column in (*pictures[1:], *masks):
        own = sizes(rows, column)
        what = "mask" if column in masks else "picture"
        for row in np.flatnonzero((own != base).any(1) & (own[:, 0] > 0) & (base[:, 0] > 0)).tolist():
            (height, width), (tall, wide) = own[row], base[row]
            reasons[row] = f"{what} of another size than its picture"
            reasons.setdefault(-1 - row, f"{width} x {height} for {wide} x {tall}")
    wrong = sorted(row for row in reasons if row >= 0)
    if not wrong:
        return rows
    if len(wrong) == len(rows):
        raise BadInput(
            "no mask has the size of its picture",
            file=rows.origin(0)[0],
            column=masks[0],
            value=reasons[-1],
            remedy="A mask holds one value for every pixel of its picture.",
        )
    unused = [Unused(*rows.origin(row), None, reasons[-1 - row], reasons[row]) for row in wrong]
    counts = dict(rows.unused_counts)
    for row in wrong:
        counts[reasons[row]] = counts.get(reasons[row], 0) + 1
    left = rows.take(np.setdiff1d(np.arange(len(rows)), wrong))
    return replace(left, unused=(*rows.unused, *unused), unused_counts=counts)


def sizes(rows: Rows, column: str) -> np.ndarray:
    """Height and width of every picture, int64 [N, 2], from the headers of the files; 0 where none can be read."""

    def one(item: object) -> tuple[int, int]:
        try:
            return (0, 0) if item is None else size_of(item)
        except NoPicture:
            return 0, 0

    with _pool() as pool:
        return np.array(list(pool.map(one, raw_masks(rows.table[column]))), dtype=np.int64).reshape(-1, 2)


def have_an_up(rows: Rows, feature: Image) -> bool:
    """Whether the pictures show which way is up: their upper halves are brighter on the whole, or darker.

    Photographs have the sky above; what a microscope or a satellite sees has not. The masks say less: of words on
    photographs they are anywhere, and yet no word stands upside down.
    """
    few = spread(rows.table[feature.name], LIT)
    small = feature.replace(fit="stretch", side=LIT_SIDE).sized(few).encode(few).array.astype(np.float32)
    apart = [halves_apart(picture.mean(0, keepdims=True)) for picture in small if picture.any()]
    return bool(apart) and abs(float(np.mean(apart))) > UPRIGHT


# What a column of masks holds --------------------------------------------------------------------------------------
MASK_NAME = re.compile(
    r"(?i)(^|[ _-])(mask|label|gt|ground_?truth|segment(ation)?|seg|annotation|depth|target|truth)s?($|[ _-])"
)
"""Names of columns of image files that are masks."""
LOOKED_AT, CONTINUOUS, MANY = 12, 64, 160
"""Masks looked at; different values in each, and in all of them, from which they are numbers rather than classes."""


def is_pixels(kind: pa.DataType, in_files: bool) -> bool:
    """Whether a target column holds a value for every pixel: paths of images, a file per class, or arrays."""
    arrays = isinstance(kind, pa.FixedShapeTensorType) and len(kind.shape) >= 2
    return bool(in_files or arrays or pa.types.is_map(kind))


def pixels_type(values: pa.Array) -> tuple[str, str]:
    """Classes or numbers, by what some of the masks hold, and why."""
    if pa.types.is_map(values.type):
        return "pixel_map", "a mask per class"
    counts, union = [], set()
    for item in some(raw_masks(values), LOOKED_AT):
        try:
            found = _different(item)
        except NoPicture:
            continue
        counts.append(len(found))
        union.update(found.tolist())
    usual = float(np.median(counts)) if counts else 0.0
    if usual > CONTINUOUS or (len(union) > MANY and max(union) < COLOUR):
        return "pixel_numbers", f"maps of numbers: {usual:.0f} different values in each"
    return "pixel_map", f"masks: {usual:.0f} different values in each"


def _different(item: Any) -> np.ndarray:
    """The different values of a mask. None of a JPEG: blurred classes look like numbers, and are refused when read."""
    if not isinstance(item, np.ndarray):
        with opened(item) as picture:
            if picture.format == "JPEG":
                return np.empty(0)
            if picture.mode == "F":
                return np.unique(np.asarray(picture))
    elif item.dtype.kind == "f" and not np.array_equal(item, np.floor(item)):
        return np.unique(item)
    return np.unique(read_values(item))


def named_classes(classes: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Settings of a map of classes from the mask value and name of each; classes called void are none."""
    void = tuple(value for value, name in classes if name.strip().lower() in VOID_NAMES)
    kept = [(value, name) for value, name in classes if value not in void]
    return {"values": tuple(value for value, _ in kept), "names": tuple(name for _, name in kept), "void": void}


def canvas_of(sizes_N2: np.ndarray, *, count: int) -> tuple[Canvas, str]:
    """The canvas for pictures of these sizes, and a sentence that says what becomes of them."""
    usual = np.percentile(sizes_N2, USUAL, axis=0, method="lower")
    largest = np.maximum(np.where(sizes_N2.max(0) <= 1.5 * usual, sizes_N2.max(0), usual), 8)
    room = (MOST_BYTES / max(3.0 * count, 1.0) / float(largest[0] * largest[1])) ** 0.5
    scale = float(min(1.0, MOST_SIDE / largest.max(), room))
    height, width = (int(np.ceil(side * scale)) for side in largest)
    shown = " x ".join(str(side) for side in sizes_N2[0][::-1])
    alike = bool((sizes_N2 == sizes_N2[0]).all())
    if not alike:  # halved again and again without a rest, so that maps of other sizes lie on the same grid
        height, width = (-(-side // GRID) * GRID for side in (height, width))
    canvas = Canvas(max(height, 8), max(width, 8), round(scale, 6))
    low, high = (" x ".join(str(int(side)) for side in edge[::-1]) for edge in (sizes_N2.min(0), sizes_N2.max(0)))
    note = f"Pictures of {shown}" if alike else f"Pictures from {low} to {high} on a canvas of {width} x {height}"
    note += "" if scale == 1 else f", learned at {100 * scale:.0f} % of their size and answered at all of it"
    return canvas, note + "."
