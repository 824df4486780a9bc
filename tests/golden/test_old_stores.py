"""A store written by any release opens in every later one, and answers as it did (DESIGN, promise 9)."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from polymath import Polymath
from polymath.store import rebuild, verify

STORES = sorted(Path(__file__).parent.glob("store-*.tar.gz"))


@pytest.mark.parametrize("archive", STORES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def test_an_old_store_answers_as_it_did(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    knowledge = Polymath(tmp_path / "store")
    assert not verify(knowledge.store, level="full").findings
    (task,) = knowledge.tasks()
    said = task.predict(pa.Table.from_pylist(json.loads((tmp_path / "rows.json").read_text())))
    then = json.loads((tmp_path / "answers.json").read_text())
    assert len(said) == len(then) > 10
    for now, before in zip(said, then, strict=True):
        assert now["target"]["value"] == before["target"]["value"]
        assert now["target"]["probabilities"] == pytest.approx(before["target"]["probabilities"], abs=1e-4)
        assert now["area"]["value"] == pytest.approx(before["area"]["value"], abs=1e-3)
    assert len(task.leaderboard()) == task.record.summary.experiments
    rebuild(knowledge.store)
    assert knowledge.task("flowers").record == task.record
