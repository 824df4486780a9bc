"""Engines: every one gives the same outcomes; a job that dies costs only itself."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from polymath.engine import FirstInLine, InLine, JobFailed, Processes, Threads, WorkerDied, pick_device
from polymath.engine.processes import _work
from polymath.spec import BadInput
from polymath.testing import check_engine

sys.path.insert(0, str(Path(__file__).parent))
import jobs


@pytest.fixture
def processes() -> Iterator[Processes]:
    engine = Processes(jobs.misbehave, lanes=2)
    yield engine
    engine.close()


def test_contract_in_line() -> None:
    check_engine(InLine(jobs.double, lanes=2))


@pytest.mark.parametrize("lanes", [1, 3])
def test_contract_in_threads(lanes: int) -> None:
    check_engine(Threads(jobs.double, lanes=lanes))


def test_contract_in_processes() -> None:
    check_engine(Processes(jobs.double, lanes=2))


def test_a_dead_worker_costs_one_job(processes: Processes) -> None:
    before = processes.submit("one")
    dead = processes.submit("die")
    after = processes.submit("two")
    assert before.result(30).startswith("one")
    with pytest.raises(WorkerDied, match="out of memory"):
        dead.result(30)
    assert after.result(30).startswith("two")


def test_a_worker_whose_engine_was_killed_ends_without_a_traceback() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_work, args=(jobs.misbehave, theirs, None))
    worker.start()
    theirs.close()
    ours.send_bytes(b"linger")
    ours.close()  # what is left of the engine's end after kill -9
    worker.join(60)
    assert worker.exitcode == 0


def test_a_server_of_workers_that_dies_costs_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    starts, start = iter([EOFError, ConnectionRefusedError]), Processes._start

    def ends(self: Processes, lane: int) -> object:
        for error in starts:
            raise error
        return start(self, lane)

    monkeypatch.setattr(Processes, "_start", ends)
    engine = Processes(jobs.misbehave, lanes=1)
    try:
        with pytest.raises(WorkerDied, match="no worker could be started"):
            engine.submit("one").result(30)
        assert engine.submit("two").result(30).startswith("two")
    finally:
        engine.close()


def test_a_job_that_hangs_is_taken_away(processes: Processes) -> None:
    processes.submit("warm").result(30)
    began = time.monotonic()
    with pytest.raises(WorkerDied, match="no answer within 1 s"):
        processes.submit("hang", timeout_seconds=1).result(30)
    assert time.monotonic() - began < 10
    assert processes.submit("next").result(30).startswith("next")


@pytest.mark.parametrize("kind", ["in line", "processes"])
def test_what_the_function_raises_comes_back_with_its_traceback(kind: str, processes: Processes) -> None:
    engine = InLine(jobs.misbehave) if kind == "in line" else processes
    with pytest.raises(JobFailed, match=r"^ValueError: no such layer$") as caught:
        engine.submit("raise").result(30)
    traceback = caught.value.traceback
    assert traceback.startswith("Traceback")
    assert 'raise ValueError("no such layer")' in traceback
    assert len(traceback.splitlines()) <= 20
    assert str(Path(__file__).parent) not in traceback


@pytest.mark.skipif(sys.platform != "linux", reason="memory limits of workers are Linux's RLIMIT_DATA")
def test_a_job_that_wants_too_much_memory_fails_alone() -> None:
    engine = Processes(jobs.misbehave, lanes=1, memory_bytes=2**30)
    with pytest.raises(RuntimeError, match="MemoryError"):
        engine.submit("eat").result(30)
    assert engine.submit("next").result(30).startswith("next")
    engine.close()


def test_no_worker_outlives_its_engine(processes: Processes) -> None:
    worker = int(processes.submit("who").result(30).split()[-1])
    processes.submit("hang")
    time.sleep(0.3)
    processes.close()
    time.sleep(0.3)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    with pytest.raises(RuntimeError, match="closed"):
        processes.submit("late")


def test_first_in_line() -> None:
    engine = FirstInLine(jobs.misbehave, Processes(jobs.misbehave, lanes=1))
    here, there = engine.submit("a").result(30), engine.submit("b").result(30)
    assert here.endswith(str(os.getpid()))
    assert not there.endswith(str(os.getpid()))
    engine.close()


def test_devices() -> None:
    assert pick_device("cpu") == "cpu"
    import torch

    if not torch.cuda.is_available():
        assert pick_device("auto") == "cpu"
        with pytest.raises(BadInput, match="no GPU"):
            pick_device("cuda")
