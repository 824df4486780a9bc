"""What every cutter can do: the contract that `polymath.testing.check_cutter` holds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


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


class Field:
    """All standings as arrays: one entry for each finished rung, and one for each experiment, both by number.

    `share`: of the own schedule, to two digits, so that equal ones are equal. `last`: each experiment's last entry.
    """

    def __init__(self, standings: Sequence[Standing], *, work_left: float) -> None:
        ordered = sorted((s for s in standings if s.scores), key=attrgetter("number"))
        self.number = np.array([s.number for s in ordered], dtype=np.int64)
        self.full_work = np.array([s.full_work for s in ordered], dtype=np.float64)
        self.next_work = np.array([s.next_work for s in ordered], dtype=np.float64)
        running = np.array([s.running for s in ordered], dtype=bool)
        self.rungs = np.array([len(s.scores) for s in ordered], dtype=np.int64)
        self.last = np.cumsum(self.rungs) - 1
        self.first = self.last - self.rungs + 1
        self.owner = np.repeat(np.arange(len(ordered)), self.rungs)
        self.score = np.array(list(chain.from_iterable(s.scores for s in ordered)), dtype=np.float64)
        self.work = np.array(list(chain.from_iterable(s.works for s in ordered)), dtype=np.float64)
        shares = list(chain.from_iterable(s.shares or (math.nan,) * len(s.scores) for s in ordered))
        share = np.array(shares, dtype=np.float64)
        share = np.where(np.isnan(share), self.work / self.full_work[self.owner], share)
        digits = 10.0 ** (np.floor(np.log10(np.maximum(share, 1e-12))) - 1)
        self.share: FloatArray = np.round(np.round(share / digits) * digits, 14)
        self.alive = self.score > -math.inf
        self.rest = np.maximum(self.full_work - self.work[self.last], self.next_work)
        """Work from here to the end of each experiment."""
        may = self.alive[self.last] & ~running & (self.next_work > 0) & (self.next_work <= work_left)
        self.waiting = np.zeros(len(self.score), dtype=bool)
        """Entries that are the last rung of an experiment that may be named."""
        self.waiting[self.last[may]] = True

    def shares(self) -> list[float]:
        """Shares at which somebody waits, the most advanced first."""
        return sorted({float(share) for share in self.share[self.waiting]}, reverse=True)

    def at(self, share: float) -> IntArray:
        """Entries of a share that are alive, the best score first, of equals the lowest number."""
        here = np.flatnonzero((self.share == share) & self.alive)
        found: IntArray = here[np.argsort(-self.score[here], kind="stable")]
        return found
