"""Several graders who disagree: their columns as one, what is most likely true, and how far they agree.

Axes: N rows, K raters, C classes. Codes are int [N, K], -1 = this rater did not grade this row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pyarrow as pa

from ..spec import BadInput
from .probability import softmax
from .sources.rows import Rows

ADJUDICATED = "adjudicated"
"""Field of the label that was settled afterwards, where there is one; the others are named rater 0, 1, ..."""
MOST_CLASSES = 64
"""With more classes each rater has one number, how often they are right, instead of a matrix."""
ROUNDS, CLOSE = 100, 1e-5
"""Steps of expectation and maximisation at most, and the change of a probability that ends them sooner."""
PRIOR = 0.5
"""Rows that every cell of a rater's matrix is worth before any is seen; ten times as many on its diagonal."""


def gathered(table: pa.Table, raters: Mapping[str, Sequence[str]]) -> pa.Table:
    """The table with one column per graded output, which holds its adjudicated label and those of all raters.

    Raters' columns that are not there are missing in all rows. An output of which nothing is there stays away.
    """
    have, empty = set(table.column_names), pa.nulls(len(table), pa.string())
    made = {}
    for output, columns in raters.items():
        if not have & {output, *columns}:
            continue
        fields = {ADJUDICATED: output, **{f"rater {number}": column for number, column in enumerate(columns)}}
        arrays = [_plain(table[column]) if column in have else empty for column in fields.values()]
        made[output] = pa.chunked_array([pa.StructArray.from_arrays(arrays, names=list(fields))])
    gone = {name for output in made for name in (output, *raters[output])} & have
    table = table.drop_columns(sorted(gone))
    for output, column in made.items():
        table = table.append_column(output, column)
    return table


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, pa.string())
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def with_raters(rows: Rows, raters: Mapping[str, Sequence[str]]) -> Rows:
    """Rows whose graded outputs stand in one column each. Raises BadInput for a rater's column that is not there."""
    if not raters:
        return rows
    known = rows.table.column_names
    for output, columns in raters.items():
        if len(set(columns)) < 2 or output in columns:
            what = "names the target itself among its raters" if output in columns else "has fewer than two raters"
            raise BadInput(what, column=output, remedy="Give --raters TARGET=COLUMN,COLUMN,...")
        for column in columns:
            if column not in known:
                raise BadInput(
                    "raters name a column that the data do not have",
                    column=column,
                    remedy=f"Columns: {', '.join(known[:20])}.",
                )
    return replace(rows, table=gathered(rows.table, raters))


def counts(codes_NK: np.ndarray, classes: int) -> np.ndarray:
    """How many raters chose each class, float64 [N, C]."""
    votes_NC = np.zeros((len(codes_NK), classes))
    for codes_N in codes_NK.T:
        graded = np.flatnonzero(codes_N >= 0)
        votes_NC[graded, codes_N[graded]] += 1
    return votes_NC


@dataclass(frozen=True)
class Judgement:
    """What raters' labels say about the truth: `prior` [C] and `confusion` [K, C, C], the chance that rater k says l
    where c is true."""

    prior: np.ndarray
    confusion: np.ndarray

    def posterior(self, codes_NK: np.ndarray) -> np.ndarray:
        """Probability of each class given the labels of each row, [N, C]."""
        log_NC = np.tile(np.log(self.prior), (len(codes_NK), 1))
        for log_CC, codes_N in zip(np.log(self.confusion), codes_NK.T, strict=False):  # none where all are settled
            graded = np.flatnonzero(codes_N >= 0)
            log_NC[graded] += log_CC[:, codes_N[graded]].T
        return softmax(log_NC)


