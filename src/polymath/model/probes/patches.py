"""Linear head on a bank of whitened image patches: a strong cheap image model without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from ...problem.form import Form
from ..build import get_weights
from ..layers.patches import CONTRAST
from ..path import Gene, Path
from ._common import features_of, gather, gene, port
from ._heads import fit_heads
from .base import Facts, Fitted, Material, Probe

SIZE = 32
"""Larger images are averaged down to so many pixels each way."""
SAMPLE = 2000
"""Training images that filters and scales are taken from."""
NUM_PATCHES = 20_000
WHITENING = 0.1
"""Added to variances before whitening (Coates, Lee & Ng 2011, section 3.1.2)."""


class PatchesProbe(Probe):
    """Coates & Ng 2011, 'The importance of encoding versus training with sparse coding and vector quantization'."""

    method: Literal["patches"] = "patches"
    filters: int = Field(default=400, ge=1)
    side: int = Field(default=6, ge=2)
    """Side of a patch in pixels; smaller images take smaller ones."""
    choose: Literal["random", "kmeans"] = "random"
    """Filters are training patches as they are, or the centres of their clusters."""
    cells: int = Field(default=2, ge=1)
    """Sums are pooled over cells x cells regions."""
    strengths: tuple[float, ...] = Field(default=(1e-4, 1e-3, 1e-2, 1e-1), min_length=1)
    """L2 penalties tried, relative to the mean variance; the fold's validation rows choose."""
    max_rows: int = Field(default=50_000, ge=1)
    """Training rows used at most, fewer where memory is short."""
    max_iterations: int = Field(default=60, ge=1)
    """Steps of the solver for each strength."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(form.kind == "map" for form in ports.values())

    def work(self, facts: Facts) -> float:
        positions = sum(
            min(f.size[0], SIZE) * min(f.size[1], SIZE) * f.width for f in facts.ports.values() if f.kind == "map"
        )
        features = 2 * self.filters * self.cells**2
        encode = facts.rows * positions * self.side**2 * self.filters
        steps = 2 * len(self.strengths) * self.max_iterations / 2
        return 1e-9 * (encode + steps * facts.training_rows * features * max(facts.width, 1))

    def fit(self, material: Material) -> Fitted:
        random = np.random.default_rng(material.seed)
        kept = material.training
        most = self.max_rows
        if material.memory_bytes:
            maps = sum(form.kind == "map" for form in material.ports.values())
            most = min(most, max(material.memory_bytes // (4 * 3 * 2 * self.filters * self.cells**2 * maps), 100))
        if len(kept) > most:
            kept = np.sort(random.choice(kept, most, replace=False))
            material = replace(material, training=kept)
        genes = [
            self._bank(name, form, material, random)
            for name, form in sorted(material.ports.items())
            if form.kind == "map"
        ]
        source = genes[0].name
        if len(genes) > 1:
            genes.append(gene("patches", {"kind": "concat"}, tuple(one.name for one in genes), None))
            source = "patches"
        path = Path(genes=tuple(genes), outputs={output: source for output in material.outputs})
        training, validation = (
            features_of(path, source, material, rows) for rows in (material.training, material.validation)
        )
        heads = fit_heads(material, training, validation, strengths=self.strengths, max_iterations=self.max_iterations)
        outputs = {}
        for place, (output, (weight, bias)) in enumerate(heads.items()):
            stored = material.put({"0.weight": np.ascontiguousarray(weight.T), "0.bias": bias})
            genes.append(gene(f"head {place}", {"kind": "linear", "width": len(bias)}, (source,), stored))
            outputs[output] = f"head {place}"
        return Fitted(Path(genes=tuple(genes), outputs=outputs))

    def _bank(self, name: str, form: Form, material: Material, random: np.random.Generator) -> Gene:
        """The patches layer of one port, its filters taken from training images, its sums standardised."""
        smallest = min(*form.size, SIZE)
        side = min(self.side, max(smallest // 2, 1))
        cells = min(self.cells, smallest - side + 1)
        description = {"kind": "patches", "filters": self.filters, "side": side, "cells": cells, "size": SIZE}
        one = gene(f"patches of {name}", description, (port(name),), None)
        module: Any = one.layer.build(form)
        rows = material.training
        if len(rows) > SAMPLE:
            rows = np.sort(random.choice(rows, SAMPLE, replace=False))
        images = torch.from_numpy(gather(material.inputs[name], rows))
        with torch.no_grad():
            patches = draw_patches(module.small(images).numpy(), side, NUM_PATCHES, random)
            filters, bias = whitened_filters(patches, self.filters, random, clusters=self.choose == "kmeans")
            module.filter.copy_(torch.from_numpy(filters).view_as(module.filter))
            module.bias.copy_(torch.from_numpy(bias))
            pooled = torch.cat([module.pooled(part) for part in images.split(256)])
            deviation, mean = torch.std_mean(pooled, dim=0, correction=0)
            module.mean.copy_(mean)
            module.scale.copy_(1 / (deviation + 0.01 * deviation.mean().clamp_min(1e-6)))
        return one.replace(weights=material.put(get_weights(module)))


def draw_patches(images_BCHW: np.ndarray, side: int, number: int, random: np.random.Generator) -> np.ndarray:
    """Patches at random places, [number, C x side x side]."""
    size, channels, height, width = images_BCHW.shape
    image, top, left = (random.integers(0, n, number) for n in (size, height - side + 1, width - side + 1))
    windows = np.lib.stride_tricks.sliding_window_view(images_BCHW, (side, side), axis=(2, 3))
    return windows[image, :, top, left].reshape(number, channels * side * side)


def whitened_filters(
    patches: np.ndarray, number: int, random: np.random.Generator, *, clusters: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Filters [number, P] and biases [number] such that `filter · patch / deviation + bias` is the product of the
    normalised whitened patch with a normalised whitened training patch (or centre of a cluster of them)."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    normal = (centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + CONTRAST)).astype(np.float64)
    mean = normal.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(normal, rowvar=False))
    whiten = (vectors / np.sqrt(np.maximum(values, 0) + WHITENING)) @ vectors.T
    white = (normal - mean) @ whiten
    chosen = white[random.choice(len(white), number, replace=len(white) < number)]
    for _ in range(10 if clusters else 0):
        similar = (white @ chosen.T) - 0.5 * np.square(chosen).sum(axis=1)
        nearest = similar.argmax(axis=1)
        sums = np.zeros_like(chosen)
        np.add.at(sums, nearest, white)
        counts = np.bincount(nearest, minlength=number)
        chosen = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], chosen)
    chosen = chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-9)
    filters = chosen @ whiten
    bias = -(filters @ mean)
    filters -= filters.mean(axis=1, keepdims=True)  # takes a patch's own mean away
    return filters.astype(np.float32), bias.astype(np.float32)
