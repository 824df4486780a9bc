"""Nearest neighbours: a yardstick of how hard the problem is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ...problem.form import Form
from .base import Facts, Fitted, Material, Probe
from .linear import flat_width


class NearestProbe(Probe):
    """Votes of the nearest training rows among standardised columns or pixels. Gives no path: it would hold training rows."""

    method: Literal["nearest"] = "nearest"
    neighbours: tuple[int, ...] = Field(default=(1, 5, 15), min_length=1)
    """Numbers of neighbours tried; the fold's validation rows choose."""
    width: int = Field(default=64, ge=1)
    """Wider inputs are projected to so many directions of largest variance."""
    max_rows: int = Field(default=20000, ge=1)
    """Training rows kept at most, drawn at random."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(form.kind in ("vector", "map") for form in ports.values())

    def work(self, facts: Facts) -> float:
        width, kept = flat_width(facts.ports), min(facts.training_rows, self.max_rows)
        compared = (facts.rows - facts.training_rows) * kept * min(width, self.width)
        return 1e-9 * (compared + facts.rows * width * min(width, self.width))

    def fit(self, material: Material) -> Fitted:
        raise NotImplementedError
