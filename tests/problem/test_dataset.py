"""Data sets: written once, opened at once, complete in what they count."""

from __future__ import annotations

import json
import os
import threading

import numpy as np
import pyarrow as pa
import pytest

from polymath.problem import Category, Dataset, Image, Number, Problem, Text, dataset, near_duplicates
from polymath.problem.features._pictures import as_png
from polymath.problem.form import pixels
from polymath.problem.sources.rows import Origins, Rows
from polymath.spec import BadInput

NUM_ROWS = 50


def make_rows(table, fingerprint="f" * 64):
    return Rows(table, "memory", fingerprint, Origins(("data.csv",)))


def make_table(num_rows=NUM_ROWS):
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (num_rows, 6, 5), dtype=np.uint8)
    return pa.table(
        {
            "size": pa.array(generator.normal(size=num_rows), mask=generator.random(num_rows) < 0.1),
            "note": generator.choice(["a tree", "the old house", "stone"], num_rows),
            "picture": [as_png(picture) for picture in pictures],
            "kind": generator.choice(["x", "y"], num_rows),
            "weight": np.arange(1.0, num_rows + 1),
        }
    )


PROBLEM = Problem(
    name="p",
    inputs=[Number(name="size"), Text(name="note"), Image(name="picture")],
    outputs=[Category(name="kind"), Number(name="weight")],
)


def make_folds(num_rows=NUM_ROWS):
    return (np.arange(num_rows) % 4 - 1).astype(np.int8)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(dataset, "CHUNK", 7)


def test_arrays_are_the_encoded_rows(tmp_path, small_chunks):
    table = make_table()
    built = Dataset.build(make_rows(table), PROBLEM, make_folds(), tmp_path)
    encoded = built.problem.encode_inputs(table)
    assert set(built.inputs) == {"row", "note", "picture"} == set(built.problem.ports)
    for port, array in encoded.arrays.items():
        assert np.array_equal(built.inputs[port], array, equal_nan=array.dtype.kind == "f"), port
        assert isinstance(built.inputs[port], np.memmap) and not built.inputs[port].flags.writeable
    for name, target in built.problem.encode_targets(table).items():
        assert np.array_equal(built.targets[name], target.array)
    assert built.num_folds == 3 and built.weights is None and not built.unused
    assert built.rows.tolist() == list(range(NUM_ROWS))


def test_parts_do_not_overlap(tmp_path):
    built = Dataset.build(make_rows(make_table()), PROBLEM, make_folds(), tmp_path)
    parts = [built.test, *(built.validation(fold) for fold in range(3))]
    assert sorted(np.concatenate(parts).tolist()) == list(range(NUM_ROWS))
    for fold in range(3):
        assert sorted([*built.training(fold), *built.validation(fold), *built.test]) == list(range(NUM_ROWS))
    assert sorted([*built.training(), *built.test]) == list(range(NUM_ROWS))


def test_test_rows_are_not_measured(tmp_path):
    table = make_table()
    learned = np.flatnonzero(make_folds() >= 0)
    built = Dataset.build(make_rows(table), PROBLEM, make_folds(), tmp_path)
    sizes = table["size"].to_pandas()[learned]
    assert built.problem.inputs[0].mean == pytest.approx(sizes.mean())
    changed = table.to_pandas()
    changed.loc[built.test, ["size", "weight"]] = 1e6
    changed.loc[built.test, "note"] = "never seen in training"
    again = Dataset.build(make_rows(pa.table(changed), "e" * 64), PROBLEM, make_folds(), tmp_path)
    assert again.problem == built.problem


def test_the_second_time_opens_what_is_there(tmp_path, monkeypatch):
    rows = make_rows(make_table())
    first = Dataset.build(rows, PROBLEM, make_folds(), tmp_path)
    monkeypatch.setattr(dataset._Writer, "write", lambda *_: pytest.fail("written twice"))
    monkeypatch.setattr(dataset, "_encode_into", lambda *_: pytest.fail("decoded twice"))
    again = Dataset.build(rows, PROBLEM, make_folds(), tmp_path)
    assert again.digest == first.digest and again.folder == first.folder and again.problem == first.problem
    near_duplicates(rows, PROBLEM, tmp_path)


@pytest.mark.parametrize("change", ["rows", "selection", "problem", "folds"])
def test_another_thing_is_another_dataset(tmp_path, change):
    rows, problem, folds = make_rows(make_table()), PROBLEM, make_folds()
    first = Dataset.build(rows, problem, folds, tmp_path)
    if change == "rows":
        rows = make_rows(make_table(), "e" * 64)
    elif change == "selection":
        rows = rows.take(np.arange(NUM_ROWS)[::-1])
    elif change == "problem":
        problem = problem.replace(metric={"kind": "log_loss"})
    else:
        folds = np.roll(folds, 1)
    assert Dataset.build(rows, problem, folds, tmp_path).digest != first.digest


