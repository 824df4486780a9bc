"""Paths of one problem made to read the rows of another: words cut anew, columns found again by their names.

A translation is an ordinary frozen gene before the path, with a small table of its own as weights. Few texts need none:
they are cut by the vocabulary of a stored encoder from the start, which knows more words than they can teach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa

from ..importing import imports
from ..model.layers.recoded import Recoded
from ..model.layers.recut import Recut
from ..model.path import INPUT, Gene, Path
from ..problem import Category, Problem
from ..problem.features import Feature, Number, Text, parse_feature
from ..problem.features.common import key
from ..problem.problem import ROW
from ..problem.sources import Rows
from ..problem.subwords import FIRST, PADDING, UNKNOWN, Pieces
from ..store import Store
from .trunks import trunks

MOST_PIECES = 4
"""Pieces of the other vocabulary that stand for one piece: of 8,000 pieces of package descriptions one in 200 needs
more in the vocabulary of tweets."""
MANY_TEXTS = 10_000
"""From so many texts a vocabulary of their own is learned."""
LEAST_CHARACTERS, MOST_UNKNOWN = 3.0, 0.01
"""Per piece, and share of the pieces, where a vocabulary knows the words of some texts: English texts in a vocabulary
of English ones have 4, other languages less than 2.5."""
LENGTH, LOOKED_AT = 256, 500
"""Pieces of a text, and texts, by which that is told."""
LEAST_FOUND = 0.5
"""Share of the columns of a row that must be there."""

Put = Callable[[Mapping[str, np.ndarray]], str]
"""Stores tensors and gives their address."""


@dataclass(frozen=True)
class Translated:
    """A part that reads ports of another problem: which ones, by its own names."""

    part: Path
    ports: dict[str, str]


def translated(part: Path, features: Mapping[str, tuple[Feature, ...]], problem: Problem, *, put: Put) -> Translated:
    """The part with a translation before every port that needs one and that the problem has something for.

    `features`: port of the part -> the measured features that stand there, in order; ports that are not named, and
    pictures, are as they are.
    """
    found: dict[str, str] = {}
    for port in part.ports:
        mine = features.get(port, ())
        if len(mine) == 1 and isinstance(mine[0], Text):
            gene = _words(mine[0], port, problem, put)
            theirs = next((problem.port_of(one) for one in problem.inputs if isinstance(one, Text)), "")
        elif mine and mine[0].form.kind == "vector":
            gene, theirs = _columns(mine, port, problem, put), ROW
        else:
            continue
        if gene is not None:
            part = _before(part, port, gene)
            found[port] = theirs
    return Translated(part, found)


def _before(part: Path, port: str, gene: Gene) -> Path:
    source = INPUT + port
    rest = [
        one.replace(inputs=tuple(gene.name if name == source else name for name in one.inputs)) for one in part.genes
    ]
    return Path(genes=(gene, *rest), outputs=part.outputs)


def in_known_words(problem: Problem, rows: Rows, store: Store) -> Problem:
    """The raw problem, its texts cut by the vocabulary that knows their words best, if any does.

    That of an encoder from outside or absorbed comes first, for it was learned from more texts than that of a trunk.
    """
    if len(rows) >= MANY_TEXTS or not any(isinstance(one, Text) and one.subwords is None for one in problem.inputs):
        return problem
    outside = [parse_feature(feature) for one in imports(store) for feature in one.features]
    learned = [feature for one in trunks(store) for feature in Problem.model_validate(one.problem).inputs]
    inputs = []
    for feature in problem.inputs:
        if isinstance(feature, Text) and feature.subwords is None:
            sample = rows.table[feature.name].slice(0, LOOKED_AT)
            feature = _best_cut(feature, sample, outside) or _best_cut(feature, sample, learned) or feature
        inputs.append(feature)
    return problem.replace(inputs=tuple(inputs))


def _best_cut(feature: Text, sample: pa.ChunkedArray, known: Sequence[Feature]) -> Text | None:
    """The feature with that vocabulary of the known ones that needs the fewest pieces; None where none will do."""
    words = {one.subwords.digest: one.subwords for one in known if isinstance(one, Text) and one.subwords is not None}
    best: tuple[float, Text | None] = (LEAST_CHARACTERS, None)
    for _, subwords in sorted(words.items()):
        cut = feature.replace(subwords=subwords)
        characters = _characters(cut.replace(length=LENGTH).encode(sample).array, subwords)
        best = max(best, (characters, cut), key=lambda one: one[0])
    return best[1]


def _characters(ids: np.ndarray, subwords: Pieces) -> float:
    """Per piece; 0 where too many are unknown."""
    pieces, unknown = int((ids != PADDING).sum()), int((ids == UNKNOWN).sum())
    if unknown > MOST_UNKNOWN * pieces:
        return 0.0
    return sum(len(subwords.decode(row)) + 1 for row in ids) / max(pieces, 1)


# Words ---------------------------------------------------------------------------------------------------------------
def _words(mine: Text, port: str, problem: Problem, put: Put) -> Gene | None:
    """Brings the ids of the only text of the problem to the vocabulary of `mine`; None where there is nothing to do."""
    texts = [one for one in problem.inputs if isinstance(one, Text)]
    if len(texts) != 1 or texts[0].subwords == mine.subwords:
        return None
    assert texts[0].subwords is not None and mine.subwords is not None and mine.length is not None
    table = recutting(texts[0].subwords, mine.subwords)
    layer = Recut(vocabulary=mine.subwords.size, pieces=table.shape[1], length=mine.most_tokens)
    return Gene(name=f"recut {port}", layer=layer, inputs=(INPUT + port,), weights=put({"table": table}), frozen=True)


def recutting(given: Pieces, wanted: Pieces) -> np.ndarray:
    """For each id of one vocabulary the ids of another that stand for it, int32 [V, P], 0 = none."""
    table = np.zeros((given.size, MOST_PIECES), dtype=np.int32)
    table[UNKNOWN, 0] = UNKNOWN
    for place, piece in enumerate(given.pieces):
        ids = wanted.cut(piece)[:MOST_PIECES]
        table[place + FIRST, : len(ids)] = ids
    return table


# Columns -------------------------------------------------------------------------------------------------------------
def _columns(mine: tuple[Feature, ...], port: str, problem: Problem, put: Put) -> Gene | None:
    """Brings the problem's row to the columns of `mine`, found by name and type; None where too few are there."""
    rows = [one for one in problem.inputs if one.form.kind == "vector"]
    starts = dict(
        zip((one.name for one in rows), accumulate((one.form.width for one in rows), initial=0), strict=False)
    )
    known = {one.name: one for one in rows}
    pairs = [(one, known.get(one.name)) for one in mine]
    pairs = [(one, other if other is not None and other.type == one.type else None) for one, other in pairs]
    if sum(other is not None for _, other in pairs) < LEAST_FOUND * len(mine):
        return None
    width = sum(one.form.width for one in mine)
    most = max((n for one in rows for n in one.form.categories), default=0)
    scale, shift = np.ones(width, np.float32), np.zeros(width, np.float32)
    table = np.zeros((width, max(most, 1)), dtype=np.int32)
    columns: list[int] = []
    for one, other in pairs:
        place = len(columns)
        begin = -1 if other is None else starts[other.name]
        columns += [begin + number if begin >= 0 else -1 for number in range(one.form.width)]
        if isinstance(one, Category) and isinstance(other, Category):
            codes = {key(value): code for code, value in enumerate(one.classes or (), 1)}
            last = 1 + len(codes) if one.rare else 0
            table[place, 1:] = last  # what is rare there is so here
            for code, value in enumerate(other.classes or (), 1):
                table[place, code] = codes.get(key(value), last)
        elif isinstance(one, Number) and isinstance(other, Number):
            assert one.deviation and other.deviation and one.mean is not None and other.mean is not None
            scale[place] = other.deviation / one.deviation
            shift[place] = (other.mean - one.mean) / one.deviation
    categories = tuple(n for one in mine for n in (one.form.categories or (0,) * one.form.width))
    layer = Recoded(columns=tuple(columns), categories=categories if any(categories) else ())
    weights = put({"scale": scale, "shift": shift, "table": table})
    return Gene(name=f"recoded {port}", layer=layer, inputs=(INPUT + port,), weights=weights, frozen=True)
