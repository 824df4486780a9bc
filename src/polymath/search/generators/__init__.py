"""Generators, one file each: who answers the choices of a space. Adding one = a new file + its line in `GENERATORS`.

A generator is stateless between processes: it is rebuilt by telling it the ledger's results again, in order.
"""

from __future__ import annotations

from .base import Generator
from .random import Random

GENERATORS: dict[str, type[Generator]] = {"random": Random}

__all__ = ["GENERATORS", "Generator", "Random"]
