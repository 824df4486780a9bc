"""Pictures of many tasks, brought to the size that most of them have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...problem import Problem
from ...problem.features import Image
from .base import GIVEN, MOST_ROWS, Joined, Kind, Source, drawn, target

MOST_BYTES = 1 << 30
"""Of the pictures of all tasks together."""
CHUNK = 2048
"""Pictures that are brought to another size at a time."""


class Pictures(Kind):
    """One picture per row, all grey or all coloured."""

    one, several = "picture", "pictures"

    def port(self, problem: Problem) -> str | None:
        ports = problem.ports
        return next(iter(ports)) if [form.kind for form in ports.values()] == ["map"] else None

    def unlike(self, sources: Sequence[Source]) -> dict[str, str]:
        rows: Counter[int] = Counter()
        for one in sources:
            rows[_channels(one)] += len(one.dataset.training())
        channels = rows.most_common(1)[0][0] if rows else 0
        why = (
            "its pictures are grey, others are coloured" if channels == 3 else "its pictures are coloured, others grey"
        )
        return {one.record.name: why for one in sources if _channels(one) != channels}

    def joined(self, sources: Sequence[Source], name: str) -> Joined:
        sizes: Counter[tuple[int, ...]] = Counter()
        for source in sources:
            sizes[source.size] += len(source.dataset.training())
        size = sizes.most_common(1)[0][0]
        most = min(MOST_ROWS, MOST_BYTES // (_channels(sources[0]) * math.prod(size)))
        pictures, labels, parts = [], [], []
        for one in drawn(sources, most=most):
            pictures.append(_sized(np.asarray(one.source.values[one.rows]), size))
            labels += one.labels
            parts += [one.part] * len(one.rows)
        array = np.ascontiguousarray(np.moveaxis(np.concatenate(pictures), 1, 3))  # [N, H, W, C]
        if array.shape[3] == 1:
            array = array[..., 0]
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(array)
        table = pa.table({"picture": column, "class": labels, "part": parts})
        channels: Any = 1 if array.ndim == 3 else 3
        picture = Image(name="picture", from_file=False, channels=channels, height=size[0], width=size[1])
        return Joined(table, Problem(name=name, inputs=(picture,), outputs=(target(labels),), split=GIVEN))


def _channels(source: Source) -> int:
    return int(source.values.shape[1])


def _sized(pictures: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """uint8 [N, C, H, W] at another size."""
    if pictures.shape[2:] == size:
        return pictures
    import torch

    result = np.empty((*pictures.shape[:2], *size), dtype=np.uint8)
    for start in range(0, len(pictures), CHUNK):
        some = torch.from_numpy(pictures[start : start + CHUNK]).float()
        values = torch.nn.functional.interpolate(some, size=size, mode="bilinear", antialias=True, align_corners=False)
        result[start : start + CHUNK] = values.round().clamp(0, 255).to(torch.uint8).numpy()
    return result
