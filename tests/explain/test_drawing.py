"""Charts and words: nothing outside its frame, numbers as people write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polymath.explain.chart import Chart, nice_ticks, spread
from polymath.explain.markup import Html, amount, duration, number, score, table, tag

FINITE = st.floats(-1e12, 1e12)


@given(FINITE, st.floats(1e-6, 1e9))
@example(5443434375.0, 1e-06)
def test_ticks_lie_within_and_are_few(low, width):
    high = low + width
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(width, abs(low) * 1e-6, 1e-12) + 1e-9
    assert all(low - slack - width * 1e-6 <= tick <= high + slack + width * 1e-6 for tick in ticks)
    assert len(ticks) <= 8


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=20), st.booleans())
def test_no_point_leaves_the_frame(points, log):
    chart = Chart(spread(x for x, _ in points), spread(y for _, y in points), x_label="x", y_label="y", log_x=log)
    for point in [*points, (1e300, -1e300)]:
        across, up = chart.at(point)
        assert 0 <= across <= chart.width
        assert 0 <= up <= chart.height


def test_a_chart_of_one_point_can_be_drawn():
    chart = Chart(spread([3.0]), spread([0.0]), x_label="x", y_label="y")
    chart.line([(3.0, 0.0)])
    chart.dots([(3.0, 0.0)], titles=["<here>"])
    drawn = chart.svg("one & only")
    assert "&lt;here&gt;" in drawn
    assert "one &amp; only" in drawn
    assert not re.search(r"nan|inf", drawn)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (1234567.0, "1,234,567"),
        (0.12345, "0.1235"),
        (-12.5, "-12.5"),
        (99999.5, "100,000"),
        (1e12, "1e+12"),
        (float("nan"), "–"),
        (None, "–"),
        (100.0, "100"),
    ],
)
def test_numbers_as_people_write_them(value, shown):
    assert number(value) == shown


def test_units():
    assert (amount(950), amount(45_200), amount(3.1e6)) == ("950", "45.2 k", "3.1 M")
    assert (duration(1.234), duration(125), duration(7300)) == ("1.23 s", "2 min 5 s", "2 h 1 min")
    assert (score("accuracy", 0.9667), score("rmse", 3.14159), score("skill", -4e-5)) == ("96.7 %", "3.142", "0")


def test_markup_is_escaped_unless_it_is_markup():
    assert tag("p", "<i>", Html("<b>x</b>"), title='"') == '<p title="&quot;">&lt;i&gt;<b>x</b></p>'
    assert "<td>&lt;</td>" in table(["a"], [["<"]])
