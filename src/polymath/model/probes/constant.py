"""The cheapest head: the best constant prediction, which everything else must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ...problem.form import Form
from ..path import Path
from ._common import gene, port, start_values
from .base import Facts, Fitted, Material, Probe


class ConstantProbe(Probe):
    """Predicts the same for every row: class shares, the mean."""

    method: Literal["constant"] = "constant"

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return bool(ports)

    def work(self, facts: Facts) -> float:
        return 1e-9 * facts.rows * max(facts.width, 1)

    def fit(self, material: Material) -> Fitted:
        source = port(min(material.ports))
        genes, outputs = [], {}
        for place, (output, value) in enumerate(start_values(material).items()):
            name = f"constant{place}"
            description = {"kind": "constant", "width": len(value)}
            genes.append(gene(name, description, (source,), material.put({"value": value})))
            outputs[output] = name
        return Fitted(Path(genes=tuple(genes), outputs=outputs))
