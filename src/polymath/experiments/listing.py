"""The experiments of a task as the ledger holds them: rungs joined, named, filtered, ranked."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ..search import Entry, Ledger
from ..spec import BadInput, Json

if TYPE_CHECKING:
    from ..predicting import TaskRecord
    from ..store import Store

State = Literal["finished", "cut", "running", "failed"]
"""Trained to its end; not continued by the cutter; may go on, for learning has not ended; died."""
ID = re.compile(r"(?P<task>.+)/(?P<place>\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Tried:
    """One experiment, rung by rung. `id` is TASK/NUMBER, and stays: a ledger only grows.

    One that was begun anew under the same number (with another seed, budget or data) is NUMBER.2, NUMBER.3 ...
    """

    id: str
    rungs: tuple[Entry, ...]
    places: tuple[int, ...] = ()
    """Of the rungs in the ledger, whose order is that of time."""
    weight: float = 0.0
    """In the task's final path."""
    learning: bool = False
    """Learning has not ended, so it may go on."""

    @property
    def last(self) -> Entry:
        return self.rungs[-1]

    @property
    def score(self) -> float | None:
        """Of its last rung, higher is better; None when it failed."""
        return self.last.score if self.last.ok else None

    @property
    def seconds(self) -> float:
        return sum(entry.seconds for entry in self.rungs)

    @property
    def state(self) -> State:
        if not self.last.ok:
            return "failed"
        outcome = self.last.outcome  # a rung that may be continued leaves a checkpoint, or says that it is not complete
        if not outcome.get("checkpoint") and outcome.get("complete", True):
            return "finished"
        return "running" if self.learning else "cut"

    @property
    def reason(self) -> str:
        """Why it died, in one line; empty if it did not."""
        lines = str(self.last.outcome.get("reason", "")).strip().splitlines()
        return "" if self.last.ok else (lines[-1] if lines else "no reason was recorded")

    def row(self) -> dict[str, Json]:
        """What a list shows of it."""
        return {
            "id": self.id,
            "experiment": self.last.number,
            "what": self.last.label,
            "generator": self.last.generator,
            "state": self.state,
            "rungs": len(self.rungs),
            "score": self.score,
            "work": round(self.last.work, 3),
            "seconds": round(self.seconds, 2),
            "parameters": self.last.outcome.get("parameters"),
            "weight": self.weight,
            "failed": self.reason,
        }


def tried(store: Store, name: str, record: TaskRecord | None = None) -> list[Tried]:
    """All experiments of a task by number, in which they began; those on other data than the record's too."""
    ledger = list(Ledger(store, name).entries())
    chains: dict[int, dict[int, list[int]]] = {}  # by number, then by the rung with which they came about
    # By rung: one that had to be run again, for its checkpoint was lost, may stand behind its successors.
    for place in sorted(range(len(ledger)), key=lambda place: ledger[place].rung):
        _join(chains.setdefault(ledger[place].number, {}), place, ledger)
    dataset = record.origin.get("dataset") if record is not None else None
    learning = record is not None and record.state == "learning"
    counts: dict[int, int] = {}
    found = []
    for _, chain in sorted(item for same in chains.values() for item in same.items()):
        rungs = tuple(ledger[place] for place in chain)
        number = rungs[0].number
        counts[number] = counts.get(number, 0) + 1
        again = f".{counts[number]}" if counts[number] > 1 else ""
        may_go_on = learning and rungs[0].dataset == dataset
        found.append(Tried(f"{name}/{number}{again}", rungs, tuple(chain), learning=may_go_on))
    found.sort(key=lambda one: one.last.number)
    if record is None:
        return found
    # The final path is made of the latest of each number.
    weights = {member["number"]: float(member["weight"]) for member in record.members}
    ids = {one.id: weights[one.last.number] for one in _latest(found, record) if one.last.number in weights}
    return [replace(one, weight=ids.get(one.id, 0.0)) for one in found]


def _join(chains: dict[int, list[int]], place: int, ledger: Sequence[Entry]) -> None:
    """Put a rung behind the one whose checkpoint it went on from; one that has another successor is continued twice."""
    entry = ledger[place]
    for chain in list(chains.values())[::-1] if entry.rung else ():
        if len(chain) < entry.rung:
            continue
        before = ledger[chain[entry.rung - 1]]
        if before.dataset != entry.dataset:
            continue
        given = entry.request.get("checkpoint")  # ledgers of release 0.1.0 hold no requests
        if given is not None and given != before.outcome.get("checkpoint"):
            continue
        if len(chain) == entry.rung:
            chain.append(place)
        else:
            chains[place] = [*chain[: entry.rung], place]
        return
    chains[place] = [place]


def _latest(found: Sequence[Tried], record: TaskRecord) -> list[Tried]:
    """On the data and from the seed of a task, the latest experiment of each number."""
    same = [one for one in found if one.last.dataset == record.origin.get("dataset")]
    seeded = [one for one in same if one.last.seed == record.origin.get("seed")]
    return list({one.last.number: one for one in seeded or same}.values())


def entries(store: Store, record: TaskRecord) -> list[Entry]:
    """The rungs of what `leaderboard` lists, oldest first."""
    chosen = _latest(tried(store, record.name, record), record)
    placed = {place: entry for one in chosen for place, entry in zip(one.places, one.rungs, strict=True)}
    return [placed[place] for place in sorted(placed)]


def select(
    found: Sequence[Tried], *, generator: str | None = None, state: State | None = None, best: int | None = None
) -> list[Tried]:
    """Those by one generator, in one state; the best so many, best first. Raises BadInput for an unknown generator."""
    known = sorted({one.last.generator for one in found})
    if generator is not None and generator not in known:
        raise BadInput("proposed none of these experiments", value=generator, remedy=f"One of: {', '.join(known)}.")
    chosen = [one for one in found if generator is None or one.last.generator == generator]
    chosen = [one for one in chosen if state is None or one.state == state]
    return chosen if best is None else ranked([one for one in chosen if one.score is not None])[:best]


def ranked(found: Sequence[Tried]) -> list[Tried]:
    """Best first, failures last."""
    return sorted(found, key=lambda one: -math.inf if one.score is None else one.score, reverse=True)


def leaderboard(store: Store, record: TaskRecord) -> list[dict[str, Json]]:
    """The experiments on the data of a task, the latest of each number, best first, failures last."""
    chosen = _latest(tried(store, record.name, record), record)
    return [one.row() for one in ranked(chosen)]


def task_of(id: str) -> str:
    """The task that an experiment's id names. Raises BadInput."""
    found = ID.fullmatch(id)
    if found is None:
        raise BadInput("is not the id of an experiment", value=id, remedy="Give TASK/NUMBER, for example digits/12.")
    return found["task"]


def pick(found: Sequence[Tried], id: str) -> Tried:
    """The experiment with this id. Raises BadInput saying which there are."""
    for one in found:
        if one.id == id:
            return one
    task = task_of(id)
    rest = f"The ledger holds {len(found):,} experiments of {task!r}: `polymath experiments {task}` lists them."
    raise BadInput(
        "there is no such experiment", value=id, remedy=rest if found else f"The ledger holds none of {task!r}."
    )
