"""Mistakes shown with their inputs, as far as the data are still in the cache: a store holds no rows."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..problem import Dataset
from ..problem.features import Category, Date, Feature, Image, Labels, Number, Text
from ..problem.features.common import key
from ..problem.problem import ROW
from .columns import day
from .markup import Html, more, number, tag, text
from .material import Material

SMALL = 48
"""Pictures with fewer pixels a side are enlarged pixel by pixel, not smoothed."""
MOST_CELLS = 8
"""Columns of a row shown at once."""
MOST_LETTERS = 320
"""Of a text."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: where it stands in the dataset, what was said, what is true."""

    row: int
    said: str
    truth: str
    note: str


def mistakes(material: Material, found: Sequence[Mistake], *, total: int | None, title: str) -> Html:
    """Cards, one per mistake; `total` = how many there are in all."""
    if not found:
        return tag("div", tag("h3", title), tag("p", "It made no mistake on these rows.", class_="soft"))
    dataset = material.dataset
    pictures = bool(dataset) and any(isinstance(feature, Image) for feature in material.problem.inputs)
    broad = "mistakes" if pictures and len(material.problem.inputs) == 1 else "mistakes broad"
    cards = [tag("div", *_card(dataset, one), class_="mistake") for one in found]
    count = f"{len(found)} of {total:,}. " if total is not None and total > len(found) else ""
    where = "Rows are counted from 1 in the order in which they were read."
    missing = None
    if dataset is None:
        place = f" ({material.dataset_folder})" if material.dataset_folder else ""
        said = (
            f"The inputs are not shown: the data are no longer in the cache{place}, and a store holds no rows. "
            "Learn again to see them."
        )
        missing = tag("p", said, class_="warn soft")
    return tag(
        "div", tag("h3", title), tag("p", count + where, class_="soft"), missing, tag("div", *cards, class_=broad)
    )


def _card(dataset: Dataset | None, mistake: Mistake) -> Iterator[Html]:
    if dataset is not None and mistake.row < len(dataset.folds):
        yield tag("div", *_inputs(dataset, mistake.row), class_="shown")
    yield tag(
        "div",
        tag("p", tag("span", "said ", class_="soft"), tag("b", mistake.said, class_="bad")),
        tag("p", tag("span", "truth ", class_="soft"), tag("b", mistake.truth)),
        tag("p", f"{mistake.note} · row {mistake.row + 1:,}", class_="soft"),
        class_="said",
    )


def _inputs(dataset: Dataset, row: int) -> Iterator[Html]:
    """Pictures, then texts, then the other columns as a table."""
    cells: list[tuple[str, str]] = []
    place = 0
    for feature in dataset.problem.inputs:
        port = dataset.problem.port_of(feature)
        if port == ROW:
            width = feature.form.width
            cells.append((feature.name, shown(feature, np.asarray(dataset.inputs[ROW][row, place : place + width]))))
            place += width
        elif isinstance(feature, Image):
            yield picture(np.asarray(dataset.inputs[port][row]), feature.name)
        elif isinstance(feature, Text) and feature.subwords is not None:
            words = feature.subwords.decode(dataset.inputs[port][row])
            yield tag("blockquote", text(words, MOST_LETTERS) or "(empty)")
    if cells:
        yield _table(cells[:MOST_CELLS])
        if cells[MOST_CELLS:]:
            yield more(f"{len(cells) - MOST_CELLS} more columns", _table(cells[MOST_CELLS:]))


def _table(cells: Sequence[tuple[str, str]]) -> Html:
    return tag("table", *(tag("tr", tag("th", text(name, 40)), tag("td", value)) for name, value in cells))


def picture(pixels: np.ndarray, name: str) -> Html:
    """Bytes [C, H, W] as an image within the page."""
    from PIL import Image as Pillow

    array = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    small = "small" if max(array.shape[:2]) < SMALL else None
    return tag("img", src=f"data:image/png;base64,{data}", alt=f"{text(name)} of this row", class_=small)


def shown(feature: Feature, encoded: np.ndarray) -> str:
    """The value that an encoded one came from, near enough for people."""
    if np.isnan(encoded).all():
        return "missing"
    if isinstance(feature, Number) and feature.mean is not None and feature.deviation is not None:
        return number(float(encoded[0]) * feature.deviation + feature.mean)
    if isinstance(feature, Category) and feature.classes is not None:
        code = int(encoded[0])
        if 1 <= code <= len(feature.classes):
            return text(key(feature.classes[code - 1]), 40)
        return "rare" if code else "missing" if feature.rare else "missing or unknown"
    if isinstance(feature, Labels) and feature.classes is not None:
        return (
            text(", ".join(key(one) for one, mark in zip(feature.classes, encoded, strict=False) if mark == 1), 60)
            or "none"
        )
    if isinstance(feature, Date) and feature.mean is not None and feature.deviation is not None:
        # float32 holds a moment to about a ten-millionth of the spread: a day is right, seconds are not.
        seconds = float(encoded[0]) * feature.deviation + feature.mean
        return day(round(seconds / 86_400) * 86_400 if "day" not in feature.cycles else round(seconds / 60) * 60)
    return text(", ".join(number(float(value), 3) for value in encoded[:4]), 40)
