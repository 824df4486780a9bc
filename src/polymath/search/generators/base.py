"""What every generator can do: the contract that `polymath.testing.check_generator` holds."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..choices import Answer, Trace


class Generator(ABC):
    """Proposes answers to a space's choices and is told how they did. Deterministic for its seed and its news."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    @abstractmethod
    def propose(self, number: int) -> Answer:
        """Who answers the choices of experiment `number` (0, 1, 2 ...)."""

    @abstractmethod
    def observe(self, trace: Trace, score: float, work: float) -> None:
        """An experiment's score (higher is better; minus infinity for a failure) after `work` units."""
