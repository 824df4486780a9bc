"""What is to be learned: features, problems, the rows they are learned from, splits. Knows no model."""

from __future__ import annotations

from .dataset import Dataset, near_duplicates
from .features import FEATURES, BadValue, Category, Encoded, Feature, Image, Metric, Number, parse_feature
from .form import Form, Tokens
from .problem import Ignored, Problem, Split

__all__ = [
    "FEATURES",
    "BadValue",
    "Category",
    "Dataset",
    "Encoded",
    "Feature",
    "Form",
    "Ignored",
    "Image",
    "Metric",
    "Number",
    "Problem",
    "Split",
    "Tokens",
    "near_duplicates",
    "parse_feature",
]
