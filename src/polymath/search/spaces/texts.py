"""Text encoders: subword ids, an embedding, layers over tokens, one pool."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.layers.convolution_tokens import ConvolutionTokens
from ...model.layers.embedding import Embedding
from ...model.layers.pool_tokens import PoolTokens
from ...model.layers.transformer import Transformer
from ...model.path import INPUT, Gene
from ...problem.form import Form
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose
from . import free
from .cells import recurrent
from .pieces import Chain, around, between, narrow, own_layer

FAMILIES = ("convolution", "words", "transformer", "recurrent", "free")
MOST_LAYERS = 4
LEAST_LENGTH = 32


def encoder(
    choose: Choose, port: str, form: Form, *, prefix: str, scale: float = 1.0, layers: Sequence[str] = ()
) -> tuple[list[Gene], str]:
    """Genes that turn the texts of a port into one vector each, and the name of the gene that gives it.

    The first options keep the embeddings beside phrase detectors and pool both by mean and maximum: as strong as tf-idf
    from few rows, and one pass costs little more than looking the words up.
    `scale`, `layers`: see `rows.problem_space`.
    """
    chain = Chain({f"{INPUT}{port}": form})
    family = choose(f"{prefix}.family", FAMILIES)
    width = narrow(choose(f"{prefix}.width", [128, 64, 256]), scale, step=16)
    length = choose(f"{prefix}.length", [n for n in (128, 256, 64, 1024) if n < form.size[0]] or [0])
    if scale < 1 / 4:  # attention costs the square of the length, whatever the width
        length = max(round((length or form.size[0]) * 4 * scale), LEAST_LENGTH)
    dropout = choose(f"{prefix}.dropout", [0.2, 0.0, 0.4])
    chain.add(f"{prefix}.embedding", Embedding(width=width, length=length, dropout=dropout))
    if family == "convolution":
        sizes = choose(f"{prefix}.sizes", [[2, 3], [3], [2, 3, 4, 5], [3, 5]])
        filters = ConvolutionTokens(width=width // 2, sizes=tuple(sizes), keep=True, dropout=dropout)
        chain.add(f"{prefix}.phrases", filters)
    elif family == "transformer":
        depth, heads = choose(f"{prefix}.depth", [2, 1, 4]), choose(f"{prefix}.heads", [4, 8, 2])
        chain.add(f"{prefix}.transformer", Transformer(depth=depth, heads=heads, expansion=2, dropout=dropout))
    elif family == "recurrent":
        cell, depth = choose(f"{prefix}.cell", ["gru", "lstm"]), choose(f"{prefix}.depth", [1, 2])
        chain.add(f"{prefix}.recurrent", recurrent(cell, width=width // 2, depth=depth, dropout=dropout))
    elif family == "free":
        block = free.tokens_block(scale, dropout=dropout)
        free.grow(choose, chain, block, prefix=prefix, most=MOST_LAYERS, layers=layers)
    if family != "free":
        own_layer(choose, chain, prefix, layers)
    chain.add(f"{prefix}.pool", PoolTokens(how=choose(f"{prefix}.pool", ["mean_max", "mean", "max", "attention"])))
    return chain.genes, chain.last


def text_recipe(choose: Choose, form: Form, *, rows: int) -> GradientRecipe:
    """How a net that reads texts only is trained on this many rows."""
    batch = 32 if rows < 5_000 else 64 if rows < 50_000 else 128
    return GradientRecipe(
        rule="adamw",
        learning_rate=around(choose, "recipe.learning_rate", 2e-3, factor=4),
        weight_decay=around(choose, "recipe.weight_decay", 5e-2, factor=10),
        batch=choose("recipe.batch", [batch, 2 * batch, batch // 2]),
        smoothing=choose("recipe.smoothing", [0.0, 0.1]),
        warmup=around(choose, "recipe.warmup", 0.1, factor=5),
        ema=around(choose, "recipe.ema", 0.1, factor=5),
        clip=1.0,
        augmentation=Augmentation(drop_tokens=between(choose, "recipe.drop_tokens", 0.0, 0.2)),
    )
