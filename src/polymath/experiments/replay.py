"""Run an experiment again from what the ledger recorded of it, and compare what comes out, bit for bit."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..engine import InLine, JobFailed
from ..spec import BadInput, Json, loads
from ..store import Store, StoreError
from .listing import Tried

if TYPE_CHECKING:
    from ..search import Entry
    from ..train import Outcome

Verdict = Literal["equal", "different", "cannot be compared"]
WEIGHTS = "weights"


@dataclass(frozen=True)
class Difference:
    """A part of an outcome that came out otherwise."""

    field: str
    recorded: Json
    replayed: Json


@dataclass(frozen=True)
class ReplayedRung:
    """One rung run again."""

    rung: int
    verdict: Verdict
    reason: str = ""
    """Why it cannot be compared."""
    differences: tuple[Difference, ...] = ()
    score: float | None = None
    """As replayed."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Replayed:
    """An experiment run again. `equal` is False only if something that can be compared came out otherwise."""

    id: str
    rungs: tuple[ReplayedRung, ...]
    versions: dict[str, tuple[str, str]]
    """Package -> version then and now, where they differ."""

    @property
    def equal(self) -> bool:
        return all(rung.verdict != "different" for rung in self.rungs)


def replay(one: Tried, *, cache: Path, recorded: Path | None = None) -> Replayed:
    """Runs every rung of an experiment again, each from the checkpoint of the replayed one before, until they differ.

    `cache`: where decoded data are. `recorded`: the scratch store of the task, if it is still there: with it, a
    difference in the predictions is told in numbers. Raises BadInput if the ledger or the data do not suffice.
    """
    first = one.rungs[0]
    if not first.request or "recipe" not in first.request:
        old = "it was recorded by a release that did not keep what was asked for" if first.version < 2 else ""
        built = str(first.outcome.get("reason", ""))
        raise BadInput(
            f"cannot be run again: {old or built or 'it is no training of a path'}",
            value=one.id,
            remedy="Only experiments of `polymath learn` since release 0.2 can be replayed.",
        )
    folder = _data(first, cache)
    rungs: list[ReplayedRung] = []
    checkpoint: str | None = None
    with tempfile.TemporaryDirectory(prefix="polymath-replay-") as scratch:
        for entry in one.rungs:
            why = _not_comparable(entry)
            if why:
                rungs.append(ReplayedRung(entry.rung, "cannot be compared", why))
                break
            outcome, seconds = _again(entry, checkpoint, folder=folder, scratch=Path(scratch) / "store")
            stores = (recorded, Path(scratch) / "store")
            found = _differences(entry, outcome, stores)
            rungs.append(
                ReplayedRung(
                    entry.rung,
                    "different" if found else "equal",
                    differences=tuple(found),
                    score=outcome.score,
                    seconds=round(seconds, 3),
                )
            )
            checkpoint = outcome.checkpoint
            if found:
                break
    return Replayed(one.id, tuple(rungs), _versions(first.environment))


def _data(entry: Entry, cache: Path) -> Path:
    """The folder of the decoded data that an experiment was made on."""
    folder = cache / "data" / entry.dataset
    if not (folder / "dataset.json").exists():
        raise BadInput(
            f"the decoded data of {entry.task!r} are no longer there, so its experiments cannot be run again",
            file=folder,
            remedy="Give the same `polymath learn` command again: it decodes them anew and learns nothing twice.",
        )
    return folder


def _not_comparable(entry: Entry) -> str:
    """Why a rung cannot come out the same; empty if it should."""
    if entry.outcome.get("hurried"):
        return "the clock hurried it: how far it came depended on how busy the machine was (with --work it would not)"
    if entry.outcome.get("died"):
        return f"its worker died: {entry.outcome.get('reason', '')}"
    return ""


def _again(entry: Entry, checkpoint: str | None, *, folder: Path, scratch: Path) -> tuple[Outcome, float]:
    """The outcome of a rung run here and now; its first line of failure where it dies."""
    from ..train import Context, Job, Outcome
    from ..train.rung import request, run_json

    job = Job.model_validate({**entry.request, "checkpoint": checkpoint})
    Store.open(scratch).close()
    context = Context(
        dataset_folder=str(folder), scratch=str(scratch), device=_device(entry.environment.get("device", "cpu"))
    )
    began = time.monotonic()
    try:
        outcome = Outcome.model_validate(loads(InLine(run_json).submit(request(job, context)).result()))
    except JobFailed as error:
        outcome = Outcome(ok=False, reason=str(error))
    return outcome, time.monotonic() - began


def _device(wanted: str) -> str:
    from ..engine import pick_device

    return pick_device("cpu" if wanted == "cpu" else "cuda")


def _differences(entry: Entry, outcome: Outcome, stores: tuple[Path | None, Path]) -> list[Difference]:
    """Parts of the outcome that are not equal, in the words of people; none if their digests are equal."""
    from ..train import Outcome

    kept = {name: value for name, value in entry.outcome.items() if name in Outcome.model_fields}
    before = Outcome.model_validate(kept)
    if before.result_digest == outcome.result_digest:
        return []
    found = [
        Difference(name, getattr(before, name), getattr(outcome, name))
        for name in ("ok", "reason", "score", "work", "parameters")
        if getattr(before, name) != getattr(outcome, name)
    ]
    if before.predictions != outcome.predictions:
        how = _apart(before.predictions, outcome.predictions, stores)
        found.append(Difference("predictions", before.predictions, how or outcome.predictions))
    genes = _weights(before) ^ _weights(outcome)
    if genes:
        names = sorted({name for name, _ in genes})
        found.append(Difference(WEIGHTS, len(_weights(before)), ", ".join(names[:5])))
    rest = [
        name
        for name in ("scores", "checkpoint", "paths", "curve")
        if getattr(before, name) != getattr(outcome, name) and not (name == "paths" and genes)
    ]
    return found + [Difference(name, "recorded otherwise", "") for name in rest]


def _weights(outcome: Outcome) -> set[tuple[str, str | None]]:
    return {(f"fold {i} {gene.name}", gene.weights) for i, path in enumerate(outcome.paths) for gene in path.genes}


def _apart(before: str | None, after: str | None, stores: tuple[Path | None, Path]) -> str:
    """How far two sets of predictions are apart, if both are still there."""
    if before is None or after is None or stores[0] is None or not stores[0].exists():
        return ""
    try:
        with Store.open(stores[0], read_only=True) as then, Store.open(stores[1]) as now:
            old, new = then.get_tensors(before), now.get_tensors(after)
    except StoreError:
        return ""
    parts = [name for name in old if name != "rows" and name in new and old[name].shape == new[name].shape]
    if not parts:
        return ""
    rows = sum(int((old[name] != new[name]).any(axis=tuple(range(1, old[name].ndim))).sum()) for name in parts)
    most = max(float(np.abs(old[name] - new[name]).max()) for name in parts)
    return f"{rows:,} of {sum(len(old[name]) for name in parts):,} rows, by at most {most:.3g}"


def _versions(environment: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    found = {}
    for name, then in environment.items():
        try:
            now = version(name)
        except PackageNotFoundError:
            continue
        if now != then:
            found[name] = (str(then), now)
    return found
