"""Learn: composes the rooms. `compose` goes from data to a search; `study` keeps the best of it and publishes it."""

from .compose import learn
from .refresh import Refreshed, refresh
from .study import Study
from .wishes import Listener, Silent, Wishes

__all__ = ["Listener", "Refreshed", "Silent", "Study", "Wishes", "learn", "refresh"]
