"""Labels: any number of names at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch.nn.functional as F
from pydantic import Field

from ...spec import BadInput, Json
from .. import metrics
from ..form import Form, vector
from ..probability import log_odds, sigmoid
from ._calibration import temperature
from .base import BadValue, Encoded, Feature, Metric
from .common import Scalar, flat, is_text, key, plain_values, scalar, shown, unknown

if TYPE_CHECKING:
    import torch

MOST_LABELS = 1_000
MISSING = 255
MOST_SHOWN = 20
"""Probabilities listed per prediction, besides those of the labels said."""
SEPARATORS = (";", "|", ",")
"""Tried in this order; a comma is the most likely to stand inside a name."""


class Labels(Feature):
    """Several names at once: 'red;round', or a list. Input: float32 [N, K] of 0 and 1, NaN = missing.

    Target: uint8 [N, K], 255 = missing.
    An empty list is a row without labels; a missing value (an empty cell too) is a row of which nothing is known.
    """

    type: Literal["labels"] = "labels"
    separator: str | None = Field(default=None, min_length=1)
    """What stands between labels in a text; None until measured: the first of ; | , that appears."""
    classes: tuple[Scalar, ...] | None = None
    """Sorted; the most frequent where there are more than a thousand."""

    can_be_output: ClassVar[bool] = True
    averaged: ClassVar[Literal["values", "categories", "labels"]] = "labels"

    @property
    def is_measured(self) -> bool:
        return self.classes is not None

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Labels:
        separator = self.separator or _separator(values)
        counts: Counter[str] = Counter()
        names: dict[str, Scalar] = {}
        for labels in _lists(values, separator)[0]:
            for one in labels or ():
                counts[key(one)] += 1
                names.setdefault(key(one), one)
        if as_output and not counts:
            raise BadInput("no row holds a label to learn", column=self.name, remedy="Choose another target.")
        kept = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_LABELS]
        numeric = all(isinstance(names[name], (int, float)) for name in kept)
        classes = sorted((names[name] for name in kept), key=None if numeric else str)
        return self.replace(separator=separator, classes=tuple(classes))

    # As input ----------------------------------------------------------------------------------------------------
    @property
    def form(self) -> Form:
        return vector(max(1, len(self._classes)))

    def encode(self, values: pa.ChunkedArray) -> Encoded:
        found = self._marks(values)
        marks = found.array if self._classes else np.full((len(found.array), 1), MISSING)
        return Encoded(np.where(marks == MISSING, np.nan, marks).astype(np.float32), found.bad)

    def _marks(self, values: pa.ChunkedArray) -> Encoded:
        """0 or 1 for each class, 255 in all of a row that is missing, as uint8 [N, K]."""
        places = {key(one): index for index, one in enumerate(self._classes)}
        rows, bad = _lists(values, self.separator)
        result = np.zeros((len(rows), len(places)), dtype=np.uint8)
        for row, labels in enumerate(rows):
            if labels is None:
                result[row] = MISSING
                continue
            strange = [one for one in labels if key(one) not in places]
            if strange:
                bad.append(BadValue(row, shown(strange[0]), "is not among the labels learned", missing=True))
            result[row, [places[key(one)] for one in labels if key(one) in places]] = 1
        return Encoded(result, tuple(bad))

    # As output ---------------------------------------------------------------------------------------------------
    @property
    def head_width(self) -> int:
        return len(self._classes)

    def encode_target(self, values: pa.ChunkedArray) -> Encoded:
        return self._marks(values)

    def known(self, target: np.ndarray) -> np.ndarray:
        return np.asarray(target[:, 0] != MISSING)

    def loss(self, prediction: torch.Tensor, target: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
        known = target != MISSING
        truth = (target.float() * known) * (1 - smoothing) + smoothing / 2
        each = F.binary_cross_entropy_with_logits(prediction.float(), truth, reduction="none")
        return (each * known).mean(dim=1)

    def constant(self, target: np.ndarray) -> np.ndarray:
        marks = target[self.known(target)]
        share = (marks.sum(axis=0) + 0.5) / (len(marks) + 1.0)  # never seen in these rows: not impossible
        return np.asarray(log_odds(share), dtype=np.float32)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(Metric(name=name) for name in ("f1_micro", "f1_macro", "subset_accuracy", "average_precision"))

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        known = self.known(target)
        return metrics.label_scores(prediction[known], target[known])

    def combine(self, predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        """Log odds of the weighted mean probability."""
        mean = np.average(np.stack([sigmoid(p.astype(np.float64)) for p in predictions]), axis=0, weights=weights)
        return np.asarray(log_odds(mean.clip(1e-12, 1 - 1e-12)), dtype=np.float32)

    def calibrate(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Json]:
        """Temperature that makes the log loss least, then the threshold that makes f1_micro greatest."""
        known = self.known(target)
        logits, marks = prediction[known].astype(np.float64), target[known].astype(bool)
        if not len(marks):
            return {"temperature": 1.0, "threshold": 0.5}
        sign = np.where(marks, -1.0, 1.0)
        heat = temperature(lambda inverse: float(np.mean(np.logaddexp(0, sign * logits * inverse))))
        return {"temperature": heat, "threshold": _best_threshold(sigmoid(logits / heat), marks)}

    def wider(self, values: pa.ChunkedArray) -> tuple[Labels, Sequence[Scalar]]:
        new = unknown(self.replace(classes=None).measure(values).classes or (), self._classes)
        return self.replace(classes=(*self._classes, *new)) if new else self, new

    def calibrated(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> np.ndarray:
        """Log odds moved so that the threshold lies at 0."""
        threshold = calibration.get("threshold", 0.5)
        scaled = prediction.astype(np.float64) / calibration.get("temperature", 1.0)
        return np.asarray(scaled - math.log(threshold / (1 - threshold)), dtype=np.float32)

    def decode(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> list[dict[str, Json]]:
        probabilities = sigmoid(prediction.astype(np.float64) / calibration.get("temperature", 1.0))
        names, result = [key(one) for one in self._classes], list[dict[str, Json]]()
        for row, chosen in zip(probabilities, probabilities >= calibration.get("threshold", 0.5), strict=True):
            shown_too = np.argsort(-row, kind="stable")[:MOST_SHOWN]
            listed = sorted({*np.flatnonzero(chosen).tolist(), *shown_too.tolist()}, key=lambda i: (-row[i], i))
            shares: dict[str, Json] = {names[i]: float(row[i]) for i in listed}
            result.append({"value": [self._classes[i] for i in np.flatnonzero(chosen)], "probabilities": shares})
        return result

    @property
    def _classes(self) -> tuple[Scalar, ...]:
        assert self.classes is not None, f"feature {self.name!r} is not measured"
        return self.classes

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        names = np.array(["red", "round", "small"])
        cells = [";".join(names[generator.random(3) < 0.5]) or "red" for _ in range(rows)]
        return pa.chunked_array([pa.array(cells, pa.string(), mask=generator.random(rows) < 0.1)])


def _separator(values: pa.ChunkedArray) -> str | None:
    """What stands between labels; None for lists, or texts without any separator."""
    array = flat(values)
    if not is_text(array.type):
        return None
    texts = [text for text in array.to_pylist() if text]
    return next((one for one in SEPARATORS if any(one in text for text in texts)), None)


def _lists(values: pa.ChunkedArray, separator: str | None) -> tuple[list[list[Scalar] | None], list[BadValue]]:
    """Labels of every row, each once, None = missing; and values that are no labels."""
    bad: list[BadValue] = []
    result: list[list[Scalar] | None] = []
    for row, value in enumerate(plain_values(flat(values))):
        if isinstance(value, str):
            parts: list[Any] | None = (value.split(separator) if separator else [value]) if value.strip() else None
        elif value is None or isinstance(value, list):
            parts = value
        elif isinstance(value, dict) or value != value:
            bad.append(BadValue(row, shown(value), "is no list of labels", missing=True))
            parts = None
        else:
            parts = [value]
        if parts is None:
            result.append(None)
            continue
        named = [one for one in map(scalar, parts) if one is not None]
        result.append(list({key(one): one for one in named}.values()))
    return result, bad


def _best_threshold(probabilities: np.ndarray, marks: np.ndarray) -> float:
    """Threshold with the greatest f1 over all marks together, midway between the probabilities it parts."""
    order = np.argsort(-probabilities, axis=None, kind="stable")
    sorted_probabilities, hits = probabilities.ravel()[order], np.cumsum(marks.ravel()[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + marks.sum())
    ends = np.append(np.diff(sorted_probabilities) != 0, True)  # equal probabilities are parted by no threshold
    best = int(np.argmax(np.where(ends, f1, -1.0)))
    below = sorted_probabilities[best + 1] if best + 1 < len(order) else 0.0
    return float(np.clip((sorted_probabilities[best] + below) / 2, 0.01, 0.99))
