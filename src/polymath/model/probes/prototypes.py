"""Prototypes: the mean of each class in a whitened space. A good head for few examples on good features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.special import logsumexp

from ...problem.features.base import Feature
from ...problem.form import Form
from ..path import Path
from ._common import features_of, gene
from ._heads import fit_heads
from .base import Facts, Fitted, Material, Probe
from .linear import flat_width, raw_features

MOST_WIDTH = 4096
"""Wider features are whitened column by column only: their covariance would cost more than it tells."""
SCALES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Of the answers: how sure distances make us; the fold's validation rows choose."""
UNJUDGED = 0.1
"""The scale where no row validates: one example of every class."""


class PrototypesProbe(Probe):
    """Linear discriminant analysis with a shrunken covariance (Friedman 1989): at full shrinkage the nearest mean.

    For categories only; other outputs get a ridge or logistic head. Needs one example per class.
    """

    method: Literal["prototypes"] = "prototypes"
    shrinkages: tuple[float, ...] = Field(default=(0.03, 0.1, 0.3, 0.7, 1.0), min_length=1)
    """Weights of the diagonal against the covariance within classes. The strongest is taken that is worse on the fold's
    validation rows by no more than one standard error (Breiman et al. 1984): few rows tell strong from weak badly, and
    a covariance of few examples that is trusted costs dearly on rows of another kind.
    """
    standardised: bool = True
    """Whether features are divided by their deviation first. Those of a trunk are whitened and of unit length: dividing
    them by what tells the classes apart cost 4 points with 1, 2 and 5 examples of letters."""
    projected: int = Field(default=0, ge=0, le=8192)
    """Width of a random projection with ReLU in between; 0 = none (McDonnell et al. 2023, RanPAC, arXiv 2307.02251)."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(form.kind in ("vector", "map") for form in ports.values())

    def work(self, facts: Facts) -> float:
        width = min(self.projected or flat_width(facts.ports), MOST_WIDTH)
        return 1e-9 * (facts.training_rows * width**2 + len(self.shrinkages) * width**3 / 3)

    def fit(self, material: Material) -> Fitted:
        path = material.path or raw_features(material)
        if self.projected:
            path = _projected(path, self.projected, material)
        genes, outputs = list(path.genes), {}
        for place, (output, feature) in enumerate(material.outputs.items()):
            source = path.outputs[output]
            known, asked = (
                _dense(features_of(path, source, material, rows)) for rows in (material.training, material.validation)
            )
            if feature.averaged == "categories":
                codes = np.asarray(material.targets[output]).reshape(-1)
                weight, bias = self._head(feature, known, codes[material.training], asked, codes[material.validation])
            else:
                one = fit_heads(_only(material, output), known, asked, strengths=(1e-3, 1e-2, 1e-1), max_iterations=50)
                weight, bias = one[output]
            stored = material.put({"0.weight": np.ascontiguousarray(weight.T), "0.bias": bias})
            name = f"prototypes head {place}"
            genes.append(gene(name, {"kind": "linear", "width": len(bias)}, (source,), stored))
            outputs[output] = name
        return Fitted(Path(genes=tuple(genes), outputs=outputs))

    def _head(
        self, feature: Feature, known: np.ndarray, codes: np.ndarray, asked: np.ndarray, truth: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weight [D, W] and bias [W]: the choice of shrinkage and scale that the validation rows like."""
        known, codes = known[codes >= 0], codes[codes >= 0]
        asked, truth = asked[truth >= 0], truth[truth >= 0]
        middle, spread = known.mean(0), known.std(0) + 1e-6
        if not self.standardised:
            spread = np.full_like(spread, spread.mean())
        within = _Within((known - middle) / spread, codes, classes=feature.head_width, even=not self.standardised)
        tried = []
        for shrinkage in sorted(self.shrinkages, reverse=True)[: None if len(truth) else 1]:
            weight, bias = within.discriminant(shrinkage)
            weight = weight / spread[:, None]
            bias = bias - middle @ weight
            answers = asked @ weight + bias
            losses = {scale: _log_losses(scale * answers + within.priors, truth) for scale in SCALES}
            scale = min(losses, key=lambda one: losses[one].mean()) if len(truth) else UNJUDGED
            tried.append((losses[scale], scale * weight, scale * bias + within.priors))
        least = min((losses for losses, _, _ in tried), key=np.mean) if len(truth) else np.zeros(0)
        weight, bias = next((weight, bias) for losses, weight, bias in tried if _as_good(losses, least))
        return weight.astype(np.float32), bias.astype(np.float32)


