"""More classes: the head of a learned path is widened, its old rows of weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..problem.form import Form
from .build import Fetch, get_weights
from .path import INPUT, Path

BELOW = 3.0
"""A class that is new begins so far below the least likely old one (in log odds): no answer changes before training."""


def widened(
    path: Path,
    widths: Mapping[str, tuple[int, int]],
    ports: Mapping[str, Form],
    *,
    fetch: Fetch,
    put: Callable[[dict[str, np.ndarray]], str],
) -> Path:
    """The path with wider heads: `widths` = output -> (width now, width wanted).

    Raises ValueError for a head that cannot be widened: one gene for several outputs, or a layer without a width.
    """
    forms = path.forms(ports)
    genes = {gene.name: gene for gene in path.genes}
    for output, (old, new) in widths.items():
        if old == new:
            continue
        name = path.outputs[output]
        gene = genes[name]
        readers = [one for one in path.genes if name in one.inputs]
        if getattr(gene.layer, "width", None) != old or readers or list(path.outputs.values()).count(name) > 1:
            raise ValueError(f"output {output!r} comes from a {getattr(gene.layer, 'kind', '')} that cannot be widened")
        layer = gene.layer.replace(width=new)
        inputs = [ports[s.removeprefix(INPUT)] if s.startswith(INPUT) else forms[s] for s in gene.inputs]
        wanted = {key: tensor.shape for key, tensor in get_weights(layer.build(*inputs)).items()}
        linked = getattr(layer, "link", "none") != "none"  # its sums are shares: none for a class it has not seen
        tensors = {}
        for key, tensor in fetch(gene.weights).items() if gene.weights else ():
            tensors[key] = _padded(key, np.asarray(tensor), wanted[key], linked=linked)
        genes[name] = gene.replace(layer=layer, weights=put(tensors) if tensors else gene.weights)
    return path.replace(genes=tuple(genes[gene.name] for gene in path.genes))


def _padded(name: str, tensor: np.ndarray, shape: tuple[int, ...], *, linked: bool) -> np.ndarray:
    """Zeros for weights, something unlikely for biases."""
    if tensor.shape == shape:
        return tensor
    if tensor.ndim != len(shape) or any(a > b for a, b in zip(tensor.shape, shape, strict=True)):
        raise ValueError(f"a tensor of shape {tensor.shape} cannot be widened to {shape}")
    more = [(0, b - a) for a, b in zip(tensor.shape, shape, strict=True)]
    least = 0.0 if linked or not tensor.size else float(tensor.min()) - BELOW
    bias = tensor.ndim == 1 or name.startswith("bias")
    return np.pad(tensor, more, constant_values=least if bias else 0.0)
