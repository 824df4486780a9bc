"""Answers as files: what is written where, and what is refused."""

from __future__ import annotations

import base64
import json

import pytest
from pyarrow import csv
from typer.testing import CliRunner

from polymath.app import pictures
from polymath.app.main import app
from polymath.app.output import write_predictions
from polymath.spec import BadInput

MASK = "data:image/png;base64," + base64.b64encode(b"pixels").decode()
ANSWER = {"mask": {"value": MASK, "shares": {"sky": 0.25, "road": 0.75}}}


def test_rows_without_an_answer_have_no_picture(tmp_path):
    answers = [ANSWER, {"gated": True, "by": "trigger"}, {"error": "no picture"}]
    told = pictures.write(answers, ["a", "b", "c"], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    assert told[0]["mask"]["value"] == str(tmp_path / "out" / "a.png") and told[1:] == answers[1:]


@pytest.mark.parametrize(("output", "name"), [("../mask", "a"), ("mask", "../../a")])
def test_nothing_is_written_outside_of_the_folder(tmp_path, output, name):
    with pytest.raises(BadInput, match="outside"):
        pictures.write([{output: ANSWER["mask"], "other": ANSWER["mask"]}], [name], tmp_path / "out" / "masks")
    assert not list(tmp_path.rglob("*a.png"))


def test_shares_stand_in_a_column(tmp_path):
    write_predictions([ANSWER], tmp_path / "answers.csv")
    assert csv.read_csv(tmp_path / "answers.csv")["mask.shares"].to_pylist() == ["sky 0.25, road 0.75"]


@pytest.mark.parametrize(
    "words",
    [
        ("consolidate", "--device", "abacus"),
        ("predict", "t", "t.csv", "--out", "no/such/folder/answers.csv"),
        ("adopt", "optimizer", "--as", "mine", "--store", "nowhere"),
    ],
)
def test_a_wrong_wish_is_one_line(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,c\n" + "".join(f"{n},{'yes' if n % 2 else 'no'}\n" for n in range(80)))
    wish = ("learn", "t.csv", "--target", "c", "--work", "0.01", "--engine", "inline")
    assert CliRunner().invoke(app, [*wish, "--json"]).exit_code == 0
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 2, f"{done.exception!r}\n{done.stderr}"
    assert "error" in json.loads(done.stdout)
    assert not (tmp_path / "nowhere").exists()
