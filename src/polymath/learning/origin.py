"""Where a task came from, what was not used of it, and whether it was learned before."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from ..predicting import HEAD, TaskRecord, load_record
from ..problem import Dataset
from ..problem.sources import Rows
from ..store import Store
from .wishes import DEFAULT_BUDGET, Wishes


def unused(rows: Rows, dataset: Dataset) -> tuple[dict[str, Any], ...]:
    """Every reason for which rows were not used, with its count and the first example."""
    result = []
    for counts, examples, what in (
        (rows.unused_counts, rows.unused, "row"),
        (dataset.unused_counts, dataset.unused, "row"),
        (rows.value_counts, rows.unused, "value"),
        (dataset.value_counts, dataset.unused, "value"),
    ):
        for reason, count in counts.items():
            example = next((one for one in examples if one.reason == reason), None)
            result.append(
                {"what": what, "reason": reason, "count": count, "example": vars(example) if example else None}
            )
    return tuple(result)


def origin(rows: Rows, dataset: Dataset, wishes: Wishes, device: str) -> dict[str, Any]:
    """Where a task came from: enough to tell whether the same command is given again."""
    return {
        "source": rows.source,
        "fingerprint": rows.fingerprint,
        "dataset": dataset.digest,
        "seed": wishes.seed,
        "budget_seconds": wishes.budget_seconds,
        "work": wishes.work,
        "layers": list(wishes.layers),
        "gate": wishes.gate,
        "cost": str(wishes.cost),
        "device": device,
        "machine": platform.machine(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    names = ("polymath-learn", "torch", "numpy", "scikit-learn")
    return {name: version(name) for name in names} | {"python": platform.python_version()}


def continues(store: Store, name: str, dataset: Dataset) -> bool:
    """Whether this task was learned from these data before, with another budget."""
    return load_record(store, name).origin.get("dataset") == dataset.digest


def already(store: Store, name: str, dataset: Dataset, wishes: Wishes, budget: float | None) -> TaskRecord | None:
    """The finished task, if these data were learned with the same seed and at least this budget."""
    if store.head(HEAD + name) is None:
        return None
    record = load_record(store, name)
    before = record.origin
    same = before.get("dataset") == dataset.digest and before.get("seed") == wishes.seed and record.state == "done"
    same = same and tuple(before.get("layers") or ()) == wishes.layers
    same = same and before.get("gate", "") == wishes.gate
    same = same and before.get("cost", "") == str(wishes.cost)
    if budget is not None:
        enough = (before.get("budget_seconds") or (DEFAULT_BUDGET if before.get("work") is None else 0)) >= budget
    else:
        enough = (before.get("work") or 0) >= (wishes.work or 0)
    return record if same and enough else None
