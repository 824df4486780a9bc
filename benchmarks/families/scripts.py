"""Scripts of fonts-noto-core: every letter a class, the test font never seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import common
from prepare import fonts

from .family import Family, Plan
from .few import Task
from .stored import LATE


def tasks(cache: Path) -> list[Task]:
    """All scripts with two fonts or more."""
    return [
        Task(
            name=script.name,
            form="pictures",
            columns={"picture": script.training},
            labels=letters(script.labels),
            asked={"picture": script.test},
            truth=letters(script.truth),
        )
        for script in fonts.scripts(cache=cache)
    ]


def letters(codes: np.ndarray) -> np.ndarray:
    return np.array([f"letter {code:02d}" for code in codes])


def table(pictures: np.ndarray, codes: np.ndarray) -> pa.Table:
    """Pictures and letters as Polymath is given them."""
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(pictures))
    return pa.table({"picture": column, "letter": letters(codes).tolist()})


def consolidated(place: Path, sources: Sequence[Task], plan: Plan, seed: int) -> dict[str, Any]:
    """One trunk of all sources; says what became of every task."""
    from polymath import Polymath
    from polymath.learning import Silent, Wishes
    from polymath.learning.consolidate import consolidate
    from polymath.spec import BadInput

    with Polymath(place / "store") as knowledge:
        for left in {task.name for task in knowledge.tasks()} - {task.name for task in sources}:
            knowledge.forget(left)  # a trunk that an interrupted run did not finish
        wish = Wishes(
            budget_seconds=plan.gather_seconds,
            seed=seed,
            cache=str(place / "cache"),
            engine="inline",
            lanes=common.cores(),
        )
        try:
            slept = consolidate(knowledge.store, wishes=wish, listener=Silent())
        except BadInput:  # a loaded machine has not finished anything: the record's seconds say so
            late = wish.replace(budget_seconds=LATE * plan.gather_seconds)
            slept = consolidate(knowledge.store, wishes=late, listener=Silent())
        score = knowledge.task(slept.trunk).record.summary.validation
    print(f"{slept.trunk}: {slept.classes} classes, {slept.rows} rows", flush=True)
    return {
        "what": f"a trunk of {slept.classes:,} classes from {slept.rows:,} rows",
        "score": score,
        "moved": [one.model_dump(mode="json") for one in slept.tasks],
    }


FAMILY = Family(
    name="scripts",
    title="Scripts of fonts-noto-core",
    about="A letter is a class. All test pictures are drawn with a font that no picture before was drawn with.",
    tasks=tasks,
    full=Plan(31, 12, 30, 5.0, 390.0, 5.0, 18.0, (1, 2, 5, 10, 20, 50), ladder=10, compared=(5, 20)),
    quick=Plan(6, 2, 15, 2.0, 45.0, 3.0, 3.0, (1, 2, 5), ladder=5, compared=(5,)),
    gather=consolidated,
)
