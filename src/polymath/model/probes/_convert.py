"""Fitted trees of scikit-learn -> the tensors of our `trees` layer. Nothing else of them is kept.

Private attributes of scikit-learn are read here and nowhere else; `tests/model/test_probes.py` compares predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Tree:
    """One tree as arrays by node. A leaf has itself as children."""

    column: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    """[N, 1] for one output, [N, W] for vector leaves."""
    sets: dict[int, np.ndarray]
    """Node that splits by category -> bool [256], True = code goes left."""
    output: int = 0


def boosted(model: Any, columns: Sequence[int], *, rounds: int, outputs: Sequence[int]) -> list[Tree]:
    """The first `rounds` of a fitted HistGradientBoosting model. `columns`: its columns -> columns of the row port."""
    order, codes = _encoded_columns(model, len(columns))
    trees = []
    for per_round in model._predictors[:rounds]:
        for output, predictor in zip(outputs, per_round, strict=True):
            trees.append(_boosted_tree(predictor, order, codes, columns, output))
    return trees


def _encoded_columns(model: Any, width: int) -> tuple[list[int], dict[int, np.ndarray]]:
    """Places of the model's inner columns, and the raw codes behind the inner codes of its category columns.

    The model puts its category columns first and numbers the codes that it saw from 0.
    """
    if model.is_categorical_ is None:
        return list(range(width)), {}
    inner = np.flatnonzero(_categorical(model, width))
    numbers = [column for column in range(width) if column not in set(inner.tolist())]
    encoder = model._preprocessor.named_transformers_["encoder"]
    codes = {place: np.asarray(seen, dtype=np.float64) for place, seen in enumerate(encoder.categories_)}
    return [*inner.tolist(), *numbers], codes


def _categorical(model: Any, width: int) -> np.ndarray:
    mask = np.zeros(width, dtype=bool)
    mask[np.asarray(model.categorical_features, dtype=np.int64)] = True
    return mask


def _boosted_tree(
    predictor: Any, order: Sequence[int], codes: Mapping[int, np.ndarray], columns: Sequence[int], output: int
) -> Tree:
    nodes = predictor.nodes
    itself = np.arange(len(nodes))
    leaf = nodes["is_leaf"].astype(bool)
    sets = {}
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
        words = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        bits = np.unpackbits(words.view(np.uint8), bitorder="little").astype(bool)
        # A code that was not seen while fitting counts as missing.
        left = np.full(256, bool(nodes["missing_go_to_left"][node]))
        seen = codes[int(nodes["feature_idx"][node])]
        for inner, raw in enumerate(seen):
            if np.isfinite(raw):
                left[int(raw)] = bits[inner]
        sets[int(node)] = left
    return Tree(
        column=np.array([columns[order[int(f)]] for f in nodes["feature_idx"]]),
        threshold=floor32(nodes["num_threshold"]),
        left=np.where(leaf, itself, nodes["left"].astype(np.int64)),
        right=np.where(leaf, itself, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=np.where(leaf, nodes["value"], 0.0).astype(np.float32)[:, None],
        sets=sets,
        output=output,
    )


def averaged(model: Any, columns: Sequence[int], values: Sequence[np.ndarray]) -> list[Tree]:
    """The trees of a fitted forest; `values[t]` [N, W] is what the leaves of tree t add."""
    trees = []
    for estimator, value in zip(model.estimators_, values, strict=True):
        tree = estimator.tree_
        leaf = tree.children_left < 0
        itself = np.arange(tree.node_count)
        missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count))
        trees.append(
            Tree(
                column=np.array([columns[int(f)] if f >= 0 else 0 for f in tree.feature]),
                threshold=floor32(np.where(leaf, 0.0, tree.threshold)),
                left=np.where(leaf, itself, tree.children_left),
                right=np.where(leaf, itself, tree.children_right),
                missing_left=np.asarray(missing).astype(bool),
                value=np.where(leaf[:, None], value, 0.0).astype(np.float32),
                sets={},
            )
        )
    return trees


def floor32(thresholds: np.ndarray) -> np.ndarray:
    """float64 thresholds as the float32 that split float32 values alike: rounded down, and finite."""
    limit = np.finfo(np.float32).max
    wide = np.clip(np.asarray(thresholds, dtype=np.float64), -limit, limit)
    narrow = wide.astype(np.float32)
    return np.where(narrow.astype(np.float64) > wide, np.nextafter(narrow, np.float32(-np.inf)), narrow)


def as_layer(
    trees: Sequence[Tree], base: np.ndarray, *, vector_leaves: bool = False, link: str = "none"
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and tensors of the `trees` layer that computes `base` plus these trees."""
    sizes = np.array([len(tree.column) for tree in trees])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    nodes, num_sets = int(sizes.sum()), sum(len(tree.sets) for tree in trees)
    bitset = np.full(nodes, -1, dtype=np.int32)
    bitsets = np.zeros((num_sets, 32), dtype=np.uint8)
    place = 0
    for start, tree in zip(starts, trees, strict=True):
        for node, left in tree.sets.items():
            bitset[start + node] = place
            bitsets[place] = np.packbits(left, bitorder="little")
            place += 1
    children = [np.stack([tree.right, tree.left], 1) + start for start, tree in zip(starts, trees, strict=True)]
    tensors = {
        "column": np.concatenate([tree.column for tree in trees]).astype(np.int32),
        "threshold": np.concatenate([tree.threshold for tree in trees]).astype(np.float32),
        "child": np.concatenate(children).astype(np.int32),
        "missing_left": np.concatenate([tree.missing_left for tree in trees]),
        "bitset": bitset,
        "bitsets": bitsets,
        "value": np.concatenate([tree.value for tree in trees]),
        "root": starts.astype(np.int32),
        "output": np.array([tree.output for tree in trees], dtype=np.int32),
        "base": base.astype(np.float32),
    }
    description = {
        "kind": "trees",
        "width": len(base),
        "num_trees": len(trees),
        "num_nodes": nodes,
        "num_bitsets": num_sets,
        "depth": max(_depth(tree) for tree in trees),
        "vector_leaves": vector_leaves,
        "link": link,
    }
    return description, tensors


def _depth(tree: Tree) -> int:
    depth, level = 0, np.array([0])
    while True:
        level = level[tree.left[level] != level]
        if not len(level):
            return depth
        level = np.concatenate([tree.left[level], tree.right[level]])
        depth += 1