class _Within:
    """Means of classes, their priors, and the covariance within classes, of standardised features [N, D]."""

    def __init__(self, features: np.ndarray, codes: np.ndarray, *, classes: int, even: bool) -> None:
        """`even`: means are made equally long. That of few examples is longer, and would lose to that of more."""
        counts = np.bincount(codes, minlength=classes).astype(np.float64)
        sums = np.zeros((classes, features.shape[1]))
        np.add.at(sums, codes, features)
        self.means = sums / np.maximum(counts, 1)[:, None]
        # A class that was never seen stands half an example away from being seen.
        self.priors = np.log((counts + 0.5) / (counts + 0.5).sum())
        self.seen = counts > 0
        inner = features - self.means[codes]
        free = max(len(features) - int(self.seen.sum()), 1)
        self.full = features.shape[1] <= MOST_WIDTH and len(features) > int(self.seen.sum())
        if even:
            lengths = np.linalg.norm(self.means, axis=1, keepdims=True)
            self.means *= lengths[self.seen].mean() / np.maximum(lengths, 1e-9)
        self.covariance = inner.T @ inner / free if self.full else (inner**2).sum(0) / free

    def discriminant(self, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
        """Weight [D, W] and bias [W] without priors at a shrinkage of the covariance towards its mean variance."""
        if self.full:
            even = max(float(np.trace(self.covariance)) / len(self.covariance), 1e-6)
            shrunk = (1 - shrinkage) * self.covariance + shrinkage * even * np.eye(len(self.covariance))
            weight = np.linalg.solve(shrunk, self.means.T)
        else:
            even = max(float(self.covariance.mean()), 1e-6) if self.covariance.any() else 1.0
            weight = self.means.T / ((1 - shrinkage) * self.covariance + shrinkage * even)[:, None]
        weight = np.where(self.seen, weight, 0.0)
        return weight, -0.5 * np.einsum("cd,dc->c", self.means, weight)


def _projected(path: Path, width: int, material: Material) -> Path:
    """The path with a random layer on each source of features; equal features get equal layers in every task."""
    forms, genes, ends = path.forms(material.ports), list(path.genes), {}
    for source in dict.fromkeys(path.outputs.values()):
        random = np.random.default_rng([width, forms[source].width])
        weight = random.standard_normal((width, forms[source].width), dtype=np.float32)
        bias = random.standard_normal(width, dtype=np.float32)
        name = f"{source} projected"
        stored = material.put({"0.weight": weight / np.float32(forms[source].width ** 0.5), "0.bias": bias})
        genes.append(gene(name, {"kind": "linear", "width": width, "activation": "relu"}, (source,), stored))
        ends[source] = name
    return Path(genes=tuple(genes), outputs={output: ends[source] for output, source in path.outputs.items()})


def _log_losses(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of every row [N]."""
    found: np.ndarray = logsumexp(answers, axis=1) - answers[np.arange(len(truth)), truth]
    return found


def _as_good(losses: np.ndarray, least: np.ndarray) -> bool:
    """Whether these losses are larger than the least by no more than a standard error of the difference."""
    if len(losses) < 2:
        return bool(len(losses) == 0 or losses[0] <= least[0])
    more = losses - least
    return bool(more.mean() <= more.std(ddof=1) / len(more) ** 0.5)


def _only(material: Material, output: str) -> Material:
    return replace(material, outputs={output: material.outputs[output]})


def _dense(features: object) -> np.ndarray:
    result: np.ndarray = features.toarray() if hasattr(features, "toarray") else features  # type: ignore[assignment]
    return result.astype(np.float64)
