"""Cutters, one file each: who decides between rungs who goes on. A new one = file + its line in `CUTTERS`."""

from __future__ import annotations

from .base import Cutter
from .halving import Halving

CUTTERS: dict[str, type[Cutter]] = {"halving": Halving}

__all__ = ["CUTTERS", "Cutter", "Halving"]
