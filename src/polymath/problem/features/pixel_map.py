"""A class for every pixel: what each part of a picture is.

Axes: N rows, C classes, H height, W width, P pixels kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from pydantic import Field

from ...spec import Json
from ..probability import log_sum_exp, softmax
from ._masks import COLOUR, as_mask, as_url, coloured, laid, raw_masks, read_values
from ._pictures import NoPicture
from ._pixels import PixelTarget, everywhere, spread_out
from .base import BadValue, Encoded, Metric

if TYPE_CHECKING:
    from torch import Tensor

VOID = 255
"""Code of a pixel that neither teaches nor judges."""
MOST_CLASSES = 250
DEEPEST = 65_535
"""Greatest grey value of a mask that is answered."""
VOID_NAMES = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "unknown", "don't care", "dontcare")
STRAY = 1e-4
"""Share of the pixels of new masks from which a value that is no class yet is one; rarer ones are void."""
MOST_RAISED = 100_000
"""Pixels by which is found what each class is raised by."""
RAISES = (1.0, 0.3, 0.1)
"""Steps of it, in log odds."""
LEAST_GAIN = 1e-3
"""Of the mean IoU on rows that it was not found on: less is not worth it."""
HALVES = 0.1
"""Shares of classes in the upper and lower halves that differ by more show which way is up."""


class PixelMap(PixelTarget):
    """A class per pixel. Target: uint8 [N, H, W], 255 = void; raw prediction [N, C, H, W]; kept [N, C, P]."""

    type: Literal["pixel_map"] = "pixel_map"
    values: tuple[int, ...] = ()
    """What stands for each class in a mask: a grey value, the index of a palette, or a colour. Empty = as found."""
    names: tuple[str, ...] = ()
    """Of the classes; empty = their values."""
    void: tuple[int, ...] = ()
    """Values that are no class. 255 is void too, where it is not one of just two values."""
    parts: tuple[str, ...] = ()
    """Classes of masks that are one file per class."""
    overlap: float = Field(default=0.5, ge=0)
    """Weight of the Dice loss beside cross-entropy (Milletari et al. 2016, arXiv:1606.04797, as nnU-Net adds them)."""
    rare: float = Field(default=0.5, ge=0, le=1)
    """Classes count by this power of their rareness: 0 = pixels count alike, 1 = classes do."""
    shares: tuple[float, ...] = ()
    """Measured: share of each class among the known pixels."""

    averaged: ClassVar[Literal["values", "categories", "labels"]] = "categories"

    @property
    def is_measured(self) -> bool:
        return bool(self.shares)

    @property
    def head_width(self) -> int:
        return len(self.values)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the channels."""
        return self.names or tuple(colour_name(value) for value in self.values)

    # Measuring ---------------------------------------------------------------------------------------------------
    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> PixelMap:
        canvas = self.on_canvas(values)
        if not self.parts and (parts := part_names(values)):
            return self.replace(parts=parts).measure(values, as_output=as_output)
        counts: dict[int, np.ndarray] = {}
        found, bad = self._each(values, self._halves)
        for one in found:
            for value, halves in (one or {}).items():
                counts[value] = counts.get(value, np.zeros(2)) + halves
        if not counts:
            first = f": {bad[0].value} {bad[0].reason}" if bad else ""
            raise self.refuse(f"no mask can be read{first}")
        if not self.values and max(counts) >= COLOUR:
            plain, counts = counts, {}
            for value, halves in plain.items():
                colour = int(coloured(np.asarray(value)))
                counts[colour] = counts.get(colour, np.zeros(2)) + halves
        settled = self._settled(counts)
        both = np.stack([counts.get(value, np.zeros(2)) for value in settled.values])  # [C, upper and lower]
        total = both.sum(0)
        if (both.sum(1) > 0).sum() < 2:
            raise self.refuse("all pixels of all masks are of one class, so there is nothing to learn")
        apart = np.abs(both / np.maximum(total, 1)).dot([1, -1])
        return settled.replace(
            **canvas,
            shares=tuple((both.sum(1) / total.sum()).round(9).tolist()),
            upright=self.upright or bool(np.abs(apart).sum() / 2 > HALVES),
        )

    def _read(self, item: Any) -> np.ndarray:
        """Values of a mask, int64 [h, w]: grey ones as colours, where all classes are colours. Raises NoPicture."""
        values = read_values(item, parts=self.parts)
        if ((values > DEEPEST) & (values < COLOUR)).any():
            raise NoPicture(f"holds values above {DEEPEST:,}, which no mask can be written with")
        return coloured(values) if min((*self.values, *self.void), default=0) >= COLOUR else values

    def _halves(self, item: Any) -> dict[int, np.ndarray]:
        """Value -> pixels in the upper and in the lower half."""
        values = self._read(item)
        middle = values.shape[0] // 2
        result: dict[int, np.ndarray] = {}
        for place, part in enumerate((values[:middle], values[middle:])):
            for value, count in zip(*np.unique(part, return_counts=True), strict=True):
                result.setdefault(int(value), np.zeros(2))[place] += count
        return result

    def _settled(self, counts: Mapping[int, np.ndarray]) -> PixelMap:
        """Classes and void values: as given, else those that there are."""
        if len(self.values) > MOST_CLASSES:
            raise self.refuse(f"{len(self.values):,} classes are named, and {MOST_CLASSES} are possible")
        if self.values:
            return self
        if self.parts:
            return self.replace(values=tuple(range(len(self.parts) + 1)), names=("background", *self.parts))
        there = sorted(value for value in counts if value >= 0 and value not in self.void)
        void = self.void
        if len(there) > 2 and 255 in there:
            void, there = (*void, 255), [value for value in there if value != 255]
        if len(there) > MOST_CLASSES:
            raise self.refuse(
                f"the masks hold {len(there):,} different values, and {MOST_CLASSES} classes are possible"
            )
        if len(there) < 2:
            raise self.refuse("all pixels of all masks are of one class, so there is nothing to learn")
        return self.replace(values=tuple(there), void=void)

    def wider(self, values: pa.ChunkedArray) -> tuple[PixelMap, Sequence[str]]:
        """See `Feature.wider`.

        A value that is rarer than `STRAY` in them is no class: masks that were shrunk with blurred edges hold many.
        """
        more = (name for name in part_names(values) if name not in self.parts) if self.parts else ()
        wide = self.replace(parts=(*self.parts, *more))
        found, _ = wide._each(values, wide._halves)
        counts: dict[int, float] = {}
        void = {*self.void, *(() if 255 in self.values else (255,))}
        for one in found:
            for value, halves in (one or {}).items():
                if value >= 0 and value not in void:
                    counts[value] = counts.get(value, 0.0) + float(halves.sum())
        least = STRAY * sum(counts.values())
        new = sorted(value for value, count in counts.items() if value not in self.values and count >= least)
        if not new or len(self.values) + len(new) > MOST_CLASSES:
            return self, ()
        shares = [counts[value] / sum(counts.values()) for value in new]
        names = (wide.parts[value - 1] if wide.parts else colour_name(value) for value in new)
        wider = wide.replace(
            values=(*self.values, *new),
            names=(*self.names, *names) if self.names else (),
            shares=tuple(np.asarray([*(one * (1 - sum(shares)) for one in self.shares), *shares]).round(9).tolist()),
        )
        return wider, wider.classes[self.head_width :]

    # Targets -----------------------------------------------------------------------------------------------------
    def encode_target(self, values: pa.ChunkedArray) -> Encoded:
        canvas = self.canvas
        result = np.full((len(values), canvas.height, canvas.width), VOID, dtype=np.uint8)
        found, bad = self._each(values, self.codes)
        strange: list[BadValue] = []
        for row, one in enumerate(found):
            if one is None:
                continue
            codes, others = one
            result[row] = laid(codes, canvas, fill=VOID)
            if others:
                reason = f"mask values that are no class ({', '.join(map(colour_name, others[:3]))}) count as void"
                strange.append(BadValue(row, "", reason, missing=True))
            elif not (codes != VOID).any():
                strange.append(BadValue(row, "", "the mask is empty: all of it is void", missing=True))
        return Encoded(result, tuple(sorted([*bad, *strange], key=lambda one: one.row)))

    def codes(self, item: Any) -> tuple[np.ndarray, list[int]]:
        """A mask as codes uint8 [h, w] at its own size, and the values in it that are no class. Raises NoPicture."""
        values = self._read(item)
        there, place = np.unique(values, return_inverse=True)
        by_value = {value: code for code, value in enumerate(self.values)}
        table = np.array([by_value.get(int(value), VOID) for value in there], dtype=np.uint8)
        void = {*self.void, *(() if 255 in self.values else (255,))}
        others = [int(value) for value in there if int(value) not in by_value and int(value) not in void]
        return table[place.reshape(values.shape)], others

    def holds(self, target: np.ndarray) -> np.ndarray:
        return np.asarray(target != VOID)

    # Learning ----------------------------------------------------------------------------------------------------
    def tuned(self, settings: Mapping[str, float]) -> PixelMap:
        """This feature with another loss: `overlap` and `rare`."""
        return self.replace(**settings) if settings else self

    def loss(self, prediction: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy over the known pixels of a picture plus `overlap` times one minus the Dice of the batch."""
        prediction = everywhere(prediction, target)
        known = target != VOID
        codes = target.masked_fill(~known, 0).long()
        weight = torch.from_numpy(self.class_weights).to(prediction)
        cross = F.cross_entropy(prediction, codes, weight=weight, label_smoothing=smoothing, reduction="none")
        places = tuple(range(1, cross.dim()))
        count = known.sum(places)
        loss: Tensor = (cross * known).sum(places) / count.clamp_min(1)
        if self.overlap:
            loss = loss + self.overlap * self._dice_loss(prediction, codes, known) * (count > 0)
        return loss

    def _dice_loss(self, prediction: Tensor, codes: Tensor, known: Tensor) -> Tensor:
        share = prediction.softmax(1) * known[:, None]
        truth = torch.zeros_like(share).scatter_(1, codes[:, None], 1.0) * known[:, None]
        axes = (0, *range(2, prediction.dim()))
        both = 2 * (share * truth).sum(axes) + 1.0
        dice: Tensor = both / ((share + truth).sum(axes) + 1.0)
        return 1 - dice.mean()

    @property
    def class_weights(self) -> np.ndarray:
        """What a pixel of each class counts, mean 1 over the pixels; none counts more than 20 times the mean."""
        share = np.maximum(np.asarray(self.shares), 1e-6)
        weight = np.minimum(share**-self.rare, 20 * (share ** (1 - self.rare)).sum())
        return np.asarray(weight / (weight * share).sum(), dtype=np.float32)

    def constant(self, target: np.ndarray) -> np.ndarray:
        counts = np.bincount(target.reshape(-1), minlength=256)[: self.head_width].astype(np.float64)
        true = torch.from_numpy((counts + 1e-3) / (counts + 1e-3).sum())
        weighed = true * torch.from_numpy(self.class_weights)
        logits = (weighed / weighed.sum()).log().requires_grad_()  # right for cross-entropy alone
        rule = torch.optim.LBFGS([logits], max_iter=50, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            rule.zero_grad()
            share = logits.softmax(0)
            dice = (2 * share * true / (share + true)).mean()
            found: Tensor = -(weighed * logits.log_softmax(0)).sum() - self.overlap * dice
            found.backward()
            return found

        rule.step(loss)
        return np.asarray(logits.detach().log_softmax(0).numpy(), dtype=np.float32)

    # Scores ------------------------------------------------------------------------------------------------------
    @property
    def metrics(self) -> tuple[Metric, ...]:
        names = ["mean_iou", "accuracy", "dice", *(["f1"] if self.head_width == 2 or not self.values else [])]
        return (*(Metric(name=name) for name in names), Metric(name="log_loss", greater_is_better=False))

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        places = self.judges(target)
        truth = np.take_along_axis(target.reshape(len(target), target.shape[1] * target.shape[2]), places, 1)
        known = truth != VOID
        if not known.any():
            return {metric.name: math.nan for metric in self.metrics}
        given = np.moveaxis(spread_out(prediction, truth.shape[1]), 1, -1)[known]
        codes = truth[known].astype(np.int64)
        counts = confusion(given.argmax(1), codes, self.head_width)
        given = given.astype(np.float64)
        loss = float(np.mean(log_sum_exp(given) - given[np.arange(len(codes)), codes]))
        return {**self._from_counts(counts), "log_loss": loss}

    def _from_counts(self, counts: np.ndarray) -> dict[str, float]:
        right, said, true = counts.diagonal(), counts.sum(0), counts.sum(1)
        touched = (said + true) > 0
        each = iou(counts)
        found = {
            "mean_iou": float(np.nanmean(each)),
            "accuracy": float(right.sum() / max(counts.sum(), 1)),
            "dice": float(np.mean(2 * right[touched] / (said + true)[touched])),
        }
        if self.head_width == 2:
            found["f1"] = float(2 * right[1] / max(said[1] + true[1], 1))
        return found

    def said_scores(self, answers: Sequence[Mapping[str, Any]], values: pa.ChunkedArray) -> dict[str, float]:
        """Scores over every pixel of every picture at its own size, and `iou CLASS` of each class."""
        counts = np.zeros((self.head_width, self.head_width), dtype=np.int64)
        for _, one in self.compared(answers, values):
            counts += one
        if not counts.any():
            return {}
        each = {f"iou {name}": float(one) for name, one in zip(self.classes, iou(counts), strict=True)}
        return {**self._from_counts(counts), **{name: one for name, one in each.items() if math.isfinite(one)}}

    def compared(self, answers: Sequence[Mapping[str, Any]], values: pa.ChunkedArray) -> list[tuple[int, np.ndarray]]:
        """(row, pixels [true class, said class]) of every row whose answer and truth have one size."""
        pairs = [None if not isinstance(one.get("value"), str) else str(one["value"]) for one in answers]
        said, _ = self._each(pa.chunked_array([pa.array(pairs, pa.string())]), self.codes)
        true, _ = self._each(values, self.codes)
        found = []
        for row, (mine, theirs) in enumerate(zip(said, true, strict=True)):
            if mine is not None and theirs is not None and mine[0].shape == theirs[0].shape:
                known = (theirs[0] != VOID) & (mine[0] != VOID)
                codes = theirs[0][known].astype(np.int64)
                found.append((row, confusion(mine[0][known].astype(np.int64), codes, self.head_width)))
        return found

    def combine(self, predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        shares = [softmax(np.moveaxis(one.astype(np.float64), 1, -1)) for one in predictions]
        mean = np.average(np.stack(shares), axis=0, weights=weights)
        return np.asarray(np.moveaxis(np.log(np.maximum(mean, 1e-12)), -1, 1), dtype=np.float32)

    # Answers -----------------------------------------------------------------------------------------------------
    def calibrate(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Json]:
        """What each class is raised by, in log odds, so that the mean IoU is greatest: argmax serves accuracy alone.

        Found by trying steps class by class on the pixels that judge. It is kept if what half of the rows find makes
        the other half better too.
        """
        places = self.judges(target)
        truth = np.take_along_axis(target.reshape(len(target), target.shape[1] * target.shape[2]), places, 1)
        given = np.moveaxis(spread_out(prediction, truth.shape[1]), 1, -1)
        thin = slice(None, None, max(1, truth.size // MOST_RAISED))
        rows = np.arange(len(truth)) % 2
        gain = 0.0
        for half in (0, 1):
            mine, other = (self._pixels_of(given[rows == n], truth[rows == n], thin) for n in (half, 1 - half))
            if not len(mine[1]) or not len(other[1]):
                return {}
            gain += self._miou(*other, self._raised(*mine)) - self._miou(*other, np.zeros(self.head_width))
        if gain < 2 * LEAST_GAIN:
            return {}
        return {"raised": self._raised(*self._pixels_of(given, truth, thin)).tolist()}

    def _pixels_of(self, given: np.ndarray, truth: np.ndarray, thin: slice) -> tuple[np.ndarray, np.ndarray]:
        """Known pixels, thinned out: raw predictions [pixels, C] and their classes."""
        known = truth != VOID
        return given[known][thin].astype(np.float32), truth[known][thin].astype(np.int64)

    def _miou(self, given: np.ndarray, truth: np.ndarray, raised: np.ndarray) -> float:
        return float(np.nanmean(iou(confusion((given + raised).argmax(1), truth, self.head_width))))

    def _raised(self, given: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """By how much each class is to be raised for the greatest mean IoU of these pixels, float64 [C]."""
        raised = np.zeros(self.head_width)
        best = self._miou(given, truth, raised)
        for step in RAISES:
            for code in range(1 if self.head_width == 2 else 0, self.head_width):
                for sign in (-1, 1):
                    while (found := self._miou(given, truth, _with(raised, code, sign * step))) > best:
                        best, raised = found, _with(raised, code, sign * step)
        return raised

    def calibrated(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> np.ndarray:
        given = calibration.get("raised")
        if given is None:
            return prediction
        raised = np.zeros(self.head_width, dtype=np.float32)
        raised[: len(given)] = given  # what was settled before a refresh added classes raises none of these
        return prediction + raised.reshape(-1, *[1] * (prediction.ndim - 2))

    def decode(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> list[dict[str, Json]]:
        """Per row the mask as the data URL of a PNG file, the share of each class in it, and the mean confidence.

        The file holds what masks of this column hold: the same grey values, palette indices or colours.
        """
        return [self.said(one, calibration) for one in prediction]

    def said(self, raw_CHW: np.ndarray, calibration: Mapping[str, Any]) -> dict[str, Json]:
        """The answer about one picture from its raw prediction, at any size."""
        codes = self.calibrated(raw_CHW[None], calibration)[0].argmax(0)
        counts = np.bincount(codes.ravel(), minlength=self.head_width) / codes.size
        confidence = np.exp(raw_CHW.max(0) - log_sum_exp(np.moveaxis(raw_CHW.astype(np.float32), 0, -1)))
        named = zip(self.classes, counts.tolist(), strict=True)
        shares: dict[str, Json] = {name: round(one, 6) for name, one in named if one > 0}
        return {
            "value": as_url(as_mask(np.asarray(self.values, dtype=np.int64)[codes])),
            "shares": shares,
            "confidence": round(float(confidence.mean()), 6),
        }

    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        masks = generator.integers(0, 3, (rows, 4, 5)).repeat(3, axis=1).repeat(3, axis=2)
        encoded = [None if generator.random() < 0.1 else as_mask(mask) for mask in masks]
        return pa.chunked_array([pa.array(encoded, pa.binary())])


def _with(raised: np.ndarray, code: int, more: float) -> np.ndarray:
    raised = raised.copy()
    raised[code] += more
    return raised


def part_names(values: pa.ChunkedArray) -> tuple[str, ...]:
    """Names of the classes where every mask is one file per class; () for other columns."""
    kind = values.type
    if not pa.types.is_map(kind):
        return ()
    return tuple(sorted({str(pair[0]) for one in raw_masks(values) if one for pair in one}))


def confusion(said: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by true class (rows) and by the class that was said (columns)."""
    return np.asarray(np.bincount(true * classes + said, minlength=classes * classes).reshape(classes, classes))


def iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN where a class is neither there nor said."""
    both = counts.sum(0) + counts.sum(1) - counts.diagonal()
    return np.asarray(np.divide(counts.diagonal(), both, out=np.full(len(counts), np.nan), where=both > 0))


def colour_name(value: int) -> str:
    """A mask value for people: colours as #rrggbb."""
    return f"#{value - COLOUR:06x}" if value >= COLOUR else str(value)


__all__ = ["VOID", "PixelMap", "confusion", "iou"]
