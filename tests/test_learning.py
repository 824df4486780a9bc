"""What `learn` makes of a problem: which folds validate, and scores that are those of what the user is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymath import Polymath
from polymath.learning import Silent, Wishes
from polymath.learning.preparing import prepare, rotation
from polymath.problem import metrics
from polymath.spec import BadInput

GENERATOR = np.random.default_rng(0)
ROWS = 200
NUMBERS = GENERATOR.normal(size=(ROWS, 3))
PARTS = GENERATOR.choice(["train", "train", "train", "validation", "test"], ROWS)


@pytest.mark.parametrize(
    ("columns", "split", "folds"),
    [
        ({}, {}, (0, 1, 2, 3, 4)),
        ({}, {"folds": 1}, (0,)),
        ({}, {"folds": 2}, (0, 1)),
        ({"split": PARTS}, {}, (0,)),  # validation rows are given
    ],
)
def test_only_folds_that_are_for_validation_validate(
    columns: dict[str, Any], split: dict[str, Any], folds: tuple[int, ...], tmp_path: Path
) -> None:
    data = {"a": NUMBERS[:, 0], "b": NUMBERS[:, 1], "y": NUMBERS[:, 2], **columns}
    wishes = Wishes.model_validate({"name": "t", "targets": ["y"], "split": split})
    _, dataset = prepare(data, wishes, cache=tmp_path, listener=Silent())
    assert rotation(dataset) == folds


def test_every_fold_leaves_one_of_few_examples_of_each_class(tmp_path: Path) -> None:
    classes = np.repeat([f"kind {n}" for n in range(12)], 3)
    data = {"a": NUMBERS[:36, 0], "y": classes}
    wishes = Wishes.model_validate({"name": "t", "targets": ["y"], "split": {"test_fraction": 0.0}})
    _, dataset = prepare(data, wishes, cache=tmp_path, listener=Silent())
    assert rotation(dataset) == (0, 1, 2) and dataset.problem.split.folds == 3
    codes = np.asarray(dataset.targets["y"])
    for fold in range(3):
        assert sorted(codes[dataset.validation(fold)]) == list(range(12))


def test_labels_are_scored_as_they_are_told(tmp_path: Path) -> None:
    names = np.array(["red", "round", "rare"])
    odds = 1.5 * NUMBERS - [0.5, 1.0, 2.5]
    marks = GENERATOR.random((ROWS, 3)) < 1 / (1 + np.exp(-odds))
    data = {"a": NUMBERS[:, 0], "b": NUMBERS[:, 1], "c": NUMBERS[:, 2], "y": [list(names[row]) for row in marks]}
    knowledge = Polymath(tmp_path / "store")
    task = knowledge.learn(data, target="y", name="t", work=0.05, engine="inline", lanes=1, cache=str(tmp_path / "c"))
    threshold = task.record.calibration["y"]["threshold"]
    assert abs(threshold - 0.5) > 0.02, "the threshold must matter, or this proves nothing"
    evidence = knowledge.store.get_tensors(str(task.record.evidence))
    shown = metrics.label_scores(evidence["output/y"], evidence["target/y"], threshold=threshold)
    assert task.record.scores["test"]["y"] == pytest.approx(shown)
    told = np.array([[name in answer["y"]["value"] for name in sorted(names)] for answer in task.predict(data)])
    truth = marks[:, np.argsort(names)]
    f1 = 2 * (told & truth).sum() / (told.sum() + truth.sum())
    assert task.evaluate(data)["scores"]["f1_micro"] == pytest.approx(f1)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"ignored": ("a",)}, "no wish called 'ignored'. Did you mean ignore?"),
        ({"lanes": 0}, "lanes: Input should be greater than or equal to 1"),
        ({"ignore": "a"}, "ignore: Input should be a valid tuple"),
    ],
)
def test_a_wish_that_cannot_be_is_named(tmp_path, wishes, said):
    with pytest.raises(BadInput, match=re.escape(said)), Polymath(tmp_path) as knowledge:
        knowledge.learn({"a": [1, 2], "b": [1, 2]}, target="b", **wishes)
