"""Linear heads for every output on the same features, whatever made the features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ...problem.features.base import Feature
from ._common import start_values
from ._solve import Fold, Head, Matrix, fit_head
from .base import Material


def fit_heads(
    material: Material,
    training: Matrix,
    validation: Matrix,
    *,
    strengths: Sequence[float],
    max_iterations: int,
    tolerance: float = 1e-5,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Output -> weight [D, W] and bias [W] of its raw prediction. The features' rows are the material's, in order."""
    found = {}
    starts = start_values(material)
    for output, feature in material.outputs.items():
        kind, target, start = _as_columns(feature, np.asarray(material.targets[output]), starts[output])
        weights = None if material.weights is None else material.weights[material.training]
        fold = Fold(training, target[material.training], validation, target[material.validation], weights)
        head = fit_head(
            fold,
            kind,
            bias=start,
            strengths=strengths,
            max_iterations=max_iterations,
            tolerance=tolerance,
            deadline=material.deadline,
        )
        found[output] = _whole(head, feature)
    return found


def _as_columns(
    feature: Feature, target: np.ndarray, constant: np.ndarray
) -> tuple[Literal["softmax", "sigmoid", "squares"], np.ndarray, np.ndarray]:
    """How to fit this output, its targets as float columns with NaN = missing, and the constant to start from."""
    if feature.averaged == "categories":
        codes, width = target.reshape(-1).astype(np.int64), feature.head_width
        if width == 2:  # one column does for two classes
            yes = np.where(codes < 0, np.nan, codes)[:, None].astype(np.float32)
            return "sigmoid", yes, constant[1:] - constant[:1]
        hot = np.zeros((len(codes), width), np.float32)
        hot[np.arange(len(codes)), np.maximum(codes, 0)] = 1.0
        hot[codes < 0] = np.nan
        return "softmax", hot, constant
    columns = target.reshape(len(target), -1).astype(np.float32)
    if feature.averaged == "labels":
        columns[~feature.known(target)] = np.nan
        columns[columns > 1] = np.nan
        return "sigmoid", columns, constant
    return "squares", columns, constant


def _whole(head: Head, feature: Feature) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = head.weight.astype(np.float32), np.asarray(head.bias, np.float32).reshape(-1)
    if feature.averaged == "categories" and feature.head_width == 2:
        return np.concatenate([-weight / 2, weight / 2], 1), np.concatenate([-bias / 2, bias / 2])
    return weight, bias
