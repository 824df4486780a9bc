"""Image encoders: pixels, a stem, stages that halve the image, one pool."""

from __future__ import annotations

from ...model.layers import Layer
from ...model.layers.convolution import Convolution
from ...model.layers.depthwise_stage import DepthwiseStage
from ...model.layers.pixels import Pixels
from ...model.layers.pool_map import PoolMap
from ...model.layers.residual_stage import ResidualStage
from ...model.path import INPUT, Gene
from ...problem.form import Form
from ..choices import Choose


def encoder(choose: Choose, port: str, form: Form, *, prefix: str) -> tuple[list[Gene], str]:
    """Genes that turn the images of a port into one vector each, and the name of the gene that gives it.

    The first options are a residual net for images of 28 to 32 pixels that trains in minutes on two CPU cores; larger
    images are first brought to that size by steps of 2, so that the cost does not grow with the area.
    """
    family = choose(f"{prefix}.family", ["residual", "depthwise"])
    width = choose(f"{prefix}.width", [32, 16, 24, 48, 64])
    genes = [Gene(name=f"{prefix}.pixels", layer=Pixels(), inputs=(f"{INPUT}{port}",))]

    def add(name: str, layer: Layer) -> None:
        genes.append(Gene(name=f"{prefix}.{name}", layer=layer, inputs=(genes[-1].name,)))

    side = max(form.size)
    add("stem", Convolution(width=width, step=2 if side > 48 else 1))
    while side > 96:
        add(f"shrink{side}", Convolution(width=width, step=2))
        side = (side + 1) // 2
    growth = choose(f"{prefix}.growth", [2.0, 1.5])
    num_stages = choose(f"{prefix}.stages", [2, 3] if side < 20 else [3, 2, 4])
    for i in range(num_stages):
        name = f"{prefix}.stage{i}"
        stage_width = 8 * max(1, round(width * growth ** (i + 1) / 8))
        gate = choose(f"{name}.gate", ["none", "squeeze"])
        if family == "residual":
            blocks = choose(f"{name}.blocks", [0, 1, 2] if i == 1 else [1, 0, 2])
            entry = choose(f"{name}.entry", ["pool", "stride"])
            add(f"stage{i}", ResidualStage(width=stage_width, blocks=blocks, entry=entry, gate=gate))
        else:
            blocks = choose(f"{name}.blocks", [2, 1, 3])
            size = choose(f"{name}.size", [5, 3, 7])
            order = choose(f"{name}.order", ["first", "inverted"])
            add(f"stage{i}", DepthwiseStage(width=stage_width, blocks=blocks, size=size, order=order, gate=gate))
    add("pool", PoolMap(how=choose(f"{prefix}.pool", ["max", "mean", "mean_max", "attention"])))
    return genes, genes[-1].name
