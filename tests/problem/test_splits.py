"""Which rows test and validate."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymath.problem.features import Category, Number, Reply, Text
from polymath.problem.features.common import spread, take
from polymath.problem.problem import Split
from polymath.problem.sources import read
from polymath.problem.splits import TEST, assign
from polymath.spec import BadInput

KINDS = ["auto", "random", "stratified"]


def table(size, seed=0, **columns):
    generator = np.random.default_rng(seed)
    y = generator.choice(["a", "b", "c"], size, p=[0.7, 0.25, 0.05])
    return {"x": generator.normal(size=size), "z": generator.integers(0, 9, size), "y": y, **columns}


CLASS, AMOUNT = (Category(name="y"),), (Number(name="y"),)


def folds_of(columns, *, inputs=("x", "z"), outputs=CLASS, hashes=None, known_words=False, **settings_):
    rows = read(columns)
    return assign(rows, Split(**settings_), inputs=inputs, outputs=outputs, hashes=hashes, known_words=known_words)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [20, 100, 1_000])
def test_sizes(kind, size):
    folds = folds_of(table(size), kind=kind)
    assert folds.dtype == np.int8 and len(folds) == size
    assert abs((folds == TEST).sum() - 0.2 * size) <= 2
    counts = np.bincount(folds[folds != TEST], minlength=5)
    assert len(counts) == 5 and counts.max() - counts.min() <= 4


def test_classes_are_spread():
    columns = table(2_000)
    folds = folds_of(columns)
    for label, share in zip(*np.unique(columns["y"], return_counts=True), strict=True):
        of_label = folds[columns["y"] == label]
        assert abs((of_label == TEST).sum() - 0.2 * share) <= 2
        assert set(of_label) == {-1, 0, 1, 2, 3, 4}


@pytest.mark.parametrize("seed", range(3))
def test_large_groups_are_tested_no_more_than_single_rows(seed):
    """Rows that are alike and say different things: the same text of several classes."""
    columns = table(2_000)
    alike = np.arange(2_000) < 800  # 100 groups of eight
    columns["x"], columns["z"] = np.where(alike, np.arange(2_000) // 8, columns["x"]), np.where(alike, 0, columns["z"])
    folds = folds_of(columns, seed=seed)
    for fold in range(-1, 5):
        assert 0.25 < alike[folds == fold].mean() < 0.55


@pytest.mark.parametrize("output", [Text(name="said"), Reply(name="said")])
def test_what_is_written_is_split_as_anything_is(output):
    said = [f"answer {row % 5 if row < 30 else row}" for row in range(200)]  # few are written twice
    folds = folds_of(table(200, said=said), outputs=(output,))
    assert np.bincount(folds + 1).tolist() == [40, 32, 32, 32, 32, 32]


def few(each, classes=9):
    texts = [f"text {number} says {number * number}" for number in range(each * classes)]
    return {"x": texts, "y": [f"class {number % classes}" for number in range(each * classes)]}


@pytest.mark.parametrize("each", [2, 3, 4])
def test_of_few_rows_every_fold_leaves_one_of_each_class(each):
    columns = few(each)
    folds = folds_of(columns, inputs=("x",), test_fraction=0.0)
    found = sorted(zip(folds.tolist(), columns["y"], strict=True))
    assert found == sorted((fold, label) for fold in range(each) for label in set(columns["y"]))


def test_texts_in_words_that_are_known_may_be_fewer():
    assert folds_of(few(1, classes=3), inputs=("x",), known_words=True).tolist() == [0] * 3
    assert (folds_of(few(2), inputs=("x",), known_words=True) != TEST).all()
    with pytest.raises(BadInput, match="only 5 usable rows"):
        folds_of(few(1, classes=5), inputs=("x",))


def test_rare_classes_are_learned():
    columns = table(100)
    columns["y"] = np.array(["a"] * 97 + ["one", "two", "two"])
    folds = folds_of(columns)
    assert TEST not in folds[-3:]
    assert folds[-3] != 0, "the fold that large data validate on trains with it"


def test_thousand_classes_keep_the_share():
    columns = table(3_000)
    columns["y"] = np.arange(3_000) % 1_000
    folds = folds_of(columns)
    assert 400 <= (folds == TEST).sum() <= 800
    assert len(np.unique(columns["y"][folds >= 0])) == 1_000


def test_numbers_are_stratified():
    columns = table(1_000)
    columns["y"] = np.random.default_rng(1).lognormal(2, 2, 1_000)
    folds = folds_of(columns, outputs=AMOUNT)
    top = columns["y"] > np.quantile(columns["y"], 0.9)
    assert abs((folds[top] == TEST).mean() - 0.2) < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_rows_makes_no_difference(kind):
    columns = table(500)
    order = np.random.default_rng(5).permutation(500)
    mixed = {name: np.asarray(values)[order] for name, values in columns.items()}
    assert (folds_of(columns, kind=kind)[order] == folds_of(mixed, kind=kind)).all()


def test_the_seed_makes_a_difference():
    columns = table(500)
    assert (folds_of(columns, seed=1) == folds_of(columns, seed=1)).all()
    assert (folds_of(columns, seed=1) != folds_of(columns, seed=2)).mean() > 0.3


@settings(max_examples=20, deadline=None)
@given(copies=st.integers(2, 4), seed=st.integers(0, 99))
def test_equal_rows_stay_together(copies, seed):
    columns = {name: np.tile(values, copies) for name, values in table(60, seed).items()}
    folds = folds_of(columns, seed=seed).reshape(copies, 60)
    assert (folds == folds[0]).all()
    assert (folds == TEST).any() and (folds >= 0).any()


def test_texts_that_differ_in_case_only_stay_together():
    texts = [f"This is message number {i}, and it has quite a lot of words" for i in range(100)]
    columns = table(200, t=texts + [text.upper().replace(",", " ;") for text in texts])
    folds = folds_of(columns, inputs=("x", "z", "t"))
    assert (folds[:100] == folds[100:]).all()


def test_pictures_that_look_alike_stay_together():
    hashes = np.arange(1, 201, dtype=np.uint64)
    hashes[100:150] = hashes[:50]
    hashes[150:] = 0
    folds = folds_of(table(200), hashes={"x": hashes})
    assert (folds[:50] == folds[100:150]).all()
    assert len(set(folds[150:])) > 1, "rows without a picture are not alike"


def test_text_files_with_one_content_stay_together(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(40):
            (tmp_path / label / f"{i:02d}.txt").write_text(f"Message {i % 20} of {label}" + "!" * (i // 20))
    rows = read(tmp_path)
    folds = assign(rows, Split(), inputs=["text"], outputs=[Category(name="label")])
    for half in (folds[:40], folds[40:]):
        assert (half[:20] == half[20:]).all()


def test_few_different_rows_are_divided():
    columns = {"x": [0, 1] * 100, "y": ["a", "b"] * 100}
    folds = folds_of(columns, inputs=("x",))
    assert abs((folds == TEST).sum() - 40) <= 2


def test_groups():
    group = np.random.default_rng(0).integers(0, 40, 400)
    folds = folds_of(table(400, g=group), kind="group", column="g")
    assert all(len(set(folds[group == one])) == 1 for one in range(40))
    assert 40 <= (folds == TEST).sum() <= 120
    with pytest.raises(BadInput, match="one group"):
        folds_of(table(100, g=np.zeros(100)), kind="group", column="g")


@pytest.mark.parametrize("form", ["number", "date", "text"])
def test_time(form):
    days = np.random.default_rng(0).permutation(300)
    times = {
        "number": days,
        "date": np.datetime64("2020-01-01") + days,
        "text": [str(np.datetime64("2020-01-01") + int(day)) for day in days],
    }[form]
    folds = folds_of(table(300, t=times), kind="time", column="t")
    order = folds[np.argsort(days)]
    assert list(np.unique(order[-60:])) == [TEST] and (order[:240] >= 0).all()
    assert (np.diff(order[:240]) <= 0).all(), "fold 0 is the latest"


def test_equal_times_stay_together():
    times = np.arange(300) // 50
    folds = folds_of(table(300, t=times), kind="time", column="t")
    assert all(len(set(folds[times == one])) == 1 for one in range(6))
    with pytest.raises(BadInput, match="too few different times"):
        folds_of(table(300, t=np.zeros(300)), kind="time", column="t")


def test_given():
    words = np.array(["train"] * 150 + ["valid"] * 30 + ["test"] * 20)
    folds = folds_of(table(200, s=words), kind="given", column="s")
    assert (folds == np.array([1] * 150 + [0] * 30 + [TEST] * 20)).all()
    words[150:180] = "train"
    folds = folds_of(table(200, s=words), kind="given", column="s")
    assert (folds[180:] == TEST).all() and set(folds[:180]) == set(range(5))
    words[180:] = "train"
    folds = folds_of(table(200, s=words), kind="given", column="s")
    assert 36 <= (folds == TEST).sum() <= 44
    for wrong in ("x", None):
        with pytest.raises(BadInput, match="train, validation and test"):
            folds_of(table(200, s=[wrong, *words[1:]]), kind="given", column="s")


def test_one_fold_and_no_test():
    folds = folds_of(table(500), folds=1)
    assert set(folds) == {TEST, 0, 1} and 60 <= (folds == 0).sum() <= 100
    assert TEST not in folds_of(table(500), test_fraction=0.0)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_too_few_rows(size):
    with pytest.raises(BadInput, match=f"only {size} usable rows"):
        folds_of(table(size))


def test_a_column_that_is_none():
    with pytest.raises(BadInput, match="'when'"):
        folds_of(table(50), kind="time", column="when")


def test_missing_targets_and_lists_are_spread():
    columns = table(300)
    columns["y"] = [None if i % 3 else ["a", "b"][i % 2 :] for i in range(300)]
    folds = folds_of(columns)
    assert abs((folds == TEST).sum() - 60) <= 2


def test_many_whole_numbers_are_amounts():
    columns = table(400)
    columns["y"] = np.arange(400)
    assert (folds_of(columns, outputs=AMOUNT) == TEST).sum() in (79, 80, 81)


def test_folds_do_not_depend_on_how_a_table_is_cut_into_chunks():
    whole = pa.table(table(500) | {"x": np.arange(500) % 90 / 7.0, "z": ["same text"] * 500})
    cut = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 0), whole.slice(1, 320), whole.slice(321)])
    assert cut["x"].num_chunks > 2
    assert folds_of(cut).tolist() == folds_of(whole).tolist()


@pytest.mark.parametrize("cuts", [[], [100], [1, 1, 40]])
def test_values_are_taken_from_chunks_as_from_one(cuts):
    numbers = np.arange(100)
    column = pa.chunked_array([pa.array(part, pa.int64()) for part in np.split(numbers, cuts)])
    indices = np.array([0, 0, 1, 39, 40, 99])
    assert take(column, indices).to_pylist() == indices.tolist()
    assert spread(column, 7).to_pylist() == np.linspace(0, 99, 7).astype(int).tolist()
