"""Run an experiment again from what the ledger recorded of it, and compare what comes out, bit for bit."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..engine import InLine, JobFailed, pick_device
from ..spec import BadInput, Json, canonical, loads, plain
from ..store import Store, StoreError
from .listing import Tried, pick, task_of, tried

if TYPE_CHECKING:
    from ..search import Entry
    from ..train import Outcome

Verdict = Literal["equal", "different", "cannot be compared"]


@dataclass(frozen=True)
class Difference:
    """A part of an outcome that came out otherwise."""

    field: str
    recorded: Json
    """None where it would say nothing: addresses of tensors."""
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
    """As replayed; None when it failed, again or now."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Replayed:
    """An experiment run again, up to the first rung that is not equal."""

    id: str
    label: str
    num_rungs: int
    """As recorded."""
    rungs: tuple[ReplayedRung, ...]
    versions: dict[str, tuple[str, str]]
    """Package -> version then and now, where they differ."""

    @property
    def equal(self) -> bool:
        """False only if something that can be compared came out otherwise."""
        return all(rung.verdict != "different" for rung in self.rungs)

    def as_json(self) -> dict[str, Json]:
        """As `polymath replay --json` prints it."""
        return {
            "experiment": self.id,
            "equal": self.equal,
            **plain({k: v for k, v in asdict(self).items() if k != "id"}),
        }


def replay(store: Store, id: str, *, cache: Path) -> Replayed:
    """Runs every rung of an experiment again, each from the checkpoint of the replayed one before, until they differ.

    `id`: TASK/NUMBER. `cache`: the folder of decoded data given to `learn`. Nothing is written into the store. Raises
    BadInput if there is no such experiment, or the ledger or the data do not suffice to run it.
    """
    task = task_of(id)
    one = pick(tried(store, task), id)
    _replayable(one)
    folder = _data(one, cache)
    rungs: list[ReplayedRung] = []
    checkpoint: str | None = None
    with tempfile.TemporaryDirectory(prefix="polymath-replay-") as scratch:
        again = _Again(folder, Path(scratch) / "store", store=store, recorded=store.path / "scratch" / task)
        for entry in one.rungs:
            why = _why_not(entry)
            # A probe ends of itself, and may have had time enough; a long training may have been planned for ever.
            if why and not (entry.outcome.get("hurried") and entry.request["recipe"].get("method") != "gradient"):
                rungs.append(ReplayedRung(entry.rung, "cannot be compared", why))
                break
            outcome, seconds = again.run(entry, checkpoint)
            found = tuple(again.differences(entry, outcome))
            rungs.append(_judged(entry.rung, found, why, score=outcome.score, seconds=seconds))
            checkpoint = outcome.checkpoint
            if found:
                break
    return Replayed(id, one.last.label, len(one.rungs), tuple(rungs), _versions(one.last.environment))


def _judged(rung: int, found: tuple[Difference, ...], why: str, *, score: float | None, seconds: float) -> ReplayedRung:
    verdict: Verdict = "equal" if not found else "cannot be compared" if why else "different"
    return ReplayedRung(rung, verdict, why if found else "", found, score, round(seconds, 3))


def _replayable(one: Tried) -> None:
    """Raises BadInput if the ledger does not hold what was asked for."""
    first = one.rungs[0]
    if first.rung == 0 and "recipe" in first.request:
        return
    why = "it could not even be built" if first.outcome.get("traceback") else "what was asked for is not in the ledger"
    raise BadInput(
        f"cannot be run again: {why}",
        value=one.id,
        remedy="Experiments that `polymath learn` ran with release 0.2 or later can be.",
    )


def _data(one: Tried, cache: Path) -> Path:
    """The folder of the decoded data that an experiment was made on."""
    folder = cache / "data" / one.last.dataset
    if not (folder / "dataset.json").exists():
        raise BadInput(
            f"the decoded data of {one.last.task!r} are no longer there, so its experiments cannot be run again",
            file=folder,
            remedy="Give the same `polymath learn` command again: it decodes them anew and learns nothing twice.",
        )
    return folder


def _why_not(entry: Entry) -> str:
    """Why a rung cannot come out the same; empty if it should."""
    if entry.outcome.get("hurried"):
        return "the clock hurried it: how far it came depended on how busy the machine was; with --work it would not"
    if entry.outcome.get("died"):
        return f"its worker died: {entry.outcome.get('reason', '')}"
    return ""


