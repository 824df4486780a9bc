"""What every cutter can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence


class Cutter(ABC):
    """Looks at the finished rungs and names the experiment that goes on. Not continuing is the only way of cutting."""

    @abstractmethod
    def promote(self, scores: Mapping[int, Sequence[float]], started: Mapping[int, int]) -> int | None:
        """Number of the experiment to continue, or None for a new one.

        `scores[n]` holds the scores of experiment n's finished rungs (minus infinity = failed), `started[n]` how many
        rungs it has started. Only experiments whose started rungs are all finished may be named.
        """
