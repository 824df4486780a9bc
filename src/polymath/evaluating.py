"""Look at what was learned: scores on rows that hold the truth."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from .predicting import Predictor
from .problem import Feature, Problem
from .problem.pictures import matched
from .problem.raters import gathered
from .problem.sources import Rows, read
from .spec import BadInput, Json, plain

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def rows_of(data: Any, problem: Problem, *, memory_bytes: int | None = None) -> Rows:
    """Rows of the same kinds of data as `learn` takes, or of one image or text file. Raises BadInput."""
    single = _single(data, problem)
    rows = read(single if single is not None else data, memory_bytes=memory_bytes)
    rows = replace(rows, table=gathered(rows.table, problem.raters)) if problem.raters else rows
    missing = [name for name in problem.columns if name not in rows.table.column_names]
    if len(missing) == 1 and len(problem.columns) == 1 and len(rows.file_columns) == 1:
        given = next(iter(rows.file_columns))
        names = [missing[0] if name == given else name for name in rows.table.column_names]
        return replace(rows, table=rows.table.rename_columns(names))
    return rows


def _single(data: Any, problem: Problem) -> pa.Table | None:
    """One image or text file, given by its path, as a table of one row."""
    if not isinstance(data, (str, os.PathLike)) or len(problem.inputs) != 1 or not Path(data).is_file():
        return None
    feature, suffix = problem.inputs[0], Path(data).suffix.lower()
    from_file = bool(getattr(feature, "from_file", False))
    if from_file and (suffix in PICTURES or suffix in (".txt", ".md", ".eml", "")):
        return pa.table({feature.name: [str(Path(data).absolute())]})
    return None


def evaluate(predictor: Predictor, data: Any) -> dict[str, Json]:
    """{task, rows, rows_unused, scores}: metric -> value, or output -> metric -> value where outputs are several.

    `learned_from` is there, and true, where the data are those that the task was learned from: such scores flatter.
    """
    problem = predictor.problem
    rows = matched(rows_of(data, problem), problem)
    lacking = [f.name for f in problem.outputs if f.name not in rows.table.column_names]
    if len(lacking) == len(problem.outputs):
        raise BadInput(
            "the data hold no truth to compare with",
            file=rows.source,
            column=lacking[0],
            remedy="Use predict, or add the column.",
        )
    opened = predictor.opened(rows.table)
    table = rows.table if len(opened) == len(rows) else rows.table.take(opened)
    predicted, targets = predictor.judged(table, [f for f in problem.outputs if f.name not in lacking])
    scores: dict[str, dict[str, float]] = {}
    used = np.zeros(len(table), dtype=bool)
    for feature in problem.outputs:
        if feature.name in lacking:
            continue
        target = targets[feature.name]
        known = feature.known(target)
        used[predicted.rows[known]] = True
        if known.any():
            told = feature.calibrated(predicted.raw[feature.name], predictor.record.calibration.get(feature.name, {}))
            scores[feature.name] = feature.scores(told, target) | _said_scores(predictor, feature, table)
    if not scores:
        what = "no row holds a known truth and usable inputs" if len(opened) else "the gate lets no row through"
        raise BadInput(what, file=rows.source, column=problem.outputs[0].name)
    shown: Any = next(iter(scores.values())) if len(problem.outputs) == 1 else scores
    result: dict[str, Json] = {
        "task": predictor.record.name,
        "rows": int(used.sum()),
        "rows_unused": int(rows.num_unused + (~used).sum()),
        "scores": plain(shown),
    }
    if predictor.record.gate is not None:
        result["rows_gated"] = len(rows) - len(opened)
    if predictor.record.origin.get("fingerprint") == rows.fingerprint:
        result["learned_from"] = True
    return result


def _said_scores(predictor: Predictor, feature: Feature, table: pa.Table) -> dict[str, float]:
    """Scores of whole answers, where an output has such, of rows that could be answered and whose truth is known."""
    if type(feature).said_scores is Feature.said_scores:
        return {}
    answers = [row for chunk in predictor.predict(table) for row in chunk]
    known = feature.known(feature.encode_target(table[feature.name]).array)
    # A gate that is asked again, about fewer rows at once, may differ in the last bit.
    rows = [n for n, answer in enumerate(answers) if feature.name in answer and known[n]]
    told = [cast("Mapping[str, Any]", answers[n][feature.name]) for n in rows]
    return feature.said_scores(told, table[feature.name].take(rows)) if rows else {}
