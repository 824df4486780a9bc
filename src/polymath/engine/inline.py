"""The plainest engine: the job runs in this process, at once."""

from __future__ import annotations

from concurrent.futures import Future

from .interface import Engine, Function, JobFailed


class InLine:
    """Runs every job when it is submitted. `lanes` only tells the search how many jobs to keep in flight."""

    beside = False

    def __init__(self, function: Function, *, lanes: int = 1) -> None:
        self.function, self.lanes = function, lanes

    def submit(self, text: str, *, timeout_seconds: float | None = None) -> Future[str]:
        del timeout_seconds  # a job in this process cannot be taken away from it
        future: Future[str] = Future()
        try:
            future.set_result(self.function(text))
        except Exception as error:  # the engine's worker: a failed job must not end the search
            future.set_exception(JobFailed.of(error))
        return future

    def close(self) -> None:
        """Nothing is left running."""


class FirstInLine:
    """Runs the first `count` jobs in this process, the rest in `others`, whose workers need seconds to start."""

    def __init__(self, function: Function, others: Engine, *, count: int = 1) -> None:
        self.lanes = others.lanes
        self._here, self._others, self._left = InLine(function), others, count

    @property
    def beside(self) -> bool:
        return self._left <= 0 and self._others.beside

    def submit(self, text: str, *, timeout_seconds: float | None = None) -> Future[str]:
        if self._left > 0:
            self._left -= 1
            return self._here.submit(text)
        return self._others.submit(text, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        self._others.close()
