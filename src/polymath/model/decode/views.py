"""Answers at every pixel as the mean over views of a picture: mirrored, upside down, turned by a quarter.

nnU-Net answers so (Isensee et al. 2021, arXiv:1904.08128). It costs a forward pass for every view; whether it is worth
that is tried where a task is made (`learning/viewing.py`), and its calibration says how many views there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..build import PathModule

VIEWS = "views"
"""What the calibration of an output calls their number."""
COUNTS = (1, 2, 4, 8)
"""The picture; it and its mirror image; these also upside down; all four also turned by a quarter."""

How = Literal["values", "categories", "labels"]


def views_of(calibration: Mapping[str, Mapping[str, Any]]) -> int:
    """How many views the answers of a task are the mean of."""
    return max((int(how.get(VIEWS, 1)) for how in calibration.values()), default=1)


def mean_answers(
    module: PathModule, batch: Mapping[str, Tensor], *, views: int, how: Mapping[str, How]
) -> dict[str, Tensor]:
    """Raw predictions by output: of maps [B, W, H, W'] the mean over so many views, in the sense of `how`.

    "categories" are averaged as probabilities and come back as their logarithms, everything else as it is. What is
    answered about a whole picture is averaged too.
    """
    if views == 1:
        plain: dict[str, Tensor] = module(batch)
        return plain
    sums: dict[str, Tensor] = {}
    for view in range(views):
        shown = {port: turned(x, view) if x.dim() == 4 else x for port, x in batch.items()}
        for output, raw in module(shown).items():
            one = raw.float()
            one = turned_back(one, view) if one.dim() == 4 else one
            if how[output] == "categories":
                one = one.log_softmax(1)
                sums[output] = torch.logaddexp(sums[output], one) if view else one
            else:
                sums[output] = sums[output] + one if view else one
    return {
        output: total - math.log(views) if how[output] == "categories" else total / views
        for output, total in sums.items()
    }


def turned(x_BCHW: Tensor, view: int) -> Tensor:
    """A view of pictures, by its number: 1 for left to right, 2 for upside down, 4 for rows as columns, and sums."""
    x_BCHW = x_BCHW.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if view & bit])
    return x_BCHW.transpose(-1, -2) if view & 4 else x_BCHW


def turned_back(x_BCHW: Tensor, view: int) -> Tensor:
    """What was answered about a view, as it lies on the picture."""
    x_BCHW = x_BCHW.transpose(-1, -2) if view & 4 else x_BCHW
    return x_BCHW.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if view & bit])
