"""The test keeps to its time: whole answers are made for as many rows as there is time for."""

from __future__ import annotations

import time

import numpy as np
import pytest

from polymath.learning import examined


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
