"""Search over any function of choices: the one loop, generators, cutters and the ledger.

Knows nothing of paths, layers or training; only `search/spaces` does. A space is a function that makes named choices
(DESIGN, idea three); a generator answers them; a cutter decides between rungs which experiments go on; the ledger keeps
every outcome, and a job found there is not run again, so that a killed search resumes by replaying it.
"""

from .choices import Choice, Choose, Sketch, SpaceMistake, Trace, draw, replay
from .function import Found, search
from .ledger import Entry, Ledger
from .run import Clock, Experiment, Plan, Result, Setting, run

__all__ = [
    "Choice",
    "Choose",
    "Clock",
    "Entry",
    "Experiment",
    "Found",
    "Ledger",
    "Plan",
    "Result",
    "Setting",
    "Sketch",
    "SpaceMistake",
    "Trace",
    "draw",
    "replay",
    "run",
    "search",
]
