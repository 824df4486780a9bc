"""Moved copies of few pictures: a cheap head on a stored path learns from them what stays wherever a thing stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..path import Path
from .base import STILL, Material

PLACES = (STILL, *sorted(((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x), key=lambda p: abs(p[0] * p[1])))
"""Where copies stand, in steps of a fourteenth of a picture's side: as it is, the four sides, the four corners."""


def moved(pictures: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """Pictures [N, C, H, W] moved by steps down and right; what comes in is the border again."""
    if place == STILL:
        return pictures
    height, width = pictures.shape[2:]
    down, right = max(1, height // 14), max(1, width // 14)
    wide = np.pad(pictures, ((0, 0), (0, 0), (down, down), (right, right)), mode="edge")
    top, left = (1 - place[0]) * down, (1 - place[1]) * right
    return np.ascontiguousarray(wide[:, :, top : top + height, left : left + width])


def copied(material: Material, count: int) -> Material:
    """The material with `count` copies of every training row, each moved to another place; what judges stays as it is.

    For heads on a stored path whose genes are all frozen: only its features can be asked for, not the pictures.
    """
    frozen, training, validation = material.frozen, material.training, material.validation
    assert frozen is not None and material.path is not None
    places = PLACES[:count]

    def features(path: Path, gene: str, *, moved: tuple[int, int] = STILL) -> np.ndarray:
        assert moved == STILL
        known = [frozen(path, gene, moved=place)[training] for place in places]
        return np.concatenate([*known, frozen(path, gene)[validation]])

    def rows(array: np.ndarray) -> np.ndarray:
        return np.concatenate([*[array[training]] * len(places), array[validation]])

    total = len(places) * len(training)
    return replace(
        material,
        inputs={},
        targets={output: rows(np.asarray(target)) for output, target in material.targets.items()},
        weights=None if material.weights is None else rows(material.weights),
        training=np.arange(total),
        validation=np.arange(total, total + len(validation)),
        frozen=features,
    )
