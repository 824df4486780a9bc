"""Linear heads by whole-batch optimisation: softmax and sigmoid by L-BFGS, least squares by factorisation or gradients.

Axes: N rows, D features, K columns fitted together. Features are dense float32 or scipy CSR; strengths are L2 penalties
per row. Strengths are tried from strong to weak, each starting where the last ended; validation rows choose, and the
first that makes them worse ends the search.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

Matrix: TypeAlias = Any
"""np.ndarray or scipy.sparse.csr_array, float32 [N, D]."""

WIDEST_FACTORISED = 4096
"""Least squares of up to so many features are solved exactly; wider ones by conjugate gradients."""
MEMORY = 5
"""Steps that L-BFGS remembers."""


@dataclass(frozen=True)
class Fold:
    """Features and targets of one head: targets [N, K] one-hot, 0/1 or numbers, NaN = missing."""

    training: Matrix
    training_target: np.ndarray
    validation: Matrix
    validation_target: np.ndarray
    weights: np.ndarray | None = None
    """How much each training row counts, mean 1."""


@dataclass(frozen=True)
class Head:
    """`features @ weight + bias`, and its loss on the validation rows."""

    weight: np.ndarray
    bias: np.ndarray
    loss: float


def fit_head(
    fold: Fold,
    kind: Literal["softmax", "sigmoid", "squares"],
    *,
    bias: np.ndarray,
    strengths: Sequence[float],
    max_iterations: int,
    tolerance: float,
    deadline: float | None,
) -> Head:
    """The best head over the strengths. `bias` is the constant to start from; `tolerance`: see `lbfgs`."""
    solve = {"softmax": _logistic, "sigmoid": _logistic, "squares": _least_squares}[kind]
    return solve(
        fold,
        kind,
        bias=bias,
        strengths=sorted(strengths, reverse=True),
        max_iterations=max_iterations,
        tolerance=tolerance,
        deadline=deadline,
    )


def _logistic(
    fold: Fold,
    kind: str,
    *,
    bias: np.ndarray,
    strengths: Sequence[float],
    max_iterations: int,
    tolerance: float,
    deadline: float | None,
) -> Head:
    columns, features = fold.training_target.shape[1], fold.training.shape[1]
    link = _softmax if kind == "softmax" else _sigmoid
    point = np.concatenate([np.zeros((features, columns), np.float32), bias[None].astype(np.float32)])
    best = Head(point[:-1], point[-1], _validation_loss(fold, point, link))
    transposed = fold.training.T if isinstance(fold.training, np.ndarray) else fold.training.T.tocsr()
    rows = fold.training.shape[0]
    known = ~np.isnan(fold.training_target).any(axis=1) if kind == "softmax" else ~np.isnan(fold.training_target)
    weights = np.ones(rows, np.float32) if fold.weights is None else fold.weights
    row_weights = (weights * known if kind == "softmax" else weights[:, None] * known).astype(np.float32) / rows
    target = np.nan_to_num(fold.training_target)

    for strength in strengths:

        def objective(at: np.ndarray, strength: float = strength) -> tuple[float, np.ndarray]:
            loss, residual = link(_scores(fold.training, at), target, row_weights)
            gradient = np.empty_like(at)
            gradient[:-1] = transposed @ residual + strength * at[:-1]
            gradient[-1] = residual.sum(axis=0)
            return loss + 0.5 * strength * float(np.vdot(at[:-1], at[:-1])), gradient

        point = lbfgs(objective, point, max_iterations=max_iterations, tolerance=tolerance, deadline=deadline)
        loss = _validation_loss(fold, point, link)
        if loss > best.loss * 1.002 and best.weight.any():
            break
        if loss < best.loss or not best.weight.any():
            best = Head(point[:-1].copy(), point[-1].copy(), loss)
        if deadline is not None and time.monotonic() > deadline:
            break
    return best


def _scores(features: Matrix, point: np.ndarray) -> np.ndarray:
    scores: np.ndarray = np.asarray(features @ point[:-1]) + point[-1]
    return scores


def _validation_loss(fold: Fold, point: np.ndarray, link: Callable[..., tuple[float, np.ndarray]]) -> float:
    target = fold.validation_target
    known = ~np.isnan(target).any(axis=1) if link is _softmax else ~np.isnan(target)
    weights = known.astype(np.float32) / max(int(known.sum()), 1)
    return link(_scores(fold.validation, point), np.nan_to_num(target), weights)[0]


def _softmax(scores: np.ndarray, target: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Weighted cross-entropy and its gradient by the scores."""
    scores = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(scores)
    sums = exponentials.sum(axis=1)
    loss = float(np.sum((np.log(sums) - (scores * target).sum(axis=1)) * weights, dtype=np.float64))
    return loss, ((exponentials / sums[:, None] - target) * weights[:, None]).astype(np.float32)


