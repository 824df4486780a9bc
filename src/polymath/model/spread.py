"""A path whose experts are objects of the store: each under an address of its own, fetched when a batch asks for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .layers.experts import Experts
from .layers.stored import Fetch, Weights
from .path import Gene, Path

PARTS = {"up": "up_EHD", "up_bias": "up_bias", "down": "down_EDH", "down_bias": "down_bias"}
"""Tensors of one expert in its own object -> those of all experts in a gene that holds them."""


def spread(path: Path, *, fetch: Fetch, put: Callable[[Weights], str]) -> Path:
    """The same path with the experts of every trained mixture stored one by one; what stays in the gene is its router.

    A path without such a gene is returned as it is.
    """
    genes = tuple(_spread(gene, fetch, put) for gene in path.genes)
    return path if genes == path.genes else path.replace(genes=genes)


def _spread(gene: Gene, fetch: Fetch, put: Callable[[Weights], str]) -> Gene:
    layer = gene.layer
    if not isinstance(layer, Experts) or layer.stored or gene.weights is None:
        return gene
    weights = fetch(gene.weights)
    parts = {short: weights[name] for short, name in PARTS.items()}
    parts |= {short: parts[short].reshape(layer.experts, -1) for short in ("up_bias", "down_bias")}
    stored = tuple(
        put({short: np.ascontiguousarray(array[expert]) for short, array in parts.items()})
        for expert in range(layer.experts)
    )
    rest = put({name: array for name, array in weights.items() if name not in PARTS.values()})
    return gene.replace(layer=layer.replace(stored=stored), weights=rest)
