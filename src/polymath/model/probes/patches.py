"""Linear head on a bank of whitened image patches: a strong cheap image model without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ...problem.form import Form
from .base import Facts, Fitted, Material, Probe


class PatchesProbe(Probe):
    """Coates & Ng 2011, 'The importance of encoding versus training with sparse coding and vector quantization'."""

    method: Literal["patches"] = "patches"
    filters: int = Field(default=400, ge=1)
    side: int = Field(default=6, ge=2)
    """Side of a patch in pixels; smaller images take smaller ones."""
    choose: Literal["random", "kmeans"] = "random"
    """Filters are training patches as they are, or the centres of their clusters."""
    cells: int = Field(default=2, ge=1)
    """Sums are pooled over cells x cells regions."""
    strengths: tuple[float, ...] = Field(default=(1e-4, 1e-3, 1e-2, 1e-1), min_length=1)
    """L2 penalties tried, relative to the mean variance; the fold's validation rows choose."""
    max_rows: int = Field(default=50_000, ge=1)

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(form.kind == "map" for form in ports.values())

    def work(self, facts: Facts) -> float:
        positions = sum(f.size[0] * f.size[1] * f.width for f in facts.ports.values() if f.kind == "map")
        features = 2 * self.filters * self.cells**2
        encode = facts.rows * positions * self.side**2 * self.filters
        return 1e-9 * (encode + facts.training_rows * features**2 + len(self.strengths) * features**3 / 3)

    def fit(self, material: Material) -> Fitted:
        raise NotImplementedError
