"""Which rows test, which validate: folds that keep alike rows together and every class in training.

Rows that are the same, or nearly, form a group, and a group is never divided: not between test and training, not
between folds. The result depends on the content of the rows and the seed, not on their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..spec import BadInput
from . import likeness
from .features import Feature
from .features._pixels import PixelTarget
from .features.common import flat, numbers
from .problem import Split
from .sources.folders import SPLITS
from .sources.rows import Rows
from .sources.spill import give_back

TEST = -1
FEWEST_ROWS, FEWEST_PICTURES = 8, 4
"""With fewer rows a validation score is a coin toss; of pictures, fewer can do where a store knows such things."""
FEWEST_TEXTS = 2
"""One of each class, in words that a stored encoder knows."""
MOST_COUNTED = 20_000
"""Rows among which a class may have one or two examples at most."""
FOLDS = 5
"""Unless the user says otherwise. Large data validate on one of them, small data on all in turn."""
BINS = 10
"""Numbers are stratified by tenths."""


def assign(
    rows: Rows,
    split: Split,
    *,
    inputs: Sequence[str],
    outputs: Sequence[Feature],
    hashes: Mapping[str, np.ndarray] | None = None,
    known_words: bool = False,
) -> np.ndarray:
    """Fold of each row, int8 [N]: -1 = test, else 0..folds-1; the validation rows of fold f are those with f.

    With one fold, or where validation rows are given, fold 0 validates and all other training rows are fold 1.
    Where no class has more than two pictures, or texts of `known_words`, none are kept for a test; where it is one, all
    rows are fold 0, and there is nothing to validate with. Of few other rows of each class every fold leaves one.
    `hashes`: column -> uint64 [N], equal for values that look alike (pictures); they replace the column's own values.
    Raises BadInput when there are too few rows or the column does not fit.
    """
    classes = bool(outputs) and split.kind in ("auto", "stratified") and outputs[0].averaged == "categories"
    # One or two pictures of each class can be enough, beside what a store knows.
    may_be_few = classes and (bool(hashes) or known_words)
    least = FEWEST_PICTURES if may_be_few else FEWEST_ROWS
    enough(rows, least=FEWEST_TEXTS if may_be_few and known_words else least)
    column = split_column(rows, split)
    if split.kind == "time":
        assert column is not None
        return by_time(column, split)
    give_back()  # what finding out the types of columns needed; of a large table each step leaves a fifth as much again
    content = likeness.Likeness.of(rows, inputs=inputs, hashes=hashes or {})
    give_back()
    alike = content.groups(most=max(1, int(len(rows) * biggest_group(split))))
    keys = content.keys(rows, outputs=[one.name for one in outputs], seed=split.seed)
    del content  # here, because many rows need the room for their strata
    give_back()
    if split.kind == "group":
        assert column is not None
        named = likeness.codes_of(column)
        alike = likeness.joined([alike, named])
        if np.bincount(alike).max() > max(biggest_group(split) * len(rows), np.bincount(named).max()):
            alike = named  # what many groups have in common, "thank you", would make them one
    strata = np.zeros(len(rows), dtype=np.int64)
    if split.kind in ("auto", "stratified", "given"):
        strata = strata_of(rows.table, outputs)
    if split.kind == "given":
        assert column is not None
        return given(column, split, strata=strata, groups=alike, keys=keys)
    if classes:
        most = most_of_a_class(strata, alike)
        if may_be_few and most == 1:
            return np.where(strata >= 0, 0, TEST - 1).astype(np.int8)
        if may_be_few and most == 2:
            enough(rows, least=FEWEST_PICTURES)
            split = split.replace(test_fraction=0.0)
        else:
            enough(rows, least=FEWEST_ROWS)
        if not hashes and split.folds is None and 1 < most < FOLDS:
            # A fold that leaves out some classes' rows alone makes every model prefer the others: all scores are 0.
            split = split.replace(folds=most)
    folds = shares(strata, alike, keys, split)
    if split.test_fraction > 0 and not (folds == TEST).any():  # every class is rare
        folds = shares(np.zeros_like(strata), alike, keys, split)
    return check(one_of(folds, split), rows, split)


def enough(rows: Rows, *, least: int) -> None:
    """Raises BadInput when there are too few rows."""
    if len(rows) < least:
        raise BadInput(
            f"there are only {len(rows)} usable rows to learn from",
            file=rows.source,
            remedy=f"At least {FEWEST_ROWS} are needed, and a few hundred are better.",
        )


def most_of_a_class(strata: np.ndarray, groups: np.ndarray) -> int:
    """Examples that differ of the class that has most; 0 where there are too many rows for few examples each."""
    if len(strata) > MOST_COUNTED:
        return 0
    pairs = np.unique(np.stack([strata, groups])[:, strata >= 0], axis=1)
    return int(np.unique(pairs[0], return_counts=True)[1].max()) if pairs.size else 0


def num_folds(split: Split) -> int:
    """Folds that rows are dealt to. One fold asked for means one part in five that validates."""
    return split.folds if split.folds and split.folds > 1 else FOLDS


def biggest_group(split: Split) -> float:
    """Share of the rows that one group of alike rows may be; larger ones are no accident and are divided."""
    return (split.test_fraction or 1 / num_folds(split)) / 4


def split_column(rows: Rows, split: Split) -> pa.ChunkedArray | None:
    """The column that `split` names. Raises BadInput when it is missing or not wanted."""
    needed = split.kind in ("group", "time", "given")
    name = split.column or (rows.given_split if split.kind == "given" else None)
    if not needed:
        return None
    if name is None or name not in rows.table.column_names:
        raise BadInput(
            f"a split by {split.kind} needs a column, and {name!r} is none"
            if name
            else f"a split by {split.kind} needs a column",
            remedy=f"Columns: {', '.join(rows.table.column_names[:20])}.",
        )
    return rows.table[name]


def check(folds: np.ndarray, rows: Rows, split: Split) -> np.ndarray:
    """`folds` if there is something to train on, validate and test. Raises BadInput otherwise."""
    if split.test_fraction > 0 and not (folds == TEST).any():
        raise BadInput(
            "no test rows can be split off: all rows belong to one group",
            column=split.column,
            remedy="Choose another column for the groups, or a test fraction of 0.",
        )
    if len(np.unique(folds[folds >= 0])) < 2:
        raise BadInput(
            "training and validation rows cannot be separated: too few groups of alike rows",
            file=rows.source,
            column=split.column,
            remedy="Give more rows that differ, or another column for the groups.",
        )
    return folds


def shares(strata: np.ndarray, groups: np.ndarray, keys: np.ndarray, split: Split) -> np.ndarray:
    """Test share and folds within each stratum, whole groups at a time, in the order of `keys`."""
    first, sizes, members = summary(groups, keys)
    stratum = strata[first]
    # The least of many keys is small: in its order large groups would come first, and fill the test.
    key = np.where(sizes > 1, likeness.mixed(keys[first]), keys[first])
    order = np.lexsort((key, stratum))
    starts = np.flatnonzero(likeness.first_of_run(stratum[order]))
    stops = np.r_[starts[1:], len(order)]
    result = np.zeros(len(order), dtype=np.int8)
    owed, turn, folds = 0.0, 0, num_folds(split)
    for start, stop in zip(starts, stops, strict=True):
        here = order[start:stop]
        total = sizes[here].sum()
        owed += split.test_fraction * total
        tested = 0
        if len(here) >= 3:  # else the class would be missing where it must be learned
            before = np.cumsum(sizes[here]) - sizes[here]
            tested = min(int(np.searchsorted(before + sizes[here] / 2, owed)), len(here) - 2)
        result[here[:tested]] = TEST
        owed -= sizes[here[:tested]].sum()
        rest = here[tested:]
        if len(rest) == 1:
            result[rest] = folds - 1
        else:
            result[rest] = (np.arange(len(rest)) + turn) % folds
            turn += len(rest)
    return np.asarray(result[members])


def one_of(folds: np.ndarray, split: Split) -> np.ndarray:
    """Where one fold is asked for, all but the first fold become 1: only for training."""
    return np.minimum(folds, 1) if split.folds == 1 else folds


def summary(groups: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray, np.ndarray | slice]:
    """Per group its row with the least key and its size; per row the position of its group."""
    met = np.zeros(groups.max(initial=-1) + 1, dtype=bool)
    met[groups] = True
    if met.sum() == len(groups):  # no row is like another: a row is its group, and nothing needs to be copied
        return slice(None), np.ones(len(groups), dtype=likeness.index_type(len(groups))), slice(None)
    order = np.lexsort((keys, groups))
    begins = likeness.first_of_run(groups[order])
    kind = likeness.index_type(len(groups))
    ordered = np.cumsum(begins, dtype=kind) - 1
    members = np.empty_like(ordered)
    members[order] = ordered
    return order[begins].astype(kind), np.bincount(ordered).astype(kind), members


def strata_of(table: pa.Table, outputs: Sequence[Feature]) -> np.ndarray:
    """Stratum of each row by its first output: the class, the first label, or the tenth of the number; -1 = missing.

    Texts, replies and maps of pixels are one stratum.
    """
    # What is written hardly occurs twice, and every picture holds most classes.
    if not outputs or outputs[0].generated or isinstance(outputs[0], PixelTarget):
        return np.zeros(table.num_rows, dtype=np.int64)
    column = table[outputs[0].name]
    kind = column.type
    if pa.types.is_struct(kind):  # raters' labels: the first that there is
        labels = [pc.cast(one, pa.string()) for one in flat(column).flatten()]
        column = pa.chunked_array([pc.coalesce(*labels)])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        column = pc.list_element(pc.if_else(pc.equal(pc.list_value_length(column), 0), None, column), 0)
    if outputs[0].type != "number":
        return likeness.names_order(column)
    values, _ = numbers(column)
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(table.num_rows, dtype=np.int64)
    bins = max(1, min(BINS, int(known.sum()) // FOLDS))  # fewer than a row per fold and bin, and all get one fold
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, bins + 1)[1:-1]))
    return np.where(known, np.searchsorted(edges, values, side="right"), -1).astype(np.int32)


def by_time(column: pa.ChunkedArray, split: Split) -> np.ndarray:
    """The latest rows test; the rows before them are fold 0, and so on back in time. Rows without a time come first."""
    times = moments(column)
    if not np.isfinite(times).any():
        raise BadInput("holds no time to split by", column=split.column, remedy="Name a column of dates or numbers.")
    ranks = np.unique(np.where(np.isfinite(times), times, -np.inf), return_inverse=True)[1]
    counts = np.bincount(ranks)
    later = (np.cumsum(counts[::-1])[::-1] - counts / 2) / len(
        times
    )  # share of rows at or after the middle of a moment
    test, folds = split.test_fraction, num_folds(split)
    blocks = np.floor((later - test) / (1 - test) * folds).clip(0, folds - 1)
    fold = np.where(later <= test, TEST, blocks).astype(np.int8)
    if len(np.unique(fold[fold >= 0])) < 2 or (test > 0 and not (fold == TEST).any()):
        raise BadInput("has too few different times to split by", column=split.column, remedy="Use a finer time.")
    return one_of(fold[ranks], split)


def moments(column: pa.ChunkedArray) -> np.ndarray:
    """Times as float64, NaN = missing."""
    if pa.types.is_temporal(column.type):
        column = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return likeness.ranks_of_text(column)
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def given(
    column: pa.ChunkedArray, split: Split, *, strata: np.ndarray, groups: np.ndarray, keys: np.ndarray
) -> np.ndarray:
    """Splits as the data say. Without validation rows the training rows are split into folds."""
    words = [SPLITS.get(str(word).strip().lower()) for word in column.to_pylist()]
    unknown = next((i for i, word in enumerate(words) if word is None), None)
    if unknown is not None:
        raise BadInput(
            "says to which split a row belongs",
            column=split.column,
            value=column[unknown].as_py(),
            remedy="Use train, validation and test.",
        )
    where = np.array(words)
    if not (where == "train").any():
        raise BadInput("names no training rows", column=split.column, remedy="Use train, validation and test.")
    result = np.full(len(where), TEST, dtype=np.int8)
    if (where == "validation").any():
        result[where == "train"], result[where == "validation"] = 1, 0
        return result
    train = where == "train"
    left = split if not (where == "test").any() else split.replace(test_fraction=0.0)
    result[train] = one_of(shares(strata[train], groups[train], keys[train], left), split)
    return result