def test_pictures_are_decoded_once_for_any_folds(tmp_path, monkeypatch):
    rows = make_rows(make_table())
    hashes = near_duplicates(rows, PROBLEM, tmp_path)["picture"]
    assert hashes.dtype == np.uint64 and len(hashes) == NUM_ROWS
    monkeypatch.setattr(dataset, "_encode_into", lambda *_: pytest.fail("decoded twice"))
    Dataset.build(rows, PROBLEM, make_folds(), tmp_path)
    Dataset.build(rows, PROBLEM, np.roll(make_folds(), 1), tmp_path)
    assert len(list((tmp_path / "encoded").glob("*.npy"))) == 1


def test_pictures_in_pieces_are_as_alike_as_in_one(tmp_path, monkeypatch):
    rows = make_rows(make_table())
    whole = near_duplicates(rows, PROBLEM, tmp_path / "whole")["picture"]
    monkeypatch.setattr(dataset, "chunk_rows", lambda *_: 7)
    assert (near_duplicates(rows, PROBLEM, tmp_path / "pieces")["picture"] == whole).all()
    files = [next((tmp_path / name / "encoded").glob("*.npy")).read_bytes() for name in ("whole", "pieces")]
    assert files[0] == files[1]


@pytest.mark.parametrize("side, most", [(28, 1 << 24), (64, 1 << 24), (256, 1 << 26), (1024, 1 << 30)])
def test_few_pictures_are_held_at_a_time(side, most):
    rows = dataset.chunk_rows(pixels(3, side, side))
    assert 3 * side * side * rows <= most and rows >= 256


def test_every_row_and_value_that_is_not_used_is_counted(tmp_path, small_chunks):
    changed = make_table().to_pandas().astype({"size": object})
    changed.loc[3, "picture"] = b"damaged"
    changed.loc[10, ["picture", "size", "note"]] = [b"damaged", None, None]
    changed.loc[20, ["kind", "weight"]] = [None, None]
    changed.loc[21, "kind"] = None
    table = pa.table(changed)
    built = Dataset.build(make_rows(table), PROBLEM, make_folds(), tmp_path)
    assert built.unused_counts == {"is no image in a known format": 1, "has no target": 1}
    assert built.value_counts == {"is no image in a known format": 1}
    assert np.flatnonzero(built.folds == dataset.UNUSED).tolist() == [10, 20]
    assert {(one.file, one.row, one.column) for one in built.unused} == {
        ("data.csv", 4, "picture"),
        ("data.csv", 11, None),
        ("data.csv", 21, None),
    }
    everywhere = np.concatenate([built.training(), built.test])
    assert not {10, 20} & set(everywhere.tolist()) and {3, 21} <= set(everywhere.tolist())


def test_labels_of_test_rows_that_were_never_learned_are_counted(tmp_path):
    changed = make_table().to_pandas()
    changed.loc[0, "kind"] = "z"
    built = Dataset.build(make_rows(pa.table(changed)), PROBLEM, make_folds(), tmp_path)
    assert built.targets["kind"][0] == -1 and built.value_counts == {"is not among the classes learned": 1}
    assert 0 in built.test


def test_weights(tmp_path):
    changed = make_table().to_pandas()
    changed.loc[5, "weight"] = -1.0
    problem = PROBLEM.replace(outputs=PROBLEM.outputs[:1], weights="weight")
    built = Dataset.build(make_rows(pa.table(changed)), problem, make_folds(), tmp_path)
    assert built.folds[5] == dataset.UNUSED
    assert built.weights[built.training()].mean() == pytest.approx(1.0, rel=1e-5)
    assert built.weights[9] / built.weights[1] == pytest.approx(5.0)


def test_nothing_usable(tmp_path):
    table = pa.table({"picture": [b"no"] * 8, "kind": ["x", "y"] * 4})
    problem = Problem(name="p", inputs=[Image(name="picture")], outputs=[Category(name="kind")])
    with pytest.raises(BadInput, match=r"none of the 8 rows can be used. First reason: is no image"):
        Dataset.build(make_rows(table), problem, make_folds(8), tmp_path)
    assert not [one for one in tmp_path.iterdir() if one.name != "encoded"]


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset._Writer, "_write_targets", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Dataset.build(make_rows(make_table()), PROBLEM, make_folds(), tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["encoded"]


def test_two_at_once(tmp_path):
    rows, found = make_rows(make_table()), []
    threads = [
        threading.Thread(target=lambda: found.append(Dataset.build(rows, PROBLEM, make_folds(), tmp_path).digest))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1


def test_what_killed_processes_left_is_swept(tmp_path):
    old, new = tmp_path / ".draft-old", tmp_path / ".draft-new"
    for draft in (old, new):
        draft.mkdir()
        (draft / "input_0.npy").write_bytes(b"half")
    os.utime(old, (0, 0))
    Dataset.build(make_rows(make_table()), PROBLEM, make_folds(), tmp_path)
    assert not old.exists() and new.exists()


def test_open_what_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="holds no dataset"):
        Dataset.open(tmp_path)


def test_nothing_of_a_dataset_is_executed(tmp_path):
    built = Dataset.build(make_rows(make_table()), PROBLEM, make_folds(), tmp_path)
    described = json.loads((built.folder / "dataset.json").read_text())
    np.save(built.folder / described["arrays"]["folds"], np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"[Oo]bject|pickle"):
        Dataset.open(built.folder)
