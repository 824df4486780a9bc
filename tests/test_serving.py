"""Mixed requests to many tasks of a store are answered as by each task alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits

from polymath import BadInput, Polymath
from polymath.serving import Serving

CHEAP = {"engine": "inline", "lanes": 1}


def digits(classes: range, *, each: int, skip: int = 0) -> pa.Table:
    data = load_digits()
    chosen = np.concatenate([np.flatnonzero(data.target == label)[skip : skip + each] for label in classes])
    column = pa.FixedShapeTensorArray.from_numpy_ndarray((data.images[chosen] * 15.9).astype(np.uint8))
    return pa.table({"picture": column, "digit": [f"d{label}" for label in data.target[chosen]]})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks that read pictures, one of numbers."""
    folder = tmp_path_factory.mktemp("serving")
    wishes = {**CHEAP, "cache": str(folder / "cache")}
    with Polymath(folder / "store") as store:
        store.learn(digits(range(4), each=20), target="digit", name="low", work=0.1, space="heads", **wishes)
        store.learn(digits(range(4, 8), each=20), target="digit", name="high", work=0.1, space="heads", **wishes)
        x = np.arange(80.0)
        table = pa.table({"x": x, "y": np.where(x % 2 > 0, "odd", "even")})
        store.learn(table, target="y", name="table", work=0.01, space="heads", **wishes)
    return folder


def alike(found: object, expected: object) -> bool:
    """Equal but for numbers, which are close."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(alike(found[key], expected[key]) for key in found)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if isinstance(found, float) and isinstance(expected, float):
        return found == pytest.approx(expected, abs=1e-4)
    return found == expected


def test_each_request_gets_the_answers_of_its_task(place: Path) -> None:
    asked = digits(range(8), each=4, skip=40).select(["picture"])
    numbers = pa.table({"x": [3.0, None, 8.0]})
    with Polymath(place / "store") as store:
        alone = {name: store.task(name).predict(asked) for name in ("low", "high")}
        requests = [("low", asked.slice(n, 1)) for n in range(32)] + [("high", asked), ("table", numbers)]
        found = store.predict_many(requests[::-1])[::-1]
        assert [len(answers) for answers in found] == [*[1] * 32, 32, 3]
        assert alike([answers[0] for answers in found[:32]], alone["low"])
        assert alike(found[32], alone["high"])
        assert alike(found[33], store.task("table").predict(numbers))
        assert store.predict_many([("high", asked)])[0] == alone["high"], "one task by itself: bit for bit"
        assert store.predict_many([]) == []


def test_tables_that_say_that_nothing_is_missing_are_answered_beside_others(place: Path) -> None:
    schema = pa.schema([pa.field("x", pa.float64(), nullable=False)])
    tables = [pa.table({"x": [3.0, None]}), pa.table({"x": [8.0]}, schema=schema)]
    with Polymath(place / "store") as store:
        found = store.predict_many([("table", table) for table in tables])
        assert alike(found, [store.task("table").predict(table) for table in tables])


def test_more_rows_than_one_batch(place: Path) -> None:
    asked = digits(range(10), each=60).select(["picture"])
    with Polymath(place / "store") as store:
        assert len(asked) == 600
        found = store.predict_many([("low", asked), ("high", asked.slice(0, 7))])
        assert alike(found, [store.task("low").predict(asked), store.task("high").predict(asked.slice(0, 7))])


def test_what_cannot_be_used_costs_the_others_nothing(place: Path) -> None:
    asked = digits(range(2), each=1).select(["picture"])
    with Polymath(place / "store") as store:
        serving = Serving(store.store)
        found = serving.predict([("nobody", asked), ("table", asked), ("low", asked)])
        assert [["error" in answer for answer in answers] for answers in found] == [[True] * 2, [True] * 2, [False] * 2]
        assert "no such task" in str(found[0][0]["error"])
        assert "x" in str(found[1][0]["error"])
        with pytest.raises(BadInput, match="no such task"):
            store.predict_many([("nobody", asked)])


def test_a_new_version_is_taken_and_an_old_task_let_go(place: Path, tmp_path: Path) -> None:
    asked = digits(range(4), each=2, skip=50).select(["picture"])
    wishes = {**CHEAP, "cache": str(tmp_path / "cache"), "work": 0.05, "space": "heads", "target": "digit"}
    with Polymath(tmp_path / "store") as store:
        store.learn(digits(range(2), each=20), name="some", **wishes)
        before = store.predict_many([("some", asked)])[0]
        store.learn(digits(range(4), each=20), name="some", **wishes)
        after = store.predict_many([("some", asked)])[0]
        assert {str(answer["digit"]["value"]) for answer in before} <= {"d0", "d1"}  # type: ignore[index,call-overload]
        assert {str(answer["digit"]["value"]) for answer in after} == {"d0", "d1", "d2", "d3"}  # type: ignore[index,call-overload]
        serving = Serving(store.store)
        serving.problem("some")
        assert serving.num_bytes > 0
        serving.drop("some")
        assert serving.num_bytes == 0


def test_a_task_behind_a_gate_answers_by_itself(place: Path, tmp_path: Path) -> None:
    asked = digits(range(8), each=2, skip=40).select(["picture"])
    wishes = {**CHEAP, "cache": str(place / "cache"), "work": 0.1, "space": "heads", "target": "digit"}
    with Polymath(place / "store") as store:
        store.learn(digits(range(4, 8), each=20), name="gated", gate="low:d1", **wishes)
        found = store.predict_many([("high", asked), ("gated", asked)])
        assert found[1] == store.task("gated").predict(asked)
        assert any("gated" in answer for answer in found[1])
