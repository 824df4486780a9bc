"""Averaged random trees on the row port."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from ...problem.form import Form
from ..path import Gene, Path
from ._common import Goal, gather, gene, goals, port, start_values
from ._convert import as_layer, averaged
from .base import Facts, Fitted, Material, Probe

MOST_VALUES = 20_000_000
"""Numbers in all nodes of a forest: 80 MB. Leaves are made larger until it fits."""
Arrays: TypeAlias = dict[str, np.ndarray]


class ForestProbe(Probe):
    """Extremely randomised trees (Geurts, Ernst & Wehenkel 2006) or a random forest (Breiman 2001)."""

    method: Literal["forest"] = "forest"
    kind: Literal["extra", "random"] = "extra"
    num_trees: int = Field(default=100, ge=1)
    min_samples_leaf: int = Field(default=1, ge=1)
    max_features: float | None = Field(default=None, gt=0, le=1)
    """Share of the columns that each split may choose from; None = square root for categories, all for numbers."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return "row" in ports

    def work(self, facts: Facts) -> float:
        columns = facts.ports["row"].width if "row" in facts.ports else 1
        depth = max(facts.training_rows // self.min_samples_leaf, 2).bit_length()
        splits = 40 * facts.training_rows * depth * columns * (self.max_features or 0.5)
        growing = 1e6  # what a tree costs however few the rows
        return 1e-9 * self.num_trees * (splits + growing)

    def fit(self, material: Material) -> Fitted:
        width = material.ports["row"].width
        genes: list[Gene] = []
        outputs: dict[str, str] = {}
        starts = start_values(material)
        parts: dict[str, list[str]] = {}
        for place, goal in enumerate(goals(material.outputs, material.targets)):
            description, tensors = self._grow(goal, width, material, starts[goal.output])
            name = f"forest {place}"
            genes.append(gene(name, description, (port("row"),), material.put(tensors)))
            parts.setdefault(goal.output, []).append(name)
        for place, (output, names) in enumerate(parts.items()):
            if len(names) > 1:  # one forest per column of labels
                genes.append(gene(f"joined {place}", {"kind": "concat"}, tuple(names), None))
            outputs[output] = genes[-1].name if len(names) > 1 else names[0]
        return Fitted(Path(genes=tuple(genes), outputs=outputs))

    def _grow(self, goal: Goal, width: int, material: Material, start: np.ndarray) -> tuple[dict[str, Any], Arrays]:
        """Description and tensors of one goal's layer."""
        from sklearn import ensemble

        rows = goal.rows(material.training)
        y = goal.values[rows]
        if len(rows) < 2 or (goal.kind != "number" and len(np.unique(y)) < 2):
            value = start[list(goal.columns)]
            return {"kind": "constant", "width": len(value)}, {"value": value}
        name = {"extra": "ExtraTrees", "random": "RandomForest"}[self.kind]
        made = getattr(ensemble, name + ("Regressor" if goal.kind == "number" else "Classifier"))
        leaves = 2 * len(rows) * self.num_trees * len(goal.columns)
        model = made(
            n_estimators=self.num_trees,
            min_samples_leaf=max(self.min_samples_leaf, -(-leaves // MOST_VALUES)),
            max_features=self.max_features or (1.0 if goal.kind == "number" else "sqrt"),
            n_jobs=material.threads,
            warm_start=material.deadline is not None,
            random_state=material.seed % 2**31,
        )
        weights = None if material.weights is None else material.weights[rows]
        x = gather(material.inputs["row"], rows)
        grow_within(model, material.deadline, most=self.num_trees, fit=lambda: model.fit(x, y, sample_weight=weights))
        trees = averaged(model, range(width), [self._values(tree, goal, model) for tree in model.estimators_])
        link = {"classes": "log", "binary": "logit", "number": "none"}[goal.kind]
        return as_layer(trees, np.zeros(len(goal.columns)), vector_leaves=True, link=link)

    def _values(self, tree: Any, goal: Goal, model: Any) -> np.ndarray:
        """What the nodes of a tree add to the mean: shares of all classes, the share of yes, the value."""
        value: np.ndarray = tree.tree_.value[:, 0, :] / len(model.estimators_)
        if goal.kind == "number":
            return value
        if goal.kind == "binary":
            return value[:, list(model.classes_).index(1.0) :][:, :1]
        shares = np.zeros((len(value), len(goal.columns)))
        shares[:, model.classes_.astype(np.int64)] = value
        return shares


def grow_within(model: Any, deadline: float | None, *, most: int, fit: Callable[[], object]) -> None:
    """Grow all trees, or, where there is a deadline, as many as it allows, a few at least."""
    if deadline is None:
        fit()
        return
    done, part = 0, min(10, most)
    while part > 0:
        begin = time.monotonic()
        model.n_estimators = done + part
        fit()
        done, per_tree = done + part, (time.monotonic() - begin) / part
        part = min(2 * part, most - done, int((deadline - time.monotonic()) / max(per_tree, 1e-9)))
