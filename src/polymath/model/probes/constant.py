"""The cheapest head: the best constant prediction, which everything else must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from ...problem.form import Form
from ..path import Gene, Path
from ._common import gene, port, start_values
from .base import Facts, Fitted, Material, Probe


class ConstantProbe(Probe):
    """Predicts the same for every row: class shares, the mean."""

    method: Literal["constant"] = "constant"
    gives: ClassVar[frozenset[str]] = frozenset({"vector", "map"})

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return bool(ports)

    def work(self, facts: Facts) -> float:
        return 1e-9 * facts.rows * max(facts.width, 1)

    def fit(self, material: Material) -> Fitted:
        source = port(min(material.ports))
        genes: list[Gene] = []
        outputs = {}
        for place, (output, value) in enumerate(start_values(material).items()):
            name = f"constant{place}"
            if material.outputs[output].answer.kind == "map":
                genes += _everywhere(name, value, material)
                outputs[output] = name
                continue
            description = {"kind": "constant", "width": len(value)}
            genes.append(gene(name, description, (source,), material.put({"value": value})))
            outputs[output] = name
        return Fitted(Path(genes=tuple(genes), outputs=outputs))


def _everywhere(name: str, value: np.ndarray, material: Material) -> list[Gene]:
    """The same at every pixel: a linear map of what is seen there, whose weights are zero."""
    picture = next(one for one, form in sorted(material.ports.items()) if form.kind == "map")
    seen = gene(f"{name}.seen", {"kind": "local_filters", "levels": 1}, (port(picture),), None)
    width = seen.layer.form(material.ports[picture]).width
    weight = np.zeros((len(value), width, 1, 1), dtype=np.float32)
    stored = material.put({"linear.weight": weight, "linear.bias": np.asarray(value, dtype=np.float32)})
    head = gene(name, {"kind": "per_pixel", "width": len(value)}, (seen.name, port(picture)), stored)
    return [seen, head]
