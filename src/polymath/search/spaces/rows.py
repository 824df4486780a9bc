"""The space of any row: an encoder for every port, their vectors side by side, a trunk, heads."""

from __future__ import annotations

from collections.abc import Callable

from ...model.layers.concat import Concat
from ...model.path import Gene, Path
from ...problem.form import Form, Kind
from ...problem.problem import ROW, Problem
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose
from . import images, tables, texts

Encoder = Callable[..., tuple[list[Gene], str]]

ENCODERS: dict[Kind, Encoder] = {"map": images.encoder, "tokens": texts.encoder, "vector": tables.encoder}
"""What turns a port of a form into one vector: `(choose, port, form, *, prefix) -> (genes, name of the last)`."""


def problem_space(
    choose: Choose, problem: Problem, *, rows: int, mirrored: bool = False
) -> tuple[Path, GradientRecipe]:
    """A path from every port to every output, and how it is trained on this many training rows.

    `mirrored`: pictures mean the same mirrored left to right (`images.mirrors_keep_meaning`).
    """
    ports = problem.ports
    if set(ports) == {ROW}:
        return tables.table_space(choose, problem, rows=rows)
    genes: list[Gene] = []
    vectors: list[str] = []
    for number, (port, form) in enumerate(sorted(ports.items())):
        more, name = ENCODERS[form.kind](choose, port, form, prefix=ROW if port == ROW else f"port{number}")
        genes += more
        vectors.append(name)
    if len(vectors) > 1:
        genes.append(Gene(name="joined", layer=Concat(), inputs=tuple(vectors)))
        vectors = ["joined"]
    # Deep encoders need no trunk of their own; a few numbers beside them meet in one.
    choices = ["trunk", "linear"] if len(ports) > 1 else ["linear", "trunk"]
    make = tables.heads if choose("heads", choices) == "trunk" else _linear
    more, outputs = make(choose, vectors[0], tables.widths(problem))
    return Path(genes=(*genes, *more), outputs=outputs), recipe(choose, ports, rows=rows, mirrored=mirrored)


def _linear(choose: Choose, source: str, outputs: dict[str, int]) -> tuple[list[Gene], dict[str, str]]:
    return tables.linear_heads(source, outputs)


def recipe(choose: Choose, ports: dict[str, Form], *, rows: int, mirrored: bool = False) -> GradientRecipe:
    """How a net over images, texts or both is trained."""
    (_, form), *others = ports.items()
    if not others and form.kind == "map":
        return images.image_recipe(choose, form, rows=rows, mirrored=mirrored)
    if not others and form.kind == "tokens":
        return texts.text_recipe(choose, form, rows=rows)
    pictures = [form for form in ports.values() if form.kind == "map"]
    words = any(form.kind == "tokens" for form in ports.values())
    batch = 32 if rows < 2_000 else 64 if rows < 10_000 else 128
    side = max((max(form.size) for form in pictures), default=0)
    augmentation = Augmentation(
        flip=choose("recipe.flip", [True, False] if mirrored else [False, True]) if pictures else False,
        shift=choose("recipe.shift", [max(1, side // 12), 0, max(2, side // 8)]) if pictures else 0,
        cutout=choose("recipe.cutout", [0, side // 4]) if pictures else 0,
        drop_tokens=choose("recipe.drop_tokens", [0.1, 0.0, 0.2]) if words else 0.0,
    )
    return GradientRecipe(
        learning_rate=choose("recipe.learning_rate", [3e-3, 1e-3, 6e-3]),
        weight_decay=choose("recipe.weight_decay", [1e-2, 1e-3, 1e-1]),
        batch=choose("recipe.batch", [batch, 2 * batch, batch // 2]),
        smoothing=choose("recipe.smoothing", [0.0, 0.1]),
        augmentation=augmentation,
    )
