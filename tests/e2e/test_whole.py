"""The commands that look at the whole model: import, then a second task, then the map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from polymath import Polymath
from polymath.app.main import app


def look(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def seen(*words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(look(*words, "--json"))
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an import and a task that does not build upon it."""
    folder = tmp_path_factory.mktemp("whole")
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2))
    table = pa.table({"a": x[:, 0], "b": x[:, 1], "y": np.where(x[:, 0] > 0, "up", "down")})
    knowledge = Polymath(folder / "store")
    wishes: dict[str, Any] = {"work": 0.02, "lanes": 1, "engine": "inline", "cache": str(folder / "cache")}
    knowledge.learn(table, target="y", name="signs", **wishes)
    knowledge.close()
    convolution = {"kind": "mobile", "operation": "convolution", "width": 4}
    file = folder / "net.safetensors"
    layers = {
        "ports": {"image": {"kind": "map", "width": 3, "size": [8, 8]}},
        "path": {
            "genes": [
                {"name": "w", "layer": convolution, "inputs": ["in:image"]},
                {"name": "pool", "layer": {"kind": "pool_map"}, "inputs": ["w"]},
            ],
            "outputs": {"features": "pool"},
        },
        "tensors": {"w": {"convolution.weight": "w.0.weight"}},
    }
    norm = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    save_file(
        {
            "w.0.weight": generator.normal(size=(4, 3, 3, 3)).astype(np.float32),
            **{f"w.norm.{name}": np.full(4, value, np.float32) for name, value in norm.items()},
        },
        file,
    )
    (folder / "net.json").write_text(json.dumps(layers))
    said = seen("import", "net", file, "--layers", folder / "net.json", "--store", folder / "store")
    assert said["name"] == "net"
    assert said["parameters"] == 4 * 27 + 4 * 4 + 1
    return folder / "store"


def test_the_map_names_everything(store: Path, tmp_path: Path) -> None:
    told = seen("map", "--store", store)
    assert [one["task"] for one in told["tasks"]] == ["imported/net", "signs"]
    assert told["parameters"] == sum(box["parameters"] for box in told["boxes"])
    for ending in ("svg", "html"):
        look("map", "--store", store, "--out", tmp_path / f"map.{ending}")
        assert "imported/net" in (tmp_path / f"map.{ending}").read_text()


def test_show_says_what_is_shared(store: Path) -> None:
    share = seen("show", "signs", "--store", store)["share"]
    assert share["parameters"] == share["parameters_own"] > 0
    assert 0 < share["active_share"] < 1
    assert share["imported"] == share["builds_on"] == []
    assert "imported knowledge: none" in look("show", "signs", "--store", store)
    assert [task["task"] for task in seen("tasks", "--store", store)["tasks"]] == ["signs"], "an import is no task"


def test_a_name_that_cannot_be_one(store: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["import", "a/b", "x", "--layers", "y", "--store", str(tmp_path / "store")])
    assert done.exit_code == 2
