"""The generator every other one is measured against: the default once, then random answers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..choices import Offer, Sketch, first
from .base import Generator, News


class Random(Generator):
    """Proposal 0 takes every default (what a person wrote first); all others draw each choice at random.

    Each proposal has a stream of its own, so it does not depend on the order in which results arrive.
    """

    name: ClassVar[str] = "random"

    def propose(self, number: int) -> Sketch:
        generator = np.random.default_rng([self.seed, number])

        def answer(offer: Offer) -> float:
            return first(offer) if number == 0 else offer.random(generator)

        return self.draw(answer)

    def observe(self, news: News) -> None:
        """Random answers need no memory."""
