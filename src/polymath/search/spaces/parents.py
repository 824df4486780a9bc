"""What a new task may build upon: prefixes of stored paths, as choices. Idea two: they enter frozen, and never change.

A prefix is read by a cheap head, by a trained head, or it is where a net begins: its last genes are cloned, which gives
them new weights, and trained on; the genes before them stay shared with the task they came from.
"""

from __future__ import annotations

from ...model.path import Gene, Path
from ...model.prefix import END
from ...spec import Spec
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose

NOTHING = "nothing"
"""The option of starting fresh; always the first."""


class Parent(Spec):
    """A prefix of a stored path that fits this problem's ports."""

    task: str
    """The task that it comes from."""
    path: Path
    """From ports of this problem to `END`, all genes frozen, named after the task."""
    width: int
    """Of the vector that it gives."""
    classes: int = 0
    """That the task tells apart."""
    promise: float = 0.0
    """How much it is expected to help: parents are ordered by it, the best first."""

    @property
    def name(self) -> str:
        """What choices call it: task and what is read."""
        return f"{self.task}:{self.path.identities()[self.path.outputs[END]][:8]}"


def features(parent: Parent, outputs: tuple[str, ...]) -> Path:
    """The path a cheap head on this parent is fitted on: every output reads the same features."""
    return Path(genes=parent.path.genes, outputs=dict.fromkeys(outputs, parent.path.outputs[END]))


def choose_parent(choose: Choose, name: str, parents: tuple[Parent, ...]) -> Parent | None:
    """Start from nothing, or from one of the parents."""
    taken = choose(name, [NOTHING, *(parent.name for parent in parents)])
    return next((parent for parent in parents if parent.name == taken), None)


def begun(choose: Choose, parent: Parent) -> tuple[list[Gene], str]:
    """Genes of a net that begins with a parent, and the one that gives its vector.

    Some of the parent's last genes with weights are cloned, that is, trained on as new genes; the rest stay shared.
    """
    own = [gene.name for gene in parent.path.genes if gene.weights]
    tuned = choose("parent.tune", ["none", "last", "half", "all"])
    count = {"none": 0, "last": 1, "half": (len(own) + 1) // 2, "all": len(own)}[tuned]
    cloned = set(own[len(own) - count :])
    genes = [gene.replace(frozen=gene.name not in cloned) for gene in parent.path.genes]
    return genes, parent.path.outputs[END]


def careful(choose: Choose, recipe: GradientRecipe, path: Path) -> GradientRecipe:
    """A recipe for a net that begins with a parent: smaller steps, and no augmentation before frozen genes.

    What frozen genes give is computed once per problem, which pays only if they always see the same.
    """
    share = choose("parent.rate", [0.3, 1.0, 0.1])
    recipe = recipe.replace(learning_rate=share * recipe.learning_rate)
    shared = any(gene.frozen and gene.weights for gene in path.genes)
    return recipe.replace(augmentation=Augmentation()) if shared else recipe
