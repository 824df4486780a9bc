"""What every cheap head can do: fit on one fold of a dataset within seconds and give an ordinary path with weights.

A probe is its own recipe: a spec whose fields are its settings. It fits with scikit-learn or linear algebra; what is
kept are tensors of our own layers, so a probe is stored, served and exported like any other path.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import Field, model_serializer

from ...problem.features.base import Feature
from ...problem.form import Form
from ...problem.subwords import Pieces
from ...spec import Spec
from ..path import Path

STILL = (0, 0)
"""A picture as it is: moved by no step down and none to the right (see `copies`)."""


class Frozen(Protocol):
    """What a frozen gene of a path gives for all rows [N, ...] of a dataset, its pictures moved to a place."""

    def __call__(self, path: Path, gene: str, *, moved: tuple[int, int] = STILL) -> np.ndarray: ...


class Facts(Spec):
    """Sizes of a dataset: what the work of a job depends on, known before it runs."""

    rows: int
    """Rows that are not test rows."""
    ports: dict[str, Form]
    outputs: dict[str, int]
    """Output name -> width of its raw prediction."""
    num_folds: int = 5

    @property
    def width(self) -> int:
        """Width of all raw predictions together."""
        return sum(self.outputs.values())

    @property
    def training_rows(self) -> int:
        """Rows to train on when one fold is held out."""
        return self.rows - self.rows // max(self.num_folds, 2)


@dataclass(frozen=True)
class Material:
    """One fold as a probe sees it: arrays of all rows, and which of them it may use. Test rows are in neither index."""

    ports: Mapping[str, Form]
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, Feature]
    targets: Mapping[str, np.ndarray]
    training: np.ndarray
    """Row indices to fit on."""
    validation: np.ndarray
    """Row indices for early stopping and the choice of strengths."""
    seed: int
    threads: int
    put: Callable[[dict[str, np.ndarray]], str]
    """Puts tensors into the scratch store and gives their address."""
    fetch: Callable[[str], Mapping[str, np.ndarray]]
    """Tensors at an address."""
    vocabularies: Mapping[str, Pieces] = field(default_factory=dict)
    """Port -> what its texts were cut by, for heads that read letters."""
    weights: np.ndarray | None = None
    """How much each row of the dataset counts, mean 1; None = all the same."""
    path: Path | None = None
    """Stored path whose outputs are the features to put a head on; None = the raw ports."""
    frozen: Frozen | None = None
    """What frozen genes give, from a cache; None = it is computed each time."""
    memory_bytes: int | None = None
    deadline: float | None = None
    """`time.monotonic()` at which to be done; None = work alone decides."""


@dataclass(frozen=True)
class Fitted:
    """What a probe gives for one fold: a path with weights, or raw predictions alone where no path may be kept."""

    path: Path | None = None
    predictions: Mapping[str, np.ndarray] | None = None
    """Output -> raw predictions [validation rows, W]; only of a probe that gives no path."""


class Probe(Spec):
    """A cheap head with its settings. Subclasses set `method` (a Literal) and are listed in `probes/__init__.py`."""

    method: str
    copies: int = Field(default=1, ge=1, le=9)
    """Of every training row, its pictures moved: for heads on a stored path alone (see `copies`)."""

    gives: ClassVar[frozenset[str]] = frozenset({"vector"})
    """Kinds of answers (see `Feature.answer`) that its path can give."""
    added: ClassVar[Mapping[str, object]] = {"copies": 1}
    """Settings of later releases, and the values at which they are left out: earlier recipes keep their digests."""

    @abstractmethod
    def suits(self, ports: Mapping[str, Form]) -> bool:
        """Does it take any of these ports?"""

    @abstractmethod
    def fit(self, material: Material) -> Fitted:
        """Fit on one fold. Raises MemoryError when it does not fit; never touches other rows than it was given."""

    @abstractmethod
    def work(self, facts: Facts) -> float:
        """Work units (giga multiply-adds) of `fit` on one fold, by formula."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: Callable[[Probe], dict[str, Any]]) -> dict[str, Any]:
        """As earlier releases wrote it, where it says nothing that they could not say."""
        return {
            name: value for name, value in dump(self).items() if name not in self.added or value != self.added[name]
        }
