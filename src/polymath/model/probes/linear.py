"""Linear head on a row, on pixels or on the features of a stored path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ...problem.form import Form
from .base import Facts, Fitted, Material, Probe


class LinearProbe(Probe):
    """Logistic or ridge regression on standardised numbers, one-hot categories and flags for what is missing."""

    method: Literal["linear"] = "linear"
    strengths: tuple[float, ...] = Field(default=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1), min_length=1)
    """L2 penalties tried, per row; the fold's validation rows choose."""
    max_iterations: int = Field(default=100, ge=1)

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(form.kind in ("vector", "map") for form in ports.values())

    def work(self, facts: Facts) -> float:
        passes = 2.0 * len(self.strengths) * self.max_iterations / 2
        return 1e-9 * passes * facts.training_rows * flat_width(facts.ports) * max(facts.width, 1)

    def fit(self, material: Material) -> Fitted:
        raise NotImplementedError


def flat_width(ports: Mapping[str, Form]) -> int:
    """Width of all vectors and maps as one vector, categories one-hot."""
    width = 0
    for form in ports.values():
        if form.kind == "vector":
            width += sum(max(n, 2) for n in form.categories) + 2 * max(form.width - len(form.categories), 0)
        elif form.kind == "map":
            width += form.width * form.size[0] * form.size[1]
    return max(width, 1)
