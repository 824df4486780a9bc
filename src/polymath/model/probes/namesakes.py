"""What a stored task says about classes of the same names, as sure as the few examples find it right to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from scipy.special import log_softmax

from ...problem.form import Form
from ..path import Path
from ._common import features_of, gene
from .base import Facts, Fitted, Material, Probe
from .linear import flat_width

SCALES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Of the stored answers: less than one, for the rows are of another task."""


class NamesakesProbe(Probe):
    """Stored log probabilities of the classes (see `layers.Namesakes`) times one number: nothing else is learned.

    So rows to learn from judge it nearly as well as rows held out, and one example of each class is enough.
    """

    method: Literal["namesakes"] = "namesakes"

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return False  # it needs a stored path

    def work(self, facts: Facts) -> float:
        return 1e-9 * facts.rows * len(SCALES) * flat_width(facts.ports)

    def fit(self, material: Material) -> Fitted:
        assert material.path is not None
        genes, outputs = list(material.path.genes), {}
        for place, (output, source) in enumerate(material.path.outputs.items()):
            answers = np.asarray(features_of(material.path, source, material, material.training), dtype=np.float64)
            codes = np.asarray(material.targets[output]).reshape(-1)[material.training]
            answers, codes = answers[codes >= 0], codes[codes >= 0]
            losses = {scale: -log_softmax(scale * answers, axis=1)[np.arange(len(codes)), codes] for scale in SCALES}
            scale = min(losses, key=lambda one: float(losses[one].mean()))
            weight = np.float32(scale) * np.eye(answers.shape[1], dtype=np.float32)
            stored = material.put({"0.weight": weight, "0.bias": np.zeros(len(weight), np.float32)})
            name = f"namesakes head {place}"
            genes.append(gene(name, {"kind": "linear", "width": len(weight)}, (source,), stored))
            outputs[output] = name
        return Fitted(Path(genes=tuple(genes), outputs=outputs))
