"""Settings of the cheap heads as choices. The first option of every list is the default."""

from __future__ import annotations

from collections.abc import Callable

from ...model.probes import (
    ConstantProbe,
    ForestProbe,
    LinearProbe,
    NearestProbe,
    NgramsProbe,
    PatchesProbe,
    PixelsProbe,
    Probe,
    PrototypesProbe,
    TreesProbe,
)
from ..choices import Choose


def constant(choose: Choose) -> ConstantProbe:
    """The mean or the most frequent class; nothing to choose."""
    return ConstantProbe()


def linear(choose: Choose) -> LinearProbe:
    """Ridge or logistic regression; finds its own strength."""
    return LinearProbe()


def nearest(choose: Choose) -> NearestProbe:
    """Nearest neighbours; finds its own number of them."""
    return NearestProbe()


def trees(choose: Choose) -> TreesProbe:
    """Boosted trees."""
    return TreesProbe(
        learning_rate=choose("trees.learning_rate", [0.06, 0.1, 0.03, 0.2]),
        max_leaf_nodes=choose("trees.max_leaf_nodes", [31, 5, 10, 16, 64, 128]),
        min_samples_leaf=choose("trees.min_samples_leaf", [20, 2, 5, 10, 50]),
        # Without it boosting many classes blows up: on 15 airlines log loss 1.62 at 0, 0.16 at 1 and at 10.
        l2=choose("trees.l2", [1.0, 10.0, 0.1]),
        max_features=choose("trees.max_features", [1.0, 0.3, 0.5, 0.8]),
        max_iter=choose("trees.max_iter", [500, 1000]),
    )


def forest(choose: Choose) -> ForestProbe:
    """Extremely randomized trees or a random forest."""
    return ForestProbe(
        kind=choose("forest.kind", ["extra", "random"]),
        num_trees=choose("forest.num_trees", [100, 200]),
        min_samples_leaf=choose("forest.min_samples_leaf", [2, 1, 5, 10]),
        max_features=choose("forest.max_features", [None, 0.3, 0.6, 1.0]),
    )


def ngrams(choose: Choose) -> NgramsProbe:
    """Words and letters counted (tf-idf) under a linear model."""
    return NgramsProbe(longest=choose("ngrams.longest", [2, 1, 3]))


def letters(choose: Choose) -> NgramsProbe:
    """Parts of words, letter by letter, under a linear model."""
    return NgramsProbe(letters=True, longest=choose("letters.longest", [5, 4]))


def patches(choose: Choose) -> PatchesProbe:
    """Features of small patches of the picture under a linear model."""
    return PatchesProbe(
        filters=choose("patches.filters", [400, 200, 800]),
        choose=choose("patches.choose", ["random", "kmeans"]),
    )


def gradients(choose: Choose) -> Probe:
    """A cheap head on oriented gradients (see `gradients.py`). Numbers there are small, so strengths are too."""
    if choose("gradients.head", ["linear", "prototypes"]) == "prototypes":
        return prototypes(choose)
    return LinearProbe(strengths=(1e-5, 1e-4, 1e-3, 1e-2), max_iterations=60)


def pixels(choose: Choose) -> PixelsProbe:
    """A forest at every pixel, on what its surroundings look like."""
    return PixelsProbe(
        num_trees=choose("pixels.num_trees", [10, 20]), num_pixels=choose("pixels.num_pixels", [20_000, 100_000])
    )


def prototypes(choose: Choose) -> PrototypesProbe:
    """Class means in a whitened space, of the features as they are or of a random projection."""
    return PrototypesProbe(
        standardised=choose("prototypes.standardised", [False, True]),
        projected=choose("prototypes.projected", [0, 2000]),
    )


SETTINGS: dict[str, Callable[[Choose], Probe]] = {
    "constant": constant,
    "linear": linear,
    "nearest": nearest,
    "trees": trees,
    "forest": forest,
    "ngrams": ngrams,
    "letters": letters,
    "patches": patches,
    "gradients": gradients,
    "pixels": pixels,
}
"""Method -> its settings as choices. In the order in which they are tried: cheapest first."""

STORED: dict[str, Callable[[Choose], Probe]] = {"linear": linear, "prototypes": prototypes}
"""Cheap heads on the features of a stored path."""
