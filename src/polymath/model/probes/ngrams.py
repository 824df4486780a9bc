"""Linear head on weighted counts of n-grams of subwords, hard to beat on short texts, or of letters, on few texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.sparse import csr_array

from ...problem.form import Form
from ...problem.subwords import FIRST
from ..build import build
from ..layers.ngrams import MOST_INPUTS, bits, counted, keys
from ..path import Gene, Path
from ._common import as_tensor, gather, gene, port
from ._heads import fit_heads
from .base import Facts, Fitted, Material, Probe

MOST_LETTERS = 4_096
"""Letters of a text that are read."""
LETTERS = 5
"""Of a subword, about: what counting letters costs more than counting subwords."""
CHUNK, CHUNK_OF_LETTERS = 2_048, 256
"""Texts whose n-grams are counted at once."""
FEW, FEW_OF_LETTERS = 30, 3
"""Texts for each number that is answered below which n-grams of a single text are kept too. Eight tasks with 2, 5, 10
texts of each class: subwords 0.493, 0.596, 0.650 with them and 0.435, 0.572, 0.644 without; letters 0.544, 0.632, 0.687
with them and 0.539, 0.647, 0.692 without, but 0.491 and 0.390 with one text."""
MOST_VALUES = 40_000_000
"""Weights of a head at most (160 MB): with many classes fewer n-grams are kept."""


class NgramsProbe(Probe):
    """Sublinear tf-idf of token n-grams, then logistic or ridge regression.

    Few texts share few subwords, but many parts of words: `letters` spells what vocabularies have cut, by a table that
    is a gene of the path, and counts n-grams of letters within words.
    """

    method: Literal["ngrams"] = "ngrams"
    longest: int = Field(default=2, ge=1, le=5)
    """Longest n-gram in subwords, or letters."""
    letters: bool = False
    """Whether letters are counted: of texts whose vocabulary is known (see `Material.vocabularies`)."""
    max_ngrams: int = Field(default=200_000, ge=1)
    """Most frequent n-grams kept, among those in at least two texts, unless there are but few texts."""
    strengths: tuple[float, ...] = Field(default=(1.0, 4.0, 16.0, 64.0), min_length=1)
    """Inverse penalties (C of logistic regression) tried; the fold's validation rows choose."""

    max_iterations: int = Field(default=30, ge=1)
    """Steps of the solver for each strength."""

    added: ClassVar[Mapping[str, object]] = {**Probe.added, "letters": False}

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(self._readable(form) for form in ports.values())

    def work(self, facts: Facts) -> float:
        grams = sum(f.size[0] * self.longest for f in facts.ports.values() if self._readable(f))
        if self.letters:
            return 1e-9 * facts.rows * LETTERS * grams * (1000 + 5.0 * len(self.strengths) * max(facts.width, 1))
        return 1e-9 * facts.rows * grams * (200 + 30.0 * len(self.strengths) * max(facts.width, 1))

    def fit(self, material: Material) -> Fitted:
        texts = [name for name, form in sorted(material.ports.items()) if self._readable(form)]
        if self.letters:
            texts = [name for name in texts if name in material.vocabularies]
        texts = texts[:MOST_INPUTS]
        spelling = [_spelling(text, material) for text in texts] if self.letters else []
        read = tuple(one.name for one in spelling) or tuple(port(text) for text in texts)
        width = sum(feature.head_width for feature in material.outputs.values())
        most = max(min(self.max_ngrams, MOST_VALUES // max(width, 1)), 1)
        entries = self._entries(texts, spelling, material, material.training)
        few = len(material.training) < (FEW_OF_LETTERS if self.letters else FEW) * width
        known, rarity = vocabulary(entries, rows=len(material.training), most=most, least=1 if few else 2)
        training = tf_idf(entries, known, rarity, rows=len(material.training))
        entries = self._entries(texts, spelling, material, material.validation)
        validation = tf_idf(entries, known, rarity, rows=len(material.validation))
        strengths = [1 / (strength * len(material.training)) for strength in self.strengths]
        heads = fit_heads(
            material, training, validation, strengths=strengths, max_iterations=self.max_iterations, tolerance=1e-3
        )
        genes, outputs = list(spelling), {}
        for place, (output, (weight, bias)) in enumerate(heads.items()):
            tensors = {"key": known, "rarity": rarity, "weight": weight, "bias": bias}
            description = {
                "kind": "ngrams",
                "width": len(bias),
                "longest": self.longest,
                "num_ngrams": len(known),
                "blank": FIRST if spelling else 0,
            }
            name = f"n-grams {place}"
            genes.append(gene(name, description, read, material.put(tensors)))
            outputs[output] = name
        return Fitted(Path(genes=tuple(genes), outputs=outputs))

    def _readable(self, form: Form) -> bool:
        """Token ids small enough for exact keys."""
        small = form.vocabulary <= 1 << bits(self.longest) or self.letters
        return form.kind == "tokens" and form.vocabulary > 0 and small

    def _entries(self, texts: Sequence[str], spelling: Sequence[Gene], material: Material, rows: np.ndarray) -> Entries:
        """What every text holds, in chunks that keep memory bounded."""
        spelled = Path(genes=tuple(spelling), outputs={one.name: one.name for one in spelling})
        spell = build(spelled, material.ports, fetch=material.fetch).eval() if spelling else None
        chunk, parts = CHUNK_OF_LETTERS if spelling else CHUNK, []
        for start in range(0, max(len(rows), 1), chunk):
            part = rows[start : start + chunk]
            ids = {text: as_tensor(gather(material.inputs[text], part)) for text in texts}
            with torch.inference_mode():
                found = (ids if spell is None else spell(ids)).values()
            keys_BG = [
                keys(ids_BT, place=place, longest=self.longest, blank=FIRST if spelling else 0)
                for place, ids_BT in enumerate(found)
            ]
            text, key, count = (tensor.numpy() for tensor in counted(torch.cat(keys_BG, 1)))
            parts.append((text + start, key, count))
        return Entries(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _spelling(text: str, material: Material) -> Gene:
    """Gives the letters of a port's ids."""
    table = material.vocabularies[text].spelled()
    description = {
        "kind": "recut",
        "vocabulary": int(table.max()) + 1,
        "pieces": table.shape[1],
        "length": MOST_LETTERS,
    }
    return gene(f"letters of {text}", description, (port(text),), material.put({"table": table}))


@dataclass(frozen=True)
class Entries:
    """The different n-grams of all texts: which text, which key, how often; ordered by text and key."""

    text: np.ndarray
    key: np.ndarray
    count: np.ndarray


def vocabulary(entries: Entries, *, rows: int, most: int, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys of the n-grams in the most texts, at least so many of them, and how rare each is (idf)."""
    known, texts = np.unique(entries.key, return_counts=True)
    chosen = np.flatnonzero(texts >= least)
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
