"""What is to be learned: features, problems, the rows they are learned from, splits. Knows no model."""

from __future__ import annotations

from .dataset import Dataset, near_duplicates
from .features import (
    FEATURES,
    BadValue,
    Category,
    Date,
    Encoded,
    Feature,
    Graded,
    Image,
    Labels,
    Metric,
    Number,
    Reply,
    Text,
    parse_feature,
)
from .form import Form, Tokens
from .problem import Ignored, Problem, Split
from .sources.rows import Rows

__all__ = [
    "FEATURES",
    "BadValue",
    "Category",
    "Dataset",
    "Date",
    "Encoded",
    "Feature",
    "Form",
    "Graded",
    "Ignored",
    "Image",
    "Labels",
    "Metric",
    "Number",
    "Problem",
    "Reply",
    "Rows",
    "Split",
    "Text",
    "Tokens",
    "near_duplicates",
    "parse_feature",
]
