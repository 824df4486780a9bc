"""What every feature can do: the contract that `polymath.testing.check_feature` holds.

A feature is one typed column. It is described raw (`Number(name="age")`), then measured on training rows, which gives a
feature of the same type with its statistics filled in; everything that follows (encode, loss, decode) uses only the
measured description, so a stored task needs no training rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from ...spec import Json, Spec
from ..form import Form, vector

if TYPE_CHECKING:
    import pyarrow as pa
    import torch


@dataclass(frozen=True)
class BadValue:
    """A value that could not be used: `row` counts from 0 within the values given."""

    row: int
    value: str
    reason: str
    missing: bool = False
    """True: the value counts as missing and the row is still used. False: the row cannot be used."""


@dataclass(frozen=True)
class Encoded:
    """Values as an array, first axis = rows, and what could not be used."""

    array: np.ndarray
    bad: tuple[BadValue, ...] = ()


class Metric(Spec):
    """A score by name. `greater_is_better` tells the direction; `score` in the search is always higher-is-better."""

    name: str
    greater_is_better: bool = True


class Feature(Spec):
    """One typed column. Subclasses set `type` (a Literal) and are listed in `features/__init__.py`."""

    name: str = Field(min_length=1)
    """Name of the column, also the key of a prediction."""

    type: str
    """The word for this kind of feature in problem files; subclasses narrow it to a Literal with a default."""

    can_be_input: ClassVar[bool] = True
    can_be_output: ClassVar[bool] = False
    encoded_once: ClassVar[bool] = False
    """True: `encode` is slow and needs only what `sized` settles: the result is kept whatever folds and statistics."""
    most_measured: ClassVar[int] = 2_000_000
    """Rows, evenly spread, that are enough to measure an input: more would only fill memory."""
    generated: ClassVar[bool] = False
    """True: an answer is made part by part (`model.decode`), not in one pass; `shown` says what a path reads of it."""
    averaged: ClassVar[Literal["values", "categories", "labels"]] = "values"
    """What `combine` averages: raw values, softmax probabilities, or sigmoid probabilities."""

    @property
    @abstractmethod
    def is_measured(self) -> bool: ...

    @abstractmethod
    def measure(self, values: pa.ChunkedArray, *, as_output: bool = False) -> Feature:
        """This feature with statistics of `values` (never test rows). Raises BadInput when nothing can be learned."""

    def beside(self, inputs: Sequence[Feature]) -> Feature:
        """As an output, before it is measured: with what it may take over from measured inputs."""
        return self

    def aligned(self, raw: Feature, inputs: Sequence[Feature]) -> Feature:
        """As an output: an input before it is measured, with what it has to share with inputs measured before it."""
        return raw

    def sized(self, values: pa.ChunkedArray) -> Self:
        """This feature with its form settled, where `encoded_once`. May be asked with all rows, test rows too."""
        return self

    def with_statistics(self, array: np.ndarray) -> Self:
        """This sized feature with the statistics of training rows that were encoded before, where `encoded_once`."""
        raise TypeError(f"{type(self).__name__} is measured by raw values")

    # As input ----------------------------------------------------------------------------------------------------
    @property
    def form(self) -> Form:
        """Form of `encode`. Vector forms of all features are joined into port `row`; others are ports of their own."""
        raise TypeError(f"{type(self).__name__} cannot be an input")

    def encode(self, values: pa.ChunkedArray) -> Encoded:
        """Rows as the array of `form`: float32 [N, D], unsigned ids [N, T], uint8 [N, C, H, W]. Never raises."""
        raise TypeError(f"{type(self).__name__} cannot be an input")

    # As output ---------------------------------------------------------------------------------------------------
    @property
    def head_width(self) -> int:
        """Width W of the raw prediction [B, W] that a path must give for this output: its classes, where it has any."""
        raise TypeError(f"{type(self).__name__} cannot be an output")

    @property
    def answer(self) -> Form:
        """Form of the raw prediction that a path must give. Tokens are given as a plain tensor [B, T, W]."""
        return vector(self.head_width)

    @property
    def shown(self) -> Form | None:
        """Form of the encoded target at a port of its own, for paths that read the answer while they train.

        None: no path sees it. A layer that predicts a part of the answer must not see that part: it shifts by itself.
        """
        return None

    def encode_target(self, values: pa.ChunkedArray) -> Encoded:
        """Targets: numbers float32 [N] (NaN = missing), categories int64 [N] (-1 = missing), labels uint8 [N, W] (255).

        `loss`, `constant` and `scores` leave missing ones out.
        """
        raise TypeError(f"{type(self).__name__} cannot be an output")

    def known(self, target: np.ndarray) -> np.ndarray:
        """Which targets are not missing, bool [N]."""
        raise TypeError(f"{type(self).__name__} cannot be an output")

    def tuned(self, settings: Mapping[str, float]) -> Feature:
        """This feature with settings of its loss that a recipe chose; one whose loss has none stays as it is."""
        return self

    def single(self, target: np.ndarray) -> np.ndarray:
        """Targets as a cheap head takes them: one number or class for each row, or 0 and 1 for each label."""
        return target

    def loss(self, prediction: torch.Tensor, target: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
        """Loss per example [B], 0 where the target is missing."""
        raise TypeError(f"{type(self).__name__} cannot be an output")

    def kept(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """What is kept of raw predictions whose truth is known, to be scored, combined and calibrated: [B, ...]."""
        return prediction

    def constant(self, target: np.ndarray) -> np.ndarray:
        """Best constant raw prediction [W] for these targets."""
        raise TypeError(f"{type(self).__name__} cannot be an output")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics that `scores` gives, the default first."""
        return ()

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Metric name -> value for raw predictions as `kept`; rows with a missing target are left out."""
        raise TypeError(f"{type(self).__name__} cannot be an output")

    def said_scores(self, answers: Sequence[Mapping[str, Any]], values: pa.ChunkedArray) -> dict[str, float]:
        """Metric name -> value for what was said about rows with these raw values: what only whole answers tell."""
        return {}

    def combine(self, predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        """Weighted mean of raw predictions, averaged where it makes sense (probabilities, values) and returned raw."""
        raise TypeError(f"{type(self).__name__} cannot be an output")

    def calibrate(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Json]:
        """Settings fitted on validation rows that make `decode` honest: a temperature, interval half-widths."""
        return {}

    def wider(self, values: pa.ChunkedArray) -> tuple[Feature, Sequence[Any]]:
        """This measured target with the classes of further values behind its own, and those that it did not know."""
        return self, ()

    def calibrated(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> np.ndarray:
        """Raw predictions as `decode` takes them: `scores` of these are the scores of what the user is told."""
        return prediction

    def decode(self, prediction: np.ndarray, calibration: Mapping[str, Any]) -> list[dict[str, Json]]:
        """One dictionary per row with at least `value`; categories add `probabilities`, numbers `low` and `high`."""
        raise TypeError(f"{type(self).__name__} cannot be an output")

    # For the contract kit ----------------------------------------------------------------------------------------
    @abstractmethod
    def random_values(self, rows: int, generator: np.random.Generator) -> pa.ChunkedArray:
        """Plausible raw values, some missing, so that the kit can test the feature without data."""
