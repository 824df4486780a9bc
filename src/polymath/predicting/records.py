"""Learned tasks as they stand in the store: one immutable record per version, and a name that means one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..gating import Gate
from ..problem import Problem
from ..spec import BadInput, Spec

if TYPE_CHECKING:
    from ..store import Store

KIND = "task"
HEAD = "task/"


class Summary(Spec):
    """What learning a task took and gave, as `learn --json` prints it."""

    metric: str
    greater_is_better: bool
    validation: float | None
    test: float | None
    interval: tuple[float, float] | None
    """95 % confidence interval of the test score (bootstrap over test rows)."""
    seconds: float
    work: float
    experiments: int
    failed: int
    rows_used: int
    rows_unused: int
    rows_tested: int | None = None
    """Test rows behind the test score, where there was no time for all of them."""
    parameters: int
    parameters_new: int | None = None
    """Of them those that no earlier task of the store had; the rest is shared."""
    result_digest: str
    """Equal for equal results: path with weights, calibration and scores; no times."""


class TaskRecord(Spec):
    """A learned problem as it stands in the store. Immutable; learning on writes a new record."""

    name: str
    state: Literal["learning", "stopped", "done"]
    problem: dict[str, Any]
    """The measured Problem."""
    path: dict[str, Any]
    """The Path with the addresses of its weights."""
    calibration: dict[str, dict[str, Any]]
    """Output -> what makes its answers honest."""
    summary: Summary
    scores: dict[str, dict[str, dict[str, float | None]]]
    """Split -> output -> metric -> value."""
    members: tuple[dict[str, Any], ...] = ()
    """Experiments in the path: number, label, weight."""
    origin: dict[str, Any] = Field(default_factory=dict)
    """Source, its fingerprint, seed, budget, versions, device: where it came from."""
    unused: tuple[dict[str, Any], ...] = ()
    """Rows that were not used: reason, count and an example."""
    private: bool = False
    """Other tasks may not build upon it."""
    built_on: tuple[str, ...] = ()
    """Tasks whose genes are part of its path, as they are or trained on; imports as `imported/NAME`."""
    imported: tuple[str, ...] = ()
    """Knowledge from outside that it holds, or that what it builds on holds."""
    gate: Gate | None = None
    """The task that is asked first; None = every row is answered."""
    evidence: str | None = None
    """Address of answers beside the truth for the test rows (validation rows where there is no test): `row` [N] indices
    into the dataset, `output/NAME` raw [N, W], `target/NAME`. No inputs. None while learning."""


def load_record(store: Store, name: str) -> TaskRecord:
    """The newest record of a task. Raises BadInput naming near names when there is none."""
    address = store.head(HEAD + name)
    if address is None:
        import difflib

        known = sorted(head.removeprefix(HEAD) for head in store.heads(HEAD))
        near = difflib.get_close_matches(name, known, 3, 0.5)
        remedy = f"Did you mean {', '.join(near)}?" if near else f"Known tasks: {', '.join(known) or 'none yet'}."
        raise BadInput("this store holds no such task", file=store.where, value=name, remedy=remedy)
    return TaskRecord.model_validate(store.record(address))


def needed(record: TaskRecord) -> set[str]:
    """Addresses of all that a task and its gate compute with. Raises ValueError for what cannot be computed."""
    from ..model.path import Path

    problem, path = Problem.model_validate(record.problem), Path.model_validate(record.path)
    if not problem.is_measured:
        raise ValueError("a problem that was not measured")
    path.forms(problem.all_ports)
    gate = None if record.gate is None else TaskRecord.model_validate(record.gate.record)
    return path.addresses | (needed(gate) if gate is not None else set())


def versions(store: Store, name: str) -> dict[int, str]:
    """Version number -> address of every version of a task that was learned to an end, the oldest first, from 1."""
    records = store.records(KIND, where={"name": name})
    return dict(enumerate((address for address, body in records if body.get("state") != "learning"), 1))


def load_version(store: Store, name: str, version: int) -> TaskRecord:
    """An earlier version of a task. Raises BadInput if there is none of this number."""
    known = versions(store, name)
    if version not in known:
        load_record(store, name)  # says when the task itself is unknown
        numbers = ", ".join(map(str, known)) or "none"
        raise BadInput(f"task {name!r} has no such version", value=version, remedy=f"There are: {numbers}.")
    return TaskRecord.model_validate(store.record(known[version]))


def rollback(store: Store, name: str, version: int | None = None) -> int:
    """Makes an earlier version the one in force (None: the one before it) and returns its number. Raises BadInput."""
    known = versions(store, name)
    current = next((number for number, address in known.items() if address == store.head(HEAD + name)), len(known) + 1)
    wanted = version if version is not None else current - 1
    load_version(store, name, wanted)
    store.set_head(HEAD + name, known[wanted])
    return wanted
