"""Distillation: a small, fast student learns from the answers of a task (Hinton et al. 2015, arXiv:1503.02531).

Where texts are written the student is shown what the task writes (Kim and Rush 2016, arXiv:1606.07947, section 3.2):
one text that the task finds likely is easier to learn than what people wrote. Where classes are told apart each row is
shown once for each class that the task holds possible, weighted by its probability: the cross-entropy to soft answers.
The student is judged on the same test rows, with the truth.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from ..predicting import Predictor, TaskRecord, load_record
from ..problem import Dataset, Problem, Split
from ..problem.features import Category
from ..problem.sources import read
from ..spec import BadInput, Spec
from ..store import Store
from .compose import learn
from .wishes import Listener, Wishes

PART, WEIGHT = "part of the teacher", "weight of the teacher"
"""Columns of the rows that a student learns from."""
POSSIBLE, LEAST = 3, 0.05
"""Classes of a row that are shown at most, and the least probability of the second and third."""
TIMED_ROWS = 256
"""Test rows on which teacher and student are timed, one after the other."""


class Distilled(Spec):
    """What became of it, as `polymath distill --json` prints it."""

    task: str
    student: str
    metric: str
    teacher_score: float | None
    """Of the test rows, with the truth."""
    student_score: float | None
    teacher_rows_per_second: float
    student_rows_per_second: float
    teacher_parameters: int
    student_parameters: int
    rows_taught: int
    seconds: float

    @property
    def speed_up(self) -> float:
        """How many times as fast the student answers."""
        return self.student_rows_per_second / max(self.teacher_rows_per_second, 1e-9)


def distill(
    data: Any | None, *, store: Store, wishes: Wishes, listener: Listener, name: str | None = None
) -> tuple[TaskRecord, Distilled]:
    """A student of the task `wishes.name`, learned into the store as `name` (default TASK-small).

    `data`: the rows that the task was learned from; None = where they came from then. Raises BadInput where they are
    no longer there, and for outputs that no student can be taught.
    """
    began = wishes.begin if wishes.begin is not None else time.monotonic()
    record = load_record(store, wishes.name)
    problem = Problem.model_validate(record.problem)
    strange = [one for one in problem.outputs if not (one.type in ("text", "number") or isinstance(one, Category))]
    if strange or len(problem.outputs) > 1:
        output = (strange or list(problem.outputs))[0]
        remedy = "A student learns one text, one category or one number."
        raise BadInput(f"no student can be taught {output.type} answers yet", column=output.name, remedy=remedy)
    student_name = name or f"{record.name}-small"
    if student_name == record.name:
        raise BadInput("a student needs a name of its own", value=student_name, remedy="Give --name ANOTHER.")
    table, folds = _rows(record, problem, data, wishes)
    teacher = Predictor(record, store)
    taught, count = _taught(teacher, problem, table, folds)
    listener.say(f"{count:,} rows answered by {record.name!r}; its student learns from them.")
    weights = WEIGHT if WEIGHT in taught.column_names else None
    lesson = problem.replace(split=Split(kind="given", column=PART), weights=weights, name=student_name)
    wish = wishes.replace(
        name=lesson.name, begin=began, space="small", members=1, build_on=False, gate="", private=record.private
    )
    student = learn(taught, store=store, wishes=wish, listener=listener, problem=lesson)
    rows = table.take(np.flatnonzero(folds == -1)[:TIMED_ROWS])
    pair = [_speed(one, rows) for one in (teacher, Predictor(student, store))]
    return student, Distilled(
        task=record.name,
        student=student.name,
        metric=record.summary.metric,
        teacher_score=record.summary.test,
        student_score=student.summary.test,
        teacher_rows_per_second=pair[0],
        student_rows_per_second=pair[1],
        teacher_parameters=record.summary.parameters,
        student_parameters=student.summary.parameters,
        rows_taught=count,
        seconds=round(time.monotonic() - began, 3),
    )


def _rows(record: TaskRecord, problem: Problem, data: Any | None, wishes: Wishes) -> tuple[pa.Table, np.ndarray]:
    """The rows that a task was learned from, and the fold of each. Raises BadInput where they cannot be had."""
    source = data if data is not None else record.origin.get("source")
    cache = Path(wishes.cache) if wishes.cache else Path.home() / ".cache" / "polymath"
    remedy = "Give the data that it was learned from, as then: polymath distill TASK --data FILE."
    try:
        folds = Dataset.open(cache / "data" / str(record.origin.get("dataset"))).folds
    except BadInput:
        raise BadInput("its rows are no longer in the cache", value=record.name, remedy="Learn it again.") from None
    if data is None and not Path(str(source)).exists():
        raise BadInput("what the task was learned from is not there", file=str(source), remedy=remedy)
    rows = read(source, memory_bytes=wishes.memory_bytes, cache=cache, test=wishes.test, validation=wishes.validation)
    if len(rows) != len(folds):
        raise BadInput(
            f"holds {len(rows):,} rows, and the task was learned from {len(folds):,}", file=rows.source, remedy=remedy
        )
    problem.check(rows.table, targets=True)
    wanted = [*problem.columns, *(output.name for output in problem.outputs)]
    return rows.table.select(wanted), np.asarray(folds)


def _taught(teacher: Predictor, problem: Problem, table: pa.Table, folds: np.ndarray) -> tuple[pa.Table, int]:
    """Rows for the student: the teacher's answers to learn from, the truth to be judged by; how many were answered."""
    judge = 0  # the fold that validates: its truth is kept
    learned = np.flatnonzero((folds >= 0) & (folds != judge))
    rows = table.take(learned)
    answers = [answer for chunk in teacher.predict(rows) for answer in chunk]
    output = problem.outputs[0]
    index: list[int] = []
    values: list[Any] = []
    weights: list[float] = []
    for row, answer in enumerate(answers):
        if "error" in answer or "gated" in answer:
            continue
        for value, weight in _lessons(cast("Mapping[str, Any]", answer[output.name])):
            index.append(row)
            values.append(value)
            weights.append(weight)
    parts = [("validation", np.flatnonzero(folds == judge)), ("test", np.flatnonzero(folds == -1))]
    shown = rows.take(np.array(index, dtype=np.int64))
    kind = table[output.name].type
    if isinstance(output, Category):
        values = _as_written(values, table[output.name])
    place = shown.column_names.index(output.name)
    tables = [_marked(shown.set_column(place, output.name, pa.array(values, kind)), "train", weights)]
    for part, chosen in parts:
        tables.append(_marked(table.take(chosen), part, [1.0] * len(chosen)))
    whole = pa.concat_tables(tables)
    return (whole if isinstance(output, Category) else whole.drop_columns([WEIGHT])), len(set(index))


