"""The one metric code for all systems: truth and predictions in, named numbers out.

The first metric of a kind is the one that ranks (accuracy, rmse); the others are reported beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy
from scipy.stats import rankdata

PRIMARY = {"category": "accuracy", "number": "rmse"}
SECOND = {"category": "log_loss", "number": "mae"}
LOWER_IS_BETTER = frozenset({"rmse", "mae", "log_loss"})


def score_category(
    truth: Sequence[str], values: Sequence[Any], *, classes: Sequence[Any] | None, probabilities: Any
) -> dict[str, float]:
    """Accuracy and balanced accuracy; with probabilities also log loss and, for two classes, AUROC.

    A row without an answer (None) is wrong. Probabilities are clipped at 1e-6, so that one overconfident row cannot make
    the mean infinite; a class the system never saw counts as 1e-6.
    """
    right = numpy.array([value is not None and str(value) == true for true, value in zip(truth, values, strict=True)])
    actual = numpy.array(truth)
    names = sorted(set(truth))
    scores = {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(numpy.mean([right[actual == name].mean() for name in names])),
    }
    if classes is None or probabilities is None:
        return scores
    given = numpy.asarray(probabilities, dtype=numpy.float64)
    column = {str(name): index for index, name in enumerate(classes)}
    padded = numpy.clip(numpy.hstack([given, numpy.zeros((len(given), 1))]), 1e-6, 1.0)
    of_truth = padded[numpy.arange(len(given)), [column.get(name, len(column)) for name in truth]]
    scores["log_loss"] = float(-numpy.log(of_truth).mean())
    if len(names) == 2 and names[1] in column:
        positive = actual == names[1]
        ranks = rankdata(given[:, column[names[1]]])
        above = ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
        scores["auroc"] = float(above / (positive.sum() * (~positive).sum()))
    return scores


def score_number(truth: Sequence[str], values: Sequence[Any]) -> dict[str, float]:
    """RMSE, MAE and R2. A row without an answer gets the worst error of the answered ones, so silence never pays."""
    actual = numpy.array([float(value) for value in truth])
    given = numpy.array([math.nan if value is None else float(value) for value in values])
    error = numpy.abs(given - actual)
    if not numpy.isfinite(error).any():
        raise ValueError("no row has an answer that is a number")
    error[~numpy.isfinite(error)] = error[numpy.isfinite(error)].max()
    square = float((error**2).mean())
    return {"rmse": math.sqrt(square), "mae": float(error.mean()), "r2": 1.0 - square / float(actual.var())}


def score(kind: str, truth: Sequence[str], answer: dict[str, Any]) -> dict[str, float]:
    """Score one output of one run. `answer` holds values and, for categories, perhaps classes and probabilities."""
    if len(answer["values"]) != len(truth):
        raise ValueError(f"{len(answer['values'])} predictions for {len(truth)} test rows")
    if kind == "number":
        return score_number(truth, answer["values"])
    return score_category(
        truth, answer["values"], classes=answer.get("classes"), probabilities=answer.get("probabilities")
    )
