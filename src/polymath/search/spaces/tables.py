"""The space of tables: an encoder of numbers and categories, then many MLPs in one or a residual MLP.

The first options are what tuned nets on tables have in common: numbers cut at their quantiles, an ensemble in one net,
AdamW (Gorishniy et al. 2025, arXiv:2410.24210; Holzmüller et al. 2024, arXiv:2407.04491), sized for CPU cores.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...model.layers.columns import Columns
from ...model.layers.linear import Linear
from ...model.layers.members import Members
from ...model.layers.part import Part
from ...model.layers.periodic import Periodic
from ...model.layers.piecewise import Piecewise
from ...model.layers.residual_mlp import ResidualMlp
from ...model.path import INPUT, Gene
from ...problem.form import Form
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose
from . import free
from .pieces import Chain, around, narrow, own_layer

TRUNKS = ("members", "residual_mlp", "free")
MOST_LAYERS = 5

WIDE = 64
"""With more columns than this a number gets a short encoding, so that the trunk's first map does not cost most."""


def encoder(
    choose: Choose, port: str, form: Form, *, prefix: str, scale: float = 1.0, layers: Sequence[str] = ()
) -> tuple[list[Gene], str]:
    """Genes that turn a row of numbers and codes into one vector, and the name of the gene that gives it.

    What it costs lies in the trunk behind it, so `scale` changes nothing here; `layers`: see `rows.problem_space`.
    """
    chain = Chain({f"{INPUT}{port}": form})
    wide = form.width > WIDE
    numbers = not form.categories or not all(form.categories)
    kind = choose(f"{prefix}.encoder", ["piecewise", "periodic", "columns"]) if numbers else "columns"
    layer: Columns | Piecewise | Periodic
    if kind == "piecewise":
        bins = choose(f"{prefix}.bins", [16, 32, 8, 48])
        layer = Piecewise(bins=bins, width=choose(f"{prefix}.width", [2, 4, 8] if wide else [4, 8, 12, 2]))
    elif kind == "periodic":
        spread = choose(f"{prefix}.spread", [0.1, 0.03, 0.3, 1.0])
        layer = Periodic(spread=spread, width=choose(f"{prefix}.width", [2, 4] if wide else [4, 8, 16]))
    else:
        layer = Columns()
    chain.add(f"{prefix}.columns", layer)
    own_layer(choose, chain, prefix, layers)
    return chain.genes, chain.last


def heads(
    choose: Choose,
    source: str,
    form: Form,
    outputs: dict[str, int],
    *,
    scale: float = 1.0,
    layers: Sequence[str] = (),
) -> tuple[list[Gene], dict[str, str]]:
    """Genes from a vector to the raw prediction of every output (name -> width), and which gene gives which output.

    `scale`, `layers`: see `rows.problem_space`.
    """
    chain = Chain({source: form})
    kind = choose("trunk", TRUNKS)
    blocks = choose("trunk.blocks", [2, 3, 1])
    width = narrow(choose("trunk.width", [64, 128, 256]), scale)
    dropout = choose("trunk.dropout", [0.1, 0.0, 0.2, 0.4])
    if kind == "free":
        block = free.vector_block(scale, dropout=dropout)
        free.grow(choose, chain, block, prefix="trunk", most=MOST_LAYERS, layers=layers)
    elif kind == "members":
        members = choose("trunk.members", [8, 16, 4])
        layer = Members(width=sum(outputs.values()), members=members, blocks=blocks, hidden=width, dropout=dropout)
        more, given = parts(Gene(name="trunk", layer=layer, inputs=(chain.last,)), outputs)
        return [*chain.genes, *more], given
    else:
        norm = choose("trunk.norm", ["batch", "layer"])
        chain.add("trunk", ResidualMlp(width=width, blocks=blocks, dropout=dropout, norm=norm))
    more, given = linear_heads(chain.last, outputs)
    return [*chain.genes, *more], given


def parts(trunk: Gene, outputs: dict[str, int]) -> tuple[list[Gene], dict[str, str]]:
    """The raw predictions of all outputs side by side, cut into one gene per output where there are several."""
    if len(outputs) == 1:
        return [trunk], dict.fromkeys(outputs, trunk.name)
    genes, given, start = [trunk], {}, 0
    for number, (output, width) in enumerate(outputs.items()):
        given[output] = f"head{number}"
        genes.append(Gene(name=given[output], layer=Part(start=start, width=width), inputs=(trunk.name,)))
        start += width
    return genes, given


def linear_heads(source: str, outputs: dict[str, int]) -> tuple[list[Gene], dict[str, str]]:
    """One linear map per output."""
    given = {output: f"head{number}" for number, output in enumerate(outputs)}
    genes = [Gene(name=given[output], layer=Linear(width=outputs[output]), inputs=(source,)) for output in outputs]
    return genes, given


def recipe(choose: Choose, *, rows: int) -> GradientRecipe:
    """How a table net is trained; small data take small batches, for what counts is the number of steps."""
    batch = 32 if rows < 1_000 else 128 if rows < 5_000 else 256 if rows < 50_000 else 512
    return GradientRecipe(
        learning_rate=around(choose, "recipe.learning_rate", 5e-3, factor=8),
        weight_decay=around(choose, "recipe.weight_decay", 3e-4, factor=300),
        batch=choose("recipe.batch", [batch, 2 * batch, batch // 2]),
        smoothing=choose("recipe.smoothing", [0.0, 0.05]),
        warmup=around(choose, "recipe.warmup", 0.1, factor=5),
        ema=around(choose, "recipe.ema", 0.1, factor=5),
        augmentation=Augmentation(drop_columns=choose("recipe.drop_columns", [0.0, 0.05, 0.15])),
    )
