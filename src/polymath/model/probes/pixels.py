"""A forest that looks at single pixels and their surroundings: a usable map within seconds, and the thing to beat."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from ...problem.features._pixels import PixelTarget
from ...problem.features.pixel_numbers import WIDTHS
from ...problem.form import Form
from ..build import build
from ..path import Gene, Path
from ._common import as_tensor, gather, gene, port
from ._convert import as_layer, averaged
from .base import Facts, Fitted, Material, Probe

MOST_PICTURES = 150
"""Training pictures that pixels are taken from."""
LEVELS = 4
DEPTH = 12


class PixelsProbe(Probe):
    """Random forests (Breiman 2001) on the `local_filters` of pictures; numbers are averaged, classes counted."""

    method: Literal["pixels"] = "pixels"
    gives: ClassVar[frozenset[str]] = frozenset({"map"})
    num_trees: int = Field(default=10, ge=1)
    num_pixels: int = Field(default=20_000, ge=100)

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return any(form.kind == "map" for form in ports.values())

    def work(self, facts: Facts) -> float:
        maps = [form for form in facts.ports.values() if form.kind == "map"]
        columns = sum(form.width * (1 + 2 * LEVELS) + 2 for form in maps)
        grown = 40 * self.num_pixels * DEPTH * columns * 0.3 * self.num_trees
        asked = 40 * facts.rows / facts.num_folds * maps[0].size[0] * maps[0].size[1] / 4 * self.num_trees * DEPTH
        return 1e-9 * (grown + asked)

    def fit(self, material: Material) -> Fitted:
        ports = {name: form for name, form in sorted(material.ports.items()) if form.kind == "map"}
        genes = [
            gene(f"filters{place}", {"kind": "local_filters", "levels": LEVELS}, (port(name),), None)
            for place, name in enumerate(ports)
        ]
        source = genes[0].name
        if len(genes) > 1:
            genes.append(gene("filters", {"kind": "join"}, tuple(one.name for one in genes), None))
            source = "filters"
        rows, seen = self._pixels(Path(genes=tuple(genes), outputs={"seen": source}), ports, material)
        outputs = {}
        for place, (name, feature) in enumerate(material.outputs.items()):
            assert isinstance(feature, PixelTarget), f"output {name!r} is not answered at pixels"
            grown = self._grow(feature, np.asarray(material.targets[name]), rows, seen, material)
            genes += self._genes(place, grown, (source, port(next(iter(ports)))), material)
            outputs[name] = f"head{place}"
        return Fitted(Path(genes=tuple(genes), outputs=outputs))

    def _pixels(self, path: Path, ports: Mapping[str, Form], material: Material) -> tuple[np.ndarray, np.ndarray]:
        """Places int64 [S, 3] (picture, row, column, of the halved map) of sampled pixels, and their columns [S, D]."""
        random = np.random.default_rng(material.seed)
        pictures = np.sort(random.permutation(material.training)[:MOST_PICTURES])
        module = build(path, material.ports, fetch=material.fetch).eval()
        places, columns = [], []
        each = max(self.num_pixels // len(pictures), 1)
        target = material.targets[next(iter(material.outputs))]
        feature = next(iter(material.outputs.values()))
        assert isinstance(feature, PixelTarget)
        with torch.inference_mode():
            for picture in pictures:
                batch = {name: as_tensor(gather(material.inputs[name], np.array([picture]))) for name in ports}
                seen = module(batch)["seen"][0].numpy()
                known = feature.holds(np.asarray(target[picture])[None])[0][::2, ::2]
                there = np.argwhere(known)
                if len(there):
                    chosen = there[random.integers(0, len(there), each)]
                    columns.append(seen[:, chosen[:, 0], chosen[:, 1]].T)
                    places.append(np.column_stack([np.full(len(chosen), picture), chosen]))
        return np.concatenate(places), np.concatenate(columns)

    def _grow(
        self, feature: PixelTarget, target: np.ndarray, places: np.ndarray, seen: np.ndarray, material: Material
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Description and tensors of the trees for one output."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        settings: dict[str, Any] = {
            "n_estimators": self.num_trees,
            "max_depth": DEPTH,
            "min_samples_leaf": 4,
            "n_jobs": material.threads,
            "random_state": material.seed % 2**31,
        }
        picture, row, column = places.T
        width = feature.head_width
        if feature.averaged != "categories":
            y = np.stack([target[p, :, 2 * r, 2 * c] for p, r, c in places])
            whole = np.isfinite(y).all(1)
            x, y = seen[whole], y[whole]
            model = RandomForestRegressor(max_features=0.3, oob_score=width > y.shape[1], **settings)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of rows that every tree has seen
                model.fit(x, y.squeeze(1) if y.shape[1] == 1 else y)
            if width > y.shape[1]:  # how far off it is for pixels that a tree has not seen, learned beside
                unseen = np.where(model.oob_prediction_ == 0, model.predict(x), model.oob_prediction_)
                off = np.abs(y - unseen.reshape(y.shape))
                y = np.column_stack([y, np.log(np.maximum(off, np.exp(WIDTHS[0])))])
                model = RandomForestRegressor(max_features=0.3, **settings).fit(x, y)
            values = [tree.tree_.value[:, :, 0] / self.num_trees for tree in model.estimators_]
            return as_layer(averaged(model, range(seen.shape[1]), values), np.zeros(width), vector_leaves=True)
        y = target[picture, 2 * row, 2 * column].astype(np.int64)
        known = y < width
        weights = np.asarray(getattr(feature, "class_weights", np.ones(width)))[y[known]]
        forest = RandomForestClassifier(**settings).fit(seen[known], y[known], sample_weight=weights)
        values = []
        for tree in forest.estimators_:
            shares = np.zeros((tree.tree_.node_count, width))
            shares[:, forest.classes_.astype(np.int64)] = tree.tree_.value[:, 0, :] / self.num_trees
            values.append(shares)
        trees = averaged(forest, range(seen.shape[1]), values)
        return as_layer(trees, np.zeros(width), vector_leaves=True, link="log")

    def _genes(
        self,
        place: int,
        grown: tuple[dict[str, Any], dict[str, np.ndarray]],
        sources: tuple[str, str],
        material: Material,
    ) -> list[Gene]:
        """Trees at every pixel of the halved map, brought to the size of the picture."""
        description, tensors = grown
        width = int(description["width"])
        same = {
            "linear.weight": np.eye(width, dtype=np.float32)[:, :, None, None],
            "linear.bias": np.zeros(width, np.float32),
        }
        source, picture = sources
        stored = material.put({f"trees.{name}": array for name, array in tensors.items()})
        return [
            gene(f"trees{place}", {**description, "kind": "pixel_trees"}, (source,), stored),
            gene(f"head{place}", {"kind": "per_pixel", "width": width}, (f"trees{place}", picture), material.put(same)),
        ]
