"""The space of any row: an encoder for every port, their vectors side by side, a trunk, heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from ...model.layers.concat import Concat
from ...model.path import Gene, Path
from ...problem.form import Form, Kind
from ...problem.problem import ROW, Problem
from ...spec import BadInput
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose, Recorder, first
from . import images, pixels, raters, replies, sentences, tables, texts
from .parents import Parent, begun, careful, choose_parents, gated
from .pieces import around, between, bounded

Encoder = Callable[..., tuple[list[Gene], str]]

ENCODERS: dict[Kind, Encoder] = {"map": images.encoder, "tokens": texts.encoder, "vector": tables.encoder}
"""What turns a port of a form into one vector: `(choose, port, form, *, prefix, scale, layers) -> (genes, name)`."""
SPECIAL: dict[str, Callable[..., tuple[Path, GradientRecipe]]] = {
    "pixel_map": pixels.pixel_space,
    "pixel_numbers": pixels.pixel_space,
    "reply": replies.space,
    "text": sentences.space,
}
"""Type of an output -> the space of problems that have it: `(choose, problem, *, rows, layers, parents)`, as those of
`problem_space`. One line each."""
MOST = {"map": 8.0, "tokens": 8.0, "vector": 32.0}
"""Multiply-adds of a design, over those of the default; rows alone are cheap and may have more."""


def problem_space(
    choose: Choose,
    problem: Problem,
    *,
    rows: int,
    mirrored: bool = False,
    layers: Sequence[str] = (),
    parents: tuple[Parent, ...] = (),
) -> tuple[Path, GradientRecipe]:
    """A path from every port to every output, and how it is trained on this many training rows.

    A design that costs more than `MOST` times the default is made narrower by `scale`, until it does not.
    `mirrored`: pictures mean the same mirrored left to right (`images.mirrors_keep_meaning`).
    `layers`: kinds of the user's own layers (`model.layers.bring`), offered after every part whose form they keep.
    `parents`: prefixes of stored paths with which a net may begin.
    """
    special = {SPECIAL[output.type]: output.name for output in problem.outputs if output.type in SPECIAL}
    if len(special) > 1:
        one, other, *_ = special.values()
        raise BadInput(f"cannot be learned beside {one!r}", column=other, remedy="Learn it as a task of its own.")
    for space in special:
        return space(choose, problem, rows=rows, layers=layers, parents=parents)
    chosen = choose_parents(choose, "start from", parents) if parents else ()
    ports = tuple(sorted(problem.ports.items()))
    outputs = tuple((output.name, output.head_width) for output in problem.outputs)
    most = max_work(ports, outputs) + sum(parent.path.work(dict(ports)) for parent in chosen)
    path = bounded(
        choose,
        lambda choose, scale: _path(choose, ports, outputs, scale=scale, layers=layers, parents=chosen),
        fits=lambda path: path.work(dict(ports)) <= most,
    )
    path = raters.graded(choose, path, problem)
    how = recipe(choose, dict(ports), rows=rows, mirrored=mirrored)
    return path, careful(choose, how, path, dict(ports)) if chosen else how


@lru_cache(maxsize=64)
def max_work(ports: tuple[tuple[str, Form], ...], outputs: tuple[tuple[str, int], ...]) -> float:
    """Most multiply-adds that a design may have: a multiple of those of the default, which is never narrowed."""
    usual = _path(Recorder(first), ports, outputs, scale=1.0, layers=()).work(dict(ports))
    return min(MOST[form.kind] for _, form in ports) * usual


def _path(
    choose: Choose,
    ports: tuple[tuple[str, Form], ...],
    outputs: tuple[tuple[str, int], ...],
    *,
    scale: float,
    layers: Sequence[str],
    parents: tuple[Parent, ...] = (),
) -> Path:
    genes: list[Gene] = []
    vectors: list[str] = []
    if parents:
        genes, name = begun(choose, parents[0], dict(ports)) if len(parents) == 1 else gated(choose, parents)
        vectors.append(name)
    read = {port for parent in parents for port in parent.path.ports}
    for number, (port, form) in enumerate(ports):
        if port in read:
            continue
        prefix = ROW if port == ROW else f"port{number}"
        more, name = ENCODERS[form.kind](choose, port, form, prefix=prefix, scale=scale, layers=layers)
        genes += more
        vectors.append(name)
    if len(vectors) > 1:
        genes.append(Gene(name="joined", layer=Concat(), inputs=tuple(vectors)))
        vectors = ["joined"]
    (source,) = vectors
    if {port for port, _ in ports} != {ROW}:
        # Deep encoders need no trunk of their own; a few numbers beside them meet in one.
        choices = ["trunk", "linear"] if len(ports) > 1 else ["linear", "trunk"]
        if choose("heads", choices) == "linear":
            more, given = tables.linear_heads(source, dict(outputs))
            return Path(genes=(*genes, *more), outputs=given)
    form = Path(genes=tuple(genes), outputs={}).forms(dict(ports))[source]
    more, given = tables.heads(choose, source, form, dict(outputs), scale=scale, layers=layers)
    return Path(genes=(*genes, *more), outputs=given)


def recipe(choose: Choose, ports: dict[str, Form], *, rows: int, mirrored: bool = False) -> GradientRecipe:
    """How a net over images, texts or both is trained."""
    (port, form), *others = ports.items()
    if not others and port == ROW:
        return tables.recipe(choose, rows=rows)
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
        drop_tokens=between(choose, "recipe.drop_tokens", 0.0, 0.2) if words else 0.0,
    )
    return GradientRecipe(
        learning_rate=around(choose, "recipe.learning_rate", 3e-3, factor=4),
        weight_decay=around(choose, "recipe.weight_decay", 1e-2, factor=10),
        batch=choose("recipe.batch", [batch, 2 * batch, batch // 2]),
        smoothing=choose("recipe.smoothing", [0.0, 0.1]),
        warmup=around(choose, "recipe.warmup", 0.1, factor=5),
        ema=around(choose, "recipe.ema", 0.1, factor=5),
        augmentation=augmentation,
    )
