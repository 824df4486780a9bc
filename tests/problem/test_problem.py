"""Problems: what fits together, ports, problem files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from polymath.problem import Category, Ignored, Image, Labels, Number, Problem, Split, Text
from polymath.problem.features._pictures import as_png
from polymath.spec import BadInput

TABLE = pa.table(
    {
        "size": [1.0, 2.0, None, 4.0],
        "colour": ["red", None, "blue", "red"],
        "note": ["a tree", "a house", None, "the tree"],
        "picture": [as_png(np.full((4, 4), 60 * i, np.uint8)) for i in range(4)],
        "kind": ["x", "y", "x", None],
        "weight": [1.0, 2.0, 3.0, 4.0],
    }
)


def make_problem(**changes):
    inputs = [Number(name="size"), Text(name="note"), Category(name="colour"), Image(name="picture")]
    return Problem(**{"name": "p", "inputs": inputs, "outputs": [Category(name="kind")], **changes})


def test_ports_join_vectors_in_order():
    problem = make_problem().measure(TABLE, [0, 1, 2])
    ports = problem.ports
    assert list(ports) == ["row", "note", "picture"]
    assert ports["row"].width == 2 and ports["row"].categories == (0, 3)
    encoded = problem.encode_inputs(TABLE)
    assert encoded.arrays["row"].shape == (4, 2) and encoded.arrays["row"].dtype == np.float32
    assert encoded.arrays["picture"].shape == (4, 1, 4, 4) and encoded.usable.all()
    assert problem.is_measured and not make_problem().is_measured


def test_numbers_alone_have_no_categories():
    problem = Problem(name="p", inputs=[Number(name="size"), Labels(name="colour")], outputs=[Category(name="kind")])
    row = problem.measure(TABLE, range(3)).ports["row"]
    assert row.width == 3 and row.categories == ()


def test_statistics_come_from_the_given_rows_alone():
    assert make_problem().measure(TABLE, [0, 1]).inputs[0].mean == 1.5
    with pytest.raises(BadInput, match="only the class x"):
        make_problem().measure(TABLE, [0, 2])


def test_columns_may_have_any_name():
    table = TABLE.rename_columns(["row", "a\x00b", "row_", "in:x", "kind", "weight"])
    problem = Problem(
        name="p",
        inputs=[Number(name="row"), Text(name="row_"), Category(name="a\x00b"), Image(name="in:x")],
        outputs=[Category(name="kind")],
    ).measure(table, [0, 1, 2])
    assert list(problem.ports) == ["row", "row_", "in:x"]
    pictures = table.rename_columns(["size", "colour", "row_", "row", "kind", "weight"])
    problem = Problem(
        name="p", inputs=[Number(name="size"), Text(name="row_"), Image(name="row")], outputs=[Category(name="kind")]
    ).measure(pictures, [0, 1, 2])
    assert list(problem.ports) == ["row", "row_", "row__"]
    assert set(problem.encode_inputs(pictures).arrays) == set(problem.ports)


def test_a_row_is_unusable_if_nothing_is_known_of_it():
    problem = Problem(name="p", inputs=[Image(name="picture"), Number(name="size")], outputs=[Category(name="kind")])
    measured = problem.measure(TABLE, [0, 1, 2])
    table = pa.table({"picture": [b"no", b"no", None, TABLE["picture"][0].as_py()], "size": [1.0, None, None, None]})
    assert measured.encode_inputs(table).usable.tolist() == [True, False, True, True]


def test_a_missing_column_is_named():
    problem = make_problem().measure(TABLE, [0, 1, 2])
    with pytest.raises(BadInput, match=r"column 'size': the data lack this column. Columns there: colour, note"):
        problem.encode_inputs(TABLE.drop_columns(["size"]))
    problem.encode_inputs(TABLE.drop_columns(["kind"]))
    with pytest.raises(BadInput, match="column 'kind'"):
        make_problem().measure(TABLE.drop_columns(["kind"]), [0, 1])


def test_weights():
    problem = make_problem(weights="weight")
    assert problem.encode_weights(TABLE).array.tolist() == [1, 2, 3, 4]
    found = problem.encode_weights(pa.table({"weight": ["1", "-2", None, "inf"]}))
    assert [bad.row for bad in found.bad] == [1, 2, 3]
    assert make_problem().encode_weights(TABLE) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": [Number(name="a"), Text(name="a")]}, "column 'a' is used twice"),
        ({"inputs": [Number(name="kind")]}, "column 'kind' is used twice"),
        ({"outputs": [Image(name="a")]}, "Image cannot be an output"),
        ({"inputs": []}, "inputs"),
        ({"metric": "speed"}, "output 'kind' has no metric 'speed'; it has accuracy"),
        ({"metric": {"size": "rmse"}}, "'size', which is no output"),
        ({"outputs": [Category(name="k"), Number(name="n")], "metric": "rmse"}, "give the metric of each"),
        ({"split": {"kind": "group"}}, "needs a column"),
        ({"split": {"kind": "random", "column": "a"}}, "takes no column"),
        ({"split": {"test_fraction": 1.0}}, "test_fraction"),
        ({"inputs": [{"type": "smell", "name": "a"}]}, "unknown feature type 'smell'"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_problem(**changes)


def test_metric_by_name():
    problem = make_problem(outputs=[Category(name="k"), Number(name="n")], metric={"n": "mae"})
    assert problem.metric_of("k").name == "accuracy" and problem.metric_of("n").name == "mae"
    assert not problem.metric_of("n").greater_is_better
    assert make_problem(metric="log_loss").metric_of("kind").name == "log_loss"


@pytest.mark.parametrize("suffix", ["json", "toml"])
@pytest.mark.parametrize("measured", [False, True])
def test_problem_files(tmp_path, suffix, measured):
    problem = make_problem(
        name='odd "name"\n\x7f\\ é🎉',
        metric="f1_macro",
        ignored=[Ignored(column="[id]", reason="identifier"), Ignored(column="b", reason="")],
        split=Split(kind="group", column="who's", seed=7),
        weights="weight",
    )
    problem = problem.measure(TABLE, [0, 1, 2]) if measured else problem
    path = tmp_path / f"problem.{suffix}"
    problem.save(path)
    assert Problem.load(path) == problem
    assert Problem.from_json(problem.to_json()).digest == problem.digest


def test_a_problem_file_by_hand(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(
        """
        name = "flowers"
        inputs = [{name = "leaf", type = "number"}, {name = "photo", type = "image", side = 32}]
        outputs = [{name = "species", type = "category"}]
        metric = "log_loss"
        [split]
        kind = "time"
        column = "day"
        """
    )
    problem = Problem.load(path)
    assert problem.inputs[1].side == 32 and problem.split.column == "day"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "is not a problem file"),
        ("a.json", "[" * 100_000, "is not a problem file"),
        ("a.json", '{"name": "a", "name": "b"}', "twice"),
        ("a.toml", "name = ", "is not a problem file"),
        ("a.json", '{"name": "p", "outputs": [{"type": "number", "name": "y"}]}', "field inputs: Field required"),
        (
            "a.json",
            '{"name": "p", "inputs": [{"type": "number"}], "outputs": [{"type": "number", "name": "y"}]}',
            "field name: Field required|field inputs.*name",
        ),
        (
            "a.json",
            '{"name": "p", "inputs": [{"type": "image", "name": "i", "side": 0}], "outputs": []}',
            "field .*side: Input should be greater",
        ),
        ("a.json", "\x00", "is not a problem file"),
        ("a.json", "[]", "Input should be"),
    ],
)
def test_bad_problem_files_name_the_field(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        Problem.load(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_no_problem_file(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        Problem.load(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"name": "\xff"}')
    with pytest.raises(BadInput, match="is not a problem file"):
        Problem.load(tmp_path / "latin.json")
