"""A command that starts and ends quickly: half the time of a small one went into what nobody asked for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def lean() -> Iterator[None]:
    """For the life of a process that runs one command.

    Imports make a million objects that stay. Python's collector looks through them all again and again while they are
    made and once more at the end: half a second of a second and a half. Here it looks seldom, and not at the end.
    """
    gc.set_threshold(50_000, 20, 100)
    if len(sys.argv) > 2:  # `polymath --help` reads no data
        arrow_without_pandas()
        arrow_gives_back()
    try:
        yield
    finally:
        gc.freeze()


def arrow_without_pandas() -> None:
    """Lets pyarrow believe that pandas is not installed; everybody else may import it as before.

    Where it is, pyarrow imports it with the first value it makes, a third of a second, to know a data frame when it
    sees one. A command line holds none. Found once or not found, pyarrow does not ask again.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow

    sys.meta_path.insert(0, _NoPandas)
    try:
        pyarrow.scalar(0)
    finally:
        sys.meta_path.remove(_NoPandas)


def arrow_gives_back() -> None:
    """Lets pyarrow return memory to the system as soon as it is free: of a large table a tenth less at the peak."""
    import pyarrow

    if "jemalloc" in pyarrow.supported_memory_backends():
        pyarrow.set_memory_pool(pyarrow.jemalloc_memory_pool())
        pyarrow.jemalloc_set_decay_ms(0)


class _NoPandas:
    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pyarrow does without pandas", name=name)
