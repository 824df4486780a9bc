"""Linear head on weighted counts of subword n-grams: hard to beat on short texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ...problem.form import Form
from .base import Facts, Fitted, Material, Probe


class NgramsProbe(Probe):
    """Sublinear tf-idf of token n-grams, then logistic or ridge regression."""

    method: Literal["ngrams"] = "ngrams"
    longest: int = Field(default=2, ge=1, le=3)
    """Longest n-gram in subwords."""
    max_ngrams: int = Field(default=200_000, ge=1)
    """Most frequent n-grams kept, among those in at least two texts."""
    strengths: tuple[float, ...] = Field(default=(1.0, 4.0, 16.0), min_length=1)
    """Inverse penalties (C of logistic regression) tried; the fold's validation rows choose."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(form.kind == "tokens" and form.vocabulary for form in ports.values())

    def work(self, facts: Facts) -> float:
        grams = sum(f.size[0] * self.longest for f in facts.ports.values() if f.kind == "tokens" and f.vocabulary)
        return 1e-9 * facts.rows * grams * (200 + 30.0 * len(self.strengths) * max(facts.width, 1))

    def fit(self, material: Material) -> Fitted:
        raise NotImplementedError
