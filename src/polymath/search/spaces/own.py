"""Nets that a task has learned before, as choices: new rows train them on, whole, their upper part, or the head alone.

By fold each goes on from the weights that never saw the fold's rows, so that its score stays honest.
"""

from __future__ import annotations

from ...model.path import Path
from ...spec import Spec
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose

TUNED = ("all", "last", "head")
"""How much of a net is trained on: every layer, the last two with weights, the last alone."""
COUNTS = {"all": 0, "last": 2, "head": 1}


class Own(Spec):
    """A net of the task as it stands: its path per fold, all with weights, and how it was trained."""

    name: str
    starts: tuple[Path, ...]
    recipe: GradientRecipe


def continued(
    choose: Choose, nets: tuple[Own, ...], tuned: tuple[str, ...]
) -> tuple[Path, tuple[Path, ...], GradientRecipe]:
    """A net to go on from: the path of its first fold, those of all folds, and a recipe of smaller steps."""
    names = [net.name for net in nets]
    net = nets[names.index(choose("own.from", names))]
    count = COUNTS[choose("own.tune", list(tuned))]
    share = choose("own.rate", [0.3, 0.1, 1.0])
    starts = tuple(_thawed(path, count) for path in net.starts)
    recipe = net.recipe.replace(learning_rate=share * net.recipe.learning_rate)
    # What frozen genes give is computed once per problem, which pays only if they always see the same.
    return starts[0], starts, recipe.replace(augmentation=Augmentation()) if count else recipe


def _thawed(path: Path, count: int) -> Path:
    """The path with its last `count` genes with weights free to be trained, 0 = all; the others frozen."""
    weighted = [gene.name for gene in path.genes if gene.weights]
    free = set(weighted[-count:]) if count else set(weighted)
    return path.replace(genes=tuple(gene.replace(frozen=gene.name not in free) for gene in path.genes))
