"""Answers at every pixel of pictures of any size: whole where they are small, else tile by tile with overlap.

Axes: N pictures of one size, C channels of the picture, W of the answer, h height, w width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from ...problem import Problem
from ...problem.features import Image
from ...problem.features._pictures import Whole
from ...problem.features._pixels import PixelTarget
from ...problem.pictures import GRID
from ...spec import Json
from .views import mean_answers, views_of

if TYPE_CHECKING:
    from ..build import PathModule

LARGE = 1_300_000
"""Pixels of a picture from which it is answered in tiles."""
TILE = 768
"""Side of a tile; neighbours overlap by half of it, and the middle of a tile counts more than its rim (nnU-Net)."""
AT_ONCE = 400_000
"""Pixels of pictures of one size that are answered together."""

Answers = dict[str, list[dict[str, Json]]]
Ask = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""A path that is asked about a batch: raw predictions by output."""


def answer_pixels(
    module: PathModule,
    problem: Problem,
    table: pa.Table,
    *,
    calibration: Mapping[str, Mapping[str, Any]],
    device: str = "cpu",
) -> tuple[np.ndarray, Answers, dict[int, str]]:
    """Numbers of the rows that can be answered, output -> what is said about them, and row -> why not.

    Every picture is answered at the size it came with, however it was laid out for training. Several pictures of a row
    must have one size. How many views of each it is asked about is said by `calibration`.
    """
    how = {output.name: output.averaged for output in problem.outputs}
    ask = partial(mean_answers, module, views=views_of(calibration), how=how)
    pictures = [feature for feature in problem.inputs if isinstance(feature, Image)]
    wholes: dict[str, list[Whole | None]] = {}
    bad: dict[int, str] = {}
    for feature in pictures:
        wholes[problem.port_of(feature)], wrong = feature.whole(table[feature.name])
        for one in wrong:
            bad.setdefault(one.row, f"{feature.name}: {one.value}: {one.reason}")
    rows = []
    for row in range(table.num_rows):
        mine = [one[row] for one in wholes.values()]
        sizes = {one.pixels.shape[1:] for one in mine if one is not None}
        if None in mine:
            bad.setdefault(row, "there is no picture")
        elif len(sizes) > 1:
            bad.setdefault(row, "its pictures have different sizes")
        else:
            rows.append(row)
    found: Answers = {output.name: [] for output in problem.outputs}
    for some in _alike(rows, next(iter(wholes.values()))):
        inputs = {port: np.stack([_there(one[row]).pixels for row in some]) for port, one in wholes.items()}
        size = _there(next(iter(wholes.values()))[some[0]])
        for output, raw in _on_grid(ask, inputs, problem, device=device).items():
            asked, told = problem.output(output), calibration.get(output, {})
            if isinstance(asked, PixelTarget):
                found[output] += [asked.said(one, told) for one in _sized(raw, size.height, size.width)]
            else:
                found[output] += asked.decode(raw, told)
    return np.array(rows, dtype=np.int64), found, bad


def _there(one: Whole | None) -> Whole:
    assert one is not None
    return one


def _alike(rows: Sequence[int], wholes: Sequence[Whole | None]) -> Iterator[list[int]]:
    """Neighbouring rows whose pictures have one size, so that they are answered together."""
    some: list[int] = []
    for row in rows:
        same = some and _there(wholes[row]).pixels.shape == _there(wholes[some[0]]).pixels.shape
        fits = some and (len(some) + 1) * _there(wholes[row]).pixels[0].size <= AT_ONCE
        if some and not (same and fits):
            yield some
            some = []
        some.append(row)
    if some:
        yield some


def _sized(raw_NWhw: np.ndarray, height: int, width: int) -> np.ndarray:
    """Raw predictions at the size that the pictures came with."""
    if raw_NWhw.shape[2:] == (height, width):
        return raw_NWhw
    whole = F.interpolate(torch.from_numpy(raw_NWhw), (height, width), mode="bilinear", align_corners=False)
    return np.asarray(whole.numpy())


def _on_grid(ask: Ask, inputs: Mapping[str, np.ndarray], problem: Problem, *, device: str) -> dict[str, np.ndarray]:
    """Raw predictions of pictures of one size, which are filled up as they were for training, and cut afterwards."""
    size = next(iter(inputs.values())).shape[2:]
    canvas = next(output.canvas for output in problem.outputs if isinstance(output, PixelTarget))
    more = [
        (most if most - GRID < side <= most else -(-side // GRID) * GRID) - side
        for side, most in zip(size, (canvas.height, canvas.width), strict=True)
    ]
    filled = {
        port: np.pad(array, ((0, 0), (0, 0), (0, more[0]), (0, more[1])), mode="edge") for port, array in inputs.items()
    }
    found = _raw(ask, filled, device=device)
    return {output: raw[:, :, : size[0], : size[1]] if raw.ndim == 4 else raw for output, raw in found.items()}


def _raw(ask: Ask, inputs: Mapping[str, np.ndarray], *, device: str) -> dict[str, np.ndarray]:
    """Raw predictions of pictures of one size by output."""
    height, width = next(iter(inputs.values())).shape[2:]
    with torch.inference_mode():
        if height * width <= LARGE:
            return _forward(ask, inputs, device)
        sums: dict[str, np.ndarray] = {}
        weights = np.zeros((height, width), dtype=np.float32)
        for top in starts(height):
            for left in starts(width):
                place = (slice(top, top + TILE), slice(left, left + TILE))
                part = {port: array[:, :, place[0], place[1]] for port, array in inputs.items()}
                for output, raw in _forward(ask, part, device).items():
                    if raw.ndim != 4:  # an answer about the whole picture: that of the first tile
                        sums.setdefault(output, raw)
                        continue
                    weight = bell(*raw.shape[2:])
                    total = sums.setdefault(output, np.zeros((*raw.shape[:2], height, width), dtype=np.float32))
                    total[:, :, place[0], place[1]] += raw * weight
                weights[place] += weight
        return {output: total / weights if total.ndim == 4 else total for output, total in sums.items()}


def _forward(ask: Ask, inputs: Mapping[str, np.ndarray], device: str) -> dict[str, np.ndarray]:
    batch = {port: torch.from_numpy(np.ascontiguousarray(array)).to(device) for port, array in inputs.items()}
    return {output: raw.float().cpu().numpy() for output, raw in ask(batch).items()}


def starts(length: int) -> list[int]:
    """Where tiles begin along one axis: evenly spread, half overlapping at least, from edge to edge."""
    if length <= TILE:
        return [0]
    count = -(-2 * (length - TILE) // TILE) + 1
    return [round(place * (length - TILE) / (count - 1)) for place in range(count)]


def bell(height: int, width: int) -> np.ndarray:
    """Weights of a tile's pixels [height, width]: a Gaussian around its middle, an eighth of its side wide."""
    sides = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in (height, width)]
    return np.asarray(np.maximum(np.outer(*sides), 1e-4), dtype=np.float32)
