"""What can be set about the controller. Defaults: benchmarks/LOG.md says what was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How the controller learns."""

    layers: int = 2
    units: int = 35
    learning_rate: float = 0.08
    clip: float = 0.0
    """How far the probability of an answer may move in one lesson, as a share (PPO); 0: REINFORCE."""
    every: int = 5
    """Finished experiments per lesson, at least."""
    epochs: int = 2
    """Steps of Adam per lesson."""
    window: int = 40
    """The latest experiments of its own that a lesson looks at."""
    first: int = 10
    """Finished experiments before the first lesson."""
    elite: int = 10
    """How many of the best known experiments, whoever proposed them, are imitated."""
    imitation: float = 0.3
    """How much each of them counts beside an advantage of one standard deviation."""
    entropy: float = 0.02
    power: float = 3.0
    """The reward is the share of experiments that are worse, to this power. 0: the standardised score itself."""
    decay: float = 0.9
    """Of the moving average that is the baseline."""
    even: float = 0.05
    """Share of answers that look at no probability."""
    norm: float = 1.0
    """The gradient is shortened to this length."""