def _lessons(answer: Mapping[str, Any]) -> list[tuple[Any, float]]:
    """What one answer teaches: a value, or several with their probabilities."""
    shares = answer.get("probabilities")
    if not isinstance(shares, Mapping):
        return [(answer["value"], 1.0)]
    ranked = sorted(shares.items(), key=lambda one: -one[1])[:POSSIBLE]
    kept = [one for place, one in enumerate(ranked) if place == 0 or one[1] >= LEAST]
    total = sum(share for _, share in kept)
    return [(value, share / total) for value, share in kept]


def _as_written(values: Sequence[Any], column: pa.ChunkedArray) -> list[Any]:
    """Names of classes as values of the column that they came from."""
    from ..problem.features.common import key

    known = {key(value): value for value in column.unique().to_pylist() if value is not None}
    return [known.get(value, value) for value in values]


def _marked(table: pa.Table, part: str, weights: Sequence[float]) -> pa.Table:
    table = table.append_column(PART, pa.array([part] * len(table), pa.string()))
    return table.append_column(WEIGHT, pa.array(weights, pa.float64()))


def _speed(predictor: Predictor, rows: pa.Table) -> float:
    """Rows answered in a second of the processor, once the path is built."""
    if not len(rows):
        return 0.0
    list(predictor.predict(rows.slice(0, 8)))
    began = time.process_time()
    list(predictor.predict(rows))
    return len(rows) / max(time.process_time() - began, 1e-9)


__all__ = ["Distilled", "distill"]
