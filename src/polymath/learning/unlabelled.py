"""Features from rows without a target, in closed form: what varies in pictures, in the words of texts, in columns.

All three end alike: the leading directions of some fixed features, whitened (the weak ones less, by `FLOOR`), and
brought to unit length. Benchmarks in `benchmarks/absorb.py` say what that is worth, and what was tried instead.
Axes: N rows, D width of features, V words of a vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse import diags_array as diagonal
from torch import nn

from ..model.build import get_weights
from ..model.layers import Layer
from ..model.layers.embedding import Embedding
from ..model.layers.linear import Linear
from ..model.layers.one_hot import OneHot
from ..model.layers.patches import Patches
from ..model.layers.pool_tokens import PoolTokens
from ..model.layers.unit import Unit
from ..model.path import INPUT, Gene, Path
from ..model.prefix import END
from ..model.probes.patches import NUM_PATCHES, SAMPLE, draw_patches, whitened_filters
from ..problem.form import Form, vector

Put = Callable[[Mapping[str, np.ndarray]], str]
More = Callable[[], bool]
"""Whether there is time for more."""

FILTERS, SIDE, SIZE = 200, 6, 32
DIRECTIONS = 64
"""Kept of pictures and of columns. Of 32 and 64, with floors of 0.1 and 1, this was best with 1 to 5 examples."""
FLOOR = 1.0
"""Added to the variance of each direction, times the mean of those that are kept: none is blown up to equal weight."""
WORDS_WIDTH = 128
"""Of the vectors of words. 300 were 2 points worse on 30 sections of packages."""
RANDOM_WIDTH = 512
"""Random combinations of columns, bent: products of columns count then, not sums alone."""
CHUNK = 256
FEWEST = 64
"""Rows without which nothing is learned."""


class _Chain:
    """Genes one after the other, each built, filled and stored."""

    def __init__(self, port: str, form: Form, put: Put) -> None:
        self.genes: list[Gene] = []
        self._before, self._form, self._put = INPUT + port, form, put

    def add(self, layer: Layer, fill: Callable[[Any], None] | None = None) -> nn.Module:
        """The module of one more layer, with the weights that `fill` gives it."""
        module = layer.build(self._form).eval()
        if fill is not None:
            with torch.no_grad():
                fill(module)
        weights = get_weights(module)
        name = f"{len(self.genes)}"
        address = self._put(weights) if weights else None
        self.genes.append(Gene(name=name, layer=layer, inputs=(self._before,), weights=address, frozen=True))
        self._before, self._form = name, layer.form(self._form)
        return module

    def end(self, features: np.ndarray, *, directions: int) -> Path:
        """Whitens and closes the chain."""
        weight, bias = whitening(features, directions=directions)

        def fill(module: Any) -> None:
            module[0].weight.copy_(torch.from_numpy(weight))
            module[0].bias.copy_(torch.from_numpy(bias))

        self.add(Linear(width=len(weight)), fill)
        self.add(Unit())
        return Path(genes=tuple(self.genes), outputs={END: self._before})


def pictures(array: np.ndarray, form: Form, *, port: str, put: Put, more: More, seed: int) -> tuple[Path, int]:
    """From uint8 [N, C, H, W]: answers of whitened patches (Coates & Ng 2011), as many pictures as there is time for.

    Gives the path and the number of pictures that it was learned from.
    """
    random = np.random.default_rng(seed)
    rows = random.permutation(len(array))
    smallest = min(*form.size, SIZE)
    side = min(SIDE, max(smallest // 2, 1))
    chain = _Chain(port, form, put)
    some = torch.from_numpy(np.asarray(array[np.sort(rows[:SAMPLE])]))

    def fill(module: Any) -> None:
        patches = draw_patches(module.small(some).numpy(), side, NUM_PATCHES, random)
        filters, bias = whitened_filters(patches, FILTERS, random, clusters=False)
        module.filter.copy_(torch.from_numpy(filters).view_as(module.filter))
        module.bias.copy_(torch.from_numpy(bias))
        deviation, mean = torch.std_mean(torch.cat([module.pooled(part) for part in some.split(CHUNK)]), dim=0)
        module.mean.copy_(mean)
        module.scale.copy_(1 / (deviation + 0.01 * deviation.mean().clamp_min(1e-6)))

    bank = chain.add(Patches(filters=FILTERS, side=side, cells=min(2, smallest - side + 1), size=SIZE), fill)
    found = []
    with torch.inference_mode():
        for begin in range(0, len(rows), CHUNK):
            part = np.sort(rows[begin : begin + CHUNK])
            found.append(bank(torch.from_numpy(np.asarray(array[part]))).numpy())
            if not more():
                break
    features = np.concatenate(found)
    return chain.end(features, directions=DIRECTIONS), len(features)


def texts(ids: np.ndarray, form: Form, *, port: str, put: Put) -> tuple[Path, int]:
    """From ids [N, T]: vectors of words such that texts which share words are alike, then their mean.

    Latent semantic analysis (Deerwester et al. 1990): singular vectors of texts x words, weighted by their rarity.
    """
    counts = _counts(ids, form.vocabulary)
    documents = np.bincount(counts.indices, minlength=form.vocabulary)
    rarity = np.log((1 + counts.shape[0]) / (1 + documents)) + 1
    weighted = counts.astype(np.float64)
    weighted.data = (1 + np.log(weighted.data)) * rarity[weighted.indices]
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).reshape(-1))
    weighted = csr_array(diagonal(1 / np.maximum(lengths, 1e-9)) @ weighted)
    from sklearn.utils.extmath import randomized_svd

    width = min(WORDS_WIDTH, *(size - 1 for size in weighted.shape))
    words = randomized_svd(weighted, width, n_iter=4, random_state=0)[2].T * rarity[:, None]
    words[0] = 0.0  # padding
    chain = _Chain(port, form, put)
    chain.add(Embedding(width=width), lambda module: module.table.weight.copy_(torch.from_numpy(words)))
    chain.add(PoolTokens(how="mean"))
    chain.add(Unit())
    means = np.asarray(counts @ words)
    means *= np.sqrt(width) / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return chain.end(means, directions=width), len(means)


def columns(row: np.ndarray, form: Form, *, port: str, put: Put, seed: int) -> tuple[Path, int]:
    """From rows [N, D] with NaN and codes: the columns and random bent combinations of them (Rahimi & Recht 2007)."""
    chain = _Chain(port, form, put)
    given = torch.from_numpy(np.asarray(row, dtype=np.float32))
    one_hot = chain.add(OneHot(), lambda module: module.prepare(given))
    width = OneHot().form(form).width
    random = np.random.default_rng(seed)

    def fill(module: Any) -> None:
        weight = random.standard_normal((RANDOM_WIDTH, width)).astype(np.float32) / np.float32(width**0.5)
        module[0].weight.copy_(torch.from_numpy(weight))
        module[0].bias.copy_(torch.from_numpy(random.standard_normal(RANDOM_WIDTH).astype(np.float32)))

    bent = chain.add(Linear(width=RANDOM_WIDTH, activation="relu"), fill)
    with torch.inference_mode():
        features = bent(one_hot(given)).numpy()
    return chain.end(features, directions=DIRECTIONS), len(features)


def whitening(features: np.ndarray, *, directions: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight [K, D] and bias [K] of a linear layer after which the K leading directions vary almost equally."""
    mean = features.mean(axis=0, dtype=np.float64)
    centred = (features - mean).astype(np.float32)
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64) / max(len(features) - 1, 1))
    directions = min(directions, len(values), len(features) - 1)
    values, vectors = np.maximum(values[::-1][:directions], 0), vectors[:, ::-1][:, :directions]
    # The sign of a direction is the library's accident: its largest entry is made positive.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(directions)])
    weight = (vectors / np.sqrt(values + FLOOR * max(float(values.mean()), 1e-12))).T
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


def _counts(ids: np.ndarray, vocabulary: int) -> Any:
    """How often each text has each word, [N, V]; padding is no word."""
    rows, places = np.nonzero(ids)
    found = csr_array(
        (np.ones(len(rows), np.float32), (rows, ids[rows, places].astype(np.int64))), shape=(len(ids), vocabulary)
    )
    found.sum_duplicates()
    return found


def joined(arrays: Sequence[np.ndarray], forms: Sequence[Form]) -> tuple[np.ndarray, Form]:
    """Columns side by side, as a problem has them in its port of rows."""
    categories = tuple(n for form in forms for n in (form.categories or (0,) * form.width))
    return np.concatenate(arrays, axis=1), vector(len(categories), categories=categories if any(categories) else ())
