"""Look into the ledger: list, filter and export what was tried for a task, and run an experiment again.

Only reads the store; what it runs again goes into a folder that is thrown away.
"""

from .export import write
from .listing import State, Tried, entries, leaderboard, select, tried
from .replay import Replayed, ReplayedRung, replay
from .tensorboard import write_tensorboard

__all__ = [
    "Replayed",
    "ReplayedRung",
    "State",
    "Tried",
    "entries",
    "leaderboard",
    "replay",
    "select",
    "tried",
    "write",
    "write_tensorboard",
]
