"""What a training has freed goes back to the system: batches of many lengths leave holes that the allocator keeps."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..problem.sources.spill import give_back

LEAST_BYTES = 1 << 30
"""Below this nothing is given back: returning a gibibyte took 0.11 to 0.15 s."""


class Holes:
    """Looks at how much memory the process holds, and gives back what is free where that has doubled.

    Training on paragraphs of 10 to 120 tokens came to hold 6.5 GB; 1 GB lives between two steps (benchmarks/LOG.md).
    """

    def __init__(self) -> None:
        self._held = resident()

    def look(self) -> None:
        """A matter of microseconds where there is nothing to do."""
        now = resident()
        if now - self._held > max(LEAST_BYTES, self._held):
            give_back()
            self._held = resident()


def resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say (it does on Linux)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
