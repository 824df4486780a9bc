"""Linear head on weighted counts of subword n-grams: hard to beat on short texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from scipy.sparse import csr_array

from ...problem.form import Form
from ..layers.ngrams import BITS, MOST_INPUTS, counted, keys
from ..path import Path
from ._common import as_tensor, gather, gene, port
from ._heads import fit_heads
from .base import Facts, Fitted, Material, Probe

MOST_VALUES = 40_000_000
"""Weights of a head at most (160 MB): with many classes fewer n-grams are kept."""


class NgramsProbe(Probe):
    """Sublinear tf-idf of token n-grams, then logistic or ridge regression."""

    method: Literal["ngrams"] = "ngrams"
    longest: int = Field(default=2, ge=1, le=3)
    """Longest n-gram in subwords."""
    max_ngrams: int = Field(default=200_000, ge=1)
    """Most frequent n-grams kept, among those in at least two texts."""
    strengths: tuple[float, ...] = Field(default=(1.0, 4.0, 16.0, 64.0), min_length=1)
    """Inverse penalties (C of logistic regression) tried; the fold's validation rows choose."""

    max_iterations: int = Field(default=30, ge=1)
    """Steps of the solver for each strength."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(readable(form) for form in ports.values())

    def work(self, facts: Facts) -> float:
        grams = sum(f.size[0] * self.longest for f in facts.ports.values() if readable(f))
        return 1e-9 * facts.rows * grams * (200 + 30.0 * len(self.strengths) * max(facts.width, 1))

    def fit(self, material: Material) -> Fitted:
        texts = [name for name, form in sorted(material.ports.items()) if readable(form)][:MOST_INPUTS]
        width = sum(feature.head_width for feature in material.outputs.values())
        most = max(min(self.max_ngrams, MOST_VALUES // max(width, 1)), 1)
        entries = self._entries(texts, material, material.training)
        known, rarity = vocabulary(entries, rows=len(material.training), most=most)
        training = tf_idf(entries, known, rarity, rows=len(material.training))
        validation = tf_idf(
            self._entries(texts, material, material.validation), known, rarity, rows=len(material.validation)
        )
        strengths = [1 / (strength * len(material.training)) for strength in self.strengths]
        heads = fit_heads(
            material, training, validation, strengths=strengths, max_iterations=self.max_iterations, tolerance=1e-3
        )
        genes, outputs = [], {}
        for place, (output, (weight, bias)) in enumerate(heads.items()):
            tensors = {"key": known, "rarity": rarity, "weight": weight, "bias": bias}
            description = {
                "kind": "ngrams",
                "width": len(bias),
                "longest": self.longest,
                "num_ngrams": len(known),
            }
            name = f"n-grams {place}"
            genes.append(gene(name, description, tuple(port(text) for text in texts), material.put(tensors)))
            outputs[output] = name
        return Fitted(Path(genes=tuple(genes), outputs=outputs))

    def _entries(self, texts: Sequence[str], material: Material, rows: np.ndarray) -> Entries:
        """What every text holds, in chunks that keep memory bounded."""
        parts = []
        for start in range(0, len(rows), 2048):
            part = rows[start : start + 2048]
            keys_BG = [
                keys(as_tensor(gather(material.inputs[text], part)), place=place, longest=self.longest)
                for place, text in enumerate(texts)
            ]
            text, key, count = (tensor.numpy() for tensor in counted(torch.cat(keys_BG, 1)))
            parts.append((text + start, key, count))
        return Entries(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Entries:
    """The different n-grams of all texts: which text, which key, how often; ordered by text and key."""

    text: np.ndarray
    key: np.ndarray
    count: np.ndarray


def readable(form: Form) -> bool:
    """Token ids small enough for exact keys."""
    return form.kind == "tokens" and 0 < form.vocabulary < 1 << BITS


def vocabulary(entries: Entries, *, rows: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys of the n-grams in the most texts, at least two of them, and how rare each is (idf)."""
    known, texts = np.unique(entries.key, return_counts=True)
    chosen = np.flatnonzero(texts >= 2)
    if len(chosen) > most:  # the most frequent; among equals the smaller key
        chosen = np.sort(chosen[np.argsort(-texts[chosen], kind="stable")[:most]])
    if not len(chosen):
        chosen = np.arange(min(len(known), most))
    if not len(known):
        return np.array([1], dtype=np.int64), np.ones(1, np.float32)
    rarity = np.log((1 + rows) / (1 + texts[chosen])) + 1
    return known[chosen], rarity.astype(np.float32)


def tf_idf(entries: Entries, known: np.ndarray, rarity: np.ndarray, *, rows: int) -> csr_array:
    """Sublinear tf-idf [rows, n-grams], each row of length 1; the same numbers as the layer computes."""
    place = np.minimum(np.searchsorted(known, entries.key), len(known) - 1)
    found = known[place] == entries.key
    text, place = entries.text[found], place[found].astype(np.int32)
    value = (1 + np.log(entries.count[found].astype(np.float32))) * rarity[place]
    squares = np.bincount(text, np.square(value), minlength=rows)
    value = (value / np.sqrt(np.maximum(squares, 1e-12))[text]).astype(np.float32)
    begins = np.searchsorted(text, np.arange(rows + 1)).astype(np.int32)
    return csr_array((value, place, begins), shape=(rows, len(known)))
