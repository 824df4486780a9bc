"""Icon themes of Debian: which folder of its theme does an icon belong to?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prepare import themes

from .family import Family, Plan
from .few import Task, cut
from .scripts import consolidated

ASKED = 0.4
"""Of every class, for the test."""


def tasks(cache: Path) -> list[Task]:
    return [
        cut(name, form="pictures", columns={"picture": pictures}, labels=kinds, asked=drawn(kinds, ASKED, name))
        for name, (pictures, kinds) in themes.themes(cache=cache).items()
    ]


def drawn(labels: np.ndarray, share: float, name: str) -> np.ndarray:
    """This share of every class, drawn by the name of the task."""
    labels = np.asarray(labels)
    random, asked = np.random.default_rng([*name.encode()]), np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        mine = random.permutation(np.flatnonzero(labels == label))
        asked[mine[: max(1, round(share * len(mine)))]] = True
    return asked


FAMILY = Family(
    name="icons",
    title="Icon themes of Debian",
    about="The class is the folder that the theme keeps the icon in (actions, apps, devices, ...). Every icon once.",
    tasks=tasks,
    full=Plan(7, 3, 60, 6.0, 60.0, 5.0, 8.0, (1, 2, 5, 10, 20, 50), times=(1,)),
    quick=Plan(3, 1, 20, 3.0, 12.0, 3.0, 3.0, (2, 10), times=(1,)),
    gather=consolidated,
)
