"""The cheapest head: the best constant prediction, which everything else must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ...problem.form import Form
from .base import Facts, Fitted, Material, Probe


class ConstantProbe(Probe):
    """Predicts the same for every row: class shares, the mean."""

    method: Literal["constant"] = "constant"

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return bool(ports)

    def work(self, facts: Facts) -> float:
        return 1e-9 * facts.rows * max(facts.width, 1)

    def fit(self, material: Material) -> Fitted:
        raise NotImplementedError
