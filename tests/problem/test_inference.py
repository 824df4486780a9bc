"""What columns are taken for, and why."""

from __future__ import annotations

import datetime
import uuid

import numpy as np
import pyarrow as pa
import pytest

from polymath.problem.inference import infer
from polymath.problem.sources import read
from polymath.spec import BadInput

N = 300
GENERATOR = np.random.default_rng(0)
TARGET = GENERATOR.choice(["red", "green", "blue"], N)
AMOUNT = GENERATOR.normal(size=N)


def verdict(values, *, target=None, name="v", **options):
    """Role, type and reason of one column beside a harmless input and a target."""
    size = len(values)
    columns = {name: values, "other": AMOUNT[:size], "goal": TARGET[:size] if target is None else target}
    found = infer(read(columns), target=["goal"], **options)
    return next(one for one in found.findings if one.column == name)


def words(count):
    return [" ".join(GENERATOR.choice(["ab", "cd", "ef", "gh", "ij"], count)) + f" {i}" for i in range(N)]


@pytest.mark.parametrize(
    ("values", "role", "kind", "reason"),
    [
        (AMOUNT, "input", "number", "numbers"),
        (GENERATOR.integers(0, 5, N), "input", "number", "numbers"),
        ([str(i / 7) for i in range(N)], "input", "number", "written as text"),
        ([f"{i % 400:05d}" for i in range(N)], "ignored", None, "identifier"),
        ([f"{i % 40:05d}" for i in range(N)], "input", "category", "40 different"),
        ([True, False] * (N // 2), "input", "category", "true or false"),
        (["x", "y", None] * (N // 3), "input", "category", "2 different"),
        (words(8), "input", "text", "free text"),
        ([f"Name{i % 290}" for i in range(N)], "input", "text", "short texts"),
        (np.array(["2020-01-01"], "datetime64[D]").repeat(N) + np.arange(N), "input", "date", "dates"),
        ([f"{1 + i % 28}/{1 + i % 12}/2020" for i in range(N)], "input", "date", "written as text"),
        ([f"{1 + i % 28} Mar {1990 + i % 12}" for i in range(N)], "input", "date", "written as text"),
        (np.arange(N), "ignored", None, "counts the rows"),
        (np.arange(N)[::-1] + 7, "ignored", None, "counts the rows"),
        ([str(uuid.UUID(int=i**5)) for i in range(N)], "ignored", None, "UUID"),
        ([f"A{i:05d}" for i in range(N)], "ignored", None, "different codes"),
        ([7] * N, "ignored", None, "constant"),
        ([None] * N, "ignored", None, "empty"),
        (["x", "y"] + [None] * (N - 2), "ignored", None, "almost empty: 99.3 % missing"),
        (["x"] * 9 + [None] * (N - 9), "input", "category", "1 different"),
        ([[1, 2]] * N, "ignored", None, "type list"),
        ([["a"], ["a", "b"], []] * (N // 3), "input", "labels", "lists"),
        ([b"\x89PNG" + bytes([i % 256]) for i in range(N)], "input", "image", "bytes of image"),
        ([bytes([i % 256, 1]) for i in range(N)], "ignored", None, "no images"),
    ],
)
def test_inputs(values, role, kind, reason):
    found = verdict(values)
    assert (found.role, found.type) == (role, kind), found
    assert reason in found.reason


def test_names_make_identifiers():
    values = GENERATOR.permutation(10 * N)[:N]
    assert verdict(values, name="PassengerId").role == "ignored"
    assert verdict(values, name="user_id").role == "ignored"
    assert verdict(values, name="grid").role == "input"


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (["a", "b"] * (N // 2), "category"),
        (GENERATOR.integers(0, 3, N), "category"),
        (GENERATOR.integers(0, 3, N).astype(float), "category"),
        ([None, 0, 1] * (N // 3), "category"),
        (GENERATOR.integers(0, 300, N), "number"),
        ([1, 5, 9, 2, 7, 3, 8] + [None] * (N - 7), "number"),
        (AMOUNT * 2 + 1e-1 * GENERATOR.normal(size=N), "number"),
        ([True, False] * (N // 2), "category"),
        ([str(i) for i in AMOUNT], "number"),
        ([["a"], ["a", "b"], []] * (N // 3), "labels"),
        (
            [
                ";".join(GENERATOR.choice(["a", "b", "c", "d"], GENERATOR.integers(1, 4), replace=False))
                for _ in range(N)
            ],
            "labels",
        ),
        (["Smith, J", "Brown, A", "Miller, X"] * (N // 3), "category"),
    ],
)
def test_outputs(target, kind):
    columns = {"other": GENERATOR.normal(size=N), "goal": list(target)}
    found = infer(read(columns), target=["goal"])
    assert [(one.name, one.type) for one in found.outputs] == [("goal", kind)]


def test_leaks_are_left_out():
    spelled = [{"red": 1, "green": 2, "blue": 3}[c] for c in TARGET]
    assert "gives the target away" in verdict(spelled).reason
    assert verdict(spelled, types={"v": "number"}).role == "input"
    nearly = [*spelled[:-1], 9]
    assert verdict(nearly).role == "input"
    amounts = AMOUNT * 3 - 5
    assert "correlation" in verdict(amounts, target=GENERATOR.normal(size=N) * 1e-6 + amounts).reason
    assert verdict(amounts, target=GENERATOR.normal(size=N) + amounts).role == "input"


def test_something_is_left_to_learn_from():
    found = infer(read({"x": list(range(N)), "y": [2 * i + 1 for i in range(N)]}))
    assert [one.name for one in found.inputs] == ["x"] and "nothing else" in found.notes[-1]
    with pytest.raises(BadInput, match="no column is left"):
        infer(read({"x": [1] * N, "y": [0, 1] * (N // 2)}))


def test_the_target_is_picked_and_said():
    for columns, target in [
        (["a", "b", "c"], "c"),
        (["a", "Label", "c"], "Label"),
        (["y", "target", "c"], "target"),
    ]:
        found = infer(read({name: GENERATOR.normal(size=N) for name in columns}))
        assert [one.name for one in found.outputs] == [target] and repr(target) in found.notes[0]


def test_several_outputs_and_overrules():
    rows = read({"a": AMOUNT, "b": TARGET, "c": GENERATOR.integers(0, 9, N), "d": TARGET[::-1]})
    found = infer(rows, target=["b", "c"], types={"c": "number", "d": "text"}, ignore=["a"])
    assert [(one.name, one.type) for one in found.outputs] == [("b", "category"), ("c", "number")]
    assert [(one.name, one.type) for one in found.inputs] == [("d", "text")]
    assert found.ignored == {"a": "you said so"}
    assert [len(row) for row in found.table()] == [6] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": ["gaol"]}, "goal"),
        ({"ignore": ["othr"]}, "other"),
        ({"types": {"zzzz": "number"}}, "other"),
        ({"types": {"other": "numbr"}}, "Types: "),
        ({"types": {"goal": "image"}}, "cannot be a target"),
        ({"target": ["goal"], "ignore": ["goal"]}, "both"),
        ({"target": []}, "no target"),
        ({"target": ["empty"]}, "missing in all rows"),
        ({"target": ["one"]}, "same value"),
    ],
)
def test_what_cannot_be(options, message):
    columns = {"other": AMOUNT, "empty": pa.nulls(N), "one": [1] * N, "goal": TARGET}
    with pytest.raises(BadInput, match=message):
        infer(read(columns), **{"target": ["goal"], **options})


def test_files_are_pictures(digits_folder):
    found = infer(read(digits_folder))
    assert [(one.name, one.type, one.from_file) for one in found.inputs] == [("image", "image", True)]
    assert [one.name for one in found.outputs] == ["label"]


def test_wide_tables_are_quick():
    rows = read({f"c{i}": GENERATOR.normal(size=20) for i in range(2_000)})
    assert len(infer(rows).inputs) == 1_999


def test_examples_of_dates_leave_out_their_midnight() -> None:
    days = [datetime.datetime(2024, 1, 1 + n) for n in range(20)]
    hours = [day + datetime.timedelta(hours=9) for day in days]
    found = infer(read(pa.table({"day": days, "hour": hours, "y": [n % 2 for n in range(20)]})), target="y")
    examples = {one.column: one.examples[0] for one in found.findings}
    assert examples["day"] == "2024-01-01" and examples["hour"] == "2024-01-01 09:00:00"
