"""How files, folders and tables become rows. Knows nothing of features, models or training."""

from .read import read
from .rows import Rows, Unused

__all__ = ["Rows", "Unused", "read"]
