"""The append-only record of every rung of every experiment, failures too: generators learn from it, resume replays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..spec import BadInput, Spec, plain
from .choices import Trace
from .generators.base import News, Past
from .generators.board import Board

if TYPE_CHECKING:
    from ..store import Store

KIND = "experiment"
VERSION = 2
"""Of an entry. 1: release 0.1.0, without the fields that have defaults here."""


class Entry(Spec):
    """One finished rung. `outcome` is what the job gave, as the room that ran it describes it."""

    version: int = 1
    task: str
    """Name of the task it was made for."""
    dataset: str
    """Digest of the data it was made on."""
    space: str = ""
    """Name of the space that was searched: traces of one space can be compared."""
    seed: int = 0
    """Of the search."""
    key: str
    """Digest of the job: an equal job has an equal outcome."""
    number: int
    rung: int
    label: str
    """What was tried, in a few words for people."""
    generator: str
    """Who proposed it: a generator, the arm of a bandit, or "fixed"."""
    trace: Trace
    ok: bool
    score: float | None
    work: float
    """Work of the experiment up to the end of this rung."""
    seconds: float
    outcome: dict[str, Any]
    request: dict[str, Any] = Field(default_factory=dict)
    """What was asked for, without where it ran: enough to run it again."""
    proxies: dict[str, float] = Field(default_factory=dict)
    """Cheap numbers known before training."""
    fingerprint: dict[str, float] = Field(default_factory=dict)
    """Of the problem, as generators compare problems."""
    share: float = 1.0
    """Of its own schedule that the experiment had behind it."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Device, threads, versions."""

    @property
    def news(self) -> News:
        """The entry as generators are told of it."""
        return News(
            number=self.number,
            trace=self.trace,
            score=-math.inf if self.score is None else self.score,
            work=self.work,
            rung=self.rung,
            by=self.generator,
            proxies=self.proxies,
            share=self.share,
        )


class Ledger:
    """Entries of one task, found again by the key of their job; in a store, or in memory alone."""

    def __init__(self, store: Store | None, task: str) -> None:
        self._store, self.task = store, task
        self._by_key: dict[str, Entry] = {}
        for entry in self._stored(task=task):
            self._by_key[entry.key] = entry

    def entries(self) -> Iterator[Entry]:
        """All entries of this task, oldest first."""
        yield from self._by_key.values()

    def find(self, key: str) -> Entry | None:
        return self._by_key.get(key)

    def add(self, entry: Entry) -> None:
        """Durable when it returns, where there is a store."""
        entry = entry.replace(version=VERSION)
        if self._store is not None:
            # The same job twice (two processes, a lost scratch folder) is one entry: the later one counts.
            self._store.add_record(KIND, plain(entry.model_dump(mode="json")), id=f"{entry.task} {entry.key}")
        self._by_key[entry.key] = entry

    def proposed(self, *, dataset: str, space: str, seed: int) -> dict[int, Entry]:
        """Number -> first entry of each experiment of an earlier run of this search."""
        found: dict[int, Entry] = {}
        for entry in self.entries():
            if (entry.dataset, entry.space, entry.seed) == (dataset, space, seed):
                found.setdefault(entry.number, entry)
        return found

    def past(self, *, space: str, dataset: str) -> tuple[Past, ...]:
        """What all tasks of the store tried in this space on other data, one `News` per experiment."""
        boards: dict[str, Board] = {}
        fingerprints: dict[str, dict[str, float]] = {}
        numbers: dict[tuple[str, str, int], int] = {}
        for entry in self._stored(space=space):
            if entry.dataset != dataset:
                board = boards.setdefault(entry.dataset, Board())
                # Two tasks on the same data number their experiments each for itself.
                number = numbers.setdefault((entry.task, entry.dataset, entry.number), len(numbers))
                board.tell(replace(entry.news, number=number))
                fingerprints[entry.dataset] = entry.fingerprint
        return tuple(Past(problem, fingerprints[problem], tuple(board.all())) for problem, board in boards.items())

    def _stored(self, **where: str) -> Iterator[Entry]:
        if self._store is None:
            return
        for _, body in self._store.records(KIND, where=where or None):
            yield _entry(body)

    def __len__(self) -> int:
        return len(self._by_key)


def _entry(body: Mapping[str, Any]) -> Entry:
    version = body.get("version", 1)
    if isinstance(version, int) and version > VERSION:
        raise BadInput(
            f"the ledger holds experiments of version {version}; this release reads up to {VERSION}",
            remedy="They were written by a newer release of Polymath: install that one, or use another store.",
        )
    return Entry.model_validate(body)
