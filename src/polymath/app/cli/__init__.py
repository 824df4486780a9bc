"""The commands and their options, a file for each kind; importing them registers them with `root.app`, in this order.

Only typer and rich are imported here: a command imports what does its work when it runs.
"""

from . import learning

# isort: split
from . import asking

# isort: split
from . import inventing, living
from .root import app

__all__ = ["app", "asking", "inventing", "learning", "living"]
