"""`polymath experiments` and `polymath replay` as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polymath.app.main import app
from polymath.experiments import tried


@pytest.fixture
def look(learned, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a command on the learned store, whose data are in the cache of a home of its own."""
    (tmp_path / "home" / ".cache").mkdir(parents=True)
    (tmp_path / "home" / ".cache" / "polymath").symlink_to(learned.cache)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def run(*words: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, [str(word) for word in (*words, "--store", learned.store.path)])
        assert done.exit_code == code, f"exit code {done.exit_code}: {done.exception!r}\n{done.output}"
        return done.stdout if code != 2 else done.stderr

    return run


def test_the_list_and_its_filters(look) -> None:
    listed = look("experiments", "trees")
    for words in ("trees/100", "finished", "cut", "failed", "ValueError: no such layer", "surrogate", "chosen by"):
        assert words in listed, words
    assert "trees/101" not in look("experiments", "trees", "--failed")
    said = json.loads(look("experiments", "trees", "--generator", "surrogate", "--finished", "--json"))
    assert {row["id"] for row in said["experiments"]} == {"trees/100"}
    assert said["total"] > len(said["experiments"])
    assert len(json.loads(look("experiments", "trees", "--best", 2, "--json"))["experiments"]) == 2
    assert "One of: fixed" in look("experiments", "trees", "-g", "nobody", code=2)
    assert "--failed" in look("experiments", "trees", "--failed", "--best", 3, code=2)
    assert "Known tasks: trees" in look("experiments", "shrubs", code=2)


def test_files(look, tmp_path: Path) -> None:
    names = ("--out", tmp_path / "all.jsonl", "--tensorboard", tmp_path / "curves", "--picture", tmp_path / "all.svg")
    said = json.loads(look("experiments", "trees", *names, "--json"))
    assert (tmp_path / "all.jsonl").read_text().count("\n") == sum(row["rungs"] for row in said["experiments"])
    assert (tmp_path / "curves" / "0100").is_dir()
    assert "<svg" in (tmp_path / "all.svg").read_text()
    assert said["out"] == str(tmp_path / "all.jsonl")


def test_a_search_for_a_function_of_ones_own_is_listed_too(look, learned) -> None:
    from polymath.search import search

    def evaluate(rate: float) -> float:
        if rate > 0.5:
            raise ValueError("too fast")
        return rate

    search(lambda choose: choose("rate", 0.0, 1.0), evaluate, experiments=8, store=learned.store, name="rates")
    said = json.loads(look("experiments", "rates", "--json"))
    assert len(said["experiments"]) == said["total"] == 8
    assert {row["state"] for row in said["experiments"]} == {"finished", "failed"}
    assert "ValueError: too fast" in look("experiments", "rates")
    died = next(one.last for one in tried(learned.store, "rates") if one.state == "failed")
    assert 'raise ValueError("too fast")' in died.outcome["traceback"]
    assert str(Path(__file__).parent) not in died.outcome["traceback"]
    assert "Experiments that `polymath learn` ran" in look("replay", "rates/0", code=2)


def test_replay(look, learned) -> None:
    said = look("replay", "trees/100")
    assert said.count("equal, score") == 3
    entries = learned.run(400, rungs=1)
    learned.add(entries[0].replace(outcome={**entries[0].outcome, "score": 0.125}))
    said = look("replay", "trees/400", code=1)
    assert "score: 0.125 was recorded, now" in said
    assert "torch 0.0.1 ->" in said
    told = json.loads(look("replay", "trees/400", "--json", code=1))
    assert told["experiment"] == "trees/400" and told["equal"] is False
    assert told["rungs"][0]["differences"][0]["field"] == "score"
    assert "for example digits/12" in look("replay", "trees", code=2)
