"""What a report is made of: the task's record, its experiments, its evidence, and cached data still there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..model import path as model_path
from ..problem import Dataset, Problem
from ..problem.features import Feature
from ..spec import BadInput

if TYPE_CHECKING:
    from ..store import Store


class Summary(Protocol):
    """Of a task's summary, what a report shows."""

    @property
    def metric(self) -> str: ...
    @property
    def greater_is_better(self) -> bool: ...
    @property
    def validation(self) -> float | None: ...
    @property
    def test(self) -> float | None: ...
    @property
    def interval(self) -> tuple[float, float] | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def work(self) -> float: ...
    @property
    def experiments(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def rows_used(self) -> int: ...
    @property
    def rows_unused(self) -> int: ...
    @property
    def parameters(self) -> int: ...
    @property
    def result_digest(self) -> str: ...


class Record(Protocol):
    """Of a task's record, what a report shows."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def problem(self) -> dict[str, Any]: ...
    @property
    def path(self) -> dict[str, Any]: ...
    @property
    def calibration(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def summary(self) -> Summary: ...
    @property
    def scores(self) -> Mapping[str, Mapping[str, Mapping[str, float | None]]]: ...
    @property
    def members(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def origin(self) -> Mapping[str, Any]: ...
    @property
    def unused(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def evidence(self) -> str | None: ...
    @property
    def gate(self) -> object | None: ...
    @property
    def built_on(self) -> Sequence[str]: ...
    @property
    def imported(self) -> Sequence[str]: ...


class Choice(Protocol):
    """One named choice behind an experiment."""

    @property
    def name(self) -> str: ...
    @property
    def answer(self) -> float: ...
    @property
    def value(self) -> Any: ...


class Trace(Protocol):
    """The choices behind an experiment."""

    @property
    def choices(self) -> Sequence[Choice]: ...


class Entry(Protocol):
    """One finished rung in the ledger."""

    @property
    def number(self) -> int: ...
    @property
    def rung(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def generator(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def score(self) -> float | None: ...
    @property
    def work(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def outcome(self) -> Mapping[str, Any]: ...
    @property
    def trace(self) -> Trace: ...


@dataclass(frozen=True)
class CurvePoint:
    """Training loss and validation score after so much work."""

    work: float
    loss: float | None
    score: float | None


@dataclass(frozen=True)
class Tried:
    """One experiment, its rungs together. Scores are as people read them: an error is small when it is good."""

    number: int
    label: str
    generator: str
    rungs: int
    score: float | None
    work: float
    seconds: float
    parameters: int | None
    weight: float
    failed: str
    """Why it died; empty if it did not."""
    curve: tuple[CurvePoint, ...]
    when: float = 0.0
    """Work of all experiments together when its last rung ended."""
    complete: bool = True
    """Trained to its end; not so if it was cut, or may still go on."""
    path: Mapping[str, Any] | None = None
    """What was trained (in its first fold); None where nothing came of it."""
    choices: tuple[tuple[str, str], ...] = ()
    """Name and answer of every choice behind it."""


@dataclass(frozen=True)
class Evidence:
    """Answers beside the truth, for `rows` of the dataset: raw predictions [N, W] and targets by output."""

    rows: np.ndarray
    raw: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    split: str
    """'test' or 'validation'."""


@dataclass(frozen=True)
class Material:
    """Everything that the parts of a report draw from."""

    record: Record
    problem: Problem
    path: model_path.Path
    experiments: tuple[Tried, ...]
    """In the order in which they began."""
    steps: tuple[tuple[float, float, int], ...]
    """(work of all experiments so far, score, number) of every finished rung that has a score, in order."""
    evidence: Evidence | None
    dataset: Dataset | None
    """The cached data, if they are still there."""
    dataset_folder: Path | None
    fetch: Callable[[str], Mapping[str, np.ndarray]] | None = None
    """Weights at an address, for parts that ask the path again."""

    @property
    def summary(self) -> Summary:
        return self.record.summary

    @property
    def best(self) -> Tried | None:
        """The experiment with the best score, the earliest of equal ones."""
        best: Tried | None = None
        for one in self.experiments:
            if one.score is None or one.failed:
                continue
            if best is None or best.score is None or self.better(one.score, best.score):
                best = one
        return best

    def judged(self, feature: Feature, split: str) -> int | None:
        """By how many rows of a split, 'test' or 'validation', the answers for an output were judged, where kept."""
        if self.evidence is None or self.evidence.split != split:
            return None
        return int(np.count_nonzero(feature.known(self.evidence.targets[feature.name])))

    def better(self, one: float, other: float) -> bool:
        """Whether one shown score is better than another."""
        return one > other if self.summary.greater_is_better else one < other


def gather(store: Store, record: Record, entries: Sequence[Entry], *, cache: Path | None) -> Material:
    """Reads what the report needs; what is no longer there is left out and the page says so."""
    digest = str(record.origin.get("dataset", ""))
    folder = cache / "data" / digest if cache is not None and digest else None
    sign = 1.0 if record.summary.greater_is_better else -1.0
    return Material(
        record=record,
        problem=Problem.model_validate(record.problem),
        path=model_path.Path.model_validate(record.path),
        experiments=_experiments(record, entries, sign),
        steps=_steps(entries, sign),
        evidence=_evidence(store, record),
        dataset=_dataset(folder),
        dataset_folder=folder,
        fetch=store.get_tensors,
    )


def _experiments(record: Record, entries: Sequence[Entry], sign: float) -> tuple[Tried, ...]:
    weights = {int(member["number"]): float(member["weight"]) for member in record.members}
    rungs: dict[int, dict[int, Entry]] = {}
    when: dict[int, float] = {}
    for entry, total in zip(entries, _totals(entries), strict=True):
        rungs.setdefault(entry.number, {})[entry.rung] = entry  # a rung that was run again counts once
        when[entry.number] = total
    result = []
    for number, found in sorted(rungs.items()):
        ordered = [found[rung] for rung in sorted(found)]
        last = ordered[-1]
        reason = str(last.outcome.get("reason", "")).strip().splitlines()
        curve = [point for entry in ordered for point in entry.outcome.get("curve", ())]
        result.append(
            Tried(
                number=number,
                label=last.label,
                generator=last.generator,
                rungs=len(ordered),
                score=None if last.score is None else sign * last.score,
                work=last.work,
                seconds=sum(entry.seconds for entry in ordered),
                parameters=last.outcome.get("parameters"),
                weight=weights.get(number, 0.0),
                failed="" if last.ok else (reason[-1] if reason else "no reason was recorded"),
                curve=tuple(
                    CurvePoint(float(p["work"]), p.get("loss"), None if p.get("score") is None else sign * p["score"])
                    for p in curve
                ),
                when=when[number],
                complete=not last.outcome.get("checkpoint"),
                path=(last.outcome.get("paths") or (None,))[0],
                choices=tuple((c.name, _answer(c)) for c in last.trace.choices),
            )
        )
    return tuple(result)


def _answer(choice: Choice) -> str:
    """What was chosen, for people; ledgers of release 0.1.0 know options by their place alone."""
    return f"{choice.answer:.6g}" if choice.value is None else str(choice.value)


def _totals(entries: Sequence[Entry]) -> list[float]:
    """Work of all experiments together after each rung."""
    done: dict[int, float] = {}
    total, result = 0.0, []
    for entry in entries:
        total += max(entry.work - done.get(entry.number, 0.0), 0.0)
        done[entry.number] = max(entry.work, done.get(entry.number, 0.0))
        result.append(total)
    return result


def _steps(entries: Sequence[Entry], sign: float) -> tuple[tuple[float, float, int], ...]:
    return tuple(
        (total, sign * entry.score, entry.number)
        for entry, total in zip(entries, _totals(entries), strict=True)
        if entry.score is not None and entry.ok
    )


def _evidence(store: Store, record: Record) -> Evidence | None:
    if record.evidence is None:
        return None
    tensors = store.get_tensors(record.evidence)

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}

    split = "test" if "test" in record.scores else "validation"
    return Evidence(tensors["row"], under("output/"), under("target/"), split)


def _dataset(folder: Path | None) -> Dataset | None:
    if folder is None:
        return None
    try:
        return Dataset.open(folder)
    except BadInput:
        return None
