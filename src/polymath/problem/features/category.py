"""Categories: one of a few names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch.nn.functional as F

from ...spec import BadInput, Json
from .. import metrics
from ..form import Form, vector
from ..probability import log_sum_exp, softmax
from ._calibration import temperature
from .base import BadValue, Encoded, Feature, Metric
from .common import Counted, Scalar, counted, key, shown, unknown

if TYPE_CHECKING:
    import torch

MOST_CLASSES = 1_000
"""As input: an embedding table of more rows learns little per row. As output: more are a mistake, unless named."""
MOST_SHOWN = 20
"""Probabilities listed per prediction."""


class Category(Feature):
    """One of a few names. Input: codes as float32 [N, 1], 0 = missing or unseen. Target: int64 [N], -1 = missing."""

    type: Literal["category"] = "category"
    classes: tuple[Scalar, ...] | None = None
    """As output: sorted, all. As input: the most frequent first, at most MOST_CLASSES."""
    rare: bool = False
    """As input: there were more classes than `classes` names; all others share the last code."""

    can_be_output: ClassVar[bool] = True
    averaged: ClassVar[Literal["values", "categories", "labels"]] = "categories"

    @property
    def is_measured(self) -> bool:
        return self.classes is not None

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Category:
        found = counted(values)
        if as_output:
            return self.replace(classes=self._output_classes(found), rare=False)
        # Equally frequent classes are ordered by name, so that the order of rows makes no difference.
        order = sorted(range(len(found.values)), key=lambda i: (-int(found.counts[i]), key(found.values[i])))
        kept = tuple(found.values[i] for i in order[:MOST_CLASSES])
        return self.replace(classes=kept, rare=len(order) > len(kept))

    def _output_classes(self, found: Counted) -> tuple[Scalar, ...]:
        if len(found.values) < 2:
            what = f"only the class {shown(found.values[0])}" if found.values else "no class"
            raise BadInput(f"{what} appears in the rows to learn from", column=self.name, remedy="Two are needed.")
        if len(found.values) > max(MOST_CLASSES, len(self.classes or ())):
            raise BadInput(
                f"{len(found.values):,} different values are too many to tell apart; {MOST_CLASSES:,} are possible",
                column=self.name,
                remedy=f"If they are amounts, use --type {self.name}=number; else merge the rare ones.",
            )
        numeric = all(isinstance(value, (int, float)) for value in found.values)
        return tuple(sorted(found.values, key=None if numeric else str))

    # As input ----------------------------------------------------------------------------------------------------
    @property
    def form(self) -> Form:
        return vector(1, categories=(1 + len(self._classes) + self.rare,))

    def encode(self, values: pa.ChunkedArray) -> Encoded:
        found = counted(values)
        codes = self._codes(found, offset=1, unknown=1 + len(self._classes) if self.rare else 0, missing=0)
        return Encoded(codes.astype(np.float32)[:, None])

    def _codes(self, found: Counted, *, offset: int, unknown: int, missing: int) -> np.ndarray:
        known = {key(value): index + offset for index, value in enumerate(self._classes)}
        table = np.array([*(known.get(key(value), unknown) for value in found.values), missing], dtype=np.int64)
        return np.asarray(table[found.codes])  # code -1 takes the last place

    # As output ---------------------------------------------------------------------------------------------------
    @property
    def head_width(self) -> int:
        return len(self._classes)

    def encode_target(self, values: pa.ChunkedArray) -> Encoded:
        found = counted(values)
        codes = self._codes(found, offset=0, unknown=-1, missing=-1)
        strange = np.flatnonzero((codes < 0) & (found.codes >= 0))
        reason = "is not among the classes learned"
        bad = [BadValue(int(i), shown(found.values[found.codes[i]]), reason, missing=True) for i in strange]
        return Encoded(codes, tuple(bad))

    def known(self, target: np.ndarray) -> np.ndarray:
        return np.asarray(target >= 0)

    def loss(self, prediction: torch.Tensor, target: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
        return F.cross_entropy(
            prediction.float(), target.reshape(-1).long(), ignore_index=-1, label_smoothing=smoothing, reduction="none"
        )

    def constant(self, target: np.ndarray) -> np.ndarray:
        counts = (
            np.bincount(target[target >= 0], minlength=self.head_width) + 0.5
        )  # absent from these rows: not impossible
        return np.asarray(np.log(counts / counts.sum()), dtype=np.float32)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        ranked = self.classes is None or len(self.classes) <= metrics.AUC_CLASSES
        return (
            Metric(name="accuracy"),
            Metric(name="balanced_accuracy"),
            Metric(name="log_loss", greater_is_better=False),
            Metric(name="f1_macro"),
            *([Metric(name="auc")] if ranked else []),
        )

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        known = target >= 0
        return metrics.category_scores(prediction[known], target[known])

    def combine(self, predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        """Logarithm of the weighted mean probability."""
        share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
        mean = sum(w * softmax(p.astype(np.float64)) for w, p in zip(share, predictions, strict=True))
        return np.asarray(np.log(np.maximum(mean, 1e-12)), dtype=np.float32)

    def calibrate(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Json]:
        """Temperature that makes the log loss least (Guo et al. 2017, 1706.04599)."""
        known = target >= 0
        logits, codes = prediction[known].astype(np.float64), target[known]

        def log_loss(inverse: float) -> float:
            scaled = logits * inverse
            return float(np.mean(log_sum_exp(scaled) - scaled[np.arange(len(codes)), codes]))

        return {"temperature": temperature(log_loss) if len(codes) else 1.0}

    def wider(self, values: pa.ChunkedArray) -> tuple[Category, Sequence[Scalar]]:
        new = unknown(counted(values).values, self._classes)
        return self.replace(classes=(*self._classes, *new)) if new else self, new

    def calibrated(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(prediction / calibration.get("temperature", 1.0), dtype=np.float32)

    def decode(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> list[dict[str, Json]]:
        probabilities = softmax(prediction.astype(np.float64) / calibration.get("temperature", 1.0))
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :MOST_SHOWN]
        names = [key(value) for value in self._classes]
        result: list[dict[str, Json]] = []
        for row, best in zip(probabilities, order, strict=True):
            shares: dict[str, Json] = {names[i]: float(row[i]) for i in best}
            result.append(
                {"value": self._classes[best[0]], "probability": float(row[best[0]]), "probabilities": shares}
            )
        return result

    @property
    def _classes(self) -> tuple[Scalar, ...]:
        assert self.classes is not None, f"feature {self.name!r} is not measured"
        return self.classes

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        names = np.array(["ash", "beech", "oak"])[generator.integers(0, 3, rows)]
        return pa.chunked_array([pa.array(names, pa.string(), mask=generator.random(rows) < 0.1)])
