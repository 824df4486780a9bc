"""Many experiments -> one path: greedy ensemble selection on out-of-fold predictions, paths merged into one graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..problem.features import Feature
from .layers.ensemble import Combine, Ensemble
from .path import INPUT, Gene, Path

MAX_PICKS = 20
"""Picks with replacement: more changed the weights by less than the noise of the validation rows."""


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
    judge: Callable[[Mapping[str, np.ndarray]], float],
    *,
    most: int = 8,
) -> dict[int, float]:
    """Weights by member number that sum to one; `judge` scores combined predictions, higher is better.

    Caruana et al. (2004), 'Ensemble selection from libraries of models': start from the best member, then add, with
    replacement, the one that makes the combination best; the best prefix wins. At most `most` different members.
    """
    judged = {member.number: judge(member.predictions) for member in members}
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
            options[number] = (judge(mixed), mixed)
        chosen = max(options, key=lambda n: (options[n][0], -n))
        picks.append(chosen)
        score, current = options[chosen]
        if score > best_score:
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


def _prefixed(path: Path, prefix: str) -> list[Gene]:
    def source(name: str) -> str:
        return name if name.startswith(INPUT) else f"{prefix}.{name}"

    return [
        gene.replace(name=f"{prefix}.{gene.name}", inputs=tuple(source(s) for s in gene.inputs), frozen=True)
        for gene in path.genes
    ]


def _how(feature: Feature) -> Combine:
    return feature.averaged
