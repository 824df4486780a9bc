"""Searches whose experiments are looked up: every architecture of NAS-Bench-201 and of NAS-Bench-Graph.

    for problem in problems(cache):
        sketch = problem.draw(answer)
        problem.score(sketch)

A problem is solved at the first architecture whose score is `target` or more: the optimum of the 15,625 cells, the best
0.1 % of the graph architectures. The spaces are ordinary functions of choices; `Problem.draw` gives the same sketches as
`polymath.search.draw`, but remembers them, for a benchmark draws the same ones thousands of times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import pandas

import data
from polymath.search.choices import Answer, Choose, Offer, Sketch, Space, draw
from prepare.architectures import EDGES, GRAPHS, LINKS, NODES, OPERATIONS

TOP_SHARE = 0.001


@dataclass(frozen=True)
class Problem:
    """A space with a score for everything in it."""

    name: str
    space: Space
    score_of: Callable[[Any], float]
    """What was built -> its score; higher is better."""
    scores: np.ndarray
    """Of all different architectures, best first."""
    target: float
    offers: tuple[Offer, ...]
    """The choices, in order; none of them depends on another."""
    fingerprint: Mapping[str, float] = field(default_factory=dict)
    known: dict[tuple[float, ...], Sketch] = field(default_factory=dict, repr=False, compare=False)

    def draw(self, answer: Answer) -> Sketch:
        """One pass through the space."""
        answers = tuple([offer.clip(answer(offer)) for offer in self.offers])
        sketch = self.known.get(answers)
        if sketch is None:
            given = {offer.name: answer for offer, answer in zip(self.offers, answers, strict=True)}
            sketch = self.known[answers] = draw(self.space, lambda offer: given[offer.name])
        return sketch

    def score(self, sketch: Sketch) -> float:
        """Minus infinity for what cannot be built."""
        return -math.inf if sketch.error else self.score_of(sketch.built)

    def rank(self, score: float) -> int:
        """How many architectures are better."""
        return int((self.scores > score).sum())


def cells(cache: Path) -> Problem:
    """NAS-Bench-201: six edges, five operations each; solved at the optimum."""
    table = pandas.read_parquet(data.replay("nas_cells", cache=cache) / "cells.parquet")
    found = {tuple(cell): score for *cell, score in table.itertuples(index=False)}
    scores = np.sort(table["accuracy"].to_numpy())[::-1]
    operations = tuple(range(5))

    def space(choose: Choose) -> list[int]:
        return [choose(edge, operations) for edge in EDGES]

    def score_of(built: list[int]) -> float:
        return float(found[tuple(built)])

    offers = tuple(Offer(name=edge, options=5) for edge in EDGES)
    return Problem("cells", space, score_of, scores, float(scores[0]), offers)


def graphs(name: str, cache: Path) -> Problem:
    """One data set of NAS-Bench-Graph: a link pattern and four operations; solved in the best 0.1 %.

    Different choices may give the same graph; what is built is the table's own form of it. Nothing was trained for
    four skips: that raises, as a builder may.
    """
    table, same = _graph_tables(cache)
    scores = table[name].to_numpy()
    trained = set(table.loc[table[name].notna(), list(NODES)].to_numpy().ravel())
    operations = tuple(op for op in OPERATIONS if op in trained)
    built = table[["link", *NODES]].to_numpy()

    def space(choose: Choose) -> dict[str, Any]:
        link = choose("link", LINKS)
        row = same[(link, *(choose(node, operations) for node in NODES))]
        if row < 0:
            raise ValueError("a graph of four skips has nothing to train")
        return {"row": row, "link": built[row][0], "ops": list(built[row][1:])}

    def score_of(thing: dict[str, Any]) -> float:
        return float(scores[thing["row"]])

    ranked = np.sort(scores[~np.isnan(scores)])[::-1]
    target = float(ranked[max(1, round(TOP_SHARE * len(ranked))) - 1])
    sizes = {"link": len(LINKS), **dict.fromkeys(NODES, len(operations))}
    offers = tuple(Offer(name=choice, options=size) for choice, size in sizes.items())
    known = _sketches(operations)
    return Problem(name, space, score_of, ranked, target, offers, FINGERPRINTS[name], known)


FINGERPRINTS: dict[str, dict[str, float]] = {
    name: {key: math.log10(value) for key, value in zip(("nodes", "edges", "inputs", "classes"), sizes, strict=True)}
    for name, sizes in {
        "cora": (2_708, 5_429, 1_433, 7),
        "citeseer": (3_327, 4_732, 3_703, 6),
        "pubmed": (19_717, 44_338, 500, 3),
        "cs": (18_333, 81_894, 6_805, 15),
        "physics": (34_493, 247_962, 8_415, 5),
        "photo": (7_487, 119_043, 745, 8),
        "computers": (13_381, 245_778, 767, 10),
        "arxiv": (169_343, 1_166_243, 128, 40),
        "proteins": (132_534, 39_561_252, 8, 112),
    }.items()
}
"""What is known of each graph before any training: sizes as in the paper's table of data sets (arXiv 2206.09166)."""


@once
def _sketches(operations: tuple[str, ...]) -> dict[tuple[float, ...], Sketch]:
    """Remembered sketches, shared by the data sets that offer the same operations: they build the same things."""
    return {}


@once
def _graph_tables(cache: Path) -> tuple[pandas.DataFrame, dict[tuple[str, ...], int]]:
    folder = data.replay("nas_graphs", cache=cache)
    same = pandas.read_parquet(folder / "same.parquet")
    rows = {tuple(choices): int(row) for *choices, row in same.itertuples(index=False)}
    return pandas.read_parquet(folder / "graphs.parquet"), rows


def problems(cache: Path) -> list[Problem]:
    """The cells, then the nine graph data sets."""
    return [cells(cache), *(graphs(name, cache) for name in GRAPHS)]
