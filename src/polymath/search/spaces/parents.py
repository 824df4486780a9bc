"""What a new task may build upon: prefixes of stored paths, as choices. Idea two: they enter frozen, and never change.

A prefix is read by a cheap head, by a trained head, or it is where a net begins: its last genes are cloned, which gives
them new weights, and trained on, or small adapters behind its genes are trained; the genes before them stay shared with
the task they came from, and behind an adapter the weights do. Several prefixes meet in a gate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...model.layers.adapter import Adapter
from ...model.layers.router import Router
from ...model.path import Gene, Path
from ...model.prefix import END, trained_work
from ...problem.form import Form
from ...spec import Spec
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose

NOTHING = "nothing"
"""The option of starting fresh; always the first."""
SEVERAL = "several"
"""The option of reading several parents at once; always the last."""
MOST_SEVERAL = 4
"""Parents that one gate weighs: each is computed for every row that is asked."""
LEAST_ADAPTED = 8
"""Width of what an adapter corrects: narrower values are pixels and columns."""
SPEED = {"map": 6e9, "tokens": 30e9}
"""Multiply-adds per second of one modest core through what reads such a form: EfficientNet-Lite0 at 128 pixels, and
MiniLM where the longest text is twice the usual one."""
MOST_TIME = 0.4
"""Share of the time that one pass of all rows may take."""
LEAST_TRAINED = 0.7
"""Share of a net's work behind its first trained gene from which it sees changed examples: on a script of 27 letters
with 5 examples each augmentation was worth 10 to 20 points, more than where the net begins."""


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
    learned: bool = False
    """Whether the ledger has taught that: then it is a gain over cheap heads (`learning.promise`), else a formula."""

    @property
    def name(self) -> str:
        """What choices call it: task and what is read."""
        return f"{self.task}:{self.path.identities()[self.path.outputs[END]][:8]}"


def features(parent: Parent, outputs: tuple[str, ...]) -> Path:
    """The path a cheap head on this parent is fitted on: every output reads the same features."""
    return Path(genes=parent.path.genes, outputs=dict.fromkeys(outputs, parent.path.outputs[END]))


def in_time(parents: tuple[Parent, ...], ports: Mapping[str, Form], *, rows: int, seconds: float) -> tuple[Parent, ...]:
    """Those whose features of all rows can be had in time, as far as is known: of rows of numbers, always."""

    def takes(parent: Parent) -> float:
        kinds = {ports[port].kind for port in parent.path.ports}
        slowest = min((speed for kind, speed in SPEED.items() if kind in kinds), default=math.inf)
        return rows * parent.path.work(ports) / slowest

    return tuple(parent for parent in parents if takes(parent) <= MOST_TIME * seconds)


def choose_parent(choose: Choose, name: str, parents: tuple[Parent, ...]) -> Parent | None:
    """Start from nothing, or from one of the parents."""
    taken = choose(name, [NOTHING, *(parent.name for parent in parents)])
    return next((parent for parent in parents if parent.name == taken), None)


def choose_parents(choose: Choose, name: str, parents: tuple[Parent, ...]) -> tuple[Parent, ...]:
    """Start from nothing, from one of the parents, or from several, each of another task."""
    most = min(len({parent.task for parent in parents}), MOST_SEVERAL)
    several = [SEVERAL] if most > 1 else []
    taken = choose(name, [NOTHING, *(parent.name for parent in parents), *several])
    if taken != SEVERAL:
        return tuple(parent for parent in parents if parent.name == taken)
    found: list[Parent] = []
    for place in range(choose(f"{SEVERAL}.parents", list(range(2, most + 1)))):
        left = {one.name: one for one in parents if one.task not in {other.task for other in found}}
        found.append(left[choose(f"{SEVERAL}.{place}", list(left))])
    return tuple(found)


def begun(choose: Choose, parent: Parent, ports: Mapping[str, Form] | None = None) -> tuple[list[Gene], str]:
    """Genes of a net that begins with a parent, and the one that gives its vector.

    Some of the parent's last genes with weights are cloned, that is, trained on as new genes, or have adapters put
    behind them; the rest stay shared. `ports`: what the parent reads; None = without adapters.
    """
    own = [gene.name for gene in parent.path.genes if gene.weights]
    adaptable = [] if ports is None else _adaptable(parent.path, ports)
    tuned = choose("parent.tune", ["none", "last", "half", "all", *(["adapters"] if adaptable else [])])
    if tuned == "adapters":
        return _adapted(choose, parent, adaptable), parent.path.outputs[END]
    cloned = _last(own, tuned)
    genes = [gene.replace(frozen=gene.name not in cloned) for gene in parent.path.genes]
    return genes, parent.path.outputs[END]


def _last(names: list[str], share: str) -> set[str]:
    """None of the names, the last, the last half or all of them."""
    count = {"none": 0, "last": 1, "half": (len(names) + 1) // 2, "all": len(names)}[share]
    return set(names[len(names) - count :])


def _adaptable(path: Path, ports: Mapping[str, Form]) -> list[str]:
    """Genes with weights behind which an adapter fits."""
    forms = path.forms(ports)
    return [
        gene.name
        for gene in path.genes
        if gene.weights and forms[gene.name].width >= LEAST_ADAPTED and not forms[gene.name].vocabulary
    ]


def _adapted(choose: Choose, parent: Parent, adaptable: list[str]) -> list[Gene]:
    """The parent's genes, all frozen, with adapters behind some of the last.

    An adapter takes the name of the gene that it corrects, so that what was read from the one is read from the other.
    """
    places = _last(adaptable, choose("parent.adapters", ["half", "all", "last"]))
    layer = Adapter(hidden=choose("parent.adapter", [16, 8, 32, 64]))
    genes: list[Gene] = []
    for gene in parent.path.genes:
        if gene.name in places:
            stored = f"{gene.name}.stored"
            genes += [gene.replace(name=stored), Gene(name=gene.name, layer=layer, inputs=(stored,))]
        else:
            genes.append(gene)
    return genes


def gated(choose: Choose, parents: tuple[Parent, ...]) -> tuple[list[Gene], str]:
    """Genes of a net that reads several parents, all frozen, through a gate, and the one that gives its vector."""
    genes = [gene for parent in parents for gene in parent.path.genes]
    gate = Router(width=choose(f"{SEVERAL}.width", [128, 64, 256]))
    ends = tuple(parent.path.outputs[END] for parent in parents)
    return [*genes, Gene(name="gate", layer=gate, inputs=ends)], "gate"


def careful(
    choose: Choose, recipe: GradientRecipe, path: Path, ports: Mapping[str, Form] | None = None
) -> GradientRecipe:
    """A recipe for a net that begins with a parent: smaller steps where its genes are cloned, for they know something.

    What frozen genes give is computed once per problem, which pays only if they always see the same: no augmentation,
    unless most of the net is trained, or stands behind an adapter. `ports`: of the problem; None = never with it.
    """
    cloned = any(gene.weights and not gene.frozen for gene in path.genes)
    share = choose("parent.rate", [0.3, 1.0, 0.1] if cloned else [1.0, 0.3, 0.1])
    recipe = recipe.replace(learning_rate=share * recipe.learning_rate)
    cached = any(gene.frozen and gene.weights for gene in path.genes)
    if cached and ports is not None:
        cached = trained_work(path, ports) < LEAST_TRAINED * path.work(ports)
    return recipe.replace(augmentation=Augmentation()) if cached else recipe
