"""Contract kits: what every part of a kind must do, whoever wrote it. Run a kit over a new part before writing tests.

A kit raises AssertionError with the promise that was broken.
"""

from ..store.kit import check_objects, check_store
from .engines import check_engine
from .features import check_feature
from .layers import check_layer, random_value
from .search import check_cutter, check_generator, check_space, toy_score, toy_space

__all__ = [
    "check_cutter",
    "check_engine",
    "check_feature",
    "check_generator",
    "check_layer",
    "check_objects",
    "check_space",
    "check_store",
    "random_value",
    "toy_score",
    "toy_space",
]
