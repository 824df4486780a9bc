"""Boosted trees on the row port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ...problem.form import Form
from .base import Facts, Fitted, Material, Probe


class TreesProbe(Probe):
    """Gradient-boosted trees on histograms, stopped early on the fold's validation rows."""

    method: Literal["trees"] = "trees"
    learning_rate: float = Field(default=0.1, gt=0)
    max_leaf_nodes: int = Field(default=31, ge=2)
    min_samples_leaf: int = Field(default=20, ge=1)
    l2: float = Field(default=0.0, ge=0)
    max_features: float = Field(default=1.0, gt=0, le=1)
    """Share of the columns that each split may choose from."""
    max_iter: int = Field(default=300, ge=1)
    """Rounds of boosting at most."""
    patience: int = Field(default=20, ge=1)
    """Rounds without improvement on the validation rows before it stops."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return "row" in ports

    def work(self, facts: Facts) -> float:
        columns = facts.ports["row"].width if "row" in facts.ports else 1
        depth = max(self.max_leaf_nodes - 1, 1).bit_length()
        passes = depth * (1 + columns * self.max_features)
        return 1e-9 * self.max_iter * max(facts.width, 1) * (facts.training_rows * passes + 256 * columns * self.max_leaf_nodes)

    def fit(self, material: Material) -> Fitted:
        raise NotImplementedError
