"""The space of sentences: everything that is read becomes tokens, and a decoder writes what it makes of them.

Sizes were chosen by measured speed: an epoch of Multi30k (29,000 pairs) takes 1 to 2 minutes of one CPU core.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...model.layers import Layer
from ...model.layers.as_tokens import AsTokens
from ...model.layers.convolution import Convolution
from ...model.layers.embedding import Embedding
from ...model.layers.pixels import Pixels
from ...model.layers.pool_tokens import PoolTokens
from ...model.layers.recall import Recall
from ...model.layers.recurrent import Recurrent
from ...model.layers.recurrent_decoder import RecurrentDecoder
from ...model.layers.residual_stage import ResidualStage
from ...model.layers.transformer import Transformer
from ...model.layers.transformer_decoder import TransformerDecoder
from ...model.path import INPUT, Gene, Path
from ...problem.form import Form
from ...problem.problem import Problem
from ...train.recipe import GradientRecipe
from ..choices import Choose
from . import tables
from .parents import Parent, begun, careful, choose_parent
from .pieces import Chain, around

FAMILIES = ("transformer", "stacked", "small")
"""`stacked`: deep residual LSTMs as in Wu et al. 2016; `small`: one GRU each way, one that writes."""
MANY_ROWS_FAMILIES = ("stacked", "transformer", "small")
"""From 6,000 pairs in a minute the Transformer learned more, from 29,000 in six the LSTMs by far: benchmarks/LOG.md."""
LONGEST = 512
"""Tokens that are read of a text: attention costs the square of them."""
FEW_ROWS, SOME_ROWS = 3_000, 15_000
MOST_PAIRS, MOST_KEPT = 50_000, 20_000_000
"""Pairs, and the tokens of theirs with padding, that a net which recalls keeps: 40 MB."""
PLACES = 64
"""Places of a picture that the decoder looks at, about: 8 x 8."""


def space(
    choose: Choose,
    problem: Problem,
    *,
    rows: int,
    layers: Sequence[str] = (),
    parents: tuple[Parent, ...] = (),
) -> tuple[Path, GradientRecipe]:
    """A path that reads every port and writes every text, and how it is trained on this many rows.

    Called as `rows.SPECIAL` says. What a stored path makes of the input is read beside the rest.
    """
    made = _Made.chosen(choose, rows)
    genes: list[Gene] = []
    sources: list[str] = []
    forms = dict(problem.all_ports)
    parent = choose_parent(choose, "start from", parents) if parents else None
    if parent is not None:
        genes, name = begun(choose, parent, problem.ports)
        sources.append(name)
    for number, (port, form) in enumerate(sorted(problem.ports.items())):
        more, name = _reader(choose, port, form, made, prefix=f"port{number}", layers=layers)
        genes += more
        sources.append(name)
    given = Path(genes=tuple(genes), outputs={}).forms(forms)
    if len(sources) > 1 or given[sources[0]].kind != "tokens" or given[sources[0]].width != made.width:
        genes.append(Gene(name="read", layer=AsTokens(width=made.width), inputs=tuple(sources)))
        sources = ["read"]
    text = _recalled(choose, problem)
    outputs: dict[str, str] = {}
    for number, output in enumerate(problem.outputs):
        if output.answer.kind == "tokens":
            name, answer = f"writer{number}", f"{INPUT}{problem.answer_port(output)}"
            inputs = (sources[0], *([text] if text else []), answer)
            genes.append(Gene(name=name, layer=made.decoder(_pairs(rows, forms, inputs[1:])), inputs=inputs))
            outputs[output.name] = name
    others = {output.name: output.head_width for output in problem.outputs if output.name not in outputs}
    if others:
        genes.append(Gene(name="pooled", layer=PoolTokens(how="mean_max"), inputs=(sources[0],)))
        more, heads = tables.linear_heads("pooled", others)
        genes, outputs = [*genes, *more], outputs | heads
    path, how = Path(genes=tuple(genes), outputs=outputs), recipe(choose, made.family, rows=rows)
    return path, careful(choose, how, path) if parent else how


@dataclass(frozen=True)
class _Made:
    """What readers and writers are made of."""

    family: str
    width: int
    depth: int
    dropout: float
    heads: int = 4
    expansion: int = 4
    look: str = "dot"

    @classmethod
    def chosen(cls, choose: Choose, rows: int) -> _Made:
        family = choose("family", FAMILIES if rows < SOME_ROWS else MANY_ROWS_FAMILIES)
        usual = 128 if rows < FEW_ROWS else 256
        width = choose("width", [usual, 2 * usual, usual // 2])
        strong = rows < SOME_ROWS
        dropout = choose("dropout", [0.3, 0.2, 0.1] if strong else [0.1, 0.2, 0.3])
        if family == "transformer":
            depth = choose("depth", [2, 3, 4] if strong else [3, 2, 4, 6])
            heads, expansion = choose("heads", [4, 8]), choose("expansion", [4, 2])
            return cls(family, width, depth, dropout, heads=heads, expansion=expansion)
        look = choose("look", ["dot", "additive"])
        depth = choose("depth", [3, 4, 2, 6]) if family == "stacked" else 1
        return cls(family, width, depth, dropout + 0.1, look=look)

    def decoder(self, pairs: int) -> Layer:
        """What writes; with `pairs` it recalls the answers to texts like the one that is read."""
        writer = self._writer()
        return Recall(writer=writer, pairs=pairs) if pairs else writer

    def _writer(self) -> RecurrentDecoder | TransformerDecoder:
        if self.family == "transformer":
            return TransformerDecoder(
                depth=self.depth, heads=self.heads, expansion=self.expansion, dropout=self.dropout
            )
        return RecurrentDecoder.model_validate(
            {
                "width": self.width,
                "cell": "lstm" if self.family == "stacked" else "gru",
                "depth": self.depth,
                "look": self.look,
                "dropout": self.dropout,
            }
        )


def recallable(problem: Problem) -> str:
    """The port of the text whose likes can be recalled: that of a problem which reads this text alone; else nothing."""
    writes = any(output.answer.kind == "tokens" for output in problem.outputs)
    texts = [name for name, form in problem.ports.items() if form.vocabulary]
    return texts[0] if writes and texts and len(problem.ports) == 1 else ""


def _recalled(choose: Choose, problem: Problem) -> str:
    """The text whose likes are recalled, or nothing.

    Only `--space recall` asks for it (`pieces.recalling`): such a path holds training rows, as no other does.
    """
    port = recallable(problem)
    return f"{INPUT}{port}" if port and choose("recall", [False]) else ""


def _pairs(rows: int, forms: Mapping[str, Form], ports: Sequence[str]) -> int:
    """Pairs that are kept of a text and its answer, which stand at two ports; none where only the answer does."""
    if len(ports) < 2:
        return 0
    return max(1, min(rows, MOST_PAIRS, MOST_KEPT // sum(forms[port[len(INPUT) :]].size[0] for port in ports)))


def _reader(
    choose: Choose, port: str, form: Form, made: _Made, *, prefix: str, layers: Sequence[str]
) -> tuple[list[Gene], str]:
    """Genes that turn what stands at a port into something to look at, and the name of the one that gives it."""
    if form.kind == "tokens":
        return _text(port, form, made, prefix=prefix)
    if form.kind == "map":
        return _picture(port, form, made, prefix=prefix)
    return tables.encoder(choose, port, form, prefix=prefix, layers=layers)


def _text(port: str, form: Form, made: _Made, *, prefix: str) -> tuple[list[Gene], str]:
    chain = Chain({f"{INPUT}{port}": form})
    length = LONGEST if form.size[0] > LONGEST else 0
    scaled = made.family != "transformer"
    table = Embedding(width=made.width, length=length, dropout=made.dropout, scaled=scaled)
    chain.add(f"{prefix}.embedding", table)
    if made.family == "transformer":
        layer = Transformer(
            depth=made.depth, heads=made.heads, expansion=made.expansion, dropout=made.dropout, activation="relu"
        )
        chain.add(f"{prefix}.transformer", layer)
        return chain.genes, chain.last
    stacked = made.family == "stacked"
    cell = "lstm" if stacked else "gru"
    both = Recurrent.model_validate({"width": made.width // 2, "cell": cell, "dropout": made.dropout})
    chain.add(f"{prefix}.both_ways", both)
    if made.depth > 1:
        above = Recurrent(width=made.width, cell="lstm", both_ways=False, depth=made.depth - 1, dropout=made.dropout)
        chain.add(f"{prefix}.above", above)
    return chain.genes, chain.last


def _picture(port: str, form: Form, made: _Made, *, prefix: str) -> tuple[list[Gene], str]:
    """Convolutions that halve the picture until few enough places are left to look at."""
    chain = Chain({f"{INPUT}{port}": form})
    chain.add(f"{prefix}.pixels", Pixels())
    chain.add(f"{prefix}.stem", Convolution(width=32, step=2 if max(form.size) > 48 else 1))
    number = 0
    while chain.form.size[0] * chain.form.size[1] > PLACES and number < 6:
        wide = min(32 * 2 ** (number + 1), made.width)
        chain.add(f"{prefix}.stage{number}", ResidualStage(width=wide))
        number += 1
    return chain.genes, chain.last


def recipe(choose: Choose, family: str, *, rows: int) -> GradientRecipe:
    """How a net that writes is trained on this many rows."""
    batch = 32 if rows < FEW_ROWS else 64 if rows < SOME_ROWS else 96
    return GradientRecipe(
        rule="adamw",
        learning_rate=around(choose, "recipe.learning_rate", 2e-3 if family == "transformer" else 3e-3, factor=3),
        weight_decay=around(choose, "recipe.weight_decay", 5e-2, factor=10),
        batch=choose("recipe.batch", [batch, 2 * batch, batch // 2]),
        smoothing=choose("recipe.smoothing", [0.1, 0.0]),
        warmup=around(choose, "recipe.warmup", 0.05, factor=3),
        ema=around(choose, "recipe.ema", 0.1, factor=5),
        clip=1.0,
        # Half the time of float32 on processors made for it; elsewhere it is float32.
        precision="bfloat16",
    )
