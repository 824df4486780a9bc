"""Boosted trees on the row port."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ...problem.form import Form
from ..path import Path
from ._common import Goal, gather, gene, goals, port, start_values
from ._convert import Tree, as_layer, boosted
from .base import Facts, Fitted, Material, Probe

MOST_CODES = 255
"""Category columns of more codes than a histogram has bins are taken as numbers: codes are ordered by frequency."""
FEWEST_WATCHED = 20
"""With fewer validation rows all rounds are made: their loss would say little."""


class TreesProbe(Probe):
    """Gradient-boosted trees on histograms, stopped early on the fold's validation rows."""

    method: Literal["trees"] = "trees"
    learning_rate: float = Field(default=0.1, gt=0)
    max_leaf_nodes: int = Field(default=31, ge=2)
    min_samples_leaf: int = Field(default=20, ge=1)
    l2: float = Field(default=0.0, ge=0)
    max_features: float = Field(default=1.0, gt=0, le=1)
    """Share of the columns that each split may choose from."""
    max_iter: int = Field(default=300, ge=1)
    """Rounds of boosting at most."""
    patience: int = Field(default=20, ge=1)
    """Rounds without improvement on the validation rows before it stops."""

    def suits(self, ports: Mapping[str, Form]) -> bool:
        return "row" in ports

    def work(self, facts: Facts) -> float:
        columns = facts.ports["row"].width if "row" in facts.ports else 1
        depth = max(self.max_leaf_nodes - 1, 1).bit_length()
        passes = depth * (1 + columns * self.max_features)
        histograms = 256 * columns * self.max_leaf_nodes
        growing = 1e5  # what a tree costs however few the rows
        rounds = min(self.max_iter, 10 * self.patience)  # few need more before the validation rows stop them
        return 1e-9 * rounds * max(facts.width, 1) * (facts.training_rows * passes + histograms + growing)

    def fit(self, material: Material) -> Fitted:
        form = material.ports["row"]
        sizes = form.categories or (0,) * form.width
        genes, outputs = [], {}
        starts = start_values(material)
        made: dict[str, _Sum] = {output: _Sum([], start.astype(np.float64)) for output, start in starts.items()}
        for goal in goals(material.outputs, material.targets):
            self._boost(goal, sizes, material, made[goal.output])
        for place, (output, total) in enumerate(made.items()):
            name = f"trees {place}"
            if total.trees:
                description, tensors = as_layer(total.trees, total.base)
            else:
                description, tensors = {"kind": "constant", "width": len(total.base)}, {"value": starts[output]}
            genes.append(gene(name, description, (port("row"),), material.put(tensors)))
            outputs[output] = name
        return Fitted(Path(genes=tuple(genes), outputs=outputs))

    def _boost(self, goal: Goal, sizes: Sequence[int], material: Material, total: _Sum) -> None:
        """Fit one goal and add its trees and base values; leaves the constant where there is nothing to tell apart."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        training, validation = goal.rows(material.training), goal.rows(material.validation)
        y = goal.values[training]
        classes = np.unique(y) if goal.kind != "number" else None
        if len(training) < 2 or (classes is not None and len(classes) < 2):
            return
        if classes is not None:
            validation = validation[np.isin(goal.values[validation], classes)]
        x = gather(material.inputs["row"], training)
        model_class = HistGradientBoostingRegressor if classes is None else HistGradientBoostingClassifier
        watched = len(validation) >= FEWEST_WATCHED
        model = model_class(
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=min(self.min_samples_leaf, max(len(training) // 4, 1)),
            l2_regularization=self.l2,
            max_features=self.max_features,
            max_iter=self.max_iter,
            categorical_features=[c for c, size in enumerate(sizes) if 0 < size <= MOST_CODES] or None,
            early_stopping=watched,
            n_iter_no_change=self.patience,
            scoring="loss",
            warm_start=material.deadline is not None,
            random_state=material.seed % 2**31,
        )
        held = {}
        if watched:
            held = {"X_val": gather(material.inputs["row"], validation), "y_val": goal.values[validation]}
        weights = None if material.weights is None else material.weights[training]
        self._within(model, material.deadline, lambda: model.fit(x, y, sample_weight=weights, **held))
        rounds = len(model._predictors)
        if watched:
            rounds = int(np.argmax(model.validation_score_))  # place 0 is the score before the first round
        base = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)
        if goal.kind == "classes":
            assert classes is not None
            present = classes.astype(np.int64)
            # With two classes present there is one tree per round, for the second; the first stays at 0.
            begin = base if len(present) > 2 else np.array([0.0, base[0]])
            places = present.tolist() if len(present) > 2 else [int(present[1])]
            total.base += begin.mean() - total.base[present].mean()  # absent classes keep their distance below
            total.base[present] = begin
        else:
            places = [goal.columns[0]]
            total.base[places] = base
        total.trees += boosted(model, range(len(sizes)), rounds=rounds, outputs=places)

    def _within(self, model: Any, deadline: float | None, fit: Callable[[], object]) -> None:
        """Fit all rounds, or, where there is a deadline, more and more of them until the next part would be late."""
        if deadline is None:
            fit()
            return
        done, part = 0, min(10, self.max_iter)
        while True:
            begin = time.monotonic()
            model.max_iter = done + part
            fit()
            if len(model._predictors) < done + part or len(model._predictors) >= self.max_iter:
                return
            done, per_round = done + part, (time.monotonic() - begin) / part
            affordable = int((deadline - time.monotonic()) / max(per_round, 1e-9))
            part = min(2 * part, self.max_iter - done, affordable)
            if part < 1:
                return


@dataclass
class _Sum:
    """What the raw prediction of one output is made of, as it is fitted."""

    trees: list[Tree]
    base: np.ndarray