@dataclass(frozen=True)
class _Again:
    """Where an experiment is run again, and what is left of where it was run."""

    dataset: Path
    scratch: Path
    store: Store
    recorded: Path
    """The scratch store of its task, if it is still there: with it, differences can be told in numbers."""

    def run(self, entry: Entry, checkpoint: str | None) -> tuple[Outcome, float]:
        """The outcome of a rung, run here and now, and the seconds it took."""
        from ..train import Context, Job, Outcome
        from ..train.rung import request, run_json

        job = Job.model_validate({**entry.request, "checkpoint": checkpoint})
        with Store.open(self.scratch) as scratch:
            for address in sorted(job.path.addresses if job.path is not None else ()):
                scratch.put(self._stored(address))
        device = pick_device("cpu" if entry.environment.get("device", "cpu") == "cpu" else "cuda")
        context = Context(dataset_folder=str(self.dataset), scratch=str(self.scratch), device=device)
        began = time.monotonic()
        try:
            outcome = Outcome.model_validate(loads(InLine(run_json).submit(request(job, context)).result()))
        except JobFailed as error:
            outcome = Outcome(ok=False, reason=str(error))
        return outcome, time.monotonic() - began

    def _stored(self, address: str) -> bytes:
        """Weights of an earlier task that an experiment was built upon."""
        if self.store.has(address):
            return self.store.get(address)
        if self.recorded.exists():
            with Store.open(self.recorded, read_only=True) as recorded:
                if recorded.has(address):
                    return recorded.get(address)
        raise BadInput(
            "the weights that it was built upon are no longer there, so it cannot be run again", value=address[:12]
        )

    def differences(self, entry: Entry, now: Outcome) -> Iterator[Difference]:
        """Parts of the outcome that are not equal, for people; none if the digests of the outcomes are equal."""
        from ..train import Outcome

        then = Outcome.model_validate({n: v for n, v in entry.outcome.items() if n in Outcome.model_fields})
        if then.result_digest == now.result_digest or (not then.ok and not now.ok and then.reason == now.reason):
            return
        for name in ("ok", "reason", "score", "work", "parameters"):
            if getattr(then, name) != getattr(now, name):
                yield Difference(name, getattr(then, name), getattr(now, name))
        if then.predictions != now.predictions:
            yield Difference("predictions", None, self._apart(then.predictions, now.predictions) or "others")
        if _genes(then) != _genes(now):
            changed = sorted({name for name, _ in _genes(then) ^ _genes(now)})
            yield Difference("weights", None, f"others in {', '.join(changed[:3])}{' ...' if changed[3:] else ''}")
        for name in ("scores", "checkpoint", "curve"):
            if getattr(then, name) != getattr(now, name):
                parts = (value.model_dump(mode="json")[name] for value in (then, now))
                yield Difference(name, *(canonical(part) for part in parts))

    def _apart(self, then: str | None, now: str | None) -> str:
        """How far two sets of predictions are apart, if both are still there."""
        if then is None or now is None or not self.recorded.exists():
            return ""
        try:
            with Store.open(self.recorded, read_only=True) as old_store, Store.open(self.scratch) as new_store:
                old, new = old_store.get_tensors(then), new_store.get_tensors(now)
        except StoreError:
            return ""
        parts = [n for n in old if n != "rows" and n in new and old[n].shape == new[n].shape]
        if not parts:
            return ""
        rows = sum(int((old[n] != new[n]).reshape(len(old[n]), -1).any(axis=1).sum()) for n in parts)
        most = max(float(np.abs(old[n] - new[n]).max()) for n in parts)
        return f"others in {rows:,} of {sum(len(old[n]) for n in parts):,} rows, by up to {most:.3g}"


def _genes(outcome: Outcome) -> set[tuple[str, str | None]]:
    return {
        (f"fold {fold} {gene.name}", gene.weights) for fold, path in enumerate(outcome.paths) for gene in path.genes
    }


def _versions(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Packages whose version is another than then."""
    found = {}
    for name, then in environment.items():
        with contextlib.suppress(PackageNotFoundError):
            if version(name) != then:
                found[name] = (then, version(name))
    return found
