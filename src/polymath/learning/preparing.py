"""Prepare: from data to a dataset. Rows are read, their columns' types inferred, divided into folds and encoded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..problem import Dataset, Feature, Graded, Ignored, Problem, Split, near_duplicates
from ..problem import splits as rowsplits
from ..problem.inference import infer
from ..problem.pictures import answers_pixels, matched, settled
from ..problem.raters import with_raters
from ..problem.sources import Rows, read
from ..spec import BadInput
from ..store import Store
from ..train import Facts
from .translating import in_known_words
from .wishes import Listener, Wishes, name_of

MANY_ROWS, MANY_HEAVY_ROWS = 20_000, 1_000
"""Up to so many rows (without, and with, pictures or texts) experiments rotate through all folds."""
FEW_PICTURES = 8
"""Answered at every pixel, up to so many do: one fold of them is a picture or two. More judge well enough by one,
for a picture is a few thousand examples, and every fold costs a net."""
MOST_VALIDATION = 5_000
"""Validation rows of large data: enough to tell half a point of accuracy apart, and no more kept from training."""


def prepare(
    data: Any,
    wishes: Wishes,
    *,
    cache: Path,
    listener: Listener,
    problem: Problem | None = None,
    store: Store | None = None,
) -> tuple[Rows, Dataset]:
    """Reads, infers, splits and encodes; few texts in the words that the store knows. Raises BadInput."""
    rows = read(data, memory_bytes=wishes.memory_bytes, cache=cache, test=wishes.test, validation=wishes.validation)
    raters = wishes.raters if problem is None else problem.raters
    rows = with_raters(rows, raters)
    if problem is None:
        types = wishes.types | dict.fromkeys(raters, "graded")
        inference = infer(rows, target=wishes.targets or tuple(raters) or None, types=types, ignore=wishes.ignore)
        try:
            problem = Problem(
                name=wishes.name or name_of(rows.source),
                inputs=inference.inputs,
                outputs=tuple(_graded(one, raters) for one in inference.outputs),
                ignored=tuple(Ignored(column=c, reason=r) for c, r in inference.ignored.items()),
                metric=wishes.metric,
                split=wishes.split,
            )
        except ValidationError as error:
            found = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise BadInput(found, file=rows.source) from error
        listener.inferred(inference, rows)
    if answers_pixels(problem):
        problem, note = settled(rows := matched(rows, problem), problem)
        listener.say(note)
    raw = problem
    if store is not None and wishes.build_on:
        problem = in_known_words(problem, rows, store)
    twins = near_duplicates(rows, problem, cache / "data")
    split = split_of(problem, rows, seed=wishes.seed)
    folds = rowsplits.assign(
        rows, split, inputs=problem.columns, outputs=problem.outputs, hashes=twins, known_words=problem != raw
    )
    dealt = int(folds.max()) + 1
    if split.kind == "stratified" and split.folds is None and 1 < dealt < rowsplits.FOLDS:
        problem = problem.replace(split=problem.split.replace(folds=dealt))  # few examples of each class: all validate
    dataset = Dataset.build(rows, problem, folds, cache / "data")
    if split.kind == "stratified" and split.test_fraction > 0 and not len(dataset.test) and dataset.num_folds > 1:
        listener.say("Two examples of a class at most: all are learned from in turn, and none are kept for a test.")
    listener.ready(dataset, rows)
    return rows, dataset


def split_of(problem: Problem, rows: Rows, *, seed: int) -> Split:
    """How rows are divided, where the problem leaves it open: as the data came, else stratified; folds by size."""
    wished = problem.split
    kind, column = wished.kind, wished.column
    if kind == "auto":
        kind, column = ("given", rows.given_split) if rows.given_split is not None else ("stratified", None)
    rest = len(rows) * (1 - wished.test_fraction)
    folds = wished.folds or (None if rest <= MANY_ROWS else round(rest / min(MOST_VALIDATION, rest / rowsplits.FOLDS)))
    return wished.replace(kind=kind, column=column, folds=min(folds, 20) if folds else None, seed=seed)


def rotation(dataset: Dataset) -> tuple[int, ...]:
    """Folds to validate on: all where rows are few and a mean over folds is worth its cost, else the first alone."""
    rows = int((dataset.folds >= 0).sum())
    if any(output.shown is not None for output in dataset.problem.outputs):
        return (0,)  # their paths cannot be averaged: all folds but the one published would be for nothing
    of_pixels = any(output.answer.kind == "map" for output in dataset.problem.outputs)
    heavy = any(form.kind != "vector" for form in dataset.problem.ports.values())
    few = rows <= (FEW_PICTURES if of_pixels else MANY_HEAVY_ROWS if heavy else MANY_ROWS)
    split = dataset.problem.split
    # Two folds that nobody asked for: one was asked for or the data say what validates, and fold 1 only trains.
    one = split.kind == "time" or (split.kind == "given" and not of_pixels)
    one = one or (dataset.num_folds == 2 and split.folds != 2)
    return tuple(range(dataset.num_folds)) if few and not one else (0,)


def facts_of(dataset: Dataset) -> Facts:
    """Sizes of a dataset, for planning work."""
    problem = dataset.problem
    return Facts(
        rows=int((dataset.folds >= 0).sum()),
        ports=problem.all_ports,
        outputs={feature.name: feature.head_width for feature in problem.outputs},
        num_folds=dataset.num_folds,
    )


def _graded(output: Feature, raters: Mapping[str, tuple[str, ...]]) -> Feature:
    """An output with the columns of its raters."""
    return output.replace(raters=raters[output.name]) if isinstance(output, Graded) else output
