"""Learn: composes the rooms. `compose` goes from data to a search; `study` keeps the best of it and publishes it."""

from .compose import Listener, Silent, Wishes, learn
from .refresh import Refreshed, refresh
from .study import Study

__all__ = ["Listener", "Refreshed", "Silent", "Study", "Wishes", "learn", "refresh"]
