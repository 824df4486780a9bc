"""The space of tables: an encoder of numbers and categories, then many MLPs in one or a residual MLP.

The first options are what tuned nets on tables have in common: numbers cut at their quantiles, an ensemble in one net,
AdamW (Gorishniy et al. 2025, arXiv:2410.24210; Holzmüller et al. 2024, arXiv:2407.04491), sized for CPU cores.
"""

from __future__ import annotations

from ...model.layers.columns import Columns
from ...model.layers.linear import Linear
from ...model.layers.members import Members
from ...model.layers.part import Part
from ...model.layers.periodic import Periodic
from ...model.layers.piecewise import Piecewise
from ...model.layers.residual_mlp import ResidualMlp
from ...model.path import INPUT, Gene, Path
from ...problem.form import Form
from ...problem.problem import ROW, Problem
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose

WIDE = 64
"""With more columns than this a number gets a short encoding, so that the trunk's first map does not cost most."""


def table_space(choose: Choose, problem: Problem, *, rows: int) -> tuple[Path, GradientRecipe]:
    """A path from port `row` alone to every output, and how it is trained on this many training rows."""
    genes, encoded = encoder(choose, ROW, problem.ports[ROW], prefix=ROW)
    more, outputs = heads(choose, encoded, widths(problem))
    return Path(genes=(*genes, *more), outputs=outputs), recipe(choose, rows=rows)


def encoder(choose: Choose, port: str, form: Form, *, prefix: str) -> tuple[list[Gene], str]:
    """Genes that turn a row of numbers and codes into one vector, and the name of the gene that gives it."""
    name = f"{prefix}.columns"
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
    return [Gene(name=name, layer=layer, inputs=(f"{INPUT}{port}",))], name


def heads(choose: Choose, source: str, outputs: dict[str, int]) -> tuple[list[Gene], dict[str, str]]:
    """Genes from a vector to the raw prediction of every output (name -> width), and which gene gives which output."""
    kind = choose("trunk", ["members", "residual_mlp"])
    blocks = choose("trunk.blocks", [2, 3, 1])
    width = choose("trunk.width", [64, 128, 256])
    dropout = choose("trunk.dropout", [0.1, 0.0, 0.2, 0.4])
    if kind == "members":
        members = choose("trunk.members", [8, 16, 4])
        layer = Members(width=sum(outputs.values()), members=members, blocks=blocks, hidden=width, dropout=dropout)
        return parts(Gene(name="trunk", layer=layer, inputs=(source,)), outputs)
    norm = choose("trunk.norm", ["batch", "layer"])
    trunk = Gene(
        name="trunk", layer=ResidualMlp(width=width, blocks=blocks, dropout=dropout, norm=norm), inputs=(source,)
    )
    more, given = linear_heads("trunk", outputs)
    return [trunk, *more], given


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


def widths(problem: Problem) -> dict[str, int]:
    """Output -> width of its raw prediction."""
    return {output.name: output.head_width for output in problem.outputs}


def recipe(choose: Choose, *, rows: int) -> GradientRecipe:
    """How a table net is trained; small data take small batches, for what counts is the number of steps."""
    batch = 32 if rows < 1_000 else 128 if rows < 5_000 else 256 if rows < 50_000 else 512
    return GradientRecipe(
        learning_rate=choose("recipe.learning_rate", [5e-3, 2e-3, 1e-2, 1e-3]),
        weight_decay=choose("recipe.weight_decay", [3e-4, 1e-2, 1e-1]),
        batch=choose("recipe.batch", [batch, 2 * batch, batch // 2]),
        smoothing=choose("recipe.smoothing", [0.0, 0.05]),
        augmentation=Augmentation(drop_columns=choose("recipe.drop_columns", [0.0, 0.05, 0.15])),
    )
