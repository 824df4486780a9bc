"""What every engine can do: the contract that `polymath.testing.check_engine` holds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

Function = Callable[[str], str]
"""What an engine runs: a module-level function from a job's JSON to an outcome's JSON."""


class WorkerDied(RuntimeError):
    """The process of the job was killed, ran out of memory or did not answer in time. It may be tried again."""


class Engine(Protocol):
    """Runs jobs; see the module's first line. `close` ends running jobs at once."""

    lanes: int

    def submit(self, text: str, *, timeout_seconds: float | None = None) -> Future[str]:
        """Starts (or queues) the job. The future raises `WorkerDied`, or what the function raised as a RuntimeError."""

    def close(self) -> None: ...
