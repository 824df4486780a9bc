"""Inventing parts: searches for update rules and recurrent cells, and what was found as a named part of a store.

Two spaces more under the one search loop. What a search finds is recorded as `Invented`; `adopt` gives one a name, and
from then on it is an option in every recipe (a rule) or architecture (a cell) that is searched in that store.
"""

from .found import Invented, Inventions, Order, Silent, Watcher, adopt, adopted, invented, record

__all__ = ["Invented", "Inventions", "Order", "Silent", "Watcher", "adopt", "adopted", "invented", "record"]
