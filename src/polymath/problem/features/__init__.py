"""Features, one file each. Adding one = a new file + its line in `FEATURES`; from another package = an entry point."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from ...spec import printable
from .base import BadValue, Encoded, Feature, Metric
from .category import Category
from .date import Date
from .events import Events
from .graded import Graded
from .image import Image
from .labels import Labels
from .number import Number
from .pixel_map import PixelMap
from .pixel_numbers import PixelNumbers
from .reply import Reply
from .text import Text

FEATURES: tuple[type[Feature], ...] = (
    Category,
    Date,
    Events,
    Graded,
    Image,
    Labels,
    Number,
    PixelMap,
    PixelNumbers,
    Reply,
    Text,
)


@cache
def vocabulary() -> dict[str, type[Feature]]:
    """Type -> feature class: the list above and the entry points `polymath.features` of installed packages."""
    found: list[type[Feature]] = [*FEATURES, *(point.load() for point in entry_points(group="polymath.features"))]
    return {feature.model_fields["type"].default: feature for feature in found}


def parse_feature(description: Mapping[str, Any]) -> Feature:
    """A feature from its JSON description. Raises ValueError for a type that is not in the vocabulary."""
    kind = description.get("type")
    if not isinstance(kind, str) or kind not in vocabulary():
        raise ValueError(f"unknown feature type {printable(repr(kind))}; known: {', '.join(sorted(vocabulary()))}")
    return vocabulary()[kind].model_validate(dict(description))


__all__ = [
    "FEATURES",
    "BadValue",
    "Category",
    "Date",
    "Encoded",
    "Events",
    "Feature",
    "Graded",
    "Image",
    "Labels",
    "Metric",
    "Number",
    "PixelMap",
    "PixelNumbers",
    "Reply",
    "Text",
    "parse_feature",
    "vocabulary",
]
