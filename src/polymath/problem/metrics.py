"""Scores by name, and the one number that the search makes large.

All functions take complete cases (the features leave rows with missing targets out) and give NaN where a score is not
defined for the rows at hand. They are numpy, not scikit-learn, because they run after every rung, and the checks of
scikit-learn cost more than the arithmetic; `tests/problem/test_metrics.py` holds them equal to scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .probability import log_sum_exp, softmax

if TYPE_CHECKING:
    from .problem import Problem

AUC_CLASSES = 50
"""The area under the curve ranks all rows once per class; beyond this many classes it is left out."""


def number_scores(prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Root mean squared error, mean absolute error and share of variance explained, of float64 [N]."""
    if not len(target):
        return {"rmse": math.nan, "mae": math.nan, "r2": math.nan}
    error = prediction - target
    rmse = float(np.sqrt(np.mean(error**2)))
    spread = float(np.mean((target - target.mean()) ** 2))
    r2 = 1.0 - rmse**2 / spread if spread > 0 else math.nan
    return {"rmse": rmse, "mae": float(np.mean(np.abs(error))), "r2": r2}


def category_scores(logits: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Scores of raw predictions [N, K] for codes [N] 0..K-1. Averages over classes leave out absent ones."""
    classes = logits.shape[1]
    names = ("accuracy", "balanced_accuracy", "log_loss", "f1_macro", *(["auc"] if classes <= AUC_CLASSES else []))
    if not len(target):
        return dict.fromkeys(names, math.nan)
    logits = logits.astype(np.float64)
    chosen = logits.argmax(axis=1)
    right = np.bincount(target[chosen == target], minlength=classes)
    truly = np.bincount(target, minlength=classes)
    said = np.bincount(chosen, minlength=classes)
    seen = truly > 0
    touched = seen | (said > 0)  # as scikit-learn: a class that was said but is not there has an f1 of 0
    scores = {
        "accuracy": float(right.sum() / len(target)),
        "balanced_accuracy": float(np.mean(right[seen] / truly[seen])),
        "log_loss": float(np.mean(log_sum_exp(logits) - logits[np.arange(len(target)), target])),
        "f1_macro": float(np.mean(2 * right[touched] / (truly + said)[touched])),
    }
    if "auc" in names:
        scores["auc"] = category_auc(softmax(logits), target)
    return scores


def category_auc(probability: np.ndarray, target: np.ndarray) -> float:
    """Area under the receiver operating characteristic: of class 1 of two, else the mean of each against the rest."""
    classes = [1] if probability.shape[1] == 2 else range(probability.shape[1])
    areas = [binary_auc(probability[:, k], target == k) for k in classes]
    known = [area for area in areas if not math.isnan(area)]
    return float(np.mean(known)) if known else math.nan


def binary_auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive row is scored above a negative one (ties count half); NaN if one sort is absent."""
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return math.nan
    _, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # equal scores share their mean rank
    return float((ranks[positive].sum() - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def label_scores(logits: np.ndarray, target: np.ndarray, *, threshold: float = 0.5) -> dict[str, float]:
    """Scores of raw predictions [N, K] for 0/1 targets [N, K]."""
    if not len(target):
        return dict.fromkeys(("f1_micro", "f1_macro", "subset_accuracy", "average_precision"), math.nan)
    cut = math.log(threshold / (1 - threshold))
    said, true = logits >= cut, target.astype(bool)
    right, either = (said & true).sum(axis=0), said.sum(axis=0) + true.sum(axis=0)
    each = np.divide(2 * right, either, out=np.zeros(len(right)), where=either > 0)
    precisions = [average_precision(logits[:, k], true[:, k]) for k in range(true.shape[1])]
    known = [one for one in precisions if not math.isnan(one)]
    return {
        "f1_micro": float(2 * right.sum() / either.sum()) if either.sum() else 0.0,
        "f1_macro": float(each.mean()),
        "subset_accuracy": float((said == true).all(axis=1).mean()),
        "average_precision": float(np.mean(known)) if known else math.nan,
    }


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the precision-recall steps; NaN without a positive row."""
    num_positive = int(positive.sum())
    if not num_positive:
        return math.nan
    order = np.argsort(-score, kind="stable")
    ordered, hits = score[order], np.cumsum(positive[order])
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # rows of equal score come in together
    precision, recall = hits[last] / (last + 1), hits[last] / num_positive
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def score(problem: Problem, scores: Mapping[str, Mapping[str, float]]) -> float:
    """One number, higher is better, from `scores[output][metric]`.

    With one output it is the metric itself, its sign turned where lower is better. Several outputs have different
    units, so each counts by its skill: 0 for the best constant, 1 for a perfect answer, linear in the metric between
    (1 - rmse / rmse of the constant; (accuracy - constant) / (1 - constant)), not below -1 so that one hopeless output
    does not drown the others; the score is the mean skill. NaN, for a metric not defined, counts as the worst.
    """
    if len(problem.outputs) == 1:
        (output,) = problem.outputs
        metric = problem.metric_of(output.name)
        value = scores[output.name][metric.name]
        return -math.inf if math.isnan(value) else value if metric.greater_is_better else -value
    return float(np.mean([skill(problem, output.name, scores[output.name]) for output in problem.outputs]))


def skill(problem: Problem, output: str, scores: Mapping[str, float]) -> float:
    """How far one output is from the best constant (0) to perfect (1), between -1 and 1."""
    metric = problem.metric_of(output)
    perfect = 1.0 if metric.greater_is_better else 0.0
    constant, value = problem.constants[output][metric.name], scores[metric.name]
    if math.isnan(value):
        return -1.0
    room = abs(perfect - constant)
    return 1.0 if room == 0 else float(np.clip(1.0 - abs(perfect - value) / room, -1.0, 1.0))
