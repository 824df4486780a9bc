"""Numbers, categories, labels and dates: what their values become and come back as."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
import torch

from polymath.problem import Category, Date, Labels, Number
from polymath.spec import BadInput


def column(values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


# Numbers


def test_number_is_standardised_and_comes_back():
    values = column([1.0, 2.0, None, 6.0])
    number = Number(name="n").measure(values)
    encoded = number.encode(values).array[:, 0]
    assert np.isnan(encoded[2]) and np.nanmean(encoded) == pytest.approx(0, abs=1e-6)
    assert np.nanstd(encoded) == pytest.approx(1, abs=1e-6)
    assert number.decode(encoded[[0, 1, 3], None], {})[2]["value"] == pytest.approx(6.0)


def test_number_survives_extremes():
    values = column([1e308, -1e308, 1e307])
    number = Number(name="n").measure(values)
    assert np.isfinite(number.encode(values).array).all()
    back = number.decode(number.encode(values).array, {})
    assert back[0]["value"] == pytest.approx(1e308, rel=1e-3)


def test_constant_number_stays_quiet():
    number = Number(name="n").measure(column([0.1] * 1000))
    assert np.abs(number.encode(column([0.1, 0.1000001])).array).max() < 1e-3


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1", " 2.5 ", "-3e2", ".5", "5."], None, [1, 2.5, -300, 0.5, 5]),
        ([True, False, None], None, [1, 0, math.nan]),
        ([1, None, 3], pa.int8(), [1, math.nan, 3]),
        (["1", "nan", "", None], None, [1, math.nan, math.nan, math.nan]),
        (["1", "2"], pa.dictionary(pa.int32(), pa.string()), [1, 2]),
    ],
)
def test_what_is_a_number(values, kind, expected):
    encoded = Number(name="n", mean=0.0, deviation=1.0).encode(column(values, kind))
    assert encoded.array[:, 0] == pytest.approx(expected, nan_ok=True) and not encoded.bad


def test_what_is_no_number_is_named():
    encoded = Number(name="n", mean=0.0, deviation=1.0).encode(column(["1", "1_000", "twelve", "1e999", "inf"]))
    assert [(bad.row, bad.value, bad.missing) for bad in encoded.bad] == [
        (1, "1_000", True),
        (2, "twelve", True),
        (3, "inf", True),
        (4, "inf", True),
    ]
    assert np.isnan(encoded.array[1:]).all()


def test_number_without_values_to_learn():
    with pytest.raises(BadInput, match="column 'n': no row holds a number"):
        Number(name="n").measure(column(["a", None]), as_output=True)
    assert Number(name="n").measure(column([None, None], pa.float64())).is_measured


def test_intervals_hold_what_they_promise():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=8000).astype(np.float32)
    guess = (truth + generator.standard_t(3, 8000) * 0.3).astype(np.float32)[:, None]
    number = Number(name="n", mean=50.0, deviation=10.0, level=0.8)
    calibration = number.calibrate(guess[:4000], truth[:4000])
    answers = number.decode(guess[4000:], calibration)
    held = np.mean([a["low"] <= t * 10 + 50 <= a["high"] for a, t in zip(answers, truth[4000:].tolist(), strict=True)])
    assert held == pytest.approx(0.8, abs=0.02)


# Categories


def test_category_input_codes():
    values = column(["b", "a", "b", None, " b ", ""])
    category = Category(name="c").measure(values)
    assert category.classes == ("b", "a")
    assert category.encode(column(["a", "b", None, "new", ""])).array[:, 0].tolist() == [2, 1, 0, 0, 0]
    assert category.form.categories == (3,)


def test_many_classes_share_a_code():
    values = column([f"often{i % 999}" for i in range(5000)] + [f"once{i}" for i in range(50)])
    category = Category(name="c").measure(values)
    assert len(category.classes) == 1000 and category.form.categories == (1002,)
    assert category.encode(column(["once7", "never seen", None])).array[:, 0].tolist() == [1001, 1001, 0]


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([3, 1, 2, 10], (1, 2, 3, 10)),
        ([True, False], (False, True)),
        ([1.5, 0.5], (0.5, 1.5)),
        (["10", "9"], ("10", "9")),
        ([Decimal("2.00"), Decimal("1.50")], (1.5, 2)),
        ([datetime.date(2021, 1, 1), datetime.date(2020, 1, 1)], ("2020-01-01", "2021-01-01")),
    ],
)
def test_classes_keep_their_type_and_order(values, classes):
    category = Category(name="c").measure(column(values), as_output=True)
    assert category.classes == classes
    assert [type(one) for one in Category.from_json(category.to_json()).classes] == [type(one) for one in classes]
    answer = category.decode(np.eye(len(classes), dtype=np.float32) * 9, {})
    assert [one["value"] for one in answer] == list(classes)


def test_same_class_in_another_type_of_column():
    category = Category(name="c").measure(column([0, 1, 2]), as_output=True)
    for other in (column(["0", "2"]), column([0.0, 2.0]), column([0, 2], pa.int8())):
        assert category.encode_target(other).array.tolist() == [0, 2]
    truth = Category(name="c").measure(column([True, False]), as_output=True)
    assert truth.encode_target(column(["True", "false"])).array.tolist() == [1, 0]


def test_unknown_label_is_missing_with_a_reason():
    category = Category(name="c").measure(column(["a", "b"]), as_output=True)
    encoded = category.encode_target(column(["b", "z", None]))
    assert encoded.array.tolist() == [1, -1, -1]
    assert [(bad.row, bad.value, bad.missing) for bad in encoded.bad] == [(1, "z", True)]


def test_number_of_classes_has_limits():
    with pytest.raises(BadInput, match="only the class a appears"):
        Category(name="c").measure(column(["a", "a"]), as_output=True)
    with pytest.raises(BadInput, match="no class appears"):
        Category(name="c").measure(column([None], pa.string()), as_output=True)
    with pytest.raises(BadInput, match="1,001 different values are too many"):
        Category(name="c").measure(column(list(range(1001))), as_output=True)
    assert Category(name="c").measure(column(list(range(1000))), as_output=True).head_width == 1000


def test_temperature_makes_probabilities_honest():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 4)).astype(np.float32)
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target = (chance.cumsum(1) < generator.random((4000, 1))).sum(1)
    category = Category(name="c", classes=("a", "b", "c", "d"))
    assert category.calibrate(logits * 3, target)["temperature"] == pytest.approx(3, rel=0.1)


def test_combined_probabilities_are_averaged():
    category = Category(name="c", classes=("a", "b"))
    first, second = np.log([[0.9, 0.1]]).astype(np.float32), np.log([[0.5, 0.5]]).astype(np.float32)
    assert np.exp(category.combine([first, second], [3, 1]))[0] == pytest.approx([0.8, 0.2], abs=1e-5)


def test_probabilities_are_listed_best_first():
    category = Category(name="c", classes=tuple(range(100)))
    (answer,) = category.decode(np.arange(100, dtype=np.float32)[None], {})
    assert len(answer["probabilities"]) == 20 and next(iter(answer["probabilities"])) == "99"


# Labels


def test_labels_from_text_and_lists():
    labels = Labels(name="l").measure(column(["red; round", "red", None, "  ", "round;round;"]), as_output=True)
    assert labels.classes == ("red", "round") and labels.separator == ";"
    assert labels.encode_target(column(["round", "", None, "red;blue"])).array.tolist() == [
        [0, 1],
        [255, 255],
        [255, 255],
        [1, 0],
    ]
    lists = column([["round", "red"], [], None])
    assert labels.encode_target(lists).array.tolist() == [[1, 1], [0, 0], [255, 255]]
    assert [bad.value for bad in labels.encode_target(column(["red;blue"])).bad] == ["blue"]


def test_label_threshold_is_fitted():
    generator = np.random.default_rng(0)
    target = (generator.random((3000, 5)) < 0.1).astype(np.uint8)
    logits = (target * 2.0 - 3.0 + generator.normal(size=target.shape)).astype(np.float32)
    labels = Labels(name="l", classes=tuple("abcde"))
    calibration = labels.calibrate(logits, target)
    before, after = labels.scores(logits, target), labels.scores(labels.calibrated(logits, calibration), target)
    assert after["f1_micro"] > before["f1_micro"] + 0.05
    assert after["average_precision"] == pytest.approx(before["average_precision"])
    said = [len(one["value"]) for one in labels.decode(logits, calibration)]
    assert said == (labels.calibrated(logits, calibration) >= 0).sum(1).tolist()


def test_labels_loss_leaves_out_missing_rows():
    labels = Labels(name="l", classes=("a", "b"))
    target = torch.tensor([[1, 0], [255, 255]], dtype=torch.uint8)
    loss = labels.loss(torch.zeros(2, 2), target)
    assert loss.tolist() == pytest.approx([math.log(2), 0])


# Dates


@pytest.mark.parametrize(
    ("values", "days"),
    [
        (["2020-01-31", "2020-02-01T00:00:00Z"], 1),
        (["31/01/2020", "01/02/2020"], 1),
        (["01/31/2020", "02/01/2020"], 1),
        (["31.01.2020 12:00", "01.02.2020 12:00"], 1),
        (["Jan 31, 2020", "Feb 1, 2020"], 1),
        ([20200131, 20200201], 1),
        ([2019, 2020], 365),
        ([1.6e9, 1.6e9 + 86400], 1),
        ([datetime.date(2020, 1, 31), datetime.date(2020, 2, 1)], 1),
        ([datetime.datetime(2020, 1, 31), datetime.datetime(2020, 2, 1)], 1),
        (pa.array([10**18, 10**18 + 86_400 * 10**9], pa.timestamp("ns")), 1),
    ],
)
def test_ways_to_write_a_date(values, days):
    given = column(values)
    date = Date(name="d").measure(given)
    encoded = date.encode(given)
    assert not encoded.bad
    assert np.diff(encoded.array[:, 0])[0] * date.deviation == pytest.approx(days * 86_400, rel=1e-4)


def test_cycles_are_used_where_dates_spread_over_them():
    days = [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=3 * i) for i in range(200)]
    date = Date(name="d").measure(column(days))
    assert date.cycles == ("year", "week") and date.form.width == 5
    hours = [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=7 * i) for i in range(200)]
    assert Date(name="d").measure(column(hours)).cycles == ("year", "week", "day")
    assert Date(name="d").measure(column(["2020-01-01"] * 5)).cycles == ()


def test_what_is_no_date_is_named():
    given = column(["2020-01-01", "0000-01-01", "2020-13-01", "soon", "99999-01-01", None, ""])
    encoded = Date(name="d").measure(given).encode(given)
    assert [bad.row for bad in encoded.bad] == [1, 2, 3, 4] and all(bad.missing for bad in encoded.bad)
    assert np.isnan(encoded.array[1:]).all()
