"""A student is taught what a task answers, and judged by the truth."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from polymath.learning import Silent, Wishes, learn
from polymath.learning.distill import PART, WEIGHT, _taught, distill
from polymath.problem import Category, Problem, Text
from polymath.search.choices import Recorder, first
from polymath.search.spaces import rows, sentences
from polymath.search.spaces.pieces import small
from polymath.spec import BadInput
from polymath.store import Store

FOLDS = np.array([0, 1, 2, 3, -1, -2])
TABLE = pa.table({"en": [f"text {i}" for i in range(6)], "de": [f"wahr {i}" for i in range(6)], "k": [*"abcabc"]})


def teacher(answers):
    return SimpleNamespace(predict=lambda table: [answers[: len(table)]])


def test_texts_are_taught_as_the_task_writes_them():
    problem = Problem(name="t", inputs=[Text(name="en")], outputs=[Text(name="de")])
    answers = [{"de": {"value": "eins"}}, {"error": "unreadable"}, {"de": {"value": "drei"}}]
    taught, count = _taught(teacher(answers), problem, TABLE, FOLDS)
    assert count == 2 and WEIGHT not in taught.column_names
    assert list(zip(*(taught[name].to_pylist() for name in ("en", "de", PART)), strict=True)) == [
        ("text 1", "eins", "train"),
        ("text 3", "drei", "train"),
        ("text 0", "wahr 0", "validation"),
        ("text 4", "wahr 4", "test"),
    ]


def test_classes_are_taught_by_their_probabilities():
    problem = Problem(name="t", inputs=[Text(name="en")], outputs=[Category(name="k")])
    shares = [{"a": 0.6, "b": 0.3, "c": 0.1}, {"a": 0.97, "b": 0.02, "c": 0.01}, {"c": 1.0}]
    answers = [{"k": {"value": max(one, key=one.get), "probabilities": one}} for one in shares]
    taught, count = _taught(teacher(answers), problem, TABLE, FOLDS)
    lessons = list(zip(*(taught[name].to_pylist() for name in ("en", "k", WEIGHT)), strict=True))
    assert count == 3 and lessons == [
        ("text 1", "a", pytest.approx(0.6)),
        ("text 1", "b", pytest.approx(0.3)),
        ("text 1", "c", pytest.approx(0.1)),
        ("text 2", "a", 1.0),
        ("text 3", "c", 1.0),
        ("text 0", "a", 1.0),
        ("text 4", "b", 1.0),
    ]


def test_a_student_is_smaller_than_its_teacher_would_be():
    texts = pa.chunked_array([[f"der alte Baum {i} steht hier" for i in range(60)]])
    problem = Problem(
        name="t",
        inputs=[Text(name="en").measure(texts)],
        outputs=[Text(name="de").measure(texts, as_output=True)],
    )
    for space in (sentences.space, rows.problem_space):
        usual, _ = space(Recorder(first), problem, rows=1_000)
        student, _ = space(small(Recorder(first)), problem, rows=1_000)
        assert student.work(problem.all_ports) < usual.work(problem.all_ports) / 2


def test_a_student_of_classes_is_learned_and_measured(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 3))
    noisy = (x[:, 0] * x[:, 1] + 0.3 * generator.normal(size=400) > 0).astype(int)
    pa.csv.write_csv(pa.table({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": noisy}), tmp_path / "rows.csv")
    wishes = Wishes(name="sign", targets=("y",), work=0.3, engine="inline", lanes=1, cache=str(tmp_path / "cache"))
    with Store.open(tmp_path / "store") as store:
        learn(str(tmp_path / "rows.csv"), store=store, wishes=wishes, listener=Silent())
        record, found = distill(None, store=store, wishes=wishes.replace(targets=()), listener=Silent())
        assert record.name == found.student == "sign-small" and found.teacher_score is not None
        assert found.rows_taught == 256 and found.speed_up > 0 and record.summary.rows_used >= 320
        assert record.summary.metric == "accuracy" and (found.student_score or 0) > 0.6
        with pytest.raises(BadInput, match="holds 3 rows"):
            distill(pa.table({"a": [1.0] * 3}), store=store, wishes=wishes, listener=Silent())
        with pytest.raises(BadInput, match="a name of its own"):
            distill(None, store=store, wishes=wishes, listener=Silent(), name="sign")
        with pytest.raises(BadInput, match="lack this column"):
            distill(pa.table({"a": [1.0] * 400}), store=store, wishes=wishes, listener=Silent())
        (tmp_path / "rows.csv").unlink()
        with pytest.raises(BadInput, match="is not there"):
            distill(None, store=store, wishes=wishes, listener=Silent())
