"""The command line as a person uses it: real processes, a store on disk, exit codes, one JSON object on stdout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris

WORK = 0.6
"""Work units for iris: seconds, and enough for the cheap heads and a first path."""
POLYMATH = [sys.executable, "-m", "polymath.app.main"]


def run(*words: object, code: int = 0, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs a command; fails with its talk if the exit code is another."""
    done = subprocess.run([*POLYMATH, *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert "Traceback" not in done.stderr
    return done


def answer(*words: object, code: int = 0) -> dict[str, Any]:
    """The one JSON object that a command prints."""
    lines = run(*words, "--json", code=code).stdout.strip().splitlines()
    assert len(lines) == 1, lines
    found: dict[str, Any] = json.loads(lines[0])
    return found


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iris") / "iris.csv"
    frame = load_iris(as_frame=True).frame
    frame["target"] = frame["target"].map({0: "setosa", 1: "versicolor", 2: "virginica"})
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def learned(iris: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    store = tmp_path_factory.mktemp("store") / "knowledge"
    return store, answer("learn", iris, "--target", "target", "--work", WORK, "--engine", "inline", "--store", store)


def test_learn_says_what_the_issue_asks_for(learned: tuple[Path, dict[str, Any]]) -> None:
    _, said = learned
    asked = (
        "task metric validation test interval seconds work experiments failed rows_used rows_unused parameters digest"
    )
    assert set(asked.split()) <= set(said)
    assert said["task"] == "iris"
    assert said["metric"] == "accuracy"
    assert said["test"] >= 0.85
    assert said["interval"][0] <= said["test"] <= said["interval"][1]
    assert said["failed"] == 0
    assert said["rows_used"] == 150
    assert 0 < said["work"] <= 1.5 * WORK  # each gradient rung takes at least one step per fold


def test_predict_evaluate_and_the_lists(learned: tuple[Path, dict[str, Any]], iris: Path, tmp_path: Path) -> None:
    store, said = learned
    predicted = answer("predict", "iris", iris, "--store", store)
    assert len(predicted["predictions"]) == 150
    first = predicted["predictions"][0]["target"]
    assert first["value"] == "setosa"
    assert sum(first["probabilities"].values()) == pytest.approx(1.0)
    scores = answer("evaluate", "iris", iris, "--store", store)
    assert scores["rows"] == 150
    right = np.mean(
        [p["target"]["value"] for p in predicted["predictions"]]
        == np.loadtxt(iris, str, delimiter=",", skiprows=1)[:, -1]
    )
    assert scores["scores"]["accuracy"] == pytest.approx(right)
    assert [t["task"] for t in answer("tasks", "--store", store)["tasks"]] == ["iris"]
    assert answer("show", "iris", "--store", store)["summary"]["result_digest"] == said["digest"]
    board = answer("leaderboard", "iris", "--store", store)["experiments"]
    assert len(board) == said["experiments"]
    assert {"constant", "linear", "trees"} <= {row["what"] for row in board}
    run("predict", "iris", iris, "--store", store, "--out", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith('"target"')
    for words in (
        ("tasks",),
        ("show", "iris"),
        ("leaderboard", "iris"),
        ("evaluate", "iris", iris),
        ("predict", "iris", iris),
    ):
        assert run(*words, "--store", store).stdout.strip()
    page = tmp_path / "iris.html"
    run("report", "iris", "--store", store, "--out", page)
    assert "<svg" in page.read_text() and "http" not in page.read_text().replace("http://www.w3.org", "")


def test_the_store_is_sound_and_can_be_rebuilt(learned: tuple[Path, dict[str, Any]]) -> None:
    store, said = learned
    assert not answer("verify", "--store", store)["findings"]
    answer("rebuild", "--store", store)
    assert answer("show", "iris", "--store", store)["summary"]["result_digest"] == said["digest"]


def test_same_work_same_digest_in_processes(learned: tuple[Path, dict[str, Any]], iris: Path, tmp_path: Path) -> None:
    _, said = learned
    lanes = os.cpu_count() or 1
    again = answer(
        "learn",
        iris,
        "--target",
        "target",
        "--work",
        WORK,
        "--engine",
        "processes",
        "--lanes",
        lanes,
        "--store",
        tmp_path / "k",
    )
    assert again["digest"] == said["digest"]


def test_the_same_command_again_costs_nothing(learned: tuple[Path, dict[str, Any]], iris: Path) -> None:
    store, said = learned
    again = answer("learn", iris, "--target", "target", "--work", WORK, "--engine", "inline", "--store", store)
    assert again["digest"] == said["digest"]


def test_a_time_budget_is_kept_and_kill_9_loses_nothing(tmp_path: Path) -> None:
    data, store = tmp_path / "diabetes.csv", tmp_path / "knowledge"
    load_diabetes(as_frame=True, scaled=False).frame.to_csv(data, index=False)
    words = [*POLYMATH, "learn", str(data), "--target", "target", "--budget", "25s", "--store", str(store), "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.5)
        listed = subprocess.run(
            [*POLYMATH, "leaderboard", "diabetes", "--store", str(store), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode == 0 and len(json.loads(listed.stdout)["experiments"]) >= 2:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = answer("leaderboard", "diabetes", "--store", store)["experiments"]
    assert answer("predict", "diabetes", data, "--store", store)["predictions"], "a usable task exists at any moment"
    began = time.monotonic()
    said = json.loads(subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout)
    took = time.monotonic() - began
    assert took < 25 * 1.05 + 2 + 5, f"25 s were given, {took:.1f} s were taken"  # 5 s: test machines are shared
    after = {row["experiment"]: row for row in answer("leaderboard", "diabetes", "--store", store)["experiments"]}
    for row in before:
        assert after[row["experiment"]]["rungs"] >= row["rungs"]
    assert said["experiments"] >= len(before)
    assert not answer("verify", "--store", store)["findings"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["learn", "no-such-file.csv"], "no-such-file.csv"),
        (["learn", "{iris}", "--target", "colour"], "colour"),
        (["learn", "{iris}", "--budget", "soon"], "10m"),
        (["learn", "{iris}", "--budget", "0s"], "10m"),
        (["learn", "{iris}", "--type", "target"], "COLUMN=TYPE"),
        (["learn", "{iris}", "--type", "target=colour"], "colour"),
        (["learn", "{iris}", "--target", "target", "--metric", "beauty"], "accuracy"),
        (["learn", "{iris}", "--split", "magic"], "stratified"),
        (["learn", "{iris}", "--memory", "much"], "4GB"),
        (["learn", "{iris}", "--name", "../up"], "letters"),
        (["predict", "iris", "{iris}", "--store", "nowhere"], "nowhere"),
        (["show", "iros"], "iris"),
        (["predict", "iris", "/dev/null"], "/dev/null"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], says: str, iris: Path, learned: tuple[Path, dict[str, Any]]
) -> None:
    words = [word.replace("{iris}", str(iris)) for word in words]
    if "--store" not in words:
        words += ["--store", str(learned[0])]
    if words[0] == "learn" and "--budget" not in words:
        words += ["--budget", "5s"]
    done = run(*words, "--json", code=2)
    assert says in json.loads(done.stdout)["error"]
    assert len([line for line in done.stderr.splitlines() if line.startswith("polymath:")]) == 1
