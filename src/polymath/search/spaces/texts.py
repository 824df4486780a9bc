"""Text encoders: subword ids, an embedding, layers over tokens, one pool."""

from __future__ import annotations

from ...model.layers import Layer
from ...model.layers.convolution_tokens import ConvolutionTokens
from ...model.layers.embedding import Embedding
from ...model.layers.pool_tokens import PoolTokens
from ...model.layers.recurrent import Recurrent
from ...model.layers.transformer import Transformer
from ...model.path import INPUT, Gene
from ...problem.form import Form
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose


def encoder(choose: Choose, port: str, form: Form, *, prefix: str) -> tuple[list[Gene], str]:
    """Genes that turn the texts of a port into one vector each, and the name of the gene that gives it.

    The first options keep the embeddings beside phrase detectors and pool both by mean and maximum: as strong as tf-idf
    from few rows, and one pass costs little more than looking the words up.
    """
    family = choose(f"{prefix}.family", ["convolution", "words", "transformer", "recurrent"])
    width = choose(f"{prefix}.width", [128, 64, 256])
    length = choose(f"{prefix}.length", [n for n in (128, 256, 64, 1024) if n < form.size[0]] or [0])
    dropout = choose(f"{prefix}.dropout", [0.2, 0.0, 0.4])
    genes: list[Gene] = []

    def add(name: str, layer: Layer) -> None:
        source = genes[-1].name if genes else f"{INPUT}{port}"
        genes.append(Gene(name=f"{prefix}.{name}", layer=layer, inputs=(source,)))

    add("embedding", Embedding(width=width, length=length, dropout=dropout))
    if family == "convolution":
        sizes = choose(f"{prefix}.sizes", [[2, 3], [3], [2, 3, 4, 5], [3, 5]])
        add("phrases", ConvolutionTokens(width=width // 2, sizes=tuple(sizes), keep=True, dropout=dropout))
    elif family == "transformer":
        depth, heads = choose(f"{prefix}.depth", [2, 1, 4]), choose(f"{prefix}.heads", [4, 8, 2])
        add("transformer", Transformer(depth=depth, heads=heads, expansion=2, dropout=dropout))
    elif family == "recurrent":
        cell, depth = choose(f"{prefix}.cell", ["gru", "lstm"]), choose(f"{prefix}.depth", [1, 2])
        add("recurrent", Recurrent(width=width // 2, cell=cell, depth=depth, dropout=dropout))
    add("pool", PoolTokens(how=choose(f"{prefix}.pool", ["mean_max", "mean", "max", "attention"])))
    return genes, genes[-1].name


def text_recipe(choose: Choose, form: Form, *, rows: int) -> GradientRecipe:
    """How a net that reads texts only is trained on this many rows."""
    batch = 32 if rows < 5_000 else 64 if rows < 50_000 else 128
    return GradientRecipe(
        rule="adamw",
        learning_rate=choose("recipe.learning_rate", [2e-3, 1e-3, 4e-3]),
        weight_decay=choose("recipe.weight_decay", [5e-2, 1e-2, 2e-1]),
        batch=choose("recipe.batch", [batch, 2 * batch, batch // 2]),
        smoothing=choose("recipe.smoothing", [0.0, 0.1]),
        clip=1.0,
        augmentation=Augmentation(drop_tokens=choose("recipe.drop_tokens", [0.1, 0.2, 0.0])),
    )
