"""The commands that docs/store.md shows for a bucket, and those that look, on a folder that stands in for one."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from typer.testing import CliRunner

from polymath.app.main import app

pytest.importorskip("obstore", reason="the extra `cloud` is not installed")
PAGE = Path(__file__).parents[2] / "docs" / "store.md"


def test_a_bucket_serves_every_command(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    load_iris(as_frame=True).frame.to_csv("houses.csv", index=False)
    (shown,) = re.findall(r"^```sh\n(.*?--store s3://.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    lines = [*shown.splitlines(), "polymath map --store s3://bucket/knowledge"]
    lines += [f"polymath {verb} houses --store s3://bucket/knowledge" for verb in ("show", "report", "leaderboard")]
    lines += [f"polymath {verb} --store s3://bucket/knowledge" for verb in ("rebuild", "collect --old", "tasks")]
    lines += ["polymath replay houses/1 --store s3://bucket/knowledge", "polymath tasks --store s3://bucket/backup"]
    lines += ["polymath forget houses --store s3://bucket/knowledge", "polymath tasks"]
    found = {}
    for line in lines:
        words = shlex.split(line.replace("s3://bucket", f"file://{tmp_path}/bucket"))[1:]
        more = ["--engine", "inline"] if words[0] == "learn" else []
        done = CliRunner().invoke(app, [*words, *more, "--json"])
        assert done.exit_code == 0, f"{line}: {done.exception!r}\n{done.stderr}"
        found[line] = json.loads(done.stdout)
        if words[0] == "learn":
            said = CliRunner().invoke(app, ["predict", "nothing", "houses.csv", *words[-2:]])
            assert said.exit_code == 2 and f"file://{tmp_path}/bucket/knowledge: this store holds no" in said.stderr
    assert len(found["polymath tasks"]["tasks"]) == 1, "the copy in the folder"
    assert found["polymath verify --store s3://bucket/knowledge"]["findings"] == []
    assert found["polymath replay houses/1 --store s3://bucket/knowledge"]["equal"]
    assert {one.name for one in (tmp_path / "bucket" / "knowledge").iterdir()} == {"FORMAT", "objects", "records"}
