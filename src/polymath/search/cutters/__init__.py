"""Cutters, one file each: who decides between rungs who goes on. A new one = file + its line in `CUTTERS`."""

from __future__ import annotations

from .base import Cutter, Field, Standing
from .curve import Curve
from .halving import Halving
from .median import Median
from .top_k import TopK

CUTTERS: tuple[type[Cutter], ...] = (Halving, TopK, Median, Curve)


def cutters() -> dict[str, type[Cutter]]:
    """Name -> cutter."""
    return {kind.name: kind for kind in CUTTERS}


__all__ = ["CUTTERS", "Curve", "Cutter", "Field", "Halving", "Median", "Standing", "TopK", "cutters"]
