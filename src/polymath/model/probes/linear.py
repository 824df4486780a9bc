"""Linear head on a row, on pixels or on the features of a stored path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from ...problem.form import Form
from ..path import Path
from ._common import features_of, gene, port, prepared
from ._heads import fit_heads
from ._solve import Matrix
from .base import Facts, Fitted, Material, Probe

WIDEST_PIXELS = 1024
"""Larger images are averaged down to about so many numbers."""


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
        path = material.path or raw_features(material)
        genes, outputs = list(path.genes), {}
        features: dict[str, tuple[Matrix, Matrix]] = {}
        for place, output in enumerate(material.outputs):
            source = path.outputs[output]
            if source not in features:
                rows = (material.training, material.validation)
                features[source] = tuple(features_of(path, source, material, part) for part in rows)
            one = replace(material, outputs={output: material.outputs[output]})
            heads = fit_heads(one, *features[source], strengths=self.strengths, max_iterations=self.max_iterations)
            weight, bias = heads[output]
            stored = material.put({"0.weight": np.ascontiguousarray(weight.T), "0.bias": bias})
            name = f"linear head {place}"
            genes.append(gene(name, {"kind": "linear", "width": len(bias)}, (source,), stored))
            outputs[output] = name
        return Fitted(Path(genes=tuple(genes), outputs=outputs))


def raw_features(material: Material) -> Path:
    """A path that gives every output the same features: all vectors one-hot, all pixels flat, side by side."""
    genes, parts = [], []
    for name, form in sorted(material.ports.items()):
        if form.kind == "vector":
            genes.append(gene(f"one-hot {name}", {"kind": "one_hot"}, (port(name),), None))
        elif form.kind == "map":
            side = max(int((WIDEST_PIXELS / form.width) ** 0.5), 1)
            genes.append(gene(f"pixels {name}", {"kind": "pixels"}, (port(name),), None))
            genes.append(gene(f"flat {name}", {"kind": "flatten", "side": side}, (f"pixels {name}",), None))
        else:
            continue
        parts.append(genes[-1].name)
    if len(parts) > 1:
        genes.append(gene("features", {"kind": "concat"}, tuple(parts), None))
        parts = ["features"]
    return prepared(Path(genes=tuple(genes), outputs={output: parts[0] for output in material.outputs}), material)


def flat_width(ports: Mapping[str, Form]) -> int:
    """Width of all vectors and maps as one vector, categories one-hot."""
    width = 0
    for form in ports.values():
        if form.kind == "vector":
            width += sum(max(n, 2) for n in form.categories) + 2 * max(form.width - len(form.categories), 0)
        elif form.kind == "map":
            width += min(form.width * form.size[0] * form.size[1], WIDEST_PIXELS)
    return max(width, 1)
