"""What every generator can do: the contract that `polymath.testing.check_generator` holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..choices import Answer, Sketch, Trace

Draw = Callable[[Answer], Sketch]
"""One pass through the space that is searched."""

FIXED = "fixed"
"""Who proposed what is always tried first."""


@dataclass(frozen=True)
class News:
    """One finished rung of one experiment, as a generator is told of it."""

    number: int
    """Of the experiment."""
    trace: Trace
    score: float
    """Higher is better; minus infinity when it failed."""
    work: float
    """Of the experiment so far, all its rungs."""
    rung: int = 0
    by: str = ""
    """The generator (the arm of a bandit) that proposed it; `FIXED` for what is always tried."""
    proxies: Mapping[str, float] = field(default_factory=dict)
    """Cheap numbers known before training (`Sketch.proxies`)."""
    share: float = 1.0
    """Of its own schedule that the experiment has behind it: a score at 0.1 and one at 1 cannot be compared."""

    @property
    def ok(self) -> bool:
        return bool(np.isfinite(self.score))


@dataclass(frozen=True)
class Past:
    """What was tried on an earlier problem in the same space."""

    problem: str
    """Digest of its data."""
    fingerprint: Mapping[str, float]
    """Numbers that describe the problem: sizes, kinds, how hard it was for the cheap heads."""
    news: tuple[News, ...]
    """Of each experiment one, its score as it is at the end of its schedule or foretold for it."""


@dataclass(frozen=True)
class Experience:
    """What a generator may know before it begins; nothing by default."""

    fingerprint: Mapping[str, float] = field(default_factory=dict)
    """Of the problem at hand."""
    past: tuple[Past, ...] = ()
    """Earlier problems, oldest first."""
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What this generator gave as `memory()` at the end of its last search."""


class Generator(ABC):
    """Proposes sketches of a space and is told how they did. Deterministic for its seed, experience and news.

    It keeps no state of its own on disk: it is rebuilt by telling it the ledger's news again, in order.
    """

    name: ClassVar[str]

    def __init__(self, draw: Draw, *, seed: int, experience: Experience | None = None) -> None:
        self.draw, self.seed = draw, seed
        self.experience = experience or Experience()
        self.begun: set[str] = set()
        """Identities of all experiments that have begun, whoever proposed them: proposing them again is wasted."""

    @abstractmethod
    def propose(self, number: int) -> Sketch:
        """The `number`th proposal (0, 1, 2 ...; the numbers of experiments differ, for some are not its own)."""

    def begin(self, number: int, sketch: Sketch) -> None:
        """Experiment `number` has begun, from this or another proposer."""
        self.begun.add(sketch.identity)

    @abstractmethod
    def observe(self, news: News) -> None:
        """A rung of an experiment has ended."""

    def memory(self) -> dict[str, np.ndarray]:
        """Tensors that a later search of the same space may begin with; none for most."""
        return {}
