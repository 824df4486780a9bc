"""The scikit-learn estimators: scikit-learn's own checks, and what those do not ask."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from polymath import Polymath, PolymathClassifier, PolymathRegressor

BOTH = [PolymathClassifier(work=0.03), PolymathRegressor(work=0.01)]
"""So little work that only the cheapest heads run, yet enough to be right on the checks' data."""
QUICK = {
    "check_estimator_tags_renamed",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_estimators_unfitted",
    "check_estimator_sparse_tag",
    "check_estimator_sparse_array",
    "check_complex_data",
    "check_fit1d",
    "check_fit2d_1sample",
    "check_n_features_in",
    "check_classifiers_one_label",
    "check_regressors_no_decision_function",
    "check_supervised_y_no_nan",
    "check_dict_unchanged",
    "check_estimators_pickle",
}
"""Checks that fit seldom or never: a few seconds together. All others run with `-m slow`."""


def name_of(check) -> str:
    return getattr(check, "func", check).__name__


def quick_checks():
    for estimator in BOTH:
        for one, check in estimator_checks_generator(estimator, mark=None):
            if name_of(check) in QUICK:
                yield pytest.param(one, check, id=f"{type(one).__name__}-{name_of(check)}")


@pytest.mark.parametrize(("estimator", "check"), list(quick_checks()))
def test_quick_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", BOTH, ids=lambda one: type(one).__name__)
def test_all_checks_of_scikit_learn(estimator):
    found = check_estimator(estimator, on_skip=None)
    skipped = {one["check_name"] for one in found if one["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}  # needs an environment variable of scipy's
    assert len(found) > 40


def test_it_learns_numbers_names_dates_and_gaps():
    generator = np.random.default_rng(0)
    x = generator.normal(size=120)
    frame = pd.DataFrame(
        {
            "size": np.where(np.arange(120) % 9 == 0, np.nan, generator.normal(size=120)),
            "colour": np.where(x > 0, "red", "blue"),
            "when": pd.Timestamp("2021-05-01") + pd.to_timedelta(generator.integers(0, 400, 120), unit="D"),
        }
    )
    answer = np.where(x > 0, "yes", "no")
    model = PolymathClassifier(work=0.1).fit(frame, answer)
    assert list(model.feature_names_in_) == ["size", "colour", "when"]
    assert list(model.classes_) == ["no", "yes"]
    assert (model.predict(frame) == answer).mean() > 0.95
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"size": "sighs"}))


def test_probabilities_are_in_the_order_of_classes_and_sum_to_one():
    x, y = load_iris(return_X_y=True)
    names = np.array(["b", "c", "a"])[y]
    model = PolymathClassifier(work=0.03).fit(x, names)
    shares = model.predict_proba(x)
    assert list(model.classes_) == ["a", "b", "c"]
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-9)
    assert shares[y == 2, 0].mean() > 0.8
    assert model.score(x, names) > 0.9


def test_in_a_pipeline_and_in_cross_validation():
    x, y = load_diabetes(return_X_y=True)
    scores = cross_val_score(make_pipeline(StandardScaler(), PolymathRegressor(work=0.02)), x, y, cv=3)
    assert scores.mean() > 0.35


def test_same_seed_same_answers_and_a_copy_gives_them_too():
    x, y = load_diabetes(return_X_y=True)
    model = PolymathRegressor(work=0.02, random_state=3).fit(x[:150], y[:150])
    again = clone(model).fit(x[:150], y[:150])
    assert model.record_.summary.result_digest == again.record_.summary.result_digest
    np.testing.assert_array_equal(model.predict(x), again.predict(x))
    np.testing.assert_array_equal(model.predict(x), copy.deepcopy(model).predict(x))


def test_a_row_is_answered_alike_whatever_stands_beside_it():
    x, y = load_iris(return_X_y=True)
    model = PolymathClassifier(work=0.03).fit(x, y)
    together = model.predict_proba(x)
    np.testing.assert_array_equal(together[[7, 99]], model.predict_proba(x[[7, 99]]))


def test_no_folder_is_left_behind_but_the_store_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    x, y = load_iris(return_X_y=True)
    model = PolymathClassifier(work=0.01, store=str(tmp_path / "kept"), name="iris").fit(x, y)
    assert not list((tmp_path / "temporary").iterdir())
    kept = Polymath(tmp_path / "kept")
    assert kept.task("iris").record == model.record_
    kept.close()
    assert model.predict(x[:1]).shape == (1,)


def test_before_fit_it_says_so():
    with pytest.raises(NotFittedError):
        PolymathClassifier().predict([[1.0]])


def test_a_budget_in_seconds_is_the_default_and_weights_are_not_taken():
    assert PolymathRegressor().get_params()["budget"] == "60s"
    assert "sample_weight" not in inspect.signature(PolymathRegressor.fit).parameters
