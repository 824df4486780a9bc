"""Our metrics equal scikit-learn's, and the one number of the search is what its docstring says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special
from scipy.special import softmax
from sklearn import metrics as sklearn_metrics

from polymath.problem import Category, Number, Problem, metrics, probability


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("absent", [False, True])
def test_category_scores(classes, absent):
    generator = np.random.default_rng(classes)
    target = generator.integers(0, classes - absent if classes > 2 else 2, 300)
    logits = generator.normal(size=(300, classes)) + 2 * np.eye(classes)[target]
    logits = np.round(logits, 1)  # ties
    found, said, chance = metrics.category_scores(logits, target), logits.argmax(1), softmax(logits, 1)
    names = list(range(classes))
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(target, said))
    recall = sklearn_metrics.recall_score(target, said, labels=sorted(set(target)), average="macro")
    assert found["balanced_accuracy"] == pytest.approx(recall)
    assert found["log_loss"] == pytest.approx(sklearn_metrics.log_loss(target, chance, labels=names))
    seen = sorted(set(target) | set(said))
    assert found["f1_macro"] == pytest.approx(sklearn_metrics.f1_score(target, said, labels=seen, average="macro"))
    if classes == 2:
        assert found["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(target, chance[:, 1]))
    elif not absent:
        expected = sklearn_metrics.roc_auc_score(target, chance, multi_class="ovr", average="macro")
        assert found["auc"] == pytest.approx(expected)


def test_number_scores():
    generator = np.random.default_rng(0)
    target, guess = generator.normal(size=(2, 100))
    found = metrics.number_scores(guess, target)
    assert found["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(target, guess))
    assert found["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(target, guess))
    assert found["r2"] == pytest.approx(sklearn_metrics.r2_score(target, guess))


def test_label_scores():
    generator = np.random.default_rng(0)
    target = (generator.random((200, 4)) < 0.3).astype(np.uint8)
    logits = np.round(generator.normal(size=(200, 4)) + target, 1)
    found, said = metrics.label_scores(logits, target), logits >= 0
    assert found["f1_micro"] == pytest.approx(sklearn_metrics.f1_score(target, said, average="micro"))
    assert found["f1_macro"] == pytest.approx(sklearn_metrics.f1_score(target, said, average="macro"))
    assert found["subset_accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(target, said))
    expected = sklearn_metrics.average_precision_score(target, logits, average="macro")
    assert found["average_precision"] == pytest.approx(expected)


def make_problem(**settings):
    outputs = [Category(name="kind", classes=("a", "b")), Number(name="size", mean=0.0, deviation=1.0)]
    constants = {"kind": {"accuracy": 0.6}, "size": {"rmse": 4.0}}
    return Problem(name="p", inputs=[Number(name="x")], outputs=outputs, constants=constants, **settings)


def test_score_of_one_output_is_its_metric():
    problem = make_problem()
    single = problem.replace(outputs=problem.outputs[1:], constants={})
    assert single.score({"size": {"rmse": 2.5, "mae": 1.0}}) == -2.5
    assert single.replace(metric="mae").score({"size": {"rmse": 2.5, "mae": 1.0}}) == -1.0
    assert single.score({"size": {"rmse": math.nan}}) == -math.inf


def test_score_of_several_outputs_is_their_mean_skill():
    problem = make_problem()
    assert problem.score({"kind": {"accuracy": 0.6}, "size": {"rmse": 4.0}}) == pytest.approx(0)
    assert problem.score({"kind": {"accuracy": 1.0}, "size": {"rmse": 0.0}}) == pytest.approx(1)
    assert problem.score({"kind": {"accuracy": 0.8}, "size": {"rmse": 1.0}}) == pytest.approx((0.5 + 0.75) / 2)
    assert problem.score({"kind": {"accuracy": 0.8}, "size": {"rmse": 1e9}}) == pytest.approx((0.5 - 1) / 2)
    assert problem.score({"kind": {"accuracy": math.nan}, "size": {"rmse": 4.0}}) == pytest.approx(-0.5)


def test_probabilities_are_those_of_scipy_in_the_tails_too() -> None:
    rows = np.array([[0.3, -2.0, 5.0], [800.0, 799.0, -800.0], [-1e4, -1e4, -1e4]])
    np.testing.assert_allclose(probability.softmax(rows), special.softmax(rows, axis=1), rtol=1e-12)
    np.testing.assert_allclose(probability.log_sum_exp(rows), special.logsumexp(rows, axis=1), rtol=1e-12)
    odds = np.array([-700.0, -40.0, -1e-9, 0.0, 3.0, 40.0, 900.0])
    np.testing.assert_allclose(probability.sigmoid(odds), special.expit(odds), rtol=1e-12)
    shares = np.array([1e-300, 1e-12, 0.3, 0.5, 1 - 1e-12])
    np.testing.assert_allclose(probability.log_odds(shares), special.logit(shares), rtol=1e-12)
