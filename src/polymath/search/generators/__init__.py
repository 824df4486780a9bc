"""Generators, one file each: who answers the choices of a space. Adding one = a new file + its line in `GENERATORS`.

From another package: an entry point in the group `polymath.generators`. A generator is rebuilt by telling it the
ledger's results again, in order.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from .bandit import Bandit
from .base import Draw, Experience, Generator, News, Past
from .controller import Ppo, Reinforce, Reinforce2017
from .evolution import Evolution
from .local import Local
from .optuna import Optuna
from .portfolio import Portfolio
from .random import Random
from .surrogate import Surrogate

GENERATORS: tuple[type[Generator], ...] = (
    Random,
    Surrogate,
    Evolution,
    Local,
    Portfolio,
    Bandit,
    Optuna,
    Reinforce,
    Ppo,
    Reinforce2017,
)


@cache
def generators() -> dict[str, type[Generator]]:
    """Name -> generator: the list above and the entry points `polymath.generators` of installed packages."""
    found = {kind.name: kind for kind in GENERATORS}
    for point in entry_points(group="polymath.generators"):
        kind = point.load()
        if not (isinstance(kind, type) and issubclass(kind, Generator)) or kind.name in found:
            raise ValueError(f"entry point {point.name!r} gives no generator with a name of its own")
        found[kind.name] = kind
    return found


__all__ = ["GENERATORS", "Draw", "Experience", "Generator", "News", "Past", "Random", "generators"]
