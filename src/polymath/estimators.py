"""Scikit-learn's form of `learn`: `PolymathClassifier` and `PolymathRegressor`, for pipelines and grids.

    >>> from polymath import PolymathClassifier                                # doctest: +SKIP
    >>> model = PolymathClassifier(budget="60s").fit(X, y)                     # doctest: +SKIP
    >>> model.predict_proba(X_new)                                             # doctest: +SKIP

All rows given to `fit` are learned from, none are kept for a test: whoever calls does that. There is no
`sample_weight`: a row of weight 2 would have to count as two rows do, and equal rows stay on one side of a split here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .knowledge import Polymath, Task
from .problem import Category, Feature, Number, Problem, Split
from .problem.inference import infer
from .problem.sources import read
from .store import Store

SAME_ROWS = 64
"""Rows are answered in blocks of this many, filled up: an answer then does not depend on the rows beside it."""


class _Weights:
    """The weights of one task in memory, in place of the store that it was learned into."""

    def __init__(self, tensors: Mapping[str, dict[str, np.ndarray]]) -> None:
        self._tensors = dict(tensors)

    def get_tensors(self, address: str, *, finite: bool = False) -> dict[str, np.ndarray]:
        return {name: array.copy() for name, array in self._tensors[address].items()}


class _Polymath(BaseEstimator):  # type: ignore[misc]
    """What both estimators share.

    `budget`: seconds, or '60s', '10m', '2h'. `work`: work units instead; the result does not depend on the clock then.
    `metric`: by name; None = the one that fits. `store`: folder that task `name` is learned into; None = none is kept.
    `lanes`: experiments side by side. `engine`: 'inline' or 'processes'. `random_state`: equal numbers, equal results.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        budget: str | float = "60s",
        work: float | None = None,
        metric: str | None = None,
        store: str | None = None,
        name: str = "estimator",
        lanes: int = 1,
        engine: str = "inline",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.budget = budget
        self.work = work
        self.metric = metric
        self.store = store
        self.name = name
        self.lanes = lanes
        self.engine = engine
        self.random_state = random_state

    def _learn(self, table: pa.Table, target: pa.Array, output: Feature) -> None:
        """Learns the target from the table; afterwards `record_` and the weights are all that is kept."""
        target_name = _free("target", table.column_names)
        problem = Problem(
            name=self.name,
            inputs=_features(table),
            outputs=(output.replace(name=target_name),),
            metric=self.metric,
            split=Split(test_fraction=0.0),
        )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        amount: dict[str, Any] = {"budget": self.budget} if self.work is None else {"work": self.work}
        with tempfile.TemporaryDirectory(prefix="polymath-") as folder:
            knowledge = Polymath(self.store or Path(folder) / "store")
            try:
                task = knowledge.learn(
                    table.append_column(target_name, target),
                    name=self.name,
                    problem=problem,
                    seed=seed,
                    lanes=self.lanes,
                    engine=self.engine,
                    cache=str(Path(folder) / "cache"),
                    **amount,
                )
                addresses = {str(gene["weights"]) for gene in task.record.path["genes"] if gene["weights"]}
                weights = _Weights({address: knowledge.store.get_tensors(address) for address in addresses})
            finally:
                knowledge.close()
        self.record_ = task.record
        self._task = Task(cast(Store, weights), task.record)

    def _raw(self, X: Any) -> np.ndarray:
        """Raw predictions [N, W]."""
        check_is_fitted(self, "record_")
        table = _table(self, X, reset=False)
        count = len(table)
        rest = -count % SAME_ROWS
        if rest:  # filled up with the last row
            table = table.take(pa.array(np.minimum(np.arange(count + rest), count - 1)))
        feature = self._task.predictor.problem.outputs[0]
        predicted = self._task.predictor.raw(table)
        if predicted.bad:
            row = min(predicted.bad)
            raise ValueError(f"row {row} cannot be used: {predicted.bad[row]}")
        return predicted.raw[feature.name][:count].astype(np.float64)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "_task" in state:  # without the path that was built from it
            state = {**state, "_task": Task(self._task.store, self._task.record)}
        return state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = False
        tags.non_deterministic = self.work is None
        return tags


