"""A category that several raters graded, who disagree: every label is kept, and none is taken for the truth."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...spec import Json
from .. import metrics
from ..probability import log_sum_exp
from ..raters import ADJUDICATED, Judgement, agreement, counts, judge
from ._calibration import temperature
from .base import BadValue, Encoded, Metric
from .category import Category
from .common import Counted, counted, flat, key, shown

if TYPE_CHECKING:
    import torch

FEWEST_SETTLED = 20
"""Adjudicated rows that are enough to be the only ones that count in a score."""
MOST_JUDGED = 200_000
"""Rows by which raters are judged."""


class Graded(Category):
    """One of a few names, by several raters. Target: int64 [N, 1 + K], -1 = missing: adjudicated label, then raters'.

    The values are a struct for each row (`raters.gathered`); plain values are adjudicated labels. Scores compare with
    the adjudicated label where there are some, else with what is most likely true given all labels and how each rater
    errs (Dawid and Skene 1979). A raw prediction [B, C] learns as if one truth explains all labels of a row: what it
    says is weighed with who said what. One of C + K C C columns does the same with matrices of its own: log
    probabilities of what is true, then of what each rater says where each class is true. One of (1 + K) C columns holds
    log probabilities of what is true, then of what each rater will say, and learns from each label by itself.
    """

    type: Literal["graded"] = "graded"  # type: ignore[assignment]
    raters: tuple[str, ...] = ()
    """Columns of the raters."""
    prior: tuple[float, ...] = ()
    confusion: tuple[tuple[tuple[float, ...], ...], ...] = ()
    """For each rater and true class, how likely they say each class."""
    agreement: dict[str, float] = Field(default_factory=dict)
    """How far they agree on training rows (`raters.agreement`)."""

    can_be_input: ClassVar[bool] = False

    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Graded:
        columns = self._columns(values)
        classes = self._output_classes(_together(columns))
        named = self.replace(classes=classes, rare=False)
        codes = named.encode_target(values).array
        codes = codes[:: 1 + len(codes) // MOST_JUDGED]
        found = judge(codes[:, 1:], len(classes), truth_N=codes[:, 0])
        agreed = agreement(codes[:, 1:], self.raters, len(classes))
        if (settled := (codes[:, :1] >= 0) & (codes[:, 1:] >= 0)).any():
            for place, name in enumerate(self.raters):
                if (rows := settled[:, place]).any():
                    agreed[f"right {name}"] = float(np.mean(codes[rows, 0] == codes[rows, 1 + place]))
        return named.replace(
            prior=tuple(np.round(found.prior, 9).tolist()),
            confusion=tuple(tuple(map(tuple, one)) for one in np.round(found.confusion, 9).tolist()),
            agreement={name: round(value, 9) for name, value in agreed.items()},
        )

    def _columns(self, values: pa.ChunkedArray) -> list[pa.Array]:
        """Adjudicated labels, then those of each rater."""
        array = flat(values)
        if pa.types.is_struct(array.type) and ADJUDICATED in [field.name for field in array.type]:
            names = [ADJUDICATED, *(f"rater {number}" for number in range(len(self.raters)))]
            return [array.field(name) for name in names]
        return [array, *(pa.nulls(len(array), pa.string()) for _ in self.raters)]

    # As output ---------------------------------------------------------------------------------------------------
    def encode_target(self, values: pa.ChunkedArray) -> Encoded:
        codes, bad = [], dict[int, BadValue]()
        for column in self._columns(values):
            found = counted(column)
            codes.append(self._codes(found, offset=0, unknown=-1, missing=-1))
            for row in np.flatnonzero((codes[-1] < 0) & (found.codes >= 0)).tolist():
                value = shown(found.values[found.codes[row]])
                bad.setdefault(row, BadValue(row, value, "is not among the classes learned", missing=True))
        return Encoded(np.stack(codes, axis=1), tuple(bad[row] for row in sorted(bad)))

    def known(self, target: np.ndarray) -> np.ndarray:
        return np.asarray((_whole(target) >= 0).any(axis=1))

    def posterior(self, target: np.ndarray) -> np.ndarray:
        """How likely each class is the true one, [N, C]: certain where the row was adjudicated."""
        target = _whole(target)
        chance = self._judgement.posterior(target[:, 1:])
        settled = np.flatnonzero(target[:, 0] >= 0)
        chance[settled] = np.eye(self.head_width)[target[settled, 0]]
        return chance

    def votes(self, target: np.ndarray) -> np.ndarray:
        """What share of the labels of each row names each class, [N, C]; raters' labels, where there are any."""
        target = _whole(target)
        graded = counts(target[:, 1:], self.head_width)
        alone = np.flatnonzero(~graded.any(1))
        graded[alone] = counts(target[alone, :1], self.head_width)
        return np.asarray(graded / np.maximum(graded.sum(1, keepdims=True), 1))

    def single(self, target: np.ndarray) -> np.ndarray:
        return np.where(self.known(target), self.posterior(target).argmax(1), -1)

    def loss(self, prediction: torch.Tensor, target: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
        import torch

        width = self.head_width
        target = target.long().reshape(len(target), -1)
        known_B = (target >= 0).any(1)
        raters = target.shape[1] - 1
        if prediction.shape[1] == width:
            log_BC, log_KCC = prediction.float().log_softmax(1), self._log_confusion.to(target.device)
            return torch.where(known_B, _joint(log_BC, log_KCC, target, smoothing=smoothing), 0.0)
        if prediction.shape[1] == width + raters * width**2:
            log_BC, log_KCC = prediction[:, :width].float(), prediction[0, width:].float().view(raters, width, width)
            return torch.where(known_B, _joint(log_BC, log_KCC, target, smoothing=smoothing), 0.0)
        log_BJC = prediction.float().unflatten(1, (-1, width))
        each_BJ = -log_BJC.gather(2, target.clamp_min(0).unsqueeze(2)).squeeze(2)
        if smoothing:
            each_BJ = (1 - smoothing) * each_BJ - smoothing * log_BJC.mean(2)
        graded_BJ = target >= 0
        loss_B: torch.Tensor = (each_BJ * graded_BJ).sum(1) / graded_BJ.sum(1).clamp_min(1)
        return loss_B

    @cached_property
    def _log_confusion(self) -> torch.Tensor:
        """Logarithm of what each rater says where each class is true, as it was measured: [K, C, C]."""
        import torch

        return torch.from_numpy(np.log(self._judgement.confusion).astype(np.float32))

    @cached_property
    def _judgement(self) -> Judgement:
        confusion = np.asarray(self.confusion, dtype=np.float64).reshape(-1, self.head_width, self.head_width)
        return Judgement(np.maximum(np.asarray(self.prior), 1e-9), np.maximum(confusion, 1e-9))

    def constant(self, target: np.ndarray) -> np.ndarray:
        chance = self.posterior(target[self.known(target)]).sum(0) + 0.5  # absent from these rows: not impossible
        return np.asarray(np.log(chance / chance.sum()), dtype=np.float32)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (*super().metrics, Metric(name="votes_cross_entropy", greater_is_better=False))

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Against the truth as far as it is known; `votes_cross_entropy` against the shares of the raters' labels."""
        known = self.known(target)
        settled = known & (target[:, 0] >= 0)
        used = settled if settled.sum() >= min(FEWEST_SETTLED, max(known.sum(), 1)) else known
        found = metrics.category_scores(prediction[used], self.single(target[used]))
        logits = prediction[known].astype(np.float64)
        votes = self.votes(target[known])
        told = float(np.mean(log_sum_exp(logits) - (votes * logits).sum(1))) if len(votes) else float("nan")
        return {**found, "votes_cross_entropy": told}

    def calibrate(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Json]:
        """Temperature at which the probabilities come closest to those of the truth, given all labels."""
        known = self.known(target)
        logits, chance = prediction[known].astype(np.float64), self.posterior(target[known])

        def log_loss(inverse: float) -> float:
            return float(np.mean(log_sum_exp(logits * inverse) - (chance * logits).sum(1) * inverse))

        return {"temperature": temperature(log_loss) if len(logits) else 1.0}


def _joint(log_BC: torch.Tensor, log_KCC: torch.Tensor, target: torch.Tensor, *, smoothing: float) -> torch.Tensor:
    """How unlikely all labels of a row are together, [B]: one truth explains them, the adjudicated one if there is one.

    Raykar et al. (2010), 'Learning from crowds', equation 9. Its gradient is that of the cross-entropy with what is
    likely given the labels and what the net thinks of the row, so the net finds labels that are wrong as it learns.
    """
    label_BK = target[:, 1:]
    said_BKC = log_KCC.transpose(1, 2)[range(label_BK.shape[1]), label_BK.clamp_min(0)]
    whole_BC = log_BC + (said_BKC * (label_BK >= 0).unsqueeze(2)).sum(1)
    settled_B1 = target[:, :1].clamp_min(0)
    likely_B = whole_BC.gather(1, settled_B1).squeeze(1).where(target[:, 0] >= 0, whole_BC.logsumexp(1))
    loss_B: torch.Tensor = -(1 - smoothing) * likely_B - smoothing * log_BC.mean(1)
    return loss_B


def _whole(target: np.ndarray) -> np.ndarray:
    """Targets with a column for each label; those of one class each (`Graded.single`) count as adjudicated."""
    target = np.asarray(target)
    return target[:, None] if target.ndim == 1 else target


def _together(columns: list[pa.Array]) -> Counted:
    """The distinct values of several columns, by key, with how often all of them have each."""
    places: dict[str, int] = {}
    named: list[Any] = []
    number: list[int] = []
    for column in columns:
        found = counted(column)
        for value, count in zip(found.values, found.counts.tolist(), strict=True):
            place = places.setdefault(key(value), len(named))
            if place == len(named):
                named.append(value)
                number.append(0)
            number[place] += count
    return Counted(np.zeros(0, np.int64), named, np.asarray(number, dtype=np.int64))
