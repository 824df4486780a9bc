"""Numbers: standardised in, standardised out, with intervals that keep their promise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch.nn.functional as F
from pydantic import Field

from ...spec import BadInput, Json
from .. import metrics
from ..form import Form, vector
from .base import Encoded, Feature, Metric
from .common import numbers

if TYPE_CHECKING:
    import torch

FAR = 1e6
"""Standardised values are cut here: their squares still fit float32, and no training row lies that far off."""


class Number(Feature):
    """A quantity. Input: float32 [N, 1], target: float32 [N]; both standardised, NaN = missing."""

    type: Literal["number"] = "number"
    objective: Literal["squared", "huber"] = "squared"
    """What training makes small. "huber" (Huber 1964) follows outliers less, the rmse then is a little worse."""
    level: float = Field(default=0.9, gt=0.5, lt=1.0)
    """How often the interval `low`..`high` should hold the true value."""
    mean: float | None = None
    deviation: float | None = None

    can_be_output: ClassVar[bool] = True

    @property
    def is_measured(self) -> bool:
        return self.mean is not None

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Number:
        found, _ = numbers(values)
        found = found[~np.isnan(found)]
        if not len(found):
            if as_output:
                raise BadInput("no row holds a number to learn", column=self.name, remedy="Choose another target.")
            return self.replace(mean=0.0, deviation=1.0)
        # Sums of squares of 1e300 overflow; of fractions of the largest they do not.
        largest = float(max(found.max(), -found.min())) or 1.0
        scaled = np.divide(found, largest, out=found)
        deviation = float(scaled.std()) * largest
        # A constant column has a deviation of rounding errors: dividing by it would blow them up.
        steady = deviation <= 1e-12 * largest or not math.isfinite(deviation)
        return self.replace(mean=float(scaled.mean()) * largest, deviation=1.0 if steady else deviation)

    @property
    def form(self) -> Form:
        return vector(1)

    def encode(self, values: pa.ChunkedArray) -> Encoded:
        target = self.encode_target(values)
        return Encoded(target.array[:, None], target.bad)

    @property
    def head_width(self) -> int:
        return 1

    def encode_target(self, values: pa.ChunkedArray) -> Encoded:
        found, bad = numbers(values)
        mean, deviation = self._statistics
        # Divided before subtracting: the difference of two numbers near 1e308 is infinite.
        standard = found / deviation - mean / deviation
        return Encoded(np.clip(standard, -FAR, FAR).astype(np.float32), bad)

    def known(self, target: np.ndarray) -> np.ndarray:
        return np.asarray(~np.isnan(target.reshape(-1)))

    def loss(self, prediction: torch.Tensor, target: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
        known = ~target.isnan()
        truth = target.nan_to_num(0.0)
        compute = F.mse_loss if self.objective == "squared" else F.huber_loss
        return compute(prediction.reshape(-1).float(), truth.reshape(-1).float(), reduction="none") * known.reshape(-1)

    def constant(self, target: np.ndarray) -> np.ndarray:
        known = target[~np.isnan(target)]
        middle = np.mean if self.objective == "squared" else np.median
        return np.array([middle(known) if len(known) else 0.0], dtype=np.float32)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(name="rmse", greater_is_better=False),
            Metric(name="mae", greater_is_better=False),
            Metric(name="r2"),
        )

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        known = self.known(target)
        mean, deviation = self._statistics
        given = prediction.reshape(-1)[known].astype(np.float64) * deviation + mean
        return metrics.number_scores(given, target.reshape(-1)[known].astype(np.float64) * deviation + mean)

    def combine(self, predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        return np.asarray(np.average(np.stack(predictions), axis=0, weights=weights), dtype=np.float32)

    def calibrate(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Json]:
        """Split-conformal half width: the residual `level` of new rows stay below (Lei et al. 2018, 1604.04173)."""
        known = self.known(target)
        residuals = np.sort(np.abs(prediction.reshape(-1)[known].astype(np.float64) - target.reshape(-1)[known]))
        if not len(residuals):
            return {}
        rank = min(math.ceil((len(residuals) + 1) * self.level), len(residuals))
        return {"half_width": float(residuals[rank - 1] * self._statistics[1]), "level": self.level}

    def decode(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> list[dict[str, Json]]:
        mean, deviation = self._statistics
        values = prediction.reshape(-1).astype(np.float64) * deviation + mean
        half = calibration.get("half_width")
        if half is None:
            return [{"value": value, "low": None, "high": None} for value in values.tolist()]
        return [{"value": value, "low": value - half, "high": value + half} for value in values.tolist()]

    @property
    def _statistics(self) -> tuple[float, float]:
        assert self.mean is not None and self.deviation is not None, f"feature {self.name!r} is not measured"
        return self.mean, self.deviation

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        values = generator.normal(20.0, 5.0, rows)
        return pa.chunked_array([pa.array(values, mask=generator.random(rows) < 0.1)])
