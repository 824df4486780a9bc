"""Every bad input gives one clear message, or works with all that was not used counted."""

from __future__ import annotations

import pytest

from polymath.problem.dataset import Dataset, near_duplicates
from polymath.problem.inference import infer
from polymath.problem.problem import Problem, Split
from polymath.problem.sources import read
from polymath.problem.splits import assign
from polymath.spec import BadInput

from .bad_inputs import CASES, OBJECTS, Case

MEMORY_BYTES = 500_000_000


def prepared(case: Case, folder, cache):
    """Rows and data set, as `learn` makes them."""
    rows = read(case.make(folder), cache=cache, memory_bytes=MEMORY_BYTES)
    found = infer(rows, **case.options)
    problem = Problem(name="bad", inputs=found.inputs, outputs=found.outputs)
    split = Split(kind="given", column=rows.given_split) if rows.given_split else Split()
    hashes = near_duplicates(rows, problem, cache)
    folds = assign(rows, split, inputs=problem.columns, outputs=problem.outputs, hashes=hashes)
    return rows, Dataset.build(rows, problem, folds, cache)


@pytest.mark.parametrize("case", [*CASES, *OBJECTS], ids=lambda case: case.name.encode("unicode_escape").decode()[:60])
def test_bad_input(case, tmp_path):
    (tmp_path / "in").mkdir()
    if case.error is not None:
        with pytest.raises(BadInput, match=case.error or None) as caught:
            prepared(case, tmp_path / "in", tmp_path / "cache")
            if case.unused < 0:  # may also work: noise can hit where it does not matter
                raise BadInput("works")
        text = str(caught.value)
        assert len(text) < 1_500 and text.isprintable(), "one line for a terminal"
        return
    rows, dataset = prepared(case, tmp_path / "in", tmp_path / "cache")
    unused = rows.num_unused + sum(dataset.unused_counts.values())
    assert unused == case.unused, (rows.unused, dataset.unused)
    assert (dataset.folds >= 0).any()


def test_there_are_enough():
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)
