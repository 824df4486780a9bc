"""Learning a task into a store, what it answers then, and whether the earlier tasks still answer the same."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .few import Task

Record = dict[str, Any]

LATE = 5
"""Times the budget for a second try where nothing was finished within it."""
FEW_ROWS = 12
"""Rows per earlier task whose answers are compared, bit for bit, after each new task."""


def learned(task: Task, each: int, *, place: Path, name: str, seconds: float, private: bool) -> Record:
    """One task learned into the store at `place`, and how well it answers. CPU seconds are of learning alone."""
    from polymath import Polymath
    from polymath.problem import Split
    from polymath.spec import BadInput

    begin, spent = time.monotonic(), time.process_time()
    rows = task.table(task.few(each))
    wishes = {"cache": str(place / "cache"), "engine": "inline", "lanes": 1, "split": Split(test_fraction=0.0)}
    given: dict[str, Any] = {"target": "label", "name": name, "private": private, **wishes}
    with Polymath(place / "store") as knowledge:
        try:
            found = knowledge.learn(rows, budget=seconds, **given)
        except BadInput:  # a loaded machine has not finished anything: the record's seconds say so
            try:
                found = knowledge.learn(rows, budget=LATE * seconds, **given)
            except BadInput as error:  # rows that Polymath refuses: nothing is answered
                said = {"path": f"refused: {error}", "parameters": 0, "parameters_new": 0, "built_on": []}
                return {"accuracy": 0.0, "seconds": 0.0, "cpu_seconds": 0.0, **said}
        took, work = time.monotonic() - begin, time.process_time() - spent
        right = accuracy(found.predict(task.question()), task.truth)
        summary = found.record.summary
        return {
            "accuracy": right,
            "seconds": round(took, 2),
            "cpu_seconds": round(work, 2),
            "parameters": summary.parameters,
            "parameters_new": summary.parameters_new,
            "built_on": list(found.record.built_on),
            "imported": list(found.record.imported),
            "path": ", ".join(str(member["label"]) for member in found.record.members),
        }


def accuracy(answers: Sequence[Any], truth: np.ndarray) -> float:
    """Share of right answers; a row that could not be answered is wrong."""
    found = [answer["label"]["value"] if "label" in answer else None for answer in answers]
    return float(np.mean([str(one) == label for one, label in zip(found, truth, strict=True)]))


class Witness:
    """Remembers what every published record answered, and looks whether it still does.

    What was said is kept with the results, so that a run that was interrupted is still held to it.
    """

    def __init__(self, place: Path, tasks: Iterable[Task], kept: Iterable[Record]) -> None:
        self.place = place
        self.tasks = {task.name: task for task in tasks}
        self.said = {record["address"]: record for record in kept}
        self.looks = self.changed = 0

    def note(self, task: str, *, name: str) -> Record | None:
        """What to keep of the record that a task has now; None where it is known."""
        from polymath.store import Store

        with Store.open(self.place / "store", read_only=True) as store:
            address = store.head(f"task/{name}")
            assert address is not None
            if address in self.said:
                return None
            self.said[address] = {"task": task, "address": address, "said": self._answer(store, address, task)}
        return self.said[address]

    def look(self) -> None:
        """Every record of before is loaded anew and asked again."""
        from polymath.store import Store

        with Store.open(self.place / "store", read_only=True) as store:
            for address, record in self.said.items():
                self.looks += 1
                self.changed += self._answer(store, address, record["task"]) != record["said"]

    def _answer(self, store: Any, address: str, task: str) -> str:
        from polymath.predicting import Predictor, TaskRecord

        predictor = Predictor(TaskRecord.model_validate(store.record(address)), store)
        raw = predictor.raw(self.tasks[task].question(FEW_ROWS)).raw
        return hashlib.sha256(b"".join(raw[name].tobytes() for name in sorted(raw))).hexdigest()
