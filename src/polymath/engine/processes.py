"""Jobs side by side in local processes: one process per lane, restarted when it dies.

Python's own process pool gives up as a whole when one worker is killed; here a death costs one job. Workers are forked
from a server that has imported the function's module and nothing else (no state or database connection of this process
is carried over, and torch is imported once for all lanes); they ignore Ctrl-C (the parent decides), die with their
parent and may be limited in memory, so that an experiment that asks for too much fails alone.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import ModuleType

from .interface import Function, JobFailed, WorkerDied

_PR_SET_PDEATHSIG = 1
_STARTING = threading.Lock()
LEAST_ROOM = 200 * 2**20
"""A worker gets this much beyond what its libraries take, however small the limit asked for: with less nothing runs."""


@dataclass
class _Order:
    text: str
    timeout_seconds: float | None
    future: Future[str] = field(default_factory=Future)


class Processes:
    """`lanes` worker processes. `memory_bytes` limits the private memory of each (Linux: RLIMIT_DATA).

    `preload`: modules that the function will need, imported once for all workers.
    """

    beside = True

    def __init__(
        self, function: Function, *, lanes: int, memory_bytes: int | None = None, preload: Sequence[str] = ()
    ) -> None:
        self.lanes = lanes
        self._function, self._memory_bytes = function, memory_bytes
        if "forkserver" in multiprocessing.get_all_start_methods():
            self._context: BaseContext = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload([function.__module__, *preload])
        else:
            self._context = multiprocessing.get_context("spawn")
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._processes: dict[int, BaseProcess] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(lane,), name=f"polymath-lane-{lane}", daemon=True)
            for lane in range(lanes)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, text: str, *, timeout_seconds: float | None = None) -> Future[str]:
        if self._closed.is_set():
            raise RuntimeError("this engine is closed")
        order = _Order(text, timeout_seconds)
        self._orders.put(order)
        return order.future

    def close(self) -> None:
        """Kills running jobs, refuses queued ones, waits until no worker is left."""
        self._closed.set()
        for process in list(self._processes.values()):
            process.kill()
        for _ in self._threads:
            self._orders.put(None)
        for thread in self._threads:
            thread.join(timeout=10)

    def _start(self, lane: int) -> tuple[BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        process: BaseProcess = self._context.Process(  # type: ignore[attr-defined]  # BaseContext leaves it to its kinds
            target=_work, args=(self._function, theirs, self._memory_bytes), name=f"polymath-worker-{lane}", daemon=True
        )
        with _no_main(), _deaf_to_interrupts():
            process.start()
        theirs.close()
        self._processes[lane] = process
        return process, ours

    def _serve(self, lane: int) -> None:
        """One lane: starts its process early (torch takes seconds), passes orders on, restarts it after a death."""
        worker = self._started(lane)
        while (order := self._orders.get()) is not None:
            if self._closed.is_set():
                order.future.set_exception(WorkerDied("the engine was closed"))
                continue
            if worker is None or not worker[0].is_alive():
                worker = self._started(lane)
            if worker is None:
                order.future.set_exception(WorkerDied("no worker could be started"))
            else:
                self._run(order, *worker)
        if worker is not None:
            worker[0].kill()
            worker[0].join()

    def _started(self, lane: int) -> tuple[BaseProcess, Connection] | None:
        """A new worker; None where the server that forks them died meanwhile, as of a signal to all of a terminal's
        processes. The next try begins with another server."""
        try:
            return self._start(lane)
        except (EOFError, OSError):
            return None

    def _run(self, order: _Order, process: BaseProcess, connection: Connection) -> None:
        try:
            connection.send_bytes(order.text.encode())
            if not connection.poll(order.timeout_seconds):
                process.kill()
                process.join()
                raise WorkerDied(f"no answer within {order.timeout_seconds:.0f} s")
            answer = connection.recv_bytes().decode()
        except (EOFError, OSError):
            process.join(timeout=5)
            process.kill()
            order.future.set_exception(WorkerDied(f"the worker died ({_how(process.exitcode)})"))
        except WorkerDied as error:
            order.future.set_exception(error)
        else:
            if answer.startswith("+"):
                order.future.set_result(answer[1:])
            else:
                order.future.set_exception(JobFailed(*json.loads(answer[1:])))


@contextmanager
def _no_main() -> Iterator[None]:
    """Within this, `__main__` looks empty: a new worker would otherwise run the user's script again to find functions.

    What we run stands in a module of its own, so a script needs no `if __name__ == "__main__"` to use us.
    """
    with _STARTING:
        kept = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = kept


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Within this, a new process begins with Ctrl-C blocked: it would die of it noisily while it imports."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # would unblock it again if it were started later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how(exitcode: int | None) -> str:
    if exitcode == -signal.SIGKILL:
        return "killed: most often the machine was out of memory"
    return f"signal {-exitcode}" if exitcode is not None and exitcode < 0 else f"exit code {exitcode}"


def _data_bytes() -> int:
    """Private memory of this process so far, as RLIMIT_DATA counts it."""
    with open("/proc/self/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:")), 0)


def _work(function: Function, connection: Connection, memory_bytes: int | None) -> None:
    """Body of a worker process: answers '+outcome' or '-[reason, traceback]' until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # the parent died before the line above
            return
        if memory_bytes is not None:
            limit = max(memory_bytes, _data_bytes() + LEAST_ROOM)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    while True:
        try:
            text = connection.recv_bytes().decode()
        except (EOFError, OSError):
            return
        try:
            answer = "+" + function(text)
        except Exception as error:  # the engine's worker: a failed job becomes a ledger record with its traceback
            failed = JobFailed.of(error)
            answer = "-" + json.dumps([str(failed), failed.traceback])
        try:
            connection.send_bytes(answer.encode())
        except BrokenPipeError:  # who asked was killed: a traceback would stand in the terminal of who did it
            return
