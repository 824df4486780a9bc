"""What every cutter can do: the contract that `polymath.testing.check_cutter` holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Standing:
    """How one experiment stands: its finished rungs and what the next one would cost."""

    number: int
    works: tuple[float, ...]
    """Work at the end of each finished rung, since the experiment began; rising."""
    scores: tuple[float, ...]
    """Score of each finished rung; higher is better, minus infinity for a failure."""
    next_work: float
    """Work of the next rung alone; 0 when there is none."""
    full_work: float
    """Work at the end of its last rung."""
    running: bool = False

    @property
    def may_go_on(self) -> bool:
        """Waits between two rungs, alive."""
        return not self.running and self.next_work > 0 and bool(self.scores) and self.scores[-1] > float("-inf")


class Cutter(ABC):
    """Looks at how experiments stand and names the one that goes on. Not continuing is the only way of cutting."""

    name: ClassVar[str]

    @abstractmethod
    def promote(self, standings: Sequence[Standing], *, work_left: float) -> int | None:
        """Number of the experiment to continue, or None for a new one.

        `work_left`: work units that the search may still spend over all lanes (infinite if the real clock alone ends
        it). Only experiments that `may_go_on` may be named. Called whenever a lane is free, so it must be quick:
        milliseconds for 10,000 standings.
        """
