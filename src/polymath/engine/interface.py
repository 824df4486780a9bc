"""What every engine can do: the contract that `polymath.testing.check_engine` holds."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

LAST_LINES = 20
"""Lines of a traceback that are kept: the end says where it happened."""

Function = Callable[[str], str]
"""What an engine runs: a module-level function from a job's JSON to an outcome's JSON."""


class WorkerDied(RuntimeError):
    """The process of the job was killed, ran out of memory or did not answer in time. It may be tried again."""


class JobFailed(RuntimeError):
    """What the job's function raised: `str` says 'Type: message', `traceback` where, without this machine's folders."""

    def __init__(self, reason: str, traceback: str) -> None:
        super().__init__(reason)
        self.traceback = traceback

    @classmethod
    def of(cls, error: BaseException) -> JobFailed:
        """The failure that an exception of a job is recorded as."""
        lines = "".join(traceback.format_exception(error)).strip().splitlines()
        return cls(_anonymous(f"{type(error).__name__}: {error}"), _anonymous("\n".join(lines[-LAST_LINES:])))


def _anonymous(text: str) -> str:
    """Modules by their place on the path of imports, and `~` for the home folder: a ledger travels."""
    for folder in sorted({one for one in sys.path if len(one) > 1}, key=len, reverse=True):
        text = text.replace(folder.rstrip(os.sep) + os.sep, "")
    home = os.path.expanduser("~")
    return text.replace(home, "~") if len(home) > 1 else text


class Engine(Protocol):
    """Runs jobs; see the module's first line. `close` ends running jobs at once."""

    lanes: int

    @property
    def beside(self) -> bool:
        """Whether jobs run beside this process's own work; if not, `submit` returns when its job has ended."""

    def submit(self, text: str, *, timeout_seconds: float | None = None) -> Future[str]:
        """Starts (or queues) the job. The future raises `WorkerDied`, or `JobFailed` if the function raised."""

    def close(self) -> None: ...
