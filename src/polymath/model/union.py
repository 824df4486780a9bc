"""The whole growing model: the union of all paths by gene identity, and what one path has in common with the others.

It reads descriptions only, never weights, and computes no hash: equal genes are found by interning (layer, weights,
genes that they read), which is what their identities are made of. 200 tasks take a fraction of a second.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..problem.form import Form
from .layers import Layer, parse_layer
from .path import INPUT


@dataclass(frozen=True)
class Stored:
    """A stored path under its name, as the store gives it."""

    name: str
    path: Mapping[str, Any]
    """The JSON of a `Path`."""
    ports: Mapping[str, Form]
    built_on: tuple[str, ...] = ()
    """Names of the paths that lent it genes."""
    imported: bool = False
    """Knowledge from outside: no task of its own."""
    absorbed: bool = False
    """Learned here from rows without a target: no task either."""
    note: str = ""
    """What it is, in a few words."""


@dataclass
class UnionGene:
    """One gene of the union: stored once, computed once, however many paths pass through it."""

    kind: str
    layer: Mapping[str, Any]
    inputs: tuple[int | str, ...]
    """Places in the union of the genes that it reads, or ports."""
    weights: tuple[str, ...]
    """Addresses of all that it stores."""
    work: float
    """Multiply-adds of one example: the most over the sizes that its paths give it."""
    paths: list[str] = field(default_factory=list)
    """Names of the paths that hold it, in the order of the union."""


@dataclass(frozen=True)
class Share:
    """One path beside all others. Parameters: numbers stored as weights, each address counted once."""

    name: str
    parameters: int
    parameters_shared: int
    """Of them those that another path holds too."""
    work: float
    """Multiply-adds of one example."""
    active: float
    """Parameters of the path over those of the union, 0..1."""
    active_work: float
    """The same of multiply-adds."""
    shares_with: tuple[str, ...]
    """Paths with which it has weights in common."""
    builds_on: tuple[str, ...]
    built_upon_by: tuple[str, ...]
    imported: tuple[str, ...]
    """Knowledge from outside that it holds or descends from."""

    @property
    def parameters_own(self) -> int:
        return self.parameters - self.parameters_shared


class Union:
    """All paths together. `count`: the numbers stored at an address; asked once per address, and only when needed."""

    def __init__(self, stored: Iterable[Stored], *, count: Callable[[str], int]) -> None:
        self.stored = {one.name: one for one in stored}
        self.genes: list[UnionGene] = []
        """In an order in which every gene stands after those that it reads."""
        self.paths: dict[str, tuple[int, ...]] = {}
        """Name -> its genes as places in `genes`, each once."""
        self.outputs: dict[str, dict[str, int]] = {}
        self._count = count
        self._counted: dict[str, int] = {}
        self._known: dict[tuple[Any, ...], int] = {}
        self._layers = _Layers()
        for one in self.stored.values():
            self._add(one)

    def _add(self, one: Stored) -> None:
        places: dict[str, int] = {}
        forms: dict[str, Form | None] = {f"{INPUT}{port}": form for port, form in one.ports.items()}
        for gene in one.path["genes"]:
            words = json.dumps(gene["layer"], sort_keys=True)
            sources = tuple(places.get(source, source) for source in gene["inputs"])
            form, work = self._layers.look(words, tuple(forms.get(source) for source in gene["inputs"]))
            forms[gene["name"]] = form
            key = (self._layers.described(words), gene["weights"], sources)
            place = self._known.setdefault(key, len(self.genes))
            if place == len(self.genes):
                layer = gene["layer"]
                weights = ((gene["weights"],) if gene["weights"] else ()) + tuple(layer.get("stored") or ())
                self.genes.append(UnionGene(str(layer["kind"]), layer, sources, weights, work))
            mine = self.genes[place]
            mine.work = max(mine.work, work)
            if not mine.paths or mine.paths[-1] != one.name:
                mine.paths.append(one.name)
            places[gene["name"]] = place
        self.paths[one.name] = tuple(dict.fromkeys(places.values()))
        self.outputs[one.name] = {output: places[name] for output, name in one.path["outputs"].items()}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the paths that answer something: all but what came from outside."""
        return tuple(name for name, one in self.stored.items() if not one.imported and not one.absorbed)

    # Sizes -------------------------------------------------------------------------------------------------------
    def parameters(self, addresses: Iterable[str]) -> int:
        """Numbers stored at these addresses."""
        total = 0
        for address in addresses:
            if address not in self._counted:
                self._counted[address] = self._count(address)
            total += self._counted[address]
        return total

    @cached_property
    def holders(self) -> dict[str, set[str]]:
        """Address of weights -> names of the paths that hold it."""
        found: dict[str, set[str]] = {}
        for gene in self.genes:
            for address in gene.weights:
                found.setdefault(address, set()).update(gene.paths)
        return found

    @cached_property
    def all_parameters(self) -> int:
        return self.parameters(self.holders)

    @cached_property
    def all_work(self) -> float:
        return sum(gene.work for gene in self.genes)

    def weights(self, name: str) -> set[str]:
        """Addresses of all weights of a path."""
        return {address for place in self.paths[name] for address in self.genes[place].weights}

    def share(self, name: str) -> Share:
        """What a path takes and gives. Raises KeyError for a name that is not in the union."""
        own = self.weights(name)
        shared = {address for address in own if len(self.holders[address]) > 1}
        parameters, work = self.parameters(own), sum(self.genes[place].work for place in self.paths[name])
        return Share(
            name=name,
            parameters=parameters,
            parameters_shared=self.parameters(shared),
            work=work,
            active=parameters / self.all_parameters if self.all_parameters else 0.0,
            active_work=work / self.all_work if self.all_work else 0.0,
            shares_with=tuple(sorted({other for address in shared for other in self.holders[address]} - {name})),
            builds_on=tuple(other for other in self.stored[name].built_on if other != name),
            built_upon_by=tuple(other for other, one in self.stored.items() if name in one.built_on and other != name),
            imported=tuple(other for other in self.ancestors(name) if _is_imported(self.stored, other)),
        )

    def ancestors(self, name: str) -> tuple[str, ...]:
        """All that a path builds on, and what that builds on, sorted; names of what was forgotten are among them."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            one = self.stored.get(waiting.pop())
            for other in one.built_on if one is not None else ():
                if other not in found and other != name:
                    found.add(other)
                    waiting.append(other)
        return tuple(sorted(found))


def _is_imported(stored: Mapping[str, Stored], name: str) -> bool:
    return name in stored and stored[name].imported


class _Layers:
    """What layers say of themselves, asked once for each description and sizes: stored paths repeat a few of them."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer | None] = {}
        self._described: dict[str, str] = {}
        self._looked: dict[tuple[str, tuple[Form | None, ...]], tuple[Form | None, float]] = {}

    def described(self, words: str) -> str:
        """A description with the defaults of this release, so that one from an older release is known again."""
        if words not in self._described:
            layer = self._layer(words)
            full = words if layer is None else json.dumps(layer.model_dump(mode="json"), sort_keys=True)
            self._described[words] = full
        return self._described[words]

    def look(self, words: str, inputs: tuple[Form | None, ...]) -> tuple[Form | None, float]:
        """The form it gives, and its multiply-adds; (None, 0) for a layer of the user's own that was not brought."""
        key = (words, inputs)
        if key not in self._looked:
            layer = self._layer(words)
            known = [form for form in inputs if form is not None]
            self._looked[key] = (None, 0.0)
            if layer is not None and len(known) == len(inputs):
                with contextlib.suppress(ValueError):  # a gene that does not fit is for whoever builds it to refuse
                    self._looked[key] = layer.form(*known), layer.work(*known)
        return self._looked[key]

    def _layer(self, words: str) -> Layer | None:
        if words not in self._layers:
            try:
                self._layers[words] = parse_layer(json.loads(words))
            except ValueError:
                self._layers[words] = None
        return self._layers[words]
