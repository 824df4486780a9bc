"""Cheap heads that are fitted outside a search, noted in the ledger as any experiment of their task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..model.combine import Member, mean_head
from ..model.path import Path
from ..predicting import TaskRecord
from ..problem import Dataset
from ..search import Entry, Experiment, Ledger
from ..search.choices import Sketch, Trace
from ..search.run import Result
from ..spec import canonical, plain, sha256
from ..store import Store
from ..train import Context
from ..train.job import Job
from ..train.rung import run


def experiment(
    store: Store, scratch: Store, record: TaskRecord, dataset: Dataset, jobs: Sequence[Job], *, label: str
) -> Experiment | None:
    """Runs one job per fold and notes the first, which is the one that judges, in the ledger; None when it failed."""
    ledger = Ledger(store, record.name)
    number = 1 + max((entry.number for entry in ledger.entries()), default=-1)
    context = Context(dataset_folder=str(dataset.folder), scratch=str(scratch.path))
    outcomes = [run(job, context, dataset=dataset, store=scratch) for job in jobs]
    first, request = outcomes[0], jobs[0].model_dump(mode="json")
    if not first.ok or first.score is None:
        return None
    entry = Entry(
        task=record.name,
        dataset=dataset.digest,
        space="consolidate",
        seed=int(record.origin.get("seed") or 0),
        key=sha256(canonical(request).encode()),
        number=number,
        rung=0,
        label=label,
        generator="consolidate",
        trace=Trace(),
        ok=True,
        score=first.score,
        work=first.work,
        seconds=first.seconds,
        outcome=plain(first.model_dump(mode="json")),
        request=request,
    )
    ledger.add(entry)
    every = first.replace(paths=tuple(one.paths[0] for one in outcomes if one.ok)).model_dump(mode="json")
    result = Result(True, first.score, first.work, first.seconds, every)
    return Experiment(number, Sketch(Trace()), label, "consolidate", started=1, results=[result])


def answers(scratch: Store, experiment: Experiment, output: str) -> np.ndarray:
    """What it says about the rows that it is judged by, as it is before it is decoded."""
    return scratch.get_tensors(str(experiment.results[-1].outcome["predictions"]))[f"output/{output}"]


def member(scratch: Store, experiment: Experiment, output: str) -> tuple[np.ndarray, Member]:
    """Rows and answers of the held-out fold, and the one path that is the mean of the heads of all folds."""
    result = experiment.results[-1]
    paths = tuple(Path.model_validate(path) for path in result.outcome["paths"])
    path = mean_head(paths, fetch=scratch.get_tensors, put=scratch.put_tensors)
    rows = scratch.get_tensors(str(result.outcome["predictions"]))["rows"]
    predictions = {output: answers(scratch, experiment, output)}
    return rows, Member(number=experiment.number, score=result.score, predictions=predictions, paths=(path,))
