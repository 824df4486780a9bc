"""Pictures as oriented gradients, for a cheap head: alone, or beside what a stored path sees in them.

No gene has weights of its own making: all are frozen, so that what they give is cached like what is stored, also for
moved copies, and equal in every task.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...model.layers import Layer
from ...model.layers.concat import Concat
from ...model.layers.flatten import Flatten
from ...model.layers.oriented_gradients import OrientedGradients
from ...model.layers.resized import Resized
from ...model.layers.scale import Scale
from ...model.layers.unit import Unit
from ...model.path import INPUT, Gene, Path
from ...model.prefix import END
from ...problem.form import Form
from .parents import Parent

CELLS, CELLS_BESIDE = 8, 6
"""Cells each way over a picture, alone and beside stored features, which know more and make a narrower head enough."""
LARGEST = 64
"""Larger pictures are first brought to so many pixels each way."""
MOST_CHANNELS = 4
"""Maps of more are no pictures."""
MOST_WEIGHTS = 10_000
"""Of a head beside stored features: a tenth of a small net. With sixty letters it would be 36,000, and where the parent
knows letters they were worth a point at most; without, what stands beside a parent that knows other things is half of
what the head knows: digits with 5 of each 0.860 became 0.896, garments 0.603 became 0.680."""
MOST_ROWS = 20_000
"""Nets learn more from more rows, and heads as wide as these would cost them their time."""


def suits(ports: Mapping[str, Form], *, rows: int) -> bool:
    """Whether there are pictures, and few enough."""
    return bool(_pictures(ports)) and rows <= MOST_ROWS


def light(parent: Parent, ports: Mapping[str, Form], *, width: int) -> bool:
    """Whether a head on a parent stays small with gradients beside it; `width`: of all raw predictions together."""
    path = beside(parent, ports, (END,))
    return path.forms(ports)[path.outputs[END]].width * width <= MOST_WEIGHTS


def alone(ports: Mapping[str, Form], outputs: tuple[str, ...]) -> Path:
    """All outputs read the gradients of all pictures, and their colours at as many places."""
    chain, ends = _Genes(), []
    for port in _pictures(ports):
        ends.append(chain.gradients(port, ports[port], cells=CELLS, signed=True))
        small = Resized(side=CELLS, channels=ports[port].width, mean=127.5, deviation=255.0)
        ends.append(
            chain.add("flat colours", Flatten(), chain.add("colours", small, f"{INPUT}{port}", of=port), of=port)
        )
    return chain.side_by_side(ends, outputs)


def beside(parent: Parent, ports: Mapping[str, Form], outputs: tuple[str, ...]) -> Path:
    """All outputs read what a parent gives, and the gradients of the pictures, as long as that, beside it."""
    chain, end = _Genes(parent.path.genes), parent.path.outputs[END]
    ends = [chain.add("as stored", Unit(), end)]
    for port in _pictures(ports):
        gradients = chain.gradients(port, ports[port], cells=CELLS_BESIDE, signed=False)
        width = Path(genes=tuple(chain.genes), outputs={END: gradients}).forms(ports)[gradients].width
        unit = chain.add("unit", Unit(), gradients, of=port)
        ends.append(chain.add("even", Scale(factor=(parent.width / width) ** 0.5), unit, of=port))
    return chain.side_by_side(ends, outputs)


def _pictures(ports: Mapping[str, Form]) -> list[str]:
    return [port for port, form in sorted(ports.items()) if form.kind == "map" and form.width <= MOST_CHANNELS]


class _Genes:
    """Frozen genes, one behind the other."""

    def __init__(self, genes: tuple[Gene, ...] = ()) -> None:
        self.genes = list(genes)

    def add(self, name: str, layer: Layer, *inputs: str, of: str = "") -> str:
        """The name of the new gene; `of`: the port that it reads."""
        name = f"{name} of {of}" if of else name
        self.genes.append(Gene(name=name, layer=layer, inputs=inputs, frozen=True))
        return name

    def side_by_side(self, ends: list[str], outputs: tuple[str, ...]) -> Path:
        seen = self.add("seen", Concat(), *ends)
        return Path(genes=tuple(self.genes), outputs=dict.fromkeys(outputs, seen))

    def gradients(self, port: str, form: Form, *, cells: int, signed: bool) -> str:
        """The gene that gives the oriented gradients of one port as a vector."""
        source, side = f"{INPUT}{port}", max(form.size)
        if side > LARGEST:
            small = Resized(side=LARGEST, channels=form.width, mean=0.0, deviation=1.0)
            source, side = self.add("smaller", small, source, of=port), LARGEST
        layer = OrientedGradients(cell=max(-(-side // cells), 2), signed=signed)
        return self.add("flat gradients", Flatten(), self.add("gradients", layer, source, of=port), of=port)
