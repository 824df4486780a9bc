"""The append-only record of every rung of every experiment, failures too: generators learn from it, resume replays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..spec import Spec, plain
from .choices import Trace

if TYPE_CHECKING:
    from ..store import Store

KIND = "experiment"


class Entry(Spec):
    """One finished rung. `outcome` is what the job gave, as the room that ran it describes it."""

    task: str
    """Name of the task it was made for."""
    dataset: str
    """Digest of the data it was made on."""
    key: str
    """Digest of the job: an equal job has an equal outcome."""
    number: int
    rung: int
    label: str
    """What was tried, in a few words for people."""
    generator: str
    trace: Trace
    ok: bool
    score: float | None
    work: float
    """Work of the experiment up to the end of this rung."""
    seconds: float
    outcome: dict[str, Any]
    environment: dict[str, str] = Field(default_factory=dict)
    """Device, threads, versions."""


class Ledger:
    """Entries in a store, found again by the key of their job."""

    def __init__(self, store: Store, task: str) -> None:
        self._store, self.task = store, task
        self._by_key: dict[str, Entry] = {entry.key: entry for entry in self.entries()}

    def entries(self) -> Iterator[Entry]:
        """All entries of this task, oldest first."""
        for _, body in self._store.records(KIND, where={"task": self.task}):
            yield Entry.model_validate(body)

    def find(self, key: str) -> Entry | None:
        return self._by_key.get(key)

    def add(self, entry: Entry) -> None:
        """Durable when it returns."""
        # The same job twice (two processes, a lost scratch folder) is one entry: the later one counts.
        self._store.add_record(KIND, plain(entry.model_dump(mode="json")), id=f"{entry.task} {entry.key}")
        self._by_key[entry.key] = entry

    def __len__(self) -> int:
        return len(self._by_key)
