"""Nearest neighbours: a yardstick of how hard the problem is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.special import expit, logit, softmax

from ...problem.features.base import Feature
from ...problem.form import Form
from ..path import Path
from ._common import features_of
from .base import Facts, Fitted, Material, Probe
from .linear import flat_width, raw_features


class NearestProbe(Probe):
    """Votes of the nearest training rows among standardised columns or pixels. No path: it would hold training rows."""

    method: Literal["nearest"] = "nearest"
    neighbours: tuple[int, ...] = Field(default=(1, 5, 15), min_length=1)
    """Numbers of neighbours tried; the fold's validation rows choose."""
    width: int = Field(default=64, ge=1)
    """Wider inputs are projected to so many directions of largest variance."""
    max_rows: int = Field(default=20000, ge=1)
    """Training rows kept at most, drawn at random."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(form.kind in ("vector", "map") for form in ports.values())

    def work(self, facts: Facts) -> float:
        width, kept = flat_width(facts.ports), min(facts.training_rows, self.max_rows)
        compared = (facts.rows - facts.training_rows) * kept * min(width, self.width)
        return 1e-9 * (compared + facts.rows * width * min(width, self.width))

    def fit(self, material: Material) -> Fitted:
        path = material.path or raw_features(material)
        random = np.random.default_rng(material.seed)
        kept = material.training
        if len(kept) > self.max_rows:
            kept = np.sort(random.choice(kept, self.max_rows, replace=False))
        found = {}
        neighbours: dict[str, np.ndarray] = {}
        for output, feature in material.outputs.items():
            source = path.outputs[output]
            if source not in neighbours:
                neighbours[source] = self._neighbours(path, source, material, kept, random)
            known = kept[neighbours[source]]
            target = np.asarray(material.targets[output])
            best = np.inf
            start = np.asarray(feature.constant(target[material.training]), dtype=np.float64)
            for number in sorted(set(min(k, known.shape[1]) for k in self.neighbours)):
                prediction = _votes(feature, target[known[:, :number]], start)
                loss = _loss(feature, prediction, target[material.validation])
                if loss < best:
                    best, found[output] = loss, prediction
        return Fitted(predictions=found)

    def _neighbours(
        self, path: Path, source: str, material: Material, kept: np.ndarray, random: np.random.Generator
    ) -> np.ndarray:
        """Places in `kept` of the nearest rows of every validation row, nearest first."""
        stored, asked = (_dense(features_of(path, source, material, rows)) for rows in (kept, material.validation))
        if stored.shape[1] > self.width:
            middle = stored.mean(axis=0)
            axes = main_directions(stored - middle, self.width, random)
            stored, asked = (stored - middle) @ axes, (asked - middle) @ axes
        most = min(max(self.neighbours), len(stored))
        squares = np.square(stored).sum(axis=1)
        parts = []
        for start in range(0, len(asked), 256):
            distance = squares - 2 * (asked[start : start + 256] @ stored.T)
            nearest = np.argpartition(distance, most - 1, axis=1)[:, :most]
            order = np.argsort(np.take_along_axis(distance, nearest, axis=1), axis=1, kind="stable")
            parts.append(np.take_along_axis(nearest, order, axis=1))
        return np.concatenate(parts)


def main_directions(centred: np.ndarray, width: int, random: np.random.Generator) -> np.ndarray:
    """Directions [D, width] of largest variance (randomised, Halko, Martinsson & Tropp 2011, alg. 4.4)."""
    basis = centred @ random.normal(size=(centred.shape[1], width + 10)).astype(np.float32)
    for _ in range(2):
        basis = centred @ (centred.T @ np.linalg.qr(basis)[0])
    _, _, directions = np.linalg.svd(np.linalg.qr(basis)[0].T @ centred, full_matrices=False)
    return np.ascontiguousarray(directions[:width].T)


def _dense(features: Any) -> np.ndarray:
    result: np.ndarray = features.toarray() if hasattr(features, "toarray") else features
    return result


def _votes(feature: Feature, target: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Raw predictions [N, W] from the targets [N, K, ...] of the neighbours; the constant is one more neighbour."""
    if feature.averaged == "categories":
        codes = target.reshape(target.shape[0], target.shape[1])
        votes = np.stack([(codes == c).sum(axis=1) for c in range(feature.head_width)], 1) + softmax(start)
        return np.asarray(np.log(votes / votes.sum(axis=1, keepdims=True)), dtype=np.float32)
    values = target.reshape(*target.shape[:2], -1).astype(np.float64)
    known = np.isfinite(values) & ((values <= 1) if feature.averaged == "labels" else True)
    sums, counts = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
    if feature.averaged == "labels":
        result = logit((sums + expit(start)) / (counts + 1))
    else:
        result = np.where(counts > 0, sums / np.maximum(counts, 1), start)
    return np.asarray(result, dtype=np.float32)


def _loss(feature: Feature, prediction: np.ndarray, target: np.ndarray) -> float:
    return float(feature.loss(torch.from_numpy(prediction), torch.from_numpy(np.ascontiguousarray(target))).mean())
