"""A path that is shown other views of its pictures. The mean over views answers better than one of them.

Each view is a path of its own that shares every weight, so that whoever reads a path needs to know nothing of views.
"""

from __future__ import annotations

from collections.abc import Collection

from .layers.moved import Moved
from .path import INPUT, Gene, Path


def moved(path: Path, move: Moved, *, pictures: Collection[str]) -> Path:
    """The path with what it reads at these ports moved."""
    read = [port for port in path.ports if port in pictures]
    names = {INPUT + port: f"moved {port}" for port in read}
    before = tuple(Gene(name=names[INPUT + port], layer=move, inputs=(INPUT + port,), frozen=True) for port in read)
    genes = (gene.replace(inputs=tuple(names.get(source, source) for source in gene.inputs)) for gene in path.genes)
    return path.replace(genes=(*before, *genes))


def moves(path: Path) -> tuple[Moved, ...]:
    """By what a path moves its pictures."""
    return tuple(dict.fromkeys(gene.layer for gene in path.genes if isinstance(gene.layer, Moved)))