def judge(codes_NK: np.ndarray, classes: int, *, truth_N: np.ndarray | None = None) -> Judgement:
    """How each rater errs, found without the truth by expectation and maximisation.

    Dawid and Skene (1979), 'Maximum likelihood estimation of observer error-rates using the EM algorithm'. It begins
    with the votes; rows whose `truth_N` is known (not -1) keep it.
    """
    graded = (codes_NK >= 0).any(1)
    codes_NK, truth_N = codes_NK[graded], None if truth_N is None else truth_N[graded]
    votes_NC = counts(codes_NK, classes)
    posterior_NC = votes_NC / np.maximum(votes_NC.sum(1, keepdims=True), 1)
    for _ in range(ROUNDS):
        if truth_N is not None and (told := np.flatnonzero(truth_N >= 0)).size:
            posterior_NC[told] = np.eye(classes)[truth_N[told]]
        judgement = _maximised(codes_NK, posterior_NC, classes)
        before, posterior_NC = posterior_NC, judgement.posterior(codes_NK)
        if not len(codes_NK) or np.abs(posterior_NC - before).max() < CLOSE:
            break
    return judgement


def _maximised(codes_NK: np.ndarray, posterior_NC: np.ndarray, classes: int) -> Judgement:
    prior = posterior_NC.sum(0) + PRIOR
    confusion = np.full((codes_NK.shape[1], classes, classes), PRIOR) + 9 * PRIOR * np.eye(classes)
    for place, codes_N in enumerate(codes_NK.T):
        rows = np.flatnonzero(codes_N >= 0)
        for label in range(classes):
            confusion[place, :, label] += posterior_NC[rows[codes_N[rows] == label]].sum(0)
    if classes > MOST_CLASSES:
        right = np.einsum("kcc->k", confusion) / confusion.sum((1, 2))
        wrong = (1 - right)[:, None, None] / (classes - 1)
        confusion = wrong + (right[:, None, None] - wrong) * np.eye(classes)
    return Judgement(prior / prior.sum(), confusion / confusion.sum(2, keepdims=True))


def agreement(codes_NK: np.ndarray, names: Sequence[str], classes: int) -> dict[str, float]:
    """How far raters agree, by a name fit to be shown; what cannot be computed is left out.

    `agreement`: pairs of labels of one row that are the same. `fleiss_kappa` (Fleiss 1971, for any number of labels per
    row) and `cohen_kappa A, B` (Cohen 1960): that beyond chance. `rater A`: how often A says what most of the others
    say, ties shared; `ceiling` is their mean: no better can be expected of somebody who is as good as they are.
    """
    found: dict[str, float] = {}
    votes_NC = counts(codes_NK, classes)
    number_N = votes_NC.sum(1)
    several = number_N >= 2
    if several.any():
        votes, number = votes_NC[several], number_N[several]
        same = float(np.mean((np.square(votes).sum(1) - number) / (number * (number - 1))))
        found["agreement"] = same
        _put(found, "fleiss_kappa", same, float(np.square(votes.sum(0) / votes.sum()).sum()))
    ceilings = []
    for place, name in enumerate(names):
        codes_N = codes_NK[:, place]
        rows = np.flatnonzero((codes_N >= 0) & (number_N >= 2))
        if len(rows):
            others = votes_NC[rows].copy()
            others[np.arange(len(rows)), codes_N[rows]] -= 1
            best = others == others.max(1, keepdims=True)
            ceilings.append(float(np.mean(best[np.arange(len(rows)), codes_N[rows]] / best.sum(1))))
            found[f"rater {name}"] = ceilings[-1]
    for one, two in combinations(range(len(names)), 2):
        rows = np.flatnonzero((codes_NK[:, one] >= 0) & (codes_NK[:, two] >= 0))
        if len(rows):
            a, b = codes_NK[rows, one], codes_NK[rows, two]
            shares = [np.bincount(codes, minlength=classes) / len(rows) for codes in (a, b)]
            _put(found, f"cohen_kappa {names[one]}, {names[two]}", float(np.mean(a == b)), float(shares[0] @ shares[1]))
    if ceilings:
        found["ceiling"] = float(np.mean(ceilings))
    return found


def _put(found: dict[str, float], name: str, same: float, chance: float) -> None:
    if chance < 1:
        found[name] = float((same - chance) / (1 - chance))
