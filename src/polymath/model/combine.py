"""Many experiments -> one path: greedy ensemble selection on out-of-fold predictions, paths merged into one graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..problem.features import Feature
from .layers.ensemble import Combine, Ensemble
from .layers.moved import Moved
from .layers.scale import Scale
from .moving import moves
from .path import INPUT, Gene, Path

MAX_PICKS = 20
"""Picks with replacement: more changed the weights by less than the noise of the validation rows."""
MERGED = re.compile(r"e(-?\d+)(?:f\d+)?\.")
"""What `merge` puts before the names of genes: the number of the experiment, and the fold where there are several."""


@dataclass(frozen=True)
class Member:
    """One experiment as an ensemble sees it: raw out-of-fold predictions per output [N, W] and its path per fold."""

    number: int
    score: float
    predictions: Mapping[str, np.ndarray]
    paths: tuple[Path, ...]


def select(
    members: Sequence[Member],
    outputs: Sequence[Feature],
    judge: Callable[[Mapping[str, np.ndarray], frozenset[int]], float],
    *,
    most: int = 8,
    least: float = 0.0,
) -> dict[int, float]:
    """Weights by member number that sum to one; `judge` scores predictions and who is in them, higher is better.

    Caruana et al. (2004), 'Ensemble selection from libraries of models': start from the best member, then add, with
    replacement, the one that makes the combination best; the best prefix wins. At most `most` different members.
    A longer prefix must be better by `least`: a correlation, say, stays the same whatever constant is mixed in.
    """
    judged = {member.number: judge(member.predictions, frozenset((member.number,))) for member in members}
    by_number = {member.number: member for member in members}
    best = max(judged, key=lambda n: (judged[n], -n))
    picks, best_score, best_length = [best], judged[best], 1
    current = {f.name: by_number[best].predictions[f.name] for f in outputs}
    while len(picks) < MAX_PICKS:
        allowed = list(by_number) if len(set(picks)) < most else sorted(set(picks))
        options: dict[int, tuple[float, dict[str, np.ndarray]]] = {}
        for number in allowed:
            mixed = {
                f.name: f.combine(
                    [current[f.name], by_number[number].predictions[f.name]],
                    [len(picks) / (len(picks) + 1), 1 / (len(picks) + 1)],
                )
                for f in outputs
            }
            options[number] = (judge(mixed, frozenset((*picks, number))), mixed)
        chosen = max(options, key=lambda n: (options[n][0], -n))
        picks.append(chosen)
        score, current = options[chosen]
        if score > best_score + least:
            best_score, best_length = score, len(picks)
    kept = picks[:best_length]
    return {number: kept.count(number) / len(kept) for number in sorted(set(kept))}


def merge(members: Sequence[Member], weights: Mapping[int, float], outputs: Sequence[Feature]) -> Path:
    """One path that gives the weighted combination of the members, each the mean of its folds."""
    parts: list[tuple[str, Path, float]] = []
    for member in members:
        if member.number in weights:
            share = weights[member.number] / len(member.paths)
            many = len(member.paths) > 1
            parts += [
                (f"e{member.number}" + (f"f{fold}" if many else ""), path, share)
                for fold, path in enumerate(member.paths)
            ]
    if len(parts) == 1:
        return parts[0][1]
    genes = [gene for prefix, path, _ in parts for gene in _prefixed(path, prefix)]
    ends: dict[str, str] = {}
    for feature in outputs:
        name = f"out.{feature.name}"
        sources = tuple(f"{prefix}.{path.outputs[feature.name]}" for prefix, path, _ in parts)
        layer = Ensemble(combine=_how(feature), weights=tuple(share for *_, share in parts))
        genes.append(Gene(name=name, layer=layer, inputs=sources))
        ends[feature.name] = name
    return Path(genes=tuple(genes), outputs=ends)


def mean_head(
    paths: Sequence[Path],
    *,
    fetch: Callable[[str], Mapping[str, np.ndarray]],
    put: Callable[[dict[str, np.ndarray]], str],
) -> Path:
    """One path for several that differ in the weights of their last genes alone: the mean of these weights.

    For linear heads on the same features that is the mean of their answers, with the parameters of one.
    """
    first, *others = paths
    genes = []
    for place, gene in enumerate(first.genes):
        addresses = [gene.weights, *(path.genes[place].weights for path in others)]
        if gene.weights is not None and len(set(addresses)) > 1:
            held = [fetch(address) for address in addresses if address]
            mean = {
                name: np.asarray(np.mean([one[name] for one in held], axis=0, dtype=np.float64), dtype=np.float32)
                for name in held[0]
            }
            gene = gene.replace(weights=put(mean))
        genes.append(gene)
    return first.replace(genes=tuple(genes))


def _prefixed(path: Path, prefix: str) -> list[Gene]:
    def source(name: str) -> str:
        return name if name.startswith(INPUT) else f"{prefix}.{name}"

    return [
        gene.replace(name=f"{prefix}.{gene.name}", inputs=tuple(source(s) for s in gene.inputs), frozen=True)
        for gene in path.genes
    ]


def _how(feature: Feature) -> Combine:
    return feature.averaged


@dataclass(frozen=True)
class Parted:
    """One experiment in a merged path: its share of the answer and its path per fold, as they were before."""

    number: int
    weight: float
    paths: tuple[Path, ...]
    moves: tuple[Moved, ...] = ()
    """Views of a picture that it answers beside the picture as it is; `paths` are shown that one."""


def parted(path: Path) -> tuple[list[Parted], dict[str, float]]:
    """What `merge` put together, the heaviest first, and the factor by which each output was scaled afterwards.

    A path that was not merged is one experiment of one fold, numbered 0.
    """
    genes = {gene.name: gene for gene in path.genes}
    factors, ends = {}, {}
    for output, name in path.outputs.items():
        gene = genes[name]
        scaled = isinstance(gene.layer, Scale)
        factors[output] = gene.layer.factor if isinstance(gene.layer, Scale) else 1.0
        ends[output] = genes[gene.inputs[0]] if scaled else gene
    merged = all(isinstance(end.layer, Ensemble) and MERGED.match(end.inputs[0]) for end in ends.values())
    if not merged:
        return [Parted(0, 1.0, (path.giving({output: end.name for output, end in ends.items()}),))], factors
    found: dict[int, list[tuple[float, Path]]] = {}
    (first, *_) = ends.values()
    assert isinstance(first.layer, Ensemble)
    for place, (source, share) in enumerate(zip(first.inputs, first.layer.weights, strict=True)):
        match = MERGED.match(source)
        assert match is not None
        part = path.giving({output: end.inputs[place] for output, end in ends.items()})
        found.setdefault(int(match[1]), []).append((share, _without(part, match[0])))
    parts = [
        Parted(
            number,
            sum(share for share, _ in one),
            tuple(path for _, path in one if not moves(path)),
            tuple(dict.fromkeys(move for _, path in one for move in moves(path))),
        )
        for number, one in found.items()
    ]
    return sorted(parts, key=lambda part: -part.weight), factors


def _without(path: Path, prefix: str) -> Path:
    """The path as it was before `merge` put `prefix` before its names."""
    genes = (
        gene.replace(
            name=gene.name.removeprefix(prefix), inputs=tuple(source.removeprefix(prefix) for source in gene.inputs)
        )
        for gene in path.genes
    )
    return Path(genes=tuple(genes), outputs={o: name.removeprefix(prefix) for o, name in path.outputs.items()})
