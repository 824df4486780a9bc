"""What every cutter can do: the contract that `polymath.testing.check_cutter` holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
    shares: tuple[float, ...] = ()
    """Share of its own schedule at the end of each finished rung, as planned; empty = `works / full_work`.

    Experiments are compared where their shares are equal: a schedule that is half over is not measured against one
    that has just begun. Give it where work does not measure the schedule (a share of the data, say), or where the work
    done differs a little from the work planned.
    """

    @property
    def may_go_on(self) -> bool:
        """Waits between two rungs, alive."""
        return not self.running and self.next_work > 0 and bool(self.scores) and self.scores[-1] > float("-inf")

    @cached_property
    def progress(self) -> tuple[float, ...]:
        """Share of its own schedule at the end of each finished rung, to two digits, so that equal ones are equal."""
        shares = self.shares or tuple(work / self.full_work for work in self.works)
        return tuple(float(f"{share:.2g}") for share in shares)

    @property
    def work_left(self) -> float:
        """Work from here to the end of its last rung."""
        return max(self.full_work - (self.works[-1] if self.works else 0.0), self.next_work)


class Cutter(ABC):
    """Looks at how experiments stand and names the one that goes on. Not continuing is the only way of cutting."""

    name: ClassVar[str]

    @abstractmethod
    def promote(self, standings: Sequence[Standing], *, work_left: float) -> int | None:
        """Number of the experiment to continue, or None for a new one.

        `work_left`: work units that the search may still spend over all lanes (infinite if the real clock alone ends
        it). Only experiments that `may_go_on` may be named, and none whose next rung costs more than `work_left`.
        The answer depends on the standings alone, not on their order nor on earlier calls. Called whenever a lane is
        free, so it must be quick: milliseconds for 10,000 standings.
        """


def by_progress(standings: Sequence[Standing]) -> dict[float, list[tuple[float, Standing, int]]]:
    """Share -> (score, experiment, rung) of all that finished a rung there alive."""
    lost = float("-inf")
    found: dict[float, list[tuple[float, Standing, int]]] = {}
    for standing in standings:
        for rung, (share, score) in enumerate(zip(standing.progress, standing.scores, strict=True)):
            if score > lost:
                found.setdefault(share, []).append((score, standing, rung))
    return found
