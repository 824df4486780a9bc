"""Averaged random trees on the row port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ...problem.form import Form
from .base import Facts, Fitted, Material, Probe


class ForestProbe(Probe):
    """Extremely randomised trees (Geurts, Ernst & Wehenkel 2006) or a random forest (Breiman 2001)."""

    method: Literal["forest"] = "forest"
    kind: Literal["extra", "random"] = "extra"
    num_trees: int = Field(default=100, ge=1)
    min_samples_leaf: int = Field(default=1, ge=1)
    max_features: float | None = Field(default=None, gt=0, le=1)
    """Share of the columns that each split may choose from; None = square root for categories, all for numbers."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return "row" in ports

    def work(self, facts: Facts) -> float:
        columns = facts.ports["row"].width if "row" in facts.ports else 1
        depth = max(facts.training_rows // self.min_samples_leaf, 2).bit_length()
        return 1e-9 * 4 * self.num_trees * facts.training_rows * depth * columns * (self.max_features or 0.5)

    def fit(self, material: Material) -> Fitted:
        raise NotImplementedError
