"""What several probes share: targets as plain columns, gathered rows, linear heads as genes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from torch import Tensor

from ...problem.features.base import Feature
from ...problem.form import Form
from ..build import build
from ..layers import parse_layer
from ..path import INPUT, Gene, Path
from .base import Material

EVALUATION_ROWS = 512
"""Rows per batch when a stored path or a layer is only run."""
MOST_MAPS = 200
"""Rows that tell the best constant where every pixel is answered."""
WIDE = 256
MOSTLY_ZERO = 0.2
"""Features at least so wide with at most this share of nonzeros are kept sparse: a product costs what they hold."""


@dataclass(frozen=True)
class Goal:
    """One thing to fit: classes, a number, or one yes/no column of labels, for rows whose target is known."""

    kind: Literal["classes", "number", "binary"]
    output: str
    columns: tuple[int, ...]
    """Places in the raw prediction of the output that this goal fills."""
    values: np.ndarray
    """Target of every row of the dataset; codes for classes and binary."""
    known: np.ndarray
    """Whether the target is known, for every row."""

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` whose target is known."""
        chosen: np.ndarray = rows[self.known[rows]]
        return chosen


def goals(outputs: Mapping[str, Feature], targets: Mapping[str, np.ndarray]) -> list[Goal]:
    """All outputs as single goals, in a fixed order."""
    found = []
    for output, feature in outputs.items():
        target, width = np.asarray(targets[output]), feature.head_width
        if feature.averaged == "categories":
            codes = target.reshape(-1)
            found.append(Goal("classes", output, tuple(range(width)), codes, codes >= 0))
            continue
        matrix = target.reshape(len(target), -1).astype(np.float64)
        assert matrix.shape[1] == width, f"{output}: targets of width {matrix.shape[1]} for a head of width {width}"
        for column in range(width):
            known = np.isfinite(matrix[:, column]) & (matrix[:, column] <= 1 if feature.averaged == "labels" else True)
            kind: Literal["number", "binary"] = "binary" if feature.averaged == "labels" else "number"
            found.append(Goal(kind, output, (column,), matrix[:, column], known))
    return found


def gather(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """These rows of a memory-mapped array as an array in memory."""
    return np.ascontiguousarray(array[rows])


def start_values(material: Material) -> dict[str, np.ndarray]:
    """Best constant raw prediction [W] of every output on the training rows."""
    starts = {}
    for output, feature in material.outputs.items():
        rows = material.training
        if feature.answer.kind == "map":  # of as many pixels as pictures have a few hundred will do
            rows = rows[:: max(1, len(rows) // MOST_MAPS)]
        starts[output] = np.asarray(feature.constant(gather(material.targets[output], rows)), dtype=np.float32)
    return starts


def gene(name: str, description: Mapping[str, object], inputs: tuple[str, ...], weights: str | None) -> Gene:
    """A gene from the JSON description of its layer."""
    return Gene(name=name, layer=parse_layer(description), inputs=inputs, weights=weights)


def features_of(path: Path, gene_name: str, material: Material, rows: np.ndarray) -> Any:
    """What one gene of a path gives for these rows: float32 [N, D], or CSR where it is wide and mostly zero."""
    prefix = path.giving({"features": gene_name})
    if material.frozen is not None and all(gene.frozen for gene in prefix.genes):
        kept = gather(material.frozen(prefix, gene_name), rows)
        return kept.reshape(len(kept), int(np.prod(kept.shape[1:])))
    module = build(prefix, material.ports, fetch=material.fetch)
    module.eval()
    parts: list[Any] = []
    wide = False
    with torch.inference_mode():
        for start in range(0, max(len(rows), 1), EVALUATION_ROWS):
            part = rows[start : start + EVALUATION_ROWS]
            batch = {port: as_tensor(gather(material.inputs[port], part)) for port in path.ports}
            values = module(batch)["features"].flatten(1).float().numpy()
            if not start:
                wide = values.shape[1] >= WIDE and np.count_nonzero(values) < MOSTLY_ZERO * values.size
            parts.append(csr_array(values) if wide else values)
    return vstack(parts, format="csr") if wide else np.concatenate(parts)


def prepared(path: Path, material: Material, *, rows: int = 4096) -> Path:
    """The path with its fresh layers prepared on a sample of training rows, and their weights stored."""
    module = build(path, material.ports, fetch=material.fetch, seed=material.seed)
    random = np.random.default_rng(material.seed)
    chosen = material.training
    if len(chosen) > rows:
        chosen = np.sort(random.choice(chosen, rows, replace=False))
    module.prepare({port: as_tensor(gather(material.inputs[port], chosen)) for port in path.ports})
    genes = []
    for one in path.genes:
        weights = None if one.weights else module.weights(one.name)
        genes.append(one if weights is None else one.replace(weights=material.put(weights)))
    return path.replace(genes=tuple(genes))


def as_tensor(array: np.ndarray) -> Tensor:
    """An array of a port as torch takes it: unsigned ids become int64."""
    if array.dtype in (np.uint16, np.uint32):
        array = array.astype(np.int64)
    return torch.from_numpy(array)


def vector_ports(ports: Mapping[str, Form]) -> list[str]:
    """Ports of form vector, sorted."""
    return sorted(port for port, form in ports.items() if form.kind == "vector")


def port(name: str) -> str:
    """A gene input that names a port."""
    return INPUT + name
