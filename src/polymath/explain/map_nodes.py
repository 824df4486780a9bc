"""What the map of the whole model draws: alike genes as one stacked box, runs of genes of the same tasks as one box."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..model.union import Union, UnionGene

MOST_LAYERS, MOST_COLUMNS = 90, 10
"""Boxes, and boxes one behind the other, up to which every layer has one of its own."""
WORDS = ("operation", "how", "cell", "combine")
"""Settings that tell layers of a kind apart, beside their width."""


@dataclass(frozen=True)
class Node:
    """A box of the map."""

    kinds: tuple[str, ...]
    """Kinds of its layers, in order."""
    width: int
    """Of what its last layer gives, where the layer says so; else 0."""
    genes: int
    stack: int
    """Alike copies: folds and members of an ensemble."""
    parameters: int
    tasks: tuple[str, ...]
    sources: tuple[int, ...]
    """Places of the nodes that it reads."""
    ports: tuple[str, ...]
    """Inputs that it reads, layers without weights left out."""

    @property
    def words(self) -> str:
        """Its layers in a few words: '3 convolution, pool map'."""
        counts = Counter(self.kinds)
        return ", ".join((f"{n} " if n > 1 else "") + kind.replace("_", " ") for kind, n in counts.items())


@dataclass
class _Group:
    """Genes on their way to become a node."""

    genes: list[UnionGene]
    tasks: tuple[str, ...]
    sources: set[int]
    ports: set[str]
    stack: int = 0
    layers: dict[object, str] = field(default_factory=dict)
    """Kinds of its layers, in order; copies once."""


def nodes(union: Union, *, runs: bool | None = None) -> list[Node]:
    """The boxes in an order in which each stands after what it reads.

    `runs`: genes that hang together and belong to the same tasks are one box; None = where boxes would be many.
    Layers without weights between an input and the first stored layer are left out: they are everybody's. Elsewhere
    they stand in the box of what they read.
    """
    groups = _alike(union)
    if runs or (runs is None and (len(groups) > MOST_LAYERS or _depth(groups) > MOST_COLUMNS)):
        groups = _runs(groups)
    return [_node(union, group) for group in groups]


def _alike(union: Union) -> list[_Group]:
    """One group for genes of the same tasks that are alike and read alike ones."""
    ends = {place for outputs in union.outputs.values() for place in outputs.values()}
    bare: dict[int, set[str]] = {}
    found: dict[tuple[object, ...], int] = {}
    groups: list[_Group] = []
    group_of: dict[int, int] = {}
    for place, gene in enumerate(union.genes):
        ports, sources = set[str](), set[int]()
        for source in gene.inputs:
            if isinstance(source, str):
                ports.add(source)
            elif source in bare:
                ports |= bare[source]
            else:
                sources.add(group_of[source])
        if not gene.weights and not sources and place not in ends:
            bare[place] = ports
            continue
        if not gene.weights and len(gene.inputs) == 1 and sources:
            (before,) = sources
            if groups[before].tasks == tuple(gene.paths):  # poolings and scales stand with what they read
                groups[before].genes.append(gene)
                groups[before].layers[gene.kind, str(gene.layer)] = gene.kind
                group_of[place] = before
                continue
        settings = tuple(str(gene.layer.get(name, "")) for name in WORDS)
        key = (
            gene.kind,
            gene.layer.get("width"),
            settings,
            tuple(gene.paths),
            tuple(sorted(sources)),
            frozenset(ports),
        )
        if key not in found:
            found[key] = len(groups)
            groups.append(_Group([], tuple(gene.paths), sources, ports, layers={place: gene.kind}))
        group_of[place] = found[key]
        groups[found[key]].genes.append(gene)
        groups[found[key]].stack += 1
    return groups


def _depth(groups: Sequence[_Group]) -> int:
    depth: list[int] = []
    for group in groups:
        depth.append(1 + max((depth[source] for source in group.sources), default=0))
    return max(depth, default=0)


def _runs(groups: Sequence[_Group]) -> list[_Group]:
    """Groups of the same tasks that read each other put together."""
    parent = list(range(len(groups)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for place, group in enumerate(groups):
        for source in group.sources:
            if groups[source].tasks == group.tasks:
                parent[root(place)] = root(source)
    merged: dict[int, _Group] = {}
    for place, group in enumerate(groups):
        run = merged.setdefault(root(place), _Group([], group.tasks, set(), set()))
        run.genes += group.genes
        run.ports |= group.ports
        run.layers |= {(place, key): kind for key, kind in group.layers.items()}
        run.sources |= {root(source) for source in group.sources} - {root(place)}
        run.stack = max(run.stack, group.stack)
    order = _ordered(merged)
    places = {name: place for place, name in enumerate(order)}
    for run in merged.values():
        run.sources = {places[source] for source in run.sources}
    return [merged[name] for name in order]


def _ordered(groups: dict[int, _Group]) -> list[int]:
    """Names of groups, each after those that it reads.

    There is no circle: along an arrow tasks drop out and never come back.
    """
    done: dict[int, None] = {}
    waiting = list(groups)[::-1]
    while waiting:
        name = waiting[-1]
        missing = [source for source in groups[name].sources if source not in done]
        if missing:
            waiting += missing
        else:
            done[waiting.pop()] = None
    return list(done)


def _node(union: Union, group: _Group) -> Node:
    last = group.genes[-1]
    width = last.layer.get("width")
    return Node(
        kinds=tuple(group.layers.values()),
        width=width if isinstance(width, int) else 0,
        genes=len(group.genes),
        stack=group.stack,
        parameters=union.parameters({address for gene in group.genes for address in gene.weights}),
        tasks=group.tasks,
        sources=tuple(sorted(group.sources)),
        ports=tuple(sorted(port.partition(":")[2] for port in group.ports)),
    )
