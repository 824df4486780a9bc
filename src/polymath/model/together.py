"""Many built paths side by side: a gene that several of them have is held once, and computed once for a mixed batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from ..problem.form import Form, Tokens
from ..spec import canonical
from .build import Fetch, Value, as_value, build
from .layers.stored import Recent
from .path import INPUT, Gene, Path


@dataclass(frozen=True)
class _Port:
    """Where rows come in: the `number`-th port of a form that a path reads. Names of ports say nothing here."""

    form: Form
    number: int


_Source: TypeAlias = "int | _Port"


@dataclass(frozen=True)
class _Node:
    """One gene of the union at inputs of some form."""

    key: tuple[str, str | None, tuple[_Source, ...]]
    module: nn.Module

    @property
    def weights(self) -> str | None:
        return self.key[1]

    @property
    def sources(self) -> tuple[_Source, ...]:
        return self.key[2]


@dataclass(frozen=True)
class _Way:
    """The way of one path through the union: its nodes in order, its ports, which node gives which output."""

    nodes: tuple[int, ...]
    ports: dict[_Port, str]
    outputs: dict[str, int]


@dataclass(frozen=True, eq=False)
class _Rows:
    """For each path the places of its rows in a computed value."""

    places: dict[str, np.ndarray]


class Together:
    """Paths made ready to answer a mixed batch.

    Rows of several paths that pass through one gene go through it in one batch, and rows that are equal there, such as
    one picture asked of fifty paths, are computed once. Batches then have other sizes than if each path were asked
    alone, for which the libraries below take other kernels: answers agree to about 1e-5, and bit for bit where all rows
    are different and of one path.
    """

    def __init__(self, fetch: Fetch, *, device: str = "cpu") -> None:
        """`fetch`: address of stored weights -> the weights."""
        self._fetch, self._on_demand, self.device = fetch, Recent(fetch), device
        self._nodes: dict[int, _Node] = {}
        self._known: dict[tuple[str, str | None, tuple[_Source, ...]], int] = {}
        self._ways: dict[str, _Way] = {}
        self._tensors: dict[str, dict[str, Tensor]] = {}
        self._next = 0

    def __contains__(self, name: object) -> bool:
        return name in self._ways

    @property
    def num_bytes(self) -> int:
        """Of all tensors held, each once."""
        held = [t for node in self._nodes.values() for t in (*node.module.parameters(), *node.module.buffers())]
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}.values())

    def add(self, name: str, path: Path, ports: Mapping[str, Form]) -> None:
        """Takes in a path, all weights of which are stored; an earlier one of this name goes. Raises ValueError."""
        path, forms = path.giving(path.outputs), path.forms(ports)
        slots: dict[str, _Port] = {}
        places: dict[str, int] = {}
        for gene, inputs in path.walk(ports, forms):
            sources = tuple(
                places[source] if source in places else _slot(source, ports, slots) for source in gene.inputs
            )
            key = (canonical(gene.layer.model_dump(mode="json")), gene.weights, sources)
            if key not in self._known:
                module = self._built(gene, inputs)
                self._nodes[self._next] = _Node(key, module)
                self._known[key] = self._next
                self._next += 1
            places[gene.name] = self._known[key]
        outputs = {output: places[gene] for output, gene in path.outputs.items()}
        named = {slot: source[len(INPUT) :] for source, slot in slots.items()}
        self._ways[name] = _Way(tuple(dict.fromkeys(places.values())), named, outputs)
        self._tidy()

    def nodes(self, name: str) -> tuple[int, ...]:
        """The genes of a path as places in the union of all that are held: alike beginnings are equal."""
        return self._ways[name].nodes

    def drop(self, name: str) -> None:
        """Lets a path go, and what only it used."""
        self._ways.pop(name, None)
        self._tidy()

    @torch.inference_mode()
    def __call__(self, asked: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, Tensor]]:
        """Name -> port -> rows; gives name -> output -> raw predictions of these rows, in their order."""
        needed: dict[int, list[str]] = {}
        for name in asked:
            for place in self._ways[name].nodes:
                needed.setdefault(place, []).append(name)
        batch = _Batch(self._entered(asked), device=self.device)
        last: dict[_Source, int] = {}
        kept = {place for name in asked for place in self._ways[name].outputs.values()}
        for place in sorted(needed):
            last.update(dict.fromkeys(self._nodes[place].sources, place))
        for place in sorted(needed):  # a node stands after its sources
            node = self._nodes[place]
            batch.compute(place, node.module, node.sources, tuple(needed[place]))
            for source in set(node.sources):
                if last[source] == place and source not in kept:
                    batch.forget(source)
        return {
            name: {output: batch.answer(place, name) for output, place in self._ways[name].outputs.items()}
            for name in asked
        }

    def _entered(self, asked: Mapping[str, Mapping[str, np.ndarray]]) -> dict[_Port, dict[str, np.ndarray]]:
        found: dict[_Port, dict[str, np.ndarray]] = {}
        for name, inputs in asked.items():
            for slot, port in self._ways[name].ports.items():
                found.setdefault(slot, {})[name] = inputs[port]
        return found

    def _built(self, gene: Gene, inputs: Sequence[Form]) -> nn.Module:
        """The module of one gene; tensors of an address that is held already are shared, whatever form they work on."""
        ports = {str(number): form for number, form in enumerate(inputs)}
        alone = gene.replace(inputs=tuple(f"{INPUT}{port}" for port in ports), frozen=True)
        path = Path(genes=(alone,), outputs={})
        module = build(path, ports, fetch=self._fetch, on_demand=self._on_demand).module(gene.name)
        module.eval().to(self.device)
        state = module.state_dict()
        if gene.weights is None:
            if state:
                raise ValueError(f"gene {gene.name!r} has no stored weights")
            return module
        held = self._tensors.setdefault(gene.weights, state)
        if held is not state and all(held[name].shape == state[name].shape for name in state):
            module.load_state_dict(held, assign=True)
            module.requires_grad_(False)
        return module

    def _tidy(self) -> None:
        """Lets go what no path uses any more."""
        used = {place for way in self._ways.values() for place in way.nodes}
        for place in [place for place in self._nodes if place not in used]:
            del self._known[self._nodes.pop(place).key]
        addresses = {node.weights for node in self._nodes.values()}
        self._tensors = {address: held for address, held in self._tensors.items() if address in addresses}


class _Batch:
    """The values of one mixed batch, and which of their rows are whose."""

    def __init__(self, entered: Mapping[_Port, Mapping[str, np.ndarray]], *, device: str) -> None:
        self._values: dict[_Source, tuple[Value, _Rows]] = {}
        self._parts: dict[tuple[tuple[_Rows, ...], tuple[str, ...]], tuple[_Rows, list[np.ndarray]]] = {}
        for slot, arrays in entered.items():
            rows, firsts = _distinct({name: [one.tobytes() for one in array] for name, array in arrays.items()})
            array = np.concatenate(list(arrays.values()))[firsts]
            self._values[slot] = as_value(torch.from_numpy(array).to(device), slot.form), rows

    def compute(
        self, place: int, module: Callable[..., Value], sources: tuple[_Source, ...], names: tuple[str, ...]
    ) -> None:
        """What a gene gives for the rows of these paths."""
        given, old = zip(*(self._values[source] for source in sources), strict=True)
        if all(rows is old[0] for rows in old) and len(old[0].places) == len(names):
            self._values[place] = module(*given), old[0]
            return
        if (old, names) not in self._parts:
            columns = {name: np.stack([rows.places[name] for rows in old], 1) for name in names}
            whole = np.concatenate(list(columns.values())) if len(names) > 1 else columns[names[0]]
            rows, firsts = _distinct({name: list(map(tuple, column.tolist())) for name, column in columns.items()})
            self._parts[old, names] = rows, list(whole[firsts].T)
        rows, wanted = self._parts[old, names]
        self._values[place] = module(*map(_taken, given, wanted)), rows

    def forget(self, source: _Source) -> None:
        """Lets a value go that nobody reads any more."""
        del self._values[source]

    def answer(self, place: int, name: str) -> Tensor:
        """The rows of one path."""
        value, rows = self._values[place]
        assert isinstance(value, Tensor), "an output comes from a vector or a map"
        return value[torch.from_numpy(rows.places[name]).to(value.device)]


def _distinct(found: Mapping[str, Sequence[Hashable]]) -> tuple[_Rows, np.ndarray]:
    """Rows that differ, in the order in which they are met, and for each where it was met first."""
    known: dict[Hashable, int] = {}
    firsts: list[int] = []
    places, met = {}, 0
    for name, rows in found.items():
        for row in rows:
            if known.setdefault(row, len(known)) == len(firsts):
                firsts.append(met)
            met += 1
        places[name] = np.array([known[row] for row in rows], dtype=np.int64)
    return _Rows(places), np.array(firsts, dtype=np.int64)


def _slot(source: str, ports: Mapping[str, Form], slots: dict[str, _Port]) -> _Port:
    """The place of a port among those of its form that a path reads."""
    if source not in slots:
        form = ports[source.removeprefix(INPUT)]
        slots[source] = _Port(form, sum(slot.form == form for slot in slots.values()))
    return slots[source]


def _taken(value: Value, places: np.ndarray) -> Value:
    """Some rows of a value."""
    if isinstance(value, Tokens):
        return Tokens(_rows(value.values, places), _rows(value.mask, places))
    return _rows(value, places)


def _rows(x: Tensor, places: np.ndarray) -> Tensor:
    if len(places) == len(x) and (places == np.arange(len(x))).all():
        return x
    return x[torch.from_numpy(np.ascontiguousarray(places)).to(x.device)]
