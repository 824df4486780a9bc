"""The test keeps to its time: whole answers are made for as many rows as there is time for."""

from __future__ import annotations

import time

import numpy as np
import pytest

from polymath.learning import examined
from polymath.learning.examined import Judged
from polymath.problem import Category


class Exam(examined._Exam):
    """A hundred test rows; a raw prediction takes no time, a whole answer a hundredth of a second."""

    def __init__(self) -> None:
        pass

    judging, table = (None,), None
    asked = 0

    class dataset:
        test = np.arange(500)

    def raw(self, rows):
        return {}

    def whole_scores(self, rows):
        time.sleep(0.002 * len(rows))
        return {}


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(None, 500, 500), (60.0, 500, 500), (0.5, 30, 260), (-1.0, 24, 24)]
)
def test_as_many_rows_as_there_is_time_for(seconds, least, most):
    ends = None if seconds is None else time.monotonic() + seconds
    rows, whole = Exam().affordable(ends)
    assert least <= len(rows) <= most and least <= len(whole) <= most
    assert rows[0] == 0 and rows[-1] == 499, "spread over all"


def test_all_right_is_not_certainty():
    feature = Category(name="kind", classes=("a", "b"))
    codes = np.arange(36, dtype=np.int64)[:, None] % 2
    judged = Judged(np.arange(36), {"kind": np.eye(2)[codes[:, 0]]}, {"kind": codes}, {})
    low, high = examined._of_all_alike(1.0, feature, judged)
    assert (low, high) == (pytest.approx(0.025 ** (1 / 36)), 1.0)
    assert examined._of_all_alike(0.0, feature, judged) == (0.0, pytest.approx(1 - low))
