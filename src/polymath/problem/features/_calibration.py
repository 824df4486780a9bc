"""Fitting the one number that makes probabilities mean what they say."""

from __future__ import annotations

import math
from collections.abc import Callable


def temperature(log_loss: Callable[[float], float]) -> float:
    """Temperature 1/20 to 20 where `log_loss(1 / temperature)` is least."""
    from scipy.optimize import minimize_scalar  # takes a while to import, and predicting needs none of it

    bound = math.log(20.0)
    found = minimize_scalar(lambda x: log_loss(math.exp(-x)), bounds=(-bound, bound), method="bounded")
    return float(math.exp(found.x))
