"""Look at what was learned: scores on rows that hold the truth, and everything that was tried."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .predicting import Predictor, TaskRecord
from .problem import Problem
from .problem.sources import Rows, read
from .spec import BadInput, Json, plain
from .store import Store

if TYPE_CHECKING:
    from .search import Entry

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def rows_of(data: Any, problem: Problem, *, memory_bytes: int | None = None) -> Rows:
    """Rows of the same kinds of data as `learn` takes, or of one image or text file. Raises BadInput."""
    single = _single(data, problem)
    rows = read(single if single is not None else data, memory_bytes=memory_bytes)
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
    """{task, rows, rows_unused, scores}: metric -> value, or output -> metric -> value where outputs are several."""
    problem = predictor.problem
    rows = rows_of(data, problem)
    lacking = [f.name for f in problem.outputs if f.name not in rows.table.column_names]
    if len(lacking) == len(problem.outputs):
        raise BadInput(
            "the data hold no truth to compare with",
            file=rows.source,
            column=lacking[0],
            remedy="Use predict, or add the column.",
        )
    predicted = predictor.raw(rows.table)
    scores: dict[str, dict[str, float]] = {}
    used = np.zeros(len(rows), dtype=bool)
    for feature in problem.outputs:
        if feature.name in lacking:
            continue
        target = feature.encode_target(rows.table[feature.name]).array[predicted.rows]
        known = feature.known(target)
        used[predicted.rows[known]] = True
        if known.any():
            scores[feature.name] = feature.scores(predicted.raw[feature.name], target)
    if not scores:
        raise BadInput("no row holds a known truth and usable inputs", file=rows.source, column=problem.outputs[0].name)
    shown: Any = next(iter(scores.values())) if len(problem.outputs) == 1 else scores
    result: dict[str, Json] = {
        "task": predictor.record.name,
        "rows": int(used.sum()),
        "rows_unused": int(rows.num_unused + (~used).sum()),
        "scores": plain(shown),
    }
    return result


def entries(store: Store, record: TaskRecord) -> list[Entry]:
    """Every finished rung that was made on the data of a task, oldest first."""
    from .search import Ledger  # predicting comes through this file too, and loads no search

    dataset = record.origin.get("dataset")
    return [entry for entry in Ledger(store, record.name).entries() if entry.dataset == dataset]


def leaderboard(store: Store, record: TaskRecord) -> list[dict[str, Json]]:
    """One entry per experiment, best first, failures last."""
    latest: dict[int, dict[str, Json]] = {}
    weights = {member["number"]: member["weight"] for member in record.members}
    seconds: dict[int, float] = {}
    for entry in entries(store, record):
        seconds[entry.number] = seconds.get(entry.number, 0.0) + entry.seconds
        reason = str(entry.outcome.get("reason", "")).strip().splitlines()
        latest[entry.number] = {
            "experiment": entry.number,
            "what": entry.label,
            "generator": entry.generator,
            "score": entry.score,
            "rungs": entry.rung + 1,
            "work": round(entry.work, 3),
            "seconds": round(seconds[entry.number], 2),
            "parameters": entry.outcome.get("parameters"),
            "weight": weights.get(entry.number, 0.0),
            "failed": "" if entry.ok else (reason[-1] if reason else "failed"),
        }

    def rank(row: dict[str, Json]) -> tuple[bool, float]:
        score = row["score"]
        return (bool(row["failed"]), -score if isinstance(score, (int, float)) else 0.0)

    return sorted(latest.values(), key=rank)
