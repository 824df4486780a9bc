"""A number, or several, for every pixel: depth, a stain, a height; by choice with an interval around each.

Axes: N rows, C channels, H height, W width, P pixels kept. Where intervals are asked for a raw prediction has 2 C
channels: the numbers, then the logarithms of how far off each is on average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...spec import Json
from ._masks import MOST_CHANNELS, as_tiff, as_url, laid, read_numbers
from ._pixels import MOST_LOOKED_AT, UPRIGHT, PixelTarget, everywhere, halves_apart, spread_out, weighted
from .base import Encoded, Metric
from .common import spread

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = 0.5
"""Share of a picture's own mean error that the scale-invariant loss forgives (Eigen et al. 2014)."""
FAR = 50.0
"""Standardised values are cut here."""
WIDTHS = -7.0, 4.0
"""Bounds of the logarithms of the widths of intervals, in standardised values."""


class PixelNumbers(PixelTarget):
    """Numbers per pixel. Target: float32 [N, C, H, W], standardised, NaN = void; raw prediction [N, C or 2 C, H, W]."""

    type: Literal["pixel_numbers"] = "pixel_numbers"
    objective: Literal["squared", "absolute", "scale_invariant"] = "squared"
    """What training makes small. "scale_invariant": squared errors of logarithms, half of what all pixels of a picture
    have in common forgiven (Eigen et al. 2014, arXiv:1406.2283, equation 4); for values above 0, as depths are."""
    spread: bool = False
    """Say of each pixel how sure its number is: an interval `low`..`high`, wide where errors are large."""
    level: float = Field(default=0.9, gt=0.5, lt=1.0)
    """How often an interval should hold the true value, over all pixels."""
    void: float | None = None
    """Value of a pixel where nothing is known. NaN is void in any case, and 0 where logarithms are learned."""
    channels: int | None = Field(default=None, ge=1, le=MOST_CHANNELS)
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def is_measured(self) -> bool:
        return bool(self.mean)

    @property
    def head_width(self) -> int:
        return len(self.mean) * (2 if self.spread else 1)

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> PixelNumbers:
        canvas = self.on_canvas(values)
        looked = spread(values, MOST_LOOKED_AT)
        channels = self.channels or self._usual_channels(looked)
        raw = self.replace(channels=channels)
        found, bad = self._each(looked, raw._numbers)
        sums = np.zeros((3, channels or 1))
        apart = []
        for one in found:
            if one is not None:
                apart.append(halves_apart(one))
                flat = one.reshape(len(one), -1).astype(np.float64)
                sums += [np.isfinite(flat).sum(1), np.nansum(flat, 1), np.nansum(flat**2, 1)]
        if channels is None or not sums[0].all():
            first = f": {bad[0].value} {bad[0].reason}" if bad else ""
            raise self.refuse(f"no map of numbers can be read{first}")
        mean = sums[1] / sums[0]
        deviation = np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 0))
        if not (deviation > 1e-9 * np.maximum(np.abs(mean), 1e-9)).any():
            raise self.refuse("all pixels hold one number, so there is nothing to learn")
        deviation = np.where(deviation > 1e-9 * np.maximum(np.abs(mean), 1e-9), deviation, 1.0)
        upright = self.upright or abs(float(np.mean(apart))) > UPRIGHT
        return raw.replace(**canvas, upright=upright, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))

    def _usual_channels(self, values: pa.ChunkedArray) -> int | None:
        found, _ = self._each(values, read_numbers)
        counts = [len(one) for one in found if one is not None]
        return max(set(counts), key=counts.count) if counts else None

    def _numbers(self, item: Any) -> np.ndarray:
        """Numbers [C, h, w] as they are learned: logarithms where these are. NaN = void."""
        found = read_numbers(item, channels=self.channels)
        if self.void is not None:
            found = np.where(found == np.float32(self.void), np.float32(np.nan), found)
        if self.objective == "scale_invariant":
            found = np.log(np.where(found > 0, found, np.float32(np.nan)))
        return found

    def encode_target(self, values: pa.ChunkedArray) -> Encoded:
        canvas, shape = self.canvas, (-1, 1, 1)
        mean, deviation = (np.asarray(part, dtype=np.float32).reshape(shape) for part in (self.mean, self.deviation))
        result = np.full((len(values), len(self.mean), canvas.height, canvas.width), np.nan, dtype=np.float32)
        found, bad = self._each(values, self._numbers)
        for row, one in enumerate(found):
            if one is not None:
                result[row] = laid(np.clip((one - mean) / deviation, -FAR, FAR), canvas, fill=np.nan)
        return Encoded(result, tuple(bad))

    def holds(self, target: np.ndarray) -> np.ndarray:
        return np.asarray(np.isfinite(target).all(axis=1))

    # Learning ----------------------------------------------------------------------------------------------------
    def loss(self, prediction: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """Errors by the objective; with `spread` also those of the intervals.

        The widths are those of Laplace distributions around the numbers, by their likelihood. It moves no number: left
        to itself it would neglect pixels that are hard (Seitzer et al. 2022, arXiv:2203.09168).
        """
        prediction = everywhere(prediction, target)
        known = target.isfinite()
        numbers = prediction[:, : target.shape[1]]
        error = (numbers - target.nan_to_num(0.0)) * known
        places = tuple(range(1, error.dim()))
        count = known.sum(places).clamp_min(1)
        loss: Tensor = error.abs() if self.objective == "absolute" else error.square()
        loss = loss.sum(places) / count
        if self.objective == "scale_invariant":
            loss = loss - WHOLE * (error.sum(places) / count).square()
        if self.spread:
            width = prediction[:, target.shape[1] :].clamp(*WIDTHS)
            loss = loss + ((error.detach().abs() * (-width).exp() + width) * known).sum(places) / count
        return loss

    def constant(self, target: np.ndarray) -> np.ndarray:
        count = len(self.mean)
        columns = np.moveaxis(target, 1, 0).reshape(count, -1) if len(target) else np.zeros((count, 0))
        middle = np.median if self.objective == "absolute" else np.mean
        known = [column[np.isfinite(column)] for column in columns]
        found = [float(middle(column)) if len(column) else 0.0 for column in known]
        if self.spread:
            off = [
                np.abs(column - one).mean() if len(column) else 1.0 for column, one in zip(known, found, strict=True)
            ]
            found += np.log(np.maximum(off, np.exp(WIDTHS[0]))).tolist()
        return np.array(found, dtype=np.float32)

    # Scores ------------------------------------------------------------------------------------------------------
    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(name="rmse", greater_is_better=False),
            Metric(name="mae", greater_is_better=False),
            Metric(name="pearson"),
        )

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        places = self.judges(target)
        if not places.size or not len(target):
            return {metric.name: math.nan for metric in self.metrics}
        truth = np.take_along_axis(target.reshape(*target.shape[:2], -1), places[:, None], 2)
        given = spread_out(prediction, places.shape[1])[:, : target.shape[1]]
        known = np.isfinite(truth).all(axis=1)
        pairs = [np.moveaxis(self._plainly(one), 1, -1)[known] for one in (given, truth)]
        return self._compared(*pairs)

    def _plainly(self, standard: np.ndarray) -> np.ndarray:
        """Standardised values [N, C, ...] in the user's own units."""
        shape = (1, -1, *[1] * (standard.ndim - 2))
        value = standard.astype(np.float64) * np.reshape(self.deviation, shape) + np.reshape(self.mean, shape)
        return np.asarray(np.exp(np.minimum(value, 80.0)) if self.objective == "scale_invariant" else value)

    def _compared(self, given: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """Scores of values [pixels, C] in the user's units; correlations are averaged over channels."""
        if not len(truth):
            return {metric.name: math.nan for metric in self.metrics}
        error = given - truth
        each = [pearson(given[:, channel], truth[:, channel]) for channel in range(truth.shape[1])]
        return {
            "rmse": float(np.sqrt(np.mean(error**2))),
            "mae": float(np.mean(np.abs(error))),
            "pearson": float(np.mean(each)),
        }

    def said_scores(self, answers: Sequence[Mapping[str, Any]], values: pa.ChunkedArray) -> dict[str, float]:
        """Scores over every pixel of every picture at its own size."""
        urls = [str(one["value"]) if isinstance(one.get("value"), str) else None for one in answers]
        plain = self.replace(objective="squared")
        given, _ = plain._each(pa.chunked_array([pa.array(urls, pa.string())]), plain._numbers)
        truth, _ = plain._each(values, plain._numbers)
        pairs: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for mine, theirs in zip(given, truth, strict=True):
            if mine is not None and theirs is not None and mine.shape == theirs.shape:
                known = np.isfinite(theirs).all(0) & np.isfinite(mine).all(0)
                for kept, one in zip(pairs, (mine, theirs), strict=True):
                    kept.append(one[:, known].T.astype(np.float64))
        found = self._compared(*(np.concatenate(part) for part in pairs)) if pairs[0] else {}
        held = self._held(answers, truth)
        return found if held is None else {**found, "coverage": held}

    def _held(self, answers: Sequence[Mapping[str, Any]], truth: Sequence[np.ndarray | None]) -> float | None:
        """Share of the known numbers that their intervals hold; None without intervals."""
        held = count = 0
        for one, theirs in zip(answers, truth, strict=True):
            if theirs is not None and isinstance(one.get("low"), str) and isinstance(one.get("high"), str):
                low, high = (read_numbers(str(one[side])) for side in ("low", "high"))
                if low.shape == theirs.shape:
                    held += int(((low <= theirs) & (theirs <= high)).sum())
                    count += int(np.isfinite(theirs).sum())
        return held / count if count else None

    def combine(self, predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        return weighted(predictions, weights)

    # Answers -----------------------------------------------------------------------------------------------------
    def calibrate(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Json]:
        """By how much the learned widths are too small: split-conformal, over the pixels that judge.

        `level` of the errors on these rows are below that many widths of their own pixel (Lei et al. 2018,
        arXiv:1604.04173, section 5.2).
        """
        if not self.spread or not len(target):
            return {}
        places = self.judges(target)
        truth = np.take_along_axis(target.reshape(*target.shape[:2], -1), places[:, None], 2)
        numbers, width = self._parts(spread_out(prediction, places.shape[1]))
        known = np.isfinite(truth)
        ratios = np.sort((np.abs(numbers - truth) / width)[known].astype(np.float64))
        if not len(ratios):
            return {}
        rank = min(math.ceil((len(ratios) + 1) * self.level), len(ratios))
        return {"widths": float(ratios[rank - 1]), "level": self.level}

    def _parts(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers, and how far off they are on average, from a raw prediction [N, 2 C, ...]."""
        count = len(self.mean)
        return raw[:, :count], np.exp(np.clip(raw[:, count:], *WIDTHS))

    def decode(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> list[dict[str, Json]]:
        """Per row the numbers as the data URL of a TIFF file of 32-bit floats, a page per channel, and their means.

        With `spread` the ends of the intervals too, `low` and `high`, as such files.
        """
        return [self.said(one, calibration) for one in prediction]

    def said(self, raw_CHW: np.ndarray, calibration: Mapping[str, Any]) -> dict[str, Json]:
        """The answer about one picture from its raw prediction, at any size."""
        values = self._plainly(raw_CHW[None, : len(self.mean)])[0]
        means: list[Json] = [round(float(one), 6) for one in values.mean(axis=(1, 2))]
        answer: dict[str, Json] = {"value": as_url(as_tiff(values)), "mean": means}
        if self.spread and "widths" in calibration:
            numbers, width = self._parts(raw_CHW[None])
            for side, sign in (("low", -1), ("high", 1)):
                end = self._plainly(numbers + sign * calibration["widths"] * width)[0]
                answer[side] = as_url(as_tiff(end))
        return answer

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        maps = generator.normal(5.0, 2.0, (rows, 1, 9, 10)).astype(np.float32)
        encoded = [None if generator.random() < 0.1 else as_tiff(one) for one in maps]
        return pa.chunked_array([pa.array(encoded, pa.binary())])


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation; 0 where one of the two never changes."""
    x, y = x - x.mean(), y - y.mean()
    both = math.sqrt(float((x**2).sum()) * float((y**2).sum()))
    return float((x * y).sum()) / both if both > 0 else 0.0


__all__ = ["PixelNumbers", "pearson"]
