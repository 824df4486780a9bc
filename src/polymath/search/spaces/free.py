"""Free architectures: layers one after the other, each with its own operation and with skips from any before it.

In the manner of Zoph and Le 2017 (arXiv:1611.01578, section 3.3): for every earlier layer a choice `LATER.from.EARLIER`
says whether it feeds this one, and what nobody takes is joined to the last. A layer that nothing feeds takes the one
before it (there: the image), so that the default is a plain chain; the stem is one of the earlier layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...model.layers import Layer
from ...model.layers.join import Join
from ...model.layers.local_pool import LocalPool
from ...model.layers.map_block import MapBlock
from ...model.layers.tokens_block import TokensBlock
from ...model.layers.transformer import Transformer
from ...model.layers.vector_block import VectorBlock
from ...problem.form import Form
from ..choices import Choose
from .cells import recurrent
from .pieces import Chain, narrow, own_layer

Block = Callable[[Choose, str, int, Form], Layer | None]
"""`(choose, name, number, form) -> layer`, or None for a layer that changes nothing."""

LEAST_SIDE = 4
"""Pixels; smaller maps are not halved any more."""


def grow(choose: Choose, chain: Chain, block: Block, *, prefix: str, most: int, layers: Sequence[str] = ()) -> None:
    """Adds 1 to `most` layers behind the last gene of a chain, joined as the choices say."""
    start = chain.last
    given = {f"{prefix}.stem": start}
    taken: set[str] = set()
    for number in range(choose(f"{prefix}.layers", 1, most)):
        name = f"{prefix}.layer{number}"
        fed = [given[other] for other in given if number and choose(f"{name}.from.{other}", [False, True])]
        sources = list(dict.fromkeys(fed)) or [chain.last]
        taken.update(sources)
        _join(choose, chain, name, sources)
        layer = block(choose, name, number, chain.form)
        if layer is not None:
            chain.add(name, layer)
        own_layer(choose, chain, name, layers)
        given[name] = chain.last
    last = chain.last
    unused = [source for source in dict.fromkeys(given.values()) if source not in taken | {last, start}]
    if unused:
        chain.add(f"{prefix}.ends", Join(), *unused, last)


def _join(choose: Choose, chain: Chain, name: str, sources: list[str]) -> None:
    chain.last = sources[-1]
    if len(sources) > 1:
        chain.add(f"{name}.joined", Join(how=choose(f"{name}.join", ["concat", "add"])), *sources)


def first_of(default: int, options: Sequence[int]) -> list[int]:
    """The options with the default in front."""
    return [default, *(option for option in options if option != default)]


def map_block(scale: float) -> Block:
    """Operations on a map; by default convolutions that halve the map every other layer and widen it."""

    def block(choose: Choose, name: str, number: int, form: Form) -> Layer | None:
        kind = choose(f"{name}.operation", ["convolution", "residual", "separable", "pool", "identity"])
        if kind == "identity":
            return None
        steps = ([1, 2] if number % 2 else [2, 1]) if max(form.size) > LEAST_SIDE else [1]
        step = choose(f"{name}.step", steps)
        if kind == "pool":
            return LocalPool(how=choose(f"{name}.how", ["max", "mean"]), step=step)
        width = choose(f"{name}.width", first_of(min(32 << number // 2, 128), (16, 24, 32, 48, 64, 96, 128)))
        return MapBlock(
            width=narrow(width, scale),
            operation=kind,
            size=3 if kind == "residual" else choose(f"{name}.size", [3, 5]),
            step=step,
            norm=choose(f"{name}.norm", ["batch", "layer", "none"]),
            activation=choose(f"{name}.activation", ["relu", "silu", "gelu"]),
        )

    return block


def tokens_block(scale: float, *, dropout: float) -> Block:
    """Operations on tokens; by default convolutions beside a residual path."""

    def block(choose: Choose, name: str, number: int, form: Form) -> Layer | None:
        kind = choose(
            f"{name}.operation", ["convolution", "separable", "attention", "feed_forward", "recurrent", "identity"]
        )
        if kind == "identity":
            return None
        if kind == "attention":
            heads = choose(f"{name}.heads", [4, 8, 2])
            return Transformer(depth=1, heads=heads, expansion=2, dropout=dropout)
        width = narrow(choose(f"{name}.width", [128, 64, 192, 256]), scale, step=16)
        if kind == "recurrent":
            return recurrent(choose(f"{name}.cell", ["gru", "lstm"]), width=width // 2, dropout=dropout)
        return TokensBlock(
            width=width,
            operation=kind,
            size=3 if kind == "feed_forward" else choose(f"{name}.size", [3, 5, 7]),
            norm=choose(f"{name}.norm", ["layer", "none"]),
            activation=choose(f"{name}.activation", ["relu", "gelu", "silu"]),
            dropout=dropout,
        )

    return block


def vector_block(scale: float, *, dropout: float) -> Block:
    """Linear maps with norm, activation, dropout, and a gate if chosen."""

    def block(choose: Choose, name: str, number: int, form: Form) -> Layer | None:
        kind = choose(f"{name}.operation", ["linear", "gated", "identity"])
        if kind == "identity":
            return None
        return VectorBlock(
            width=narrow(choose(f"{name}.width", [128, 64, 256, 32]), scale),
            norm=choose(f"{name}.norm", ["batch", "layer", "none"]),
            activation=choose(f"{name}.activation", ["relu", "silu", "gelu"]),
            dropout=dropout,
            gated=kind == "gated",
        )

    return block
