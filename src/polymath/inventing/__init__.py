"""Inventing parts: searches for update rules and recurrent cells, and what was found as a named part of a store.

Two spaces more under the one search loop. What a search finds is recorded as `Invented`; `adopt` gives one a name, and
from then on it is an option in every recipe (a rule) or architecture (a cell) that is searched in that store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ..spec import BadInput
from ..store import Store
from .found import (
    Invented,
    Inventions,
    Kind,
    Order,
    Section,
    Silent,
    Watcher,
    adopt,
    adopted,
    entries,
    invented,
    lookup,
    record,
)

SEARCHES = {"optimizer": "optimizers:search_optimizer", "cell": "cells:search_cell"}
"""What can be searched for -> module of this room and its function."""
GENERATORS = {"optimizer": "evolution", "cell": "bandit"}
"""Who proposes unless it is said: a rule is measured in a third of a second; a surrogate would double that."""
REPORTS = {"rule": "report:rule_report", "cell": "cell_report:cell_report"}
"""Kind of part -> what says more of the best one found."""

PYTHON = {"rule": "optimizers:rule_as_python", "cell": "cells:cell_as_python"}
"""Kind of part -> what writes it as Python."""


def searching(what: str) -> Callable[[Store, Order], Inventions]:
    """The search for parts of one kind, by its name. Raises BadInput."""
    if what not in SEARCHES:
        raise BadInput("cannot be searched for", value=what, remedy=f"One of: {', '.join(SEARCHES)}.")
    found: Callable[[Store, Order], Inventions] = _function(SEARCHES[what])
    return found


def reporting(kind: Kind) -> Callable[..., Sequence[Section]]:
    """What tells more of the best of a search: `(store, inventions, *, lanes) -> sections of a page`."""
    found: Callable[..., Sequence[Section]] = _function(REPORTS[kind])
    return found


def python_of(found: Invented) -> str:
    """The text of one Python file that says the same and needs nothing of ours."""
    return str(_function(PYTHON[found.kind])(found))


def _function(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f".{module}", __name__), name)


__all__ = [
    "GENERATORS",
    "SEARCHES",
    "Invented",
    "Inventions",
    "Order",
    "Section",
    "Silent",
    "Watcher",
    "adopt",
    "adopted",
    "entries",
    "invented",
    "lookup",
    "python_of",
    "record",
    "reporting",
    "searching",
]
