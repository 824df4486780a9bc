"""The generator every other one is measured against: the default once, then random answers."""

from __future__ import annotations

import numpy as np

from ..choices import Answer, Offer, Trace, first
from .base import Generator


class Random(Generator):
    """Experiment 0 takes every default (what a person wrote first); all others draw each choice at random.

    Every fourth experiment keeps half of the defaults, so that a good starting point is also explored near by.
    Each experiment has a stream of its own, so proposals do not depend on the order in which results arrive.
    """

    def propose(self, number: int) -> Answer:
        generator = np.random.default_rng([self.seed, number])

        def answer(offer: Offer) -> float:
            if number == 0 or (number % 4 == 1 and generator.random() < 0.5):
                return first(offer)
            return offer.random(generator)

        return answer

    def observe(self, trace: Trace, score: float, work: float) -> None:
        """Random answers need no memory."""
