"""What spaces of paths are made of: genes in a row, ranges around a default, bounds of cost, layers of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ...model.layers import Layer, vocabulary
from ...model.path import Gene
from ...problem.form import Form
from ..choices import Choose

Built = TypeVar("Built")
SCALES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625, 0.03125)
"""Widths that `bounded` tries, as shares of those chosen."""


class Chain:
    """Genes under construction. `forms`: what each source gives, ports included under `in:NAME`."""

    def __init__(self, forms: Mapping[str, Form]) -> None:
        self.genes: list[Gene] = []
        self.forms = dict(forms)
        self.last = next(iter(self.forms))

    def add(self, name: str, layer: Layer, *sources: str) -> str:
        """One more gene, on the last one unless told otherwise; gives its name."""
        inputs = sources or (self.last,)
        self.forms[name] = layer.form(*(self.forms[source] for source in inputs))
        self.genes.append(Gene(name=name, layer=layer, inputs=inputs))
        self.last = name
        return name

    @property
    def form(self) -> Form:
        """What the last gene gives."""
        return self.forms[self.last]


def around(choose: Choose, name: str, default: float, *, factor: float) -> float:
    """A number within `factor` of its default either way, on the logarithm. Three digits: closer ones mean the same."""
    return float(f"{choose(name, default / factor, default * factor, log=True):.3g}")


def between(choose: Choose, name: str, low: float, high: float) -> float:
    """A number of a range, three digits of it; the default is the middle."""
    return float(f"{choose(name, low, high):.3g}")


def hand_made(choose: Choose) -> Choose:
    """The same choices without free architectures: only families that a person designed."""

    def without(name: str, first: Any, *high: Any, **how: Any) -> Any:
        offered = first if high else [option for option in first if option != "free"]
        return choose(name, offered, *high, **how)

    return without


def recalling(choose: Choose) -> Choose:
    """The same choices, and nets that write recall training rows, which are weights of theirs then."""

    def willing(name: str, first: Any, *high: Any, **how: Any) -> Any:
        return choose(name, [True] if name == "recall" else first, *high, **how)

    return willing


SIZES = frozenset(("width", "depth", "expansion", "stages", "blocks", "members", "hidden", "num_trees"))
"""Last words of the names of choices that say how much a path computes."""


def small(choose: Choose) -> Choose:
    """The same choices, hand made and with the smallest of all sizes: what a student is made of."""

    def least(name: str, first: Any, *high: Any, **how: Any) -> Any:
        if not high and name.rpartition(".")[2] in SIZES and all(isinstance(one, int | float) for one in first):
            return choose(name, [min(first)], **how)
        return choose(name, first, *high, **how)

    return hand_made(least)


def narrow(width: int, scale: float, *, step: int = 8) -> int:
    """A width made smaller, a multiple of `step`; as it is at scale 1."""
    return width if scale >= 1 else max(min(step, width), step * round(width * scale / step))


def bounded(choose: Choose, build: Callable[[Choose, float], Built], *, fits: Callable[[Built], bool]) -> Built:
    """What `build(choose, scale)` gives at the largest of `SCALES` that fits; every choice is made once.

    Giants would eat the budget of a search before they have learned anything, and a random design often is one.
    """
    made: dict[str, Any] = {}

    def once(name: str, *offered: Any, **how: Any) -> Any:
        if name not in made:
            made[name] = choose(name, *offered, **how)
        return made[name]

    built = build(once, SCALES[0])
    for scale in SCALES[1:]:
        if fits(built):
            break
        built = build(once, scale)
    return built


def own_layer(choose: Choose, chain: Chain, name: str, layers: Sequence[str]) -> None:
    """After the gene that came last: one of the user's layers (kinds) that keep its form, or none, the default."""
    fitting = [kind for kind in layers if _keeps(kind, chain.form)]
    if fitting:
        kind = choose(f"{name}.own", [None, *fitting])
        if kind in fitting:
            chain.add(f"{name}.own", vocabulary()[kind]())


def _keeps(kind: str, form: Form) -> bool:
    try:
        return vocabulary()[kind]().form(form) == form
    except ValueError:
        return False
