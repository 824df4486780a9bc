"""Few examples of each class: moved copies, what stored tasks say of classes of the same names, and no lone winner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import log_softmax
from sklearn.datasets import load_digits

from polymath import Polymath
from polymath.model import alike
from polymath.model.combine import Member
from polymath.model.layers.namesakes import Namesakes
from polymath.model.path import Path as Genes
from polymath.model.probes import LinearProbe, Material
from polymath.model.probes.copies import PLACES, copied, moved
from polymath.problem import Category, Split

WISHES = {"target": "label", "space": "heads", "engine": "inline", "lanes": 1, "split": Split(test_fraction=0.0)}


def pictures(rows: np.ndarray, *, inverted: bool = False) -> pa.Table:
    """Digits as pictures of 16 x 16 with their names; inverted: another task with the same classes."""
    digits = load_digits()
    shown = (digits.images[rows] * 15.9).astype(np.uint8).repeat(2, 1).repeat(2, 2)
    shown = 255 - shown if inverted else shown
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(shown))
    return pa.table({"picture": column, "label": [f"digit {label}" for label in digits.target[rows]]})


def rows_of(each: int, *, start: int) -> np.ndarray:
    labels = load_digits().target[start:]
    return start + np.sort(np.concatenate([np.flatnonzero(labels == label)[:each] for label in range(10)]))


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that tells digits apart."""
    place = tmp_path_factory.mktemp("few")
    with Polymath(place / "store") as store:
        store.learn(pictures(np.arange(700)), name="known", work=10, **WISHES)
    return place


@pytest.mark.parametrize("each", [1, 2])
def test_a_task_answers_by_what_it_knows_of_the_same_names(knowledge: Path, each: int) -> None:
    asked = np.arange(1500, 1700)
    with Polymath(knowledge / "store") as store:
        task = store.learn(pictures(rows_of(each, start=900)), name=f"new {each}", work=0.3, **WISHES)
        assert any("namesakes on known" in str(member["label"]) for member in task.record.members), task.record.members
        assert "known" in task.record.built_on
        answers = task.predict(pictures(asked).drop_columns(["label"]))
        truth = [f"digit {label}" for label in load_digits().target[asked]]
        right = np.mean([one["label"]["value"] == label for one, label in zip(answers, truth, strict=True)])
        assert right > 0.75, right


def test_rows_that_a_task_was_learned_from_are_not_judged_by_it(knowledge: Path) -> None:
    with Polymath(knowledge / "store") as store:
        first = store.learn(pictures(rows_of(4, start=900)), name="first", work=0.2, **WISHES)
        again = store.learn(pictures(rows_of(4, start=900)), name="again", work=0.2, **WISHES)
        assert "first" not in again.record.built_on, (first.record.members, again.record.members)


def test_heads_that_few_rows_do_not_tell_apart_are_weighed_by_their_losses() -> None:
    truth = np.arange(8) % 2
    feature = Category(name="label", classes=("no", "yes"))
    assert alike.few(11, [feature]) and not alike.few(12, [feature])

    def member(number: int, wrong: int, sure: float) -> Member:
        said = np.where(np.arange(8) < wrong, 1 - truth, truth)
        return Member(number, 0.0, {"label": sure * np.eye(2, dtype=np.float32)[said]}, ())

    careful, bold, bad = member(1, 1, 2.0), member(2, 1, 20.0), member(3, 8, 2.0)
    found = alike.alike([careful, bold, bad], [feature], {"label": truth})
    assert [one.number for one in found] == [1, 2], "wrong about everything is no chance"
    weights = alike.weighed([careful, bold, bad], [feature], {"label": truth})
    assert weights == {1: 1.0}, "sure and wrong once costs more than being careful"
    same = alike.weighed([careful, member(4, 1, 2.0), member(5, 1, 2.0)], [feature], {"label": truth}, most=2)
    assert same == pytest.approx({1: 0.5, 4: 0.5})


def test_namesakes_sum_probabilities() -> None:
    layer = Namesakes(width=3, classes=(0, 1, 0, -1))
    logits = np.array([[1.0, 0.5, -1.0, 2.0]], dtype=np.float32)
    import torch

    found = layer.build(*[_vector(4)])(torch.from_numpy(logits)).numpy()
    shares = np.exp(log_softmax(logits, axis=1))[0]
    np.testing.assert_allclose(np.exp(found[0]), [shares[0] + shares[2], shares[1], 0.25], rtol=1e-5)
    with pytest.raises(ValueError, match="places"):
        Namesakes(width=2, classes=(0, 2))


def _vector(width: int):  # type: ignore[no-untyped-def]
    from polymath.problem.form import vector

    return vector(width)


def test_copies_are_rows_of_their_own_and_what_judges_is_not_moved() -> None:
    images = np.arange(2 * 28 * 28, dtype=np.float32).reshape(2, 1, 28, 28)
    right = moved(images, (0, 1))
    np.testing.assert_array_equal(right[:, :, :, 2:], images[:, :, :, :-2])
    np.testing.assert_array_equal(right[:, :, :, 0], images[:, :, :, 0])
    assert len(set(PLACES)) == 9
    material = Material(
        ports={},
        inputs={},
        outputs={},
        targets={"label": np.array([3, 4, 5])},
        training=np.array([2, 0]),
        validation=np.array([1]),
        seed=0,
        threads=1,
        put=lambda tensors: "",
        fetch=lambda address: {},
        path=Genes(genes=(), outputs={}),
        frozen=lambda path, gene, *, moved=(0, 0): np.array([[0.0], [1.0], [2.0]]) + 10 * PLACES.index(moved),
    )
    many = copied(material, 3)
    assert many.frozen is not None and many.path is not None
    assert many.frozen(many.path, "x")[:, 0].tolist() == [2, 0, 12, 10, 22, 20, 1]
    assert many.targets["label"].tolist() == [5, 3, 5, 3, 5, 3, 4]
    assert (many.training.tolist(), many.validation.tolist()) == ([0, 1, 2, 3, 4, 5], [6])


def test_recipes_without_copies_keep_their_digests() -> None:
    assert "copies" not in LinearProbe().model_dump()
    assert LinearProbe(copies=5).model_dump()["copies"] == 5
