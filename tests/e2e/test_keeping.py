"""Living with a store from the command line: forget, merge, copy and back up tasks that were really learned."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from typer.testing import CliRunner

from polymath import Polymath
from polymath.app.main import app
from polymath.spec import BadInput
from polymath.store import Store, verify


def seen(*words: object, code: int = 0) -> dict[str, Any]:
    """The one JSON object that a command prints."""
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == code, f"exit code {done.exit_code}: {done.exception!r}\n{done.stdout}\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def said(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, f"{done.exception!r}\n{done.stderr}"
    return done.stderr


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iris") / "iris.csv"
    load_iris(as_frame=True).frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def learned(iris: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store") / "knowledge"
    words = ["learn", iris, "--target", "target", "--work", "0.5", "--engine", "inline", "--store", store]
    done = subprocess.run(
        [sys.executable, "-m", "polymath.app.main", *map(str, words)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return store


@pytest.fixture
def store(learned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(learned, tmp_path / "knowledge"))


def names(store: Path) -> list[str]:
    return [task["task"] for task in seen("tasks", "--store", store)["tasks"]]


def again(store: Path, name: str) -> None:
    """The same task once more under another name: both share all their layers."""
    with Store.open(store) as opened:
        address = opened.head("task/iris")
        record = opened.entry(address)
        body = {**record.body, "name": name}
        opened.set_head(f"task/{name}", opened.add_record("task", body, refs=record.refs))


def test_forget_takes_the_task_and_leaves_what_others_share(store, iris):
    again(store, "flowers")
    before = seen("predict", "flowers", iris, "--store", store)["predictions"]
    tried = seen("experiments", "iris", "--store", store)["total"]
    gone = seen("forget", "iris", "--store", store)
    assert gone["experiments"] >= tried > 0 and gone["bytes"] > 0 and gone["waiting"] == 0
    assert list(gone["shared"]) == ["flowers"] and gone["shared"]["flowers"] > 0
    assert names(store) == ["flowers"] and not (store / "scratch" / "iris").exists()
    assert seen("predict", "flowers", iris, "--store", store)["predictions"] == before
    assert seen("experiments", "iris", "--store", store)["total"] == tried
    assert not seen("verify", "--store", store)["findings"]
    assert "no such task" in seen("forget", "iris", "--store", store, code=2)["error"]
    last = said("forget", "flowers", "--store", store)
    assert "freed" in last and names(store) == []
    with Store.open(store) as opened:
        memories = {ref for one, _ in opened.records("memory") for ref in opened.entry(one).refs}
        assert set(opened.objects.addresses()) == memories, "what searches learned about searching stays"


def test_a_task_that_is_being_learned_is_not_forgotten(store):
    with Store.open(store / "scratch" / "iris"):
        assert "being learned" in seen("forget", "iris", "--store", store, code=2)["error"]
    assert names(store) == ["iris"] and (store / "scratch" / "iris").is_dir()


def test_collect_takes_old_versions_when_asked(store, iris):
    answers = seen("predict", "iris", iris, "--store", store)["predictions"]
    first = seen("collect", "--store", store)
    assert first["records"] == 0, "versions of a task are kept"
    versions = versions_of(store)
    assert len(versions) > 1, "what was published while learning, and the end"
    with Store.open(store) as opened:
        newest = opened.entry(opened.head("task/iris"))
        coming = opened.add_record(
            "task", {**newest.body, "state": "stopped"}, refs=newest.refs
        )  # no name means it yet
    assert seen("collect", "--old", "--store", store)["records"] > 0
    assert versions_of(store) == [newest.address, coming]
    assert seen("collect", "--old", "--store", store)["records"] == 0
    assert "freed" in said("collect", "--store", store)
    assert seen("predict", "iris", iris, "--store", store)["predictions"] == answers
    assert not seen("verify", "--store", store)["findings"]


def versions_of(store: Path) -> list[str]:
    with Store.open(store) as opened:
        return opened.versions("task", where={"name": "iris"})


def test_copy_backup_merge(store, iris, tmp_path):
    answers = seen("predict", "iris", iris, "--store", store)["predictions"]
    done = seen("backup", tmp_path / "backup", "--store", store)
    assert done["records"] > 0 and done["objects"] > 0 and not done["left_out"]
    assert seen("backup", tmp_path / "backup", "--store", store)["records"] == 0
    assert seen("predict", "iris", iris, "--store", tmp_path / "backup")["predictions"] == answers
    assert seen("copy", "iris", tmp_path / "other", "--store", store)["objects"] > 0
    assert seen("predict", "iris", iris, "--store", tmp_path / "other")["predictions"] == answers
    again(tmp_path / "other", "elsewhere")
    found = seen("merge", tmp_path / "other", "--store", store)
    assert found["objects"] == 0 and "task/elsewhere" in found["heads"] and not found["left_out"]
    assert names(store) == ["elsewhere", "iris"]
    assert "taken in" in said("merge", tmp_path / "other", "--store", store)
    seen("forget", "iris", "--store", store)
    seen("merge", tmp_path / "backup", "--store", store)
    assert names(store) == ["elsewhere"], "what was forgotten stays forgotten"
    seen("copy", "iris", store, "--store", tmp_path / "backup")
    assert seen("predict", "iris", iris, "--store", store)["predictions"] == answers, "but can be copied back"
    assert "Name the folder of a store" in seen("merge", tmp_path / "nowhere", "--store", store, code=2)["error"]


def test_another_task_of_the_same_name_is_not_overwritten(store, tmp_path):
    with Store.open(tmp_path / "other") as other, Store.open(store) as opened:
        body = opened.record(opened.head("task/iris"))
        body["summary"] = {**body["summary"], "result_digest": "another"}
        address = other.add_record("task", body)
        other.set_head("task/iris", address)
        assert (
            "another task of this name" in seen("copy", "iris", tmp_path / "other", "--store", store, code=2)["error"]
        )
        assert other.head("task/iris") == address


@pytest.mark.parametrize("how", ["NaN", "no task", "name", "problem", "gate", "no experiment", "other weights"])
def test_a_hostile_task_is_left_out(store, iris, tmp_path, how):
    before = seen("predict", "iris", iris, "--store", store)["predictions"]
    with Store.open(store, read_only=True) as opened, Store.open(tmp_path / "hostile") as hostile:
        record = opened.entry(opened.head("task/iris"))
        body, refs = json.loads(json.dumps(record.body)), []
        for ref in record.refs:
            refs.append(hostile.put(opened.get(ref)))
        body["name"] = "evil"
        if how == "NaN":
            gene = next(gene for gene in body["path"]["genes"] if gene["weights"])
            gene["weights"] = hostile.put_tensors({"w": np.array([np.nan], np.float32)})
            refs.append(gene["weights"])
        elif how == "no task":
            body = {"name": "evil"}
        elif how == "name":
            body["name"] = "../../evil"
        elif how == "problem":
            body["problem"]["inputs"] = []
        elif how == "gate":
            body["gate"] = {"task": "a", "output": "b", "value": "c", "record": {"path": 3}}
        elif how == "other weights":
            gene = next(gene for gene in body["path"]["genes"] if gene["weights"])
            gene["weights"] = "0" * 64
        if how == "no experiment":
            hostile.add_record("experiment", {"task": "iris"})
        else:
            hostile.set_head("task/evil", hostile.add_record("task", body, refs=refs))
    found = seen("merge", tmp_path / "hostile", "--store", store)
    assert found["records"] == 0 and found["left_out"] and names(store) == ["iris"]
    assert "left out:" in said("merge", tmp_path / "hostile", "--store", store)
    assert seen("predict", "iris", iris, "--store", store)["predictions"] == before
    assert seen("experiments", "iris", "--store", store)["total"] > 0
    with Store.open(store) as opened:
        assert verify(opened, level="full").exit_status == 0


def test_in_python(store, tmp_path):
    knowledge = Polymath(store)
    assert knowledge.backup(tmp_path / "backup").objects > 0
    assert knowledge.copy("iris", tmp_path / "other").objects > 0
    assert knowledge.merge(tmp_path / "other").left_out == {}
    assert knowledge.forget("iris").task == "iris"
    with pytest.raises(BadInput, match="no such task"):
        knowledge.forget("iris")
    knowledge.close()


def test_a_command_lets_go_of_the_store_when_it_ends(store):
    gc.disable()  # not only when its objects happen to be taken away
    try:
        seen("tasks", "--store", store)
        seen("forget", "no-such-task", "--store", store, code=2)
        with Store.open(store) as opened, opened.presence.alone() as alone:
            assert alone
    finally:
        gc.enable()
