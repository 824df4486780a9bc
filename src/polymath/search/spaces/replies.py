"""The space of replies: a tower that reads messages, a tower that reads replies, and where they meet.

The first options are bags of hashed n-grams under a small net (Henderson et al. 2017, arXiv:1705.00652), large batches,
because the other replies of a batch are what a reply is told apart from. Sized for one CPU core.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...model.layers.concat import Concat
from ...model.layers.hashed_ngrams import HashedNgrams
from ...model.layers.join import Join
from ...model.layers.linear import Linear
from ...model.layers.pair import Pair
from ...model.layers.part import Part
from ...model.path import INPUT, Gene, Path
from ...problem.features.reply import Reply
from ...problem.features.text import Text
from ...problem.form import Form
from ...problem.problem import Problem
from ...spec import BadInput
from ...train.recipe import Augmentation, GradientRecipe
from ..choices import Choose
from . import images, tables, texts
from .parents import Parent
from .pieces import around

READERS = ("ngrams", "both", "text")
"""How a tower reads a text: hashed n-grams, an encoder over tokens as in `texts`, or one beside the other."""
FEWEST_BATCHES = 8
"""Of an epoch, so that few rows still give an order."""


def space(
    choose: Choose,
    problem: Problem,
    *,
    rows: int,
    layers: Sequence[str] = (),
    parents: tuple[Parent, ...] = (),
) -> tuple[Path, GradientRecipe]:
    """A path that brings messages and replies together, and how it is trained on this many rows.

    Called as `rows.SPECIAL` says. Towers begin with nothing stored: `parents` are not used.
    """
    output = problem.outputs[0]
    if len(problem.outputs) > 1 or not isinstance(output, Reply):
        raise BadInput("replies are learned alone", column=output.name, remedy="Learn other targets as other tasks.")
    genes: list[Gene] = []
    made = _Made.chosen(choose, width=output.width, rows=rows)
    shared = _shared(genes, problem, output, made)
    for name, ports in (("message", problem.ports), ("reply", problem.answers)):
        source = _tower(choose, genes, ports, made, name=name, layers=layers, shared=shared)
        alike = [shared[port] for port in ports if port in shared]
        last = f"{name}.last" if alike else name
        genes.append(Gene(name=last, layer=Linear(width=output.width), inputs=(source,)))
        if alike:  # words that both say bring them together, whether a net has learned them or not
            genes.append(Gene(name=name, layer=Join(how="add"), inputs=(*alike, last)))
    genes.append(Gene(name="pair", layer=Pair(), inputs=("message", "reply")))
    return Path(genes=tuple(genes), outputs={output.name: "pair"}), _recipe(choose, rows)


@dataclass(frozen=True)
class _Made:
    """What both towers are made of."""

    reader: str
    bag: HashedNgrams
    hidden: Linear
    shared: bool
    """One table of n-grams for messages and replies."""

    @classmethod
    def chosen(cls, choose: Choose, *, width: int, rows: int) -> _Made:
        # The update rule touches the whole table in every step: one that is too large costs most of the time.
        usual = 4_096 if rows < 10_000 else 16_384 if rows < 50_000 else 32_768
        dropout = choose("replies.dropout", [0.1, 0.0, 0.3])
        bag = HashedNgrams(
            width=choose("replies.width", [width, 2 * width, max(width // 2, 1)]),
            buckets=choose("replies.buckets", [usual, 4 * usual, usual // 4]),
            longest=choose("replies.longest", [2, 3, 1]),
            dropout=dropout,
        )
        hidden = Linear(width=choose("replies.hidden", [512, 256, 1024]), activation="gelu", dropout=dropout)
        reader = choose("replies.reader", READERS)
        # What is added to a vector of the reply's width has its width.
        shared = reader != "text" and bag.width == width and choose("replies.shared", [True, False])
        return cls(reader, bag, hidden, shared)


def _shared(genes: list[Gene], problem: Problem, output: Reply, made: _Made) -> dict[str, str]:
    """Adds one table for replies and all texts that are cut as they are; port -> the gene that gives its vector."""
    alike = [one for one in problem.inputs if isinstance(one, Text) and one.subwords == output.subwords]
    if not made.shared or not alike:
        return {}
    ports = [*(problem.port_of(one) for one in alike), problem.answer_port(output)]
    genes.append(Gene(name="shared", layer=made.bag, inputs=tuple(f"{INPUT}{port}" for port in ports)))
    given = {port: f"shared.{number}" for number, port in enumerate(ports)}
    for number, name in enumerate(given.values()):
        part = Part(start=number * made.bag.width, width=made.bag.width)
        genes.append(Gene(name=name, layer=part, inputs=("shared",)))
    return given


def _tower(
    choose: Choose,
    genes: list[Gene],
    ports: Mapping[str, Form],
    made: _Made,
    *,
    name: str,
    layers: Sequence[str],
    shared: Mapping[str, str],
) -> str:
    """Adds the genes of one tower, but for its last map, and gives the name of the one that ends it."""
    read: list[str] = []
    for number, (port, form) in enumerate(sorted(ports.items())):
        own = made
        if port in shared:
            read.append(shared[port])
            own = replace(made, reader="text" if made.reader == "both" else "")
        read += _read(choose, genes, port, form, made=own, prefix=f"{name}{number}", layers=layers)
    source = read[0]
    if len(read) > 1:
        source = f"{name}.joined"
        genes.append(Gene(name=source, layer=Concat(), inputs=tuple(read)))
    genes.append(Gene(name=f"{name}.hidden", layer=made.hidden, inputs=(source,)))
    return f"{name}.hidden"


def _read(
    choose: Choose,
    genes: list[Gene],
    port: str,
    form: Form,
    *,
    made: _Made,
    prefix: str,
    layers: Sequence[str],
) -> list[str]:
    """Genes that read one port, and the vectors they give."""
    if form.kind != "tokens":
        encoder = images.encoder if form.kind == "map" else tables.encoder
        more, last = encoder(choose, port, form, prefix=prefix, layers=layers)
        genes += more
        return [last]
    given: list[str] = []
    if made.reader in ("ngrams", "both"):
        genes.append(Gene(name=f"{prefix}.ngrams", layer=made.bag, inputs=(f"{INPUT}{port}",)))
        given.append(f"{prefix}.ngrams")
    if made.reader in ("text", "both"):
        more, last = texts.encoder(choose, port, form, prefix=prefix, layers=layers)
        genes += more
        given.append(last)
    return given


def _recipe(choose: Choose, rows: int) -> GradientRecipe:
    """How towers are trained on this many rows: the larger the batch, the harder the wrong replies."""
    most = max(rows // FEWEST_BATCHES, 8)
    batches = [size for size in (512, 1024, 256) if size <= most] or [most]
    return GradientRecipe(
        rule="adamw",
        learning_rate=around(choose, "recipe.learning_rate", 3e-3, factor=4),
        weight_decay=around(choose, "recipe.weight_decay", 1e-3, factor=10),
        batch=choose("recipe.batch", batches),
        smoothing=choose("recipe.smoothing", [0.0, 0.1]),
        warmup=around(choose, "recipe.warmup", 0.05, factor=4),
        ema=around(choose, "recipe.ema", 0.1, factor=5),
        augmentation=Augmentation(drop_tokens=choose("recipe.drop_tokens", [0.0, 0.1])),
        precision="float32",
    )
