"""Oriented gradients as what a cheap head reads: alone, beside stored features, and where they are tried."""

from __future__ import annotations

from pathlib import Path as Folder

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_digits

from polymath import Polymath
from polymath.model.build import build
from polymath.model.layers.flatten import Flatten
from polymath.model.layers.linear import Linear
from polymath.model.path import Gene, Path
from polymath.model.prefix import END
from polymath.problem import Split
from polymath.problem.form import Form, pixels, tokens, vector
from polymath.search.spaces import gradients
from polymath.search.spaces.parents import Parent


def parent(form: Form, *, width: int) -> Parent:
    genes = (
        Gene(name="known.flat", layer=Flatten(), inputs=("in:photo",), frozen=True),
        Gene(name="known.last", layer=Linear(width=width), inputs=("known.flat",), frozen=True),
    )
    return Parent(task="known", path=Path(genes=genes, outputs={END: "known.last"}), width=width)


@pytest.mark.parametrize("form", [pixels(1, 28, 28), pixels(3, 48, 48), pixels(3, 120, 90), pixels(4, 8, 8)])
def test_pictures_of_any_size_give_vectors_of_like_width(form: Form) -> None:
    ports = {"photo": form, "row": vector(3)}
    path = gradients.alone(ports, ("a", "b"))
    assert path.ports == ("photo",) and all(gene.frozen for gene in path.genes)
    width = path.forms(ports)[path.outputs["a"]].width
    shown = torch.randint(0, 256, (2, form.width, *form.size), dtype=torch.uint8)
    with torch.inference_mode():
        assert build(path, ports).eval()({"photo": shown})["b"].shape == (2, width)
    assert 400 < width < 2_300


def test_what_stands_beside_stored_features_is_as_long_as_they_are() -> None:
    ports = {"photo": pixels(1, 28, 28)}
    known = parent(ports["photo"], width=40)
    path = gradients.beside(known, ports, ("a",))
    shown = torch.randint(0, 256, (5, 1, 28, 28)).float()
    with torch.inference_mode():
        found = build(path, ports, seed=0).eval()({"photo": shown})["a"]
    torch.testing.assert_close(found[:, :40].norm(dim=1), torch.full((5,), 40**0.5))
    torch.testing.assert_close(found[:, 40:].norm(dim=1), torch.full((5,), 40**0.5))
    assert gradients.light(known, ports, width=10) and not gradients.light(known, ports, width=60)


def test_they_suit_pictures_that_are_not_too_many() -> None:
    assert gradients.suits({"photo": pixels(3, 32, 32), "text": tokens(9, vocabulary=50)}, rows=20_000)
    assert not gradients.suits({"photo": pixels(3, 32, 32)}, rows=20_001)
    assert not gradients.suits({"row": vector(3)}, rows=10)
    assert not gradients.suits({"bands": pixels(12, 32, 32)}, rows=10)


def test_few_pictures_are_told_apart_better_than_by_their_pixels(tmp_path: Folder) -> None:
    digits = load_digits()
    shown = (digits.images * 15.9).astype(np.uint8).repeat(3, 1).repeat(3, 2)
    known = np.concatenate([np.flatnonzero(digits.target == label)[:5] for label in range(10)])

    def table(rows: np.ndarray) -> pa.Table:
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(shown[rows]))
        return pa.table({"picture": column, "label": [f"digit {label}" for label in digits.target[rows]]})

    wishes = {"target": "label", "space": "heads", "engine": "inline", "lanes": 1}
    with Polymath(tmp_path / "store") as knowledge:
        task = knowledge.learn(table(known), name="few", work=12.0, split=Split(test_fraction=0.0), **wishes)
        scores = {row["what"]: row["score"] for row in task.leaderboard()}
        assert scores["linear on oriented gradients"] > scores["linear"], scores
        assert "oriented gradients" in task.record.members[0]["label"]