def _sigmoid(scores: np.ndarray, target: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Weighted binary cross-entropy summed over columns and its gradient."""
    losses = np.maximum(scores, 0) - scores * target + np.log1p(np.exp(-np.abs(scores)))
    return float(np.sum(losses * weights, dtype=np.float64)), ((expit(scores) - target) * weights).astype(np.float32)


def lbfgs(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    *,
    max_iterations: int,
    tolerance: float,
    deadline: float | None,
) -> np.ndarray:
    """Minimise a smooth convex function (Nocedal 1980) with backtracking.

    Stops when two steps in a row gain less than `tolerance` times the value.
    """
    point = start.copy()
    value, gradient = objective(point)
    steps: list[tuple[np.ndarray, np.ndarray, float]] = []
    small = 0
    for _ in range(max_iterations):
        direction = _direction(gradient, steps)
        slope = float(np.vdot(direction, gradient))
        if slope >= 0 or not np.isfinite(slope):
            direction, slope, steps = -gradient, -float(np.vdot(gradient, gradient)), []
        length = 1.0 if steps else 1.0 / max(float(np.sqrt(-slope)), 1e-12)
        for _ in range(20):
            moved = point + np.float32(length) * direction
            moved_value, moved_gradient = objective(moved)
            if moved_value <= value + 1e-4 * length * slope:
                break
            length /= 2 if np.isfinite(moved_value) else 8
        else:
            break
        change, turn = moved - point, moved_gradient - gradient
        curvature = float(np.vdot(change, turn))
        if curvature > 1e-12:
            steps = [*steps[-(MEMORY - 1) :], (change, turn, curvature)]
        gain = value - moved_value
        point, value, gradient = moved, moved_value, moved_gradient
        small = small + 1 if gain < tolerance * max(abs(value), 1e-3) else 0
        if small >= 2 or (deadline is not None and time.monotonic() > deadline):
            break
    return point


def _direction(gradient: np.ndarray, steps: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    direction = -gradient
    shares = []
    for change, turn, curvature in reversed(steps):
        share = float(np.vdot(change, direction)) / curvature
        direction -= np.float32(share) * turn
        shares.append(share)
    if steps:
        _, turn, curvature = steps[-1]
        direction *= np.float32(curvature / float(np.vdot(turn, turn)))
    for (change, turn, curvature), share in zip(steps, reversed(shares), strict=True):
        direction += np.float32(share - float(np.vdot(turn, direction)) / curvature) * change
    return direction


def _least_squares(
    fold: Fold,
    kind: str,
    *,
    bias: np.ndarray,
    strengths: Sequence[float],
    max_iterations: int,
    tolerance: float,
    deadline: float | None,
) -> Head:
    """Each column by itself, on the rows where its target is known."""
    heads = []
    for column in range(fold.training_target.shape[1]):
        known, judged = (~np.isnan(t[:, column]) for t in (fold.training_target, fold.validation_target))
        one = Fold(
            fold.training[known],
            fold.training_target[known, column],
            fold.validation[judged],
            fold.validation_target[judged, column],
            None if fold.weights is None else fold.weights[known],
        )
        solve = _factorised if fold.training.shape[1] <= WIDEST_FACTORISED else _conjugate
        heads.append(
            solve(
                one, bias=float(bias[column]), strengths=strengths, max_iterations=max_iterations, tolerance=tolerance
            )
        )
        if deadline is not None and time.monotonic() > deadline and column + 1 < len(bias):
            rest = len(bias) - column - 1
            heads += [Head(np.zeros(fold.training.shape[1], np.float32), np.asarray(b), 0.0) for b in bias[-rest:]]
            break
    return Head(
        np.stack([h.weight for h in heads], 1),
        np.array([h.bias for h in heads], np.float32),
        float(np.mean([h.loss for h in heads])),
    )


def _factorised(fold: Fold, *, bias: float, strengths: Sequence[float], max_iterations: int, tolerance: float) -> Head:
    rows, features = fold.training.shape
    weights = np.ones(rows, np.float32) if fold.weights is None else fold.weights
    total = float(weights.sum())
    mean = np.asarray(fold.training.T @ weights).astype(np.float64) / total
    middle = float(weights @ fold.training_target) / total
    gram = np.zeros((features, features))
    moment = np.zeros(features)
    for start in range(0, rows, 8192):  # in parts: float64 sums without a float64 copy of everything
        part = slice(start, start + 8192)
        x = fold.training[part]
        x = np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64) - mean
        weighted = x * weights[part, None]
        gram += weighted.T @ x
        moment += weighted.T @ (fold.training_target[part] - middle)
    best: Head | None = None
    for strength in strengths:
        damped = gram / total + strength * np.eye(features)
        weight = cho_solve(cho_factor(damped, overwrite_a=True, check_finite=False), moment / total).astype(np.float32)
        head = _judged(fold, weight, np.float32(middle - mean @ weight))
        if best is None or head.loss < best.loss:
            best = head
    assert best is not None
    return best


def _conjugate(fold: Fold, *, bias: float, strengths: Sequence[float], max_iterations: int, tolerance: float) -> Head:
    """For wide sparse features: minimise by L-BFGS, which for squares is conjugate gradients with a memory."""
    rows = fold.training.shape[0]
    weights = np.full(rows, 1 / rows, np.float32) if fold.weights is None else (fold.weights / rows).astype(np.float32)
    transposed = fold.training.T.tocsr() if hasattr(fold.training, "tocsr") else fold.training.T
    point = np.zeros(fold.training.shape[1] + 1, np.float32)
    point[-1] = bias
    best: Head | None = None
    for strength in strengths:

        def objective(at: np.ndarray, strength: float = strength) -> tuple[float, np.ndarray]:
            residual = (np.asarray(fold.training @ at[:-1]) + at[-1] - fold.training_target).astype(np.float32)
            pull = weights * residual
            gradient = np.empty_like(at)
            gradient[:-1] = transposed @ pull + strength * at[:-1]
            gradient[-1] = pull.sum()
            return 0.5 * float(pull @ residual) + 0.5 * strength * float(at[:-1] @ at[:-1]), gradient

        point = lbfgs(objective, point, max_iterations=max_iterations, tolerance=tolerance, deadline=None)
        head = _judged(fold, point[:-1].copy(), point[-1])
        if best is not None and head.loss > best.loss:
            break
        best = head
    assert best is not None
    return best


def _judged(fold: Fold, weight: np.ndarray, bias: np.float32) -> Head:
    wrong = np.asarray(fold.validation @ weight) + bias - fold.validation_target
    return Head(weight, np.asarray(bias), float(np.mean(np.square(wrong, dtype=np.float64))) if len(wrong) else 0.0)
