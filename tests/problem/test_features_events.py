"""Histories of events: what is read of them, as which ids, what bad ones get, and a task learned from them."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from polymath import Polymath
from polymath.problem.features import Events
from polymath.problem.features.events import NO_EVENT, NO_LIST
from polymath.problem.inference import infer
from polymath.problem.sources import read
from polymath.spec import BadInput, canonical


def column(*values: object) -> pa.ChunkedArray:
    texts = [value if value is None or isinstance(value, str) else canonical(value) for value in values]
    return pa.chunked_array([pa.array(texts, pa.string())])


@pytest.fixture(scope="module")
def feature() -> Events:
    histories = [[[0, "pulse", 60 + n], [1, "visit"], [1, "pulse", 70 + n], [5 + n % 3, "visit"]] for n in range(40)]
    return Events(name="stay", parts=4).measure(column(*histories))


def test_an_event_is_its_code_and_the_part_of_its_value(feature):
    assert feature.codes == ("pulse", "visit") and len(feature.cuts[0]) == 3 and feature.cuts[1] == ()
    low, high, none, visit = (
        feature.encode(column([[0, "pulse", 1]], [[0, "pulse", 999]], [[0, "pulse"]], [[0, "visit"]]))
        .array[:, 0]
        .tolist()
    )
    assert (low, high) == (none + 1, none + 4) and visit == high + 1  # a code's own id is for no value
    assert feature.form.vocabulary == visit + 2 and feature.form.size == (6,)


def test_the_latest_event_comes_first_with_the_time_between(feature):
    ids = feature.encode(column([[0, "pulse", 60], [9, "visit"], [9, "pulse", 60]], [[9, "visit"], [8, "visit"]])).array
    visit, pulse, gap, before = ids[0, :4].tolist()
    assert before == pulse != visit and 2 <= gap < 2 + len(feature.gaps) + 1 and ids[0, 4] == 0
    assert 2 <= ids[1, 1] < gap  # an hour is less than nine
    long = [[hour, "visit"] for hour in range(100)]
    assert (feature.encode(column(long)).array > 0).all()  # cut off behind, where the oldest are


def test_the_same_history_in_every_dress(feature):
    plain = [[0, "pulse", 60.5], [2, "visit"]]
    named = [
        {"time": time, "code": code, "value": value} for time, code, value in [(0, "pulse", 60.5), (2, "visit", None)]
    ]
    dates = [["2020-01-01T00:00:00", "pulse", "60.5"], ["2020-01-01T00:00:02Z", "visit"]]
    structs = pa.chunked_array([pa.array([named])])
    moments = [
        {"time": datetime(2020, 1, 1, 0, 0, second), "code": c, "numeric_value": v}
        for second, c, v in [(0, "pulse", 60.5), (2, "visit", None)]
    ]
    expected = feature.encode(column(plain)).array
    for given in (column(named), column(dates), structs, pa.chunked_array([pa.array([moments])])):
        found = feature.encode(given)
        assert not found.bad and np.array_equal(found.array, expected)


def test_a_word_that_was_found_is_part_of_the_code():
    found = Events(name="x").measure(column([[0, "culture", "positive"], [1, "culture", "negative"], [2, "culture"]]))
    assert set(found.codes) == {"culture = positive", "culture = negative", "culture"}


def test_bad_histories_and_bad_events_are_named_and_the_rest_is_read(feature):
    found = feature.encode(column("no list", '{"time": 1}', [[1, "visit"], ["soon", "visit"], 7], [], "", None))
    assert [(one.row, one.reason, one.missing) for one in found.bad] == [
        (0, NO_LIST, True),
        (1, NO_LIST, True),
        (2, NO_EVENT, True),
    ]
    assert "soon" in found.bad[2].value
    assert (found.array > 0).sum(1).tolist() == [0, 0, 1, 0, 0, 0]
    odd = '[[1, "visit", 1e999], [null, "visit"], [1, null], [1, ["a"]], [1, "visit", 1, 2], [1e999, "visit"]]'
    assert (feature.encode(column(odd)).array > 0).sum() == 1  # what is infinite was not found
    assert feature.encode(column([[3, "never seen"]])).array[0, 0] == 1
    with pytest.raises(BadInput, match=r"'?stay'?.*holds no event to learn from"):
        Events(name="stay").measure(column("no list", None, []))


def test_histories_are_recognised_and_other_lists_are_not():
    frame = pd.DataFrame(
        {
            "plain": [canonical([[n, "visit"], [n + 1, "pulse", 60.0]]) for n in range(60)],
            "named": [canonical([{"code": "visit", "time": n}]) for n in range(60)],
            "lists": [[{"time": float(n), "code": "visit"}] for n in range(60)],
            "genres": [canonical([{"id": n, "name": "Comedy"}]) for n in range(60)],
            "points": [canonical([[n, 1.5], [n, 2]]) for n in range(60)],
            "y": ["a", "b"] * 30,
        }
    )
    kinds = {one.column: one.type for one in infer(read(pa.Table.from_pandas(frame)), target=["y"]).findings}
    assert [kinds[name] for name in ("plain", "named", "lists")] == ["events"] * 3
    assert "events" not in (kinds["genres"], kinds["points"])


def test_what_happened_late_is_learned(tmp_path):
    generator = np.random.default_rng(0)
    rows, died = [], []
    for n in range(160):
        history = [[hour, "pulse", round(generator.normal(80, 10))] for hour in range(generator.integers(2, 6))]
        died.append("yes" if n % 2 else "no")
        rows.append(canonical([*history, [9, "fall" if n % 2 else "visit"]]))
    frame = pd.DataFrame({"stay": rows, "died": died})
    with Polymath(tmp_path / "store") as store:
        wishes = {"work": 0.02, "engine": "inline", "cache": str(tmp_path / "cache")}
        task = store.learn(frame, target="died", name="stays", **wishes)
        assert task.record.problem["inputs"][0]["type"] == "events"
        assert task.evaluate(frame)["scores"]["accuracy"] > 0.95
        (answer,) = task.predict(pd.DataFrame({"stay": ["not a history"]}))
        assert answer["died"]["value"] in ("yes", "no")
