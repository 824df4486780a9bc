"""A task learned in a second or two; beside it an experiment of three rungs, one that was cut and one that died."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from polymath.knowledge import Polymath, Task
from polymath.model.path import Path as ModelPath
from polymath.search import Choice, Entry, Ledger, Trace
from polymath.store import Store
from polymath.train import Context, GradientRecipe, Job, Outcome
from polymath.train.rung import run

STAIRS = ((0.0002, (1.0, 1.0)), (0.0004, (1.0, 1.0)), (0.0006, (1.0, 0.0)))
"""Work and rate at the end of three rungs: about 70 steps each."""
PATH = {
    "genes": [
        {"name": "columns", "layer": {"kind": "columns"}, "inputs": ["in:row"]},
        {"name": "hidden", "layer": {"kind": "linear", "width": 8, "activation": "relu"}, "inputs": ["columns"]},
        {"name": "head", "layer": {"kind": "linear", "width": 2}, "inputs": ["hidden"]},
    ],
    "outputs": {"kind": "head"},
}


class Learned(NamedTuple):
    """A task in its store, the cache of its data, and a way to add to its ledger."""

    task: Task
    cache: Path

    @property
    def store(self) -> Store:
        return self.task.store

    @property
    def dataset(self) -> str:
        return str(self.task.record.origin["dataset"])

    def add(self, *entries: Entry) -> None:
        """Write rungs into the ledger."""
        ledger = Ledger(self.store, "trees")
        for entry in entries:
            ledger.add(entry)

    def run(self, number: int, *, rungs: int = 3, path: Mapping[str, Any] = PATH) -> list[Entry]:
        """Run an experiment as the loop does, and record it."""
        scratch = str(self.store.path / "scratch" / "trees")
        context = Context(dataset_folder=str(self.cache / "data" / self.dataset), scratch=scratch)
        made: list[Entry] = []
        for rung, (work, rate) in enumerate(STAIRS[:rungs]):
            job = Job(
                dataset=self.dataset,
                path=ModelPath.model_validate(path),
                recipe=GradientRecipe(batch=16, learning_rate=1e-2),
                folds=(0,),
                work=work,
                rate=rate,
                checkpoint=made[-1].outcome["checkpoint"] if made else None,
                seed=number,
            )
            made.append(entry_of(job, run(job, context), number, rung))
        self.add(*made)
        return made


def entry_of(job: Job, outcome: Outcome, number: int, rung: int) -> Entry:
    """A rung as the loop records it."""
    return Entry(
        version=2,
        task="trees",
        dataset=job.dataset,
        space="all-1",
        key=job.digest,
        number=number,
        rung=rung,
        label="columns > linear x2",
        generator="surrogate",
        trace=Trace(choices=(Choice(name="width", kind="options", options=2, answer=0, value=8),)),
        ok=outcome.ok,
        score=outcome.score,
        work=outcome.work,
        seconds=outcome.seconds,
        outcome=outcome.model_dump(mode="json"),
        request=job.model_dump(mode="json"),
        environment={"device": "cpu", "torch": "0.0.1"},
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learned]:
    """Numbers 100 (three rungs), 101 (cut after one), 102 (died) beside what `learn` tried."""
    folder = tmp_path_factory.mktemp("experiments")
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 2))
    table = pa.table({"x": x[:, 0], "y": x[:, 1], "kind": np.where(x[:, 0] + x[:, 1] ** 2 > 0.5, "oak", "beech")})
    knowledge = Polymath(folder / "knowledge")
    task = knowledge.learn(
        table, target="kind", name="trees", work=0.02, lanes=1, engine="inline", cache=str(folder / "cache")
    )
    found = Learned(task, folder / "cache")
    found.run(100)
    found.run(101, rungs=1)
    reason = {
        "ok": False,
        "reason": "ValueError: no such layer",
        "traceback": "Traceback ...\nValueError: no such layer",
    }
    found.add(found.run(102, rungs=1)[0].replace(ok=False, score=None, outcome=reason))
    yield found
    knowledge.close()
