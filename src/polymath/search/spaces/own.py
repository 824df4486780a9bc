"""Nets that a task has learned before, as choices: new rows train them on, whole, their upper part, or the head alone,
or fit a new cheap head on their features.

By fold each goes on from the weights that never saw the fold's rows, so that its score stays honest.
"""

from __future__ import annotations

from ...model.path import INPUT, Path
from ...model.probes import LinearProbe
from ...spec import Spec
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose

LINEAR = "linear"
TUNED = (LINEAR, "all", "last", "head")
"""A new linear head alone, or how much is trained on: every layer, the last two with weights, the last one."""
COUNTS = {"all": 0, "last": 2, "head": 1}


class Own(Spec):
    """A net of the task as it stands: its path per fold, all with weights, and how it was trained."""

    name: str
    starts: tuple[Path, ...]
    recipe: GradientRecipe

    @property
    def tuned(self) -> tuple[str, ...]:
        """The ways to go on from it. Only where a linear head reads what layers with weights give, another can."""
        return TUNED if all(_features(path) for path in self.starts) else TUNED[1:]


def continued(
    choose: Choose, nets: tuple[Own, ...], tuned: tuple[str, ...]
) -> tuple[Path, tuple[Path, ...], GradientRecipe | LinearProbe]:
    """A net to go on from: the path of its first fold, those of all folds, and a recipe of smaller steps."""
    names = [net.name for net in nets]
    net = nets[names.index(choose("own.from", names))]
    way = choose("own.tune", [one for one in tuned if one in net.tuned])
    if way == LINEAR:
        features = tuple(found for path in net.starts if (found := _features(path)))
        return features[0], features, LinearProbe()
    count = COUNTS[way]
    share = choose("own.rate", [0.3, 0.1, 1.0])
    starts = tuple(_thawed(path, count) for path in net.starts)
    recipe = net.recipe.replace(learning_rate=share * net.recipe.learning_rate)
    # What frozen genes give is computed once per problem, which pays only if they always see the same.
    return starts[0], starts, recipe.replace(augmentation=Augmentation()) if count else recipe


def _features(path: Path) -> Path | None:
    """What the linear heads of a path read, frozen; None where that is another kind of head or only the input."""
    genes = {gene.name: gene for gene in path.genes}
    heads = {output: genes[name] for output, name in path.outputs.items()}
    if any(getattr(head.layer, "kind", "") != "linear" or head.inputs[0].startswith(INPUT) for head in heads.values()):
        return None
    part = path.giving({output: head.inputs[0] for output, head in heads.items()})
    frozen = tuple(gene.replace(frozen=True) for gene in part.genes)
    return part.replace(genes=frozen) if any(gene.weights for gene in frozen) else None


def _thawed(path: Path, count: int) -> Path:
    """The path with its last `count` genes with weights free to be trained, 0 = all; the others frozen."""
    weighted = [gene.name for gene in path.genes if gene.weights]
    free = set(weighted[-count:]) if count else set(weighted)
    return path.replace(genes=tuple(gene.replace(frozen=gene.name not in free) for gene in path.genes))
