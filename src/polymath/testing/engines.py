"""The kit of engines."""

from __future__ import annotations

from ..engine import Engine


def check_engine(engine: Engine) -> None:
    """Holds an engine that runs `text -> text * 2` to the contract: each job answered once, in any order; closes it."""
    texts = [f"{number}," for number in range(3 * engine.lanes + 1)]
    futures = [engine.submit(text) for text in texts]
    assert engine.beside or all(future.done() for future in futures), "`submit` waits where jobs run in this process"
    assert [future.result(timeout=60) for future in futures] == [text * 2 for text in texts]
    long = "x" * 2_000_000
    assert engine.submit(long, timeout_seconds=60).result(timeout=60) == long * 2
    engine.close()
    engine.close()  # closing twice is harmless
