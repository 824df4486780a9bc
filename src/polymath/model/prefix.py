"""Parts of stored paths that other paths can begin with: from the ports to one gene that gives a vector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from ..problem.form import Form
from .layers.pool_map import PoolMap
from .path import INPUT, Gene, Path

OWN_KINDS = frozenset(
    {
        "constant",
        "trees",
        "ngrams",
        "one_hot",
        "flatten",
        "scale",
        "ensemble",
        "part",
        "local_filters",
        "pixel_trees",
        "moved",
    }
)
"""Layers whose values speak of one task's targets or columns alone, or of raw pixels: nothing to build upon."""
POOLED = "pooled"
"""Gene that a prefix ends with where the net it comes from has none that gives a vector."""
END = "features"
"""Output of a prefix."""


def prefixes(path: Path, ports: Mapping[str, Form]) -> list[Path]:
    """For each net in a path (of an ensemble each member's first fold) the part up to what its heads read.

    Each gives one output, `END`: the last vector before the answer that comes of stored weights. Best member first, as
    far as the ensembles' weights tell. Nets of which only the input is shared (trees, one-hot linear) give none.
    """
    forms = path.forms(ports)
    genes = {gene.name: gene for gene in path.genes}
    found: dict[str, Path] = {}
    for output in path.outputs.values():
        for head in _heads(genes, output):
            if forms[head.name].kind == "map":
                part = _pooled(path, head, forms)
                if part is not None:
                    found.setdefault(_shape(part), part)
                continue
            for source in head.inputs:
                if source in genes and forms[source].kind == "vector" and not forms[source].categories:
                    part = path.giving({END: source})
                    kinds = {str(getattr(gene.layer, "kind", "")) for gene in part.genes}
                    if not kinds & OWN_KINDS and any(gene.weights for gene in part.genes):
                        found.setdefault(_shape(part), part)
    return list(found.values())


def _pooled(path: Path, head: Gene, forms: Mapping[str, Form]) -> Path | None:
    """Of a net that answers at every pixel the way down to its smallest map, whose pixels are averaged to a vector."""
    below = [gene for gene in path.giving({END: head.name}).genes if gene.name != head.name]
    maps = [gene for gene in below if forms[gene.name].kind == "map" and gene.weights]
    if not maps or {str(getattr(gene.layer, "kind", "")) for gene in below} & OWN_KINDS:
        return None
    smallest = min(math.prod(forms[gene.name].size) for gene in maps)
    end = next(gene.name for gene in reversed(maps) if math.prod(forms[gene.name].size) == smallest)
    part = path.giving({END: end})
    return Path(genes=(*part.genes, Gene(name=POOLED, layer=PoolMap(), inputs=(end,))), outputs={END: POOLED})


def _heads(genes: Mapping[str, Gene], name: str) -> list[Gene]:
    """Genes that give the answers of single nets, below scales and ensembles, heaviest first."""
    gene = genes[name]
    kind = str(getattr(gene.layer, "kind", ""))
    if kind == "ensemble":
        weights = getattr(gene.layer, "weights", ()) or (1.0,) * len(gene.inputs)
        ranked = sorted(
            zip(weights, range(len(gene.inputs)), gene.inputs, strict=True), key=lambda one: (-one[0], one[1])
        )
        return [head for *_, source in ranked for head in _heads(genes, source)]
    if kind in ("scale", "part") and gene.inputs[0] in genes:
        return _heads(genes, gene.inputs[0])
    return [gene]


def _shape(part: Path) -> str:
    """The layers without their weights: folds of one experiment are alike."""
    return repr([(gene.layer.to_json(), len(gene.inputs)) for gene in part.genes])


def grafted(part: Path, *, ports: Mapping[str, str], name: str) -> Path:
    """The prefix as it stands in another problem: ports renamed (old -> new), genes called NAME.0 ..., all frozen."""
    names = {gene.name: f"{name}.{place}" for place, gene in enumerate(part.genes)}
    names |= {INPUT + old: INPUT + new for old, new in ports.items()}
    genes = tuple(
        gene.replace(name=names[gene.name], inputs=tuple(names[source] for source in gene.inputs), frozen=True)
        for gene in part.genes
    )
    return Path(genes=genes, outputs={END: names[part.outputs[END]]})


def matching(
    part: Path, own: Mapping[str, Form], ports: Mapping[str, Form], *, settled: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str] | None:
    """Ports of a prefix -> ports of another problem that fit it; None when some port has none or more than one.

    `own`: the ports of the problem that the prefix comes from. A port of rows is matched by nothing: its columns mean
    other things. Images may have another size if all layers take it; token ids must be of the same vocabulary.
    `settled`: ports for which it is known, because the prefix translates what stands there.
    """
    found = dict(settled)
    for port in sorted(set(part.ports) - set(settled)):
        form = own[port]
        fits = [
            name
            for name, other in ports.items()
            if other.kind == form.kind != "vector" and (other.width, other.vocabulary) == (form.width, form.vocabulary)
        ]
        if len(fits) != 1:
            return None
        found[port] = fits[0]
    try:
        grafted(part, ports=found, name="x").forms(ports)
    except ValueError:
        return None
    return found


def frozen_genes(path: Path) -> set[str]:
    """Genes that are frozen with all that they read: what they give for a row never changes."""
    found: set[str] = set()
    for gene in path.genes:
        if gene.frozen and all(source.startswith(INPUT) or source in found for source in gene.inputs):
            found.add(gene.name)
    return found


def frontier(path: Path) -> tuple[str, ...]:
    """Frozen genes that others, or outputs, read: what need be computed once per problem."""
    frozen = frozen_genes(path)
    read = {source for gene in path.genes if gene.name not in frozen for source in gene.inputs}
    return tuple(gene.name for gene in path.genes if gene.name in frozen & (read | set(path.outputs.values())))


def trained_work(path: Path, ports: Mapping[str, Form]) -> float:
    """Multiply-adds of one example through the genes that are not frozen: what a step costs on cached features."""
    forms, frozen = path.forms(ports), frozen_genes(path)
    return sum(gene.layer.work(*inputs) for gene, inputs in path.walk(ports, forms) if gene.name not in frozen)


def read_from_ports(path: Path, genes: Mapping[str, str]) -> Path:
    """The rest of a path when some genes are read from ports instead: `genes` = gene -> port that stands for it."""
    known = {name: INPUT + port for name, port in genes.items()}
    needed = set(path.outputs.values())
    kept: list[Gene] = []
    for gene in reversed(path.genes):
        if gene.name in needed and gene.name not in known:
            needed.update(gene.inputs)
            kept.append(gene.replace(inputs=tuple(known.get(source, source) for source in gene.inputs)))
    return Path(genes=tuple(reversed(kept)), outputs=path.outputs)
