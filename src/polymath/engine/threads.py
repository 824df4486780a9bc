"""Jobs in threads of this process: for functions that cannot travel, and that wait or leave Python alone."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from .inline import InLine
from .interface import Function


class Threads:
    """Runs up to `lanes` jobs side by side; one lane runs them in the calling thread."""

    def __init__(self, function: Function, *, lanes: int = 1) -> None:
        self.lanes = lanes
        self._here = InLine(function, lanes=lanes)
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="polymath") if lanes > 1 else None
        self.beside = self._pool is not None

    def submit(self, text: str, *, timeout_seconds: float | None = None) -> Future[str]:
        del timeout_seconds  # a thread cannot be taken its job away
        if self._pool is None:
            return self._here.submit(text)
        return self._pool.submit(self._run, text)

    def _run(self, text: str) -> str:
        return self._here.submit(text).result()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