class PolymathClassifier(ClassifierMixin, _Polymath):  # type: ignore[misc]
    """Learns one of several classes from columns of numbers, names, dates and texts.

    After `fit`: `classes_`, `n_features_in_`, `feature_names_in_` (of tables), `record_` (what was learned).
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Learns `y` [N] from `X`, a table or an array [N, D]; NaN = missing. Raises ValueError."""
        table, y = _table(self, X, y, reset=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y holds one class only; two are needed to learn to tell them apart")
        self._learn(table, pa.array(codes.astype(np.int64)), Category(name="y"))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [N, classes], columns in the order of `classes_`."""
        raw = self._raw(X)
        feature = self._task.predictor.problem.outputs[0]
        temperature = self.record_.calibration.get(feature.name, {}).get("temperature", 1.0)
        return np.asarray(softmax(raw / temperature, axis=1))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row."""
        likeliest = self.predict_proba(X).argmax(axis=1)  # first: it says so if nothing was learned
        return np.asarray(self.classes_[likeliest])


class PolymathRegressor(RegressorMixin, _Polymath):  # type: ignore[misc]
    """Learns a number from columns of numbers, names, dates and texts.

    After `fit`: `n_features_in_`, `feature_names_in_` (of tables), `record_` (what was learned).
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Learns `y` [N] from `X`, a table or an array [N, D]; NaN = missing in X only. Raises ValueError."""
        table, y = _table(self, X, y, reset=True, y_numeric=True)
        self._learn(table, pa.array(np.asarray(y, dtype=np.float64)), Number(name="y"))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The number for each row."""
        raw = self._raw(X)
        feature = self._task.predictor.problem.outputs[0]
        return np.array([answer["value"] for answer in feature.decode(raw, {})], dtype=np.float64)


def _table(estimator: _Polymath, X: Any, y: Any = None, *, reset: bool, y_numeric: bool = False) -> Any:
    """X as a table, checked the way scikit-learn does; with y the pair. Raises ValueError."""
    rules: dict[str, Any] = {"reset": reset, "ensure_all_finite": "allow-nan"}
    if reset:
        rules |= {"ensure_min_samples": 2, "y_numeric": y_numeric}
    frame = _is_mixed(X)
    if frame:  # only names and numbers of columns are looked at: other types than numbers are our own affair
        rules = {"reset": reset, "skip_check_array": True}
    checked = validate_data(estimator, X, **({"y": y} if reset else {}), **rules)
    inputs, target = checked if reset else (checked, None)
    names = [f"x{i}" for i in range(estimator.n_features_in_)]
    if frame:
        columns = read(inputs).table.columns
    else:
        columns = [pa.array(column, from_pandas=False) for column in np.asarray(inputs).T]
    table = pa.table(columns, names=names)
    if not reset:
        return table
    target = column_or_1d(target, warn=True)
    if len(target) != len(table):
        raise ValueError(f"X has {len(table)} rows and y has {len(target)}")
    return table, target


def _is_mixed(X: Any) -> bool:
    """Whether it is a table that holds anything but numbers."""
    return hasattr(X, "iloc") and hasattr(X, "dtypes") and any(getattr(d, "kind", "O") not in "biuf" for d in X.dtypes)


def _features(table: pa.Table) -> tuple[Feature, ...]:
    """Numbers are numbers, as scikit-learn has it; what else there is, is found out."""
    numeric = {f.name for f in table.schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)}
    if len(numeric) == table.num_columns:
        return tuple(Number(name=name) for name in table.column_names)
    dummy = _free("target", table.column_names)
    rows = read(table.append_column(dummy, pa.array(np.arange(len(table)) % 2)))
    return infer(rows, target=(dummy,), types=dict.fromkeys(sorted(numeric), "number")).inputs


def _free(name: str, taken: list[str]) -> str:
    """A name that no column has."""
    while name in taken:
        name += "_"
    return name
