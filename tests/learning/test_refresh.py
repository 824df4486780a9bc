"""A task goes on learning from new rows: what fits, what is noticed, which version is in force."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits
from typer.testing import CliRunner

from polymath import Polymath
from polymath.app.main import app
from polymath.model.build import build
from polymath.model.combine import Member, merge, parted
from polymath.model.path import Path as Route
from polymath.model.widen import widened
from polymath.predicting import forward
from polymath.problem import Dataset, Problem
from polymath.problem.joined import REPEATED
from polymath.spec import BadInput

FEW, MANY = 120, 400
WORK = 0.2


@pytest.fixture(scope="module")
def cancer() -> pd.DataFrame:
    frame = load_breast_cancer(as_frame=True).frame
    frame["target"] = np.where(frame["target"] == 1, "benign", "malignant")
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def learned(cancer: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that knows `cancer`, learned from its first rows, and the cache of its rows."""
    folder = tmp_path_factory.mktemp("learned")
    knowledge = Polymath(folder / "store")
    knowledge.learn(cancer[:FEW], target="target", name="cancer", work=WORK, **_how(folder))
    knowledge.close()
    return folder


@pytest.fixture
def folder(learned: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    shutil.copytree(learned, tmp_path / "copy")
    return tmp_path / "copy"


def _how(folder: Path) -> dict[str, Any]:
    return {"engine": "inline", "lanes": 1, "cache": str(folder / "cache")}


def test_new_rows_make_a_new_version_that_is_better_on_both_parts_or_not_worse(
    cancer: pd.DataFrame, folder: Path
) -> None:
    knowledge = Polymath(folder / "store")
    task = knowledge.task("cancer")
    before, answers = task.record, task.predict(cancer[:20])
    found = task.refresh(cancer[FEW:MANY], work=WORK, **_how(folder))
    assert found.published, found
    assert (found.rows_new, found.rows_old, found.rows_repeated, found.versions) == (MANY - FEW, FEW, 0, 2)
    for part in ("old_rows", "new_rows"):
        old, new, noise = found.old[part], found.new[part], found.noise[part]
        assert old is not None and new is not None and noise is not None and new >= old - 2 * noise
    assert found.new["all_rows"] > found.old["all_rows"] + found.noise["all_rows"]
    assert found.old["old_rows"] == pytest.approx(before.summary.validation), "the old version is judged as it was"
    assert task.record.summary.rows_used == MANY and task.record.problem["inputs"] == before.problem["inputs"]
    assert knowledge.task("cancer").record == task.record
    assert knowledge.task("cancer", version=1).predict(cancer[:20]) == answers, "the old version answers as before"
    assert [one["in_force"] for one in task.versions()] == [False, True]
    assert knowledge.rollback("cancer") == 1 and knowledge.task("cancer").record == before
    with pytest.raises(BadInput, match="no such version"):
        knowledge.rollback("cancer")
    assert knowledge.rollback("cancer", to=2) == 2 and knowledge.task("cancer").record == task.record


def test_rows_that_say_the_contrary_leave_the_old_version_in_force(cancer: pd.DataFrame, folder: Path) -> None:
    knowledge = Polymath(folder / "store")
    task = knowledge.task("cancer")
    before = task.record
    wrong = cancer[FEW:MANY].assign(target=np.where(cancer["target"] == "benign", "malignant", "benign")[FEW:MANY])
    found = task.refresh(wrong, work=WORK, **_how(folder))
    assert not found.published and found.versions == 1 and "worse on the old rows" in found.why
    assert found.new["new_rows"] > found.old["new_rows"] and found.new["old_rows"] < found.old["old_rows"]
    assert task.record == before == knowledge.task("cancer").record


def test_rows_that_were_there_before_do_not_count_again(cancer: pd.DataFrame, folder: Path) -> None:
    task = Polymath(folder / "store").task("cancer")
    found = task.refresh(cancer[20:FEW], work=WORK, **_how(folder))
    assert (found.rows_new, found.rows_repeated, found.published) == (0, FEW - 20, False)
    found = task.refresh(cancer[: FEW + 100], work=WORK, **_how(folder))
    assert (found.rows_new, found.rows_repeated) == (100, FEW)
    if found.published:
        both = Dataset.open(folder / "cache" / "data" / task.record.origin["dataset"])
        assert both.unused_counts[REPEATED] == FEW
        assert not len(np.intersect1d(both.test, np.flatnonzero(both.folds == -2)))


def test_a_row_with_the_inputs_of_an_old_one_gets_its_fold(cancer: pd.DataFrame, folder: Path) -> None:
    task = Polymath(folder / "store").task("cancer")
    other = cancer[:FEW].assign(target=np.where(cancer["target"][:FEW] == "benign", "malignant", "benign"))
    new = pd.concat([other, cancer[FEW:MANY]])
    task.refresh(new, work=0.01, **_how(folder))
    joined = [
        dataset
        for dataset in map(Dataset.open, (one.parent for one in (folder / "cache/data").glob("*/dataset.json")))
        if len(dataset.folds) == FEW + len(new)
    ]
    (both,) = joined
    assert (both.folds[FEW : 2 * FEW] == both.folds[:FEW]).all()


def test_without_the_old_rows_the_old_path_keeps_its_say(cancer: pd.DataFrame, folder: Path) -> None:
    shutil.rmtree(folder / "cache")
    knowledge = Polymath(folder / "store")
    task = knowledge.task("cancer")
    old = task.record
    found = task.refresh(cancer[FEW:], work=WORK, **_how(folder))
    assert found.rows_old == 0 and found.new["old_rows"] is None
    assert found.old["old_rows"] == old.summary.validation, "told as it was found when it was learned"
    if found.published:
        kept = sum(one["weight"] for one in task.record.members if one["number"] < 0)
        assert kept >= 0.5


def test_what_is_unlike_before_is_told(cancer: pd.DataFrame, folder: Path) -> None:
    task = Polymath(folder / "store").task("cancer")
    new = cancer[FEW:MANY].assign(extra=1.0, **{"mean area": "large"})
    said: list[str] = []
    found = task.refresh(new, work=0.01, listener=_Told(said), **_how(folder))
    assert any("'extra'" in line and "not used" in line for line in found.noticed)
    assert any("'mean area'" in line and "100%" in line for line in found.noticed)
    assert set(found.noticed) <= set(said)
    with pytest.raises(BadInput, match=r"mean area.*lack this column.*Add it"):
        task.refresh(cancer[FEW:MANY].drop(columns="mean area"), work=0.01, **_how(folder))
    with pytest.raises(BadInput, match="4 new rows are too few"):
        task.refresh(cancer[FEW : FEW + 4], work=0.01, **_how(folder))
    with pytest.raises(BadInput, match=r"target.*lack this column"):
        task.refresh(cancer[FEW:MANY].drop(columns="target"), work=0.01, **_how(folder))


class _Told:
    def __init__(self, said: list[str]) -> None:
        self.said = said

    def say(self, text: str) -> None:
        self.said.append(text)

    def inferred(self, *_: object) -> None: ...
    def ready(self, *_: object) -> None: ...
    def tried(self, *_: object) -> None: ...


def test_pictures_of_a_new_class_widen_the_head_and_the_net_goes_on(tmp_path: Path) -> None:
    digits = load_digits()
    for name, rows, classes in (("old", range(250), "abc"), ("new", range(250, 500), "abcd")):
        for row in rows:
            if (place := int(digits.target[row])) < len(classes):
                (tmp_path / name / classes[place]).mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray((digits.images[row] * 15).astype(np.uint8))
                picture.save(tmp_path / name / classes[place] / f"{row}.png")
    knowledge = Polymath(tmp_path / "store")
    how = {"work": 3.0, "space": "paths", **_how(tmp_path)}
    task = knowledge.learn(tmp_path / "old", name="digits", **how)
    before = task.record
    found = task.refresh(tmp_path / "new", **how)
    assert found.published and any("1 new: d" in line for line in found.noticed), found
    assert found.new["new_rows"] > found.old["new_rows"]
    assert task.record.problem["outputs"][0]["classes"] == ["a", "b", "c", "d"]
    assert any("continued" in one["label"] or "its own" in one["label"] for one in task.record.members), (
        "it goes on from its own path"
    )
    said = [answer["label"]["value"] for answer in task.predict(tmp_path / "new")]
    assert "d" in said
    assert knowledge.task("digits", version=1).record == before


def test_a_widened_head_answers_as_before_for_old_classes(folder: Path, cancer: pd.DataFrame) -> None:
    knowledge = Polymath(folder / "store")
    record = knowledge.task("cancer").record
    problem = Problem.model_validate(record.problem)
    parts, _ = parted(Route.model_validate(record.path))
    rows = problem.encode_inputs(pa.Table.from_pandas(cancer[FEW:MANY], preserve_index=False)).arrays
    scratch = knowledge.store
    for part in parts:
        wide = widened(
            part.paths[0], {"target": (2, 4)}, problem.ports, fetch=scratch.get_tensors, put=scratch.put_tensors
        )
        old = forward(build(part.paths[0], problem.ports, fetch=scratch.get_tensors).eval(), rows)["target"]
        new = forward(build(wide, problem.ports, fetch=scratch.get_tensors).eval(), rows)["target"]
        assert new.shape == (len(old), 4)
        np.testing.assert_allclose(new[:, :2], old, rtol=1e-4, atol=1e-4)


def test_a_merged_path_is_taken_apart_as_it_was_put_together(folder: Path) -> None:
    record = Polymath(folder / "store").task("cancer").record
    problem = Problem.model_validate(record.problem)
    path = Route.model_validate(record.path)
    parts, factors = parted(path)
    members = [Member(part.number, 0.0, {}, part.paths) for part in parts]
    again = merge(members, {part.number: part.weight for part in parts}, problem.outputs)
    assert set(again.identities().values()) <= set(path.identities().values())
    assert len(path.genes) - len(again.genes) == sum(factor != 1.0 for factor in factors.values())
    assert sorted(part.number for part in parts) == sorted(one["number"] for one in record.members)


def test_the_commands(cancer: pd.DataFrame, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache").mkdir()
    shutil.copytree(folder / "cache", tmp_path / ".cache" / "polymath")
    cancer[FEW:MANY].to_csv(tmp_path / "new.csv", index=False)
    store = ["--store", str(folder / "store"), "--json"]

    def run(*words: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*words, *store])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    found = run("refresh", "cancer", str(tmp_path / "new.csv"), "--work", str(WORK), "--engine", "inline")
    assert found["published"] and found["rows_old"] == FEW
    assert [one["version"] for one in run("show", "cancer")["versions"]] == [1, 2]
    assert run("rollback", "cancer")["version"] == 1
    assert [one["in_force"] for one in run("show", "cancer")["versions"]] == [True, False]
