"""The space of answers at every pixel: down to small maps and back up beside what was seen on the way, and a recipe.

The defaults are the rules by which nnU-Net configures itself (Isensee et al. 2021, arXiv:1904.08128), with a budget of
CPU time in place of GPU memory: depth by the size of what is shown, parts of large pictures, rare classes shown as
often as others, cross-entropy with Dice; but the net begins at half the size, residual stages take the place of plain
convolutions, and batch norm that of instance norm. Measured on CamVid at 240 x 180 with minutes of one core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from ...model.layers import Layer
from ...model.layers.convolution import Convolution
from ...model.layers.depthwise_stage import DepthwiseStage
from ...model.layers.join import Join
from ...model.layers.map_block import MapBlock
from ...model.layers.per_pixel import PerPixel
from ...model.layers.pixels import Pixels
from ...model.layers.residual_stage import ResidualStage
from ...model.layers.upsampled import Upsampled
from ...model.path import INPUT, Path
from ...problem import Problem
from ...problem.features import PixelMap
from ...problem.features._pixels import PixelTarget
from ...problem.form import Form
from ...spec import BadInput
from ...train.paired import shown_size
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose, Recorder, first
from .parents import Parent, careful, choose_parent
from .parents import begun as chosen
from .pieces import Chain, around, bounded, narrow, own_layer

LEAST_SIDE = 6
"""Pixels; smaller maps are not halved any more."""
WHOLE = 320
"""Pictures up to this side are shown whole."""
PART = 256
"""Side of the parts of larger ones."""
MOST_WORK = 6.0
"""Multiply-adds of a design, over those of the default."""
STEP_WORK = 8e9
"""Multiply-adds of a forward pass of a batch: a step of a few tenths of a second of one core."""
BATCH_SHARE, LEAST_BATCH = 0.05, 4
"""Share of all pixels to learn from that one batch shows at most (nnU-Net's), so that a few pictures get many steps;
fewer pictures than the least are too few for batch norm."""
WIDTHS = (24, 16, 32, 48)
"""Of the finest map; the usual one first."""
FEW_PIXELS = 1_000_000
"""Pixels to learn from, below which nets are learned by heart: narrower ones come first, with more decay."""
FEW_WIDTHS, FEW_DECAYS = (16, 24, 32), 10.0


def pixel_space(
    choose: Choose,
    problem: Problem,
    *,
    rows: int,
    layers: Sequence[str] = (),
    parents: tuple[Parent, ...] = (),
) -> tuple[Path, GradientRecipe]:
    """A path from the pictures to the answers at their pixels, and how it is trained; called as `rows.SPECIAL` says."""
    ports = {port: form for port, form in sorted(problem.ports.items()) if form.kind == "map"}
    if not ports:
        raise BadInput("no input is a picture", column=problem.outputs[0].name, remedy="Add a column of image files.")
    if others := [output.name for output in problem.outputs if output.answer.kind != "map"]:
        remedy = "Learn other targets as other tasks."
        raise BadInput("answers at every pixel are learned alone", column=others[0], remedy=remedy)
    outputs = tuple((output.name, output.head_width) for output in problem.outputs)
    given = tuple(ports.items())
    (_, form), *_ = given
    # What frozen genes give is kept for whole pictures: no parts of large ones can be shown to what follows them.
    encoders = {parent.name: found for parent in parents if (found := _levels(parent, ports)) and len(ports) == 1}
    whole = max(form.size) <= WHOLE
    parent = (
        choose_parent(choose, "start from", tuple(p for p in parents if p.name in encoders))
        if whole and encoders
        else None
    )
    begin = encoders[parent.name] if parent else ()
    widths = FEW_WIDTHS if rows * math.prod(form.size) < FEW_PIXELS else WIDTHS
    most = MOST_WORK * usual_work(given, outputs) + (parent.path.work(ports) if parent else 0.0)
    path = bounded(
        choose,
        lambda choose, scale: _path(
            choose, given, outputs, scale=scale, layers=layers, begun=(parent, begin), widths=widths
        ),
        fits=lambda path: path.work(ports) <= most,
    )
    usual = usual_work(given, outputs) / (form.size[0] * form.size[1])
    recipe = _recipe(choose, problem, form, rows=rows, per_pixel=usual)
    return path, careful(choose, recipe, path) if parent else recipe


def _levels(parent: Parent, ports: Mapping[str, Form]) -> tuple[tuple[str, int], ...]:
    """What a stored path gives on its way down, a map of every size, the finest first: gene and width of each."""
    forms = parent.path.forms(ports)
    found: dict[tuple[int, ...], tuple[str, int]] = {}
    for gene in parent.path.genes:
        form = forms[gene.name]
        if form.kind == "map" and not isinstance(gene.layer, Pixels):
            found[form.size] = (gene.name, form.width)
    ordered = sorted(found, key=lambda size: -math.prod(size))
    return tuple(found[size] for size in ordered) if len(found) > 1 else ()


@lru_cache(maxsize=16)
def usual_work(ports: tuple[tuple[str, Form], ...], outputs: tuple[tuple[str, int], ...]) -> float:
    """Multiply-adds of the default on a whole canvas."""
    return _path(Recorder(first), ports, outputs, scale=1.0, layers=()).work(dict(ports))


def _path(
    choose: Choose,
    ports: tuple[tuple[str, Form], ...],
    outputs: tuple[tuple[str, int], ...],
    *,
    scale: float,
    layers: Sequence[str],
    begun: Begun = (None, ()),
    widths: Sequence[int] = WIDTHS,
) -> Path:
    chain = Chain({f"{INPUT}{port}": form for port, form in ports})
    parent, levels = begun
    if parent is not None:
        _adopt(choose, chain, parent, until=levels[-1][0])
        return _answered(choose, chain, ports, outputs, levels=levels, scale=scale, layers=layers)
    seen = [chain.add(f"pixels{place}", Pixels(), f"{INPUT}{port}") for place, (port, _) in enumerate(ports)]
    if len(seen) > 1:
        chain.add("pictures", Join(), *seen)
    levels = _down(choose, chain, scale=scale, layers=layers, widths=widths)
    return _answered(choose, chain, ports, outputs, levels=levels, scale=scale, layers=layers)


Begun = tuple[Parent | None, Sequence[tuple[str, int]]]
"""A stored path that a net begins with, and what it gives on its way down."""


def _adopt(choose: Choose, chain: Chain, parent: Parent, *, until: str) -> None:
    """The genes of a stored path down to one of them, some of the last cloned."""
    genes, _ = chosen(choose, parent)
    needed = {gene.name for gene in parent.path.giving({"until": until}).genes}
    for gene in genes:
        if gene.name in needed:
            chain.forms[gene.name] = gene.layer.form(*(chain.forms[source] for source in gene.inputs))
            chain.genes.append(gene)
    chain.last = until


def _answered(
    choose: Choose,
    chain: Chain,
    ports: tuple[tuple[str, Form], ...],
    outputs: tuple[tuple[str, int], ...],
    *,
    levels: Sequence[tuple[str, int]],
    scale: float,
    layers: Sequence[str],
) -> Path:
    """The way up from what was seen on the way down, and a head for every output."""
    _up(choose, chain, levels, scale=scale, layers=layers)
    (port, _), *_ = ports
    ends = {}
    last = chain.last
    for place, (output, width) in enumerate(outputs):
        ends[output] = chain.add(f"head{place}", PerPixel(width=width), last, f"{INPUT}{port}")
    return Path(genes=tuple(chain.genes), outputs=ends)


def _down(
    choose: Choose, chain: Chain, *, scale: float, layers: Sequence[str], widths: Sequence[int]
) -> list[tuple[str, int]]:
    """Stages that halve the map each; what every one gives, with its width, the finest first."""
    side = min(chain.form.size)
    step = choose("stem.step", [2, 1] if side >= 96 else [1, 2])
    width = narrow(choose("width", list(widths)), scale)
    growth = choose("growth", [2.0, 1.5])
    chain.add("stem", Convolution(width=width, step=step))
    levels = [(chain.last, width)]
    deepest = 0
    while min(chain.form.size) >> (deepest + 1) >= LEAST_SIDE and deepest < 5:
        deepest += 1
    usual = min(deepest, 4)
    depths = sorted(range(max(1, usual - 2), deepest + 1), key=lambda depth: (depth != usual, depth))
    kind = choose("stages", ["residual", "depthwise", "plain", "each its own"])
    for level in range(choose("depth", depths or [1])):
        wide = 8 * max(1, round(width * growth ** (level + 1) / 8))
        chain.add(f"down{level}", _stage(choose, kind, wide, name=f"down{level}"))
        own_layer(choose, chain, f"down{level}", layers)
        levels.append((chain.last, wide))
    return levels


def _stage(choose: Choose, kind: str, width: int, *, name: str) -> Layer:
    if kind == "each its own":
        kind = choose(f"{name}.kind", ["residual", "depthwise", "plain"])
    if kind == "plain":
        return MapBlock(width=width, step=2, size=choose(f"{name}.size", [3, 5]))
    gate = choose(f"{name}.gate", ["none", "squeeze"])
    if kind == "residual":
        blocks = choose(f"{name}.blocks", [1, 0, 2])
        return ResidualStage(width=width, blocks=blocks, convolutions=1, entry="stride", gate=gate)
    blocks, size = choose(f"{name}.blocks", [2, 1, 3]), choose(f"{name}.size", [5, 3, 7])
    return DepthwiseStage(width=width, blocks=blocks, size=size, gate=gate)


def _up(
    choose: Choose, chain: Chain, levels: Sequence[tuple[str, int]], *, scale: float, layers: Sequence[str]
) -> None:
    """Back up level by level, each beside what was seen there on the way down."""
    how = choose("join", ["concat", "add"])
    blocks = choose("up.blocks", [0, 1])
    for level in reversed(range(len(levels) - 1)):
        seen, width = levels[level]
        if choose(f"up{level}.skip", [True, False]) or level == 0:  # to level 0: its size is that of the answer
            chain.add(f"meet{level}", Upsampled(how=how), chain.last, seen)
        else:
            continue
        chain.add(f"up{level}", ResidualStage(width=width, blocks=blocks, convolutions=1, entry="keep"))
        own_layer(choose, chain, f"up{level}", layers)


def _recipe(choose: Choose, problem: Problem, form: Form, *, rows: int, per_pixel: float) -> GradientRecipe:
    """How a net is trained on `rows` pictures on a canvas of this form; `per_pixel`: multiply-adds of the usual net."""
    targets = [output for output in problem.outputs if isinstance(output, PixelTarget)]
    upright = any(one.upright for one in targets)
    classes = [one for one in targets if isinstance(one, PixelMap)]
    several = sum(one.kind == "map" for one in problem.ports.values()) > 1
    parts = max(form.size) > WHOLE
    crop = choose("recipe.crop", [PART, PART * 3 // 4, PART * 3 // 2]) if parts else 0
    augmentation = Augmentation(
        flip=choose("recipe.flip", [True, False]),
        turn=choose("recipe.turn", [False, True] if upright else [True, False]),
        crop=crop,
        focus=choose("recipe.focus", [0.33, 0.0, 0.67]) if parts and classes else 0.0,
        zoom=choose("recipe.zoom", [0.25, 0.0, 0.5]),
        tilt=choose("recipe.tilt", [0.0, 10.0] if upright else [0.0, 30.0]),
        warp=choose("recipe.warp", [0.0, 3.0] if upright else [3.0, 0.0]),
        # Each picture of a row is lit by itself: what several depths of one place tell lies in how they differ.
        light=choose("recipe.light", [0.0, 0.2] if several else [0.2, 0.0, 0.4]),
    )
    height, width = shown_size(form.size, augmentation)
    shown = height * width
    most = max(BATCH_SHARE * rows * form.size[0] * form.size[1] / shown, LEAST_BATCH)
    batch = 2 ** max(1, min(6, int(min(round(STEP_WORK / (per_pixel * shown)), most)).bit_length() - 1))
    loss = {}
    if classes:
        loss = {
            "overlap": choose("recipe.overlap", [0.5, 1.0, 0.0]),
            "rare": choose("recipe.rare", [0.5, 0.25, 0.75] if len(classes[0].values) > 2 else [0.0, 0.5]),
        }
    rule = choose("recipe.rule", ["adamw", "muon"])
    rate, decay = {"adamw": (4e-3, 2e-2), "muon": (0.06, 1e-2)}[rule]
    decay *= FEW_DECAYS if rows * form.size[0] * form.size[1] < FEW_PIXELS else 1.0
    return GradientRecipe(
        rule=rule,
        learning_rate=around(choose, f"recipe.{rule}.learning_rate", rate, factor=4),
        weight_decay=around(choose, f"recipe.{rule}.weight_decay", decay, factor=10),
        batch=choose("recipe.batch", [batch, 2 * batch, max(batch // 2, 2)]),
        warmup=around(choose, "recipe.warmup", 0.1, factor=5),
        ema=around(choose, "recipe.ema", 0.1, factor=5),
        clip=choose("recipe.clip", [0.0, 1.0]),
        augmentation=augmentation,
        loss=loss,
        precision="bfloat16",
    )
