"""What `consolidate` gathers: rows of many tasks joined to one table, one file for each kind of input."""

from __future__ import annotations

from .base import Joined, Kind, Source
from .pictures import Pictures
from .texts import Texts

KINDS: tuple[Kind, ...] = (Pictures(), Texts())

__all__ = ["KINDS", "Joined", "Kind", "Source"]
