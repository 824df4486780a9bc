"""A path -> an `nn.Module`: fresh weights from seeds, stored weights checked and loaded, equal genes computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from ..problem.form import Form, Tokens
from ..spec import printable
from .layers.stored import Fetch as Fetch
from .layers.stored import Fetching, Recent
from .layers.stored import Weights as Weights
from .path import INPUT, Gene, Path

Value: TypeAlias = Tensor | Tokens
"""What flows along an edge of a path: the value of a form."""


def build(
    path: Path,
    ports: Mapping[str, Form],
    *,
    fetch: Fetch | None = None,
    seed: int = 0,
    on_demand: Fetch | None = None,
) -> PathModule:
    """The module of a path on these ports, on the CPU.

    Genes without an address get fresh weights that depend on `seed` and the gene's name only: another gene in the path
    changes nothing for this one. Layers with parts in the store fetch them when a batch asks for them, by `on_demand`;
    None = by `fetch`, and what was used last is kept. Raises ValueError if a gene does not fit its inputs or stored
    weights do not fit it.
    """
    forms = path.forms(ports)
    modules: list[nn.Module] = []
    steps: list[_Step] = []
    done: dict[tuple[str, bool], str] = {}
    same: dict[str, str] = {}
    identities = path.identities()
    fresh: set[str] = set()
    on_demand = Recent(fetch) if on_demand is None and fetch is not None else on_demand
    for gene, inputs in path.walk(ports, forms):
        module = _module(gene, inputs, fetch=fetch, seed=seed)
        if isinstance(module, Fetching) and on_demand is not None:
            module.fetch = on_demand
        sources = tuple(same.get(source, source) for source in gene.inputs)
        if (gene.weights is None and has_tensors(module)) or any(source in fresh for source in sources):
            fresh.add(gene.name)  # its identity does not tell its weights apart from another's
        elif (key := (identities[gene.name], gene.frozen)) in done:
            same[gene.name] = done[key]
            continue
        else:
            done[key] = gene.name
        steps.append(_Step(gene, sources, len(modules)))
        modules.append(module)
    outputs = {output: same.get(name, name) for output, name in path.outputs.items()}
    return PathModule(modules, steps, outputs=outputs, ports=dict(ports), same=same)


def _module(gene: Gene, inputs: list[Form], *, fetch: Fetch | None, seed: int) -> nn.Module:
    digest = hashlib.sha256(f"{seed}\n{gene.name}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which formats a stack trace for other devices: half a millisecond per gene.
        torch.default_generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        module = gene.layer.build(*inputs)
    if gene.weights is not None:
        if fetch is None:
            raise ValueError(f"gene {gene.name!r} has stored weights, and there is no store to fetch them from")
        load_weights(module, fetch(gene.weights), name=gene.name)
    if gene.frozen:
        module.requires_grad_(False)
    return module


@dataclass(frozen=True)
class _Step:
    """One gene that is computed: where its inputs come from (ports or steps) and its place in the list of modules."""

    gene: Gene
    sources: tuple[str, ...]
    index: int


class PathModule(nn.Module):
    """A built path: `forward({port: tensor}) -> {output: raw prediction}`, [B, W], [B, T, W] or [B, W, height, width].

    While training a raw prediction may be [B, M, W] of M members; the loss is the mean over them. Ports: vectors like
    `row` float [B, D] with NaN for a missing number and integer codes in category columns; ids [B, T] of tokens,
    0 = padding; pixels uint8 [B, C, H, W], which stay uint8 up to the first layer. Genes marked frozen take no
    gradients and always run as when not training.
    """

    def __init__(
        self,
        modules: list[nn.Module],
        steps: list[_Step],
        *,
        outputs: dict[str, str],
        ports: dict[str, Form],
        same: dict[str, str],
    ) -> None:
        super().__init__()
        self.genes = nn.ModuleList(modules)
        self.ports = ports
        self.outputs = outputs
        self._steps = steps
        self._index = {step.gene.name: step.index for step in steps}
        self._index |= {name: self._index[first] for name, first in same.items()}
        self._plans: dict[frozenset[str], list[tuple[_Step, list[str]]]] = {}
        self._plan(outputs.values())
        self.train()

    def forward(
        self, inputs: Mapping[str, Tensor | Tokens], outputs: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """`outputs`: those wanted; None = all. Nothing is computed, and no port read, that they do not need."""
        wanted = self.outputs if outputs is None else {output: self.outputs[output] for output in outputs}
        values = self._values(wanted.values(), inputs)
        return {output: _tensor(values[name]) for output, name in wanted.items()}

    def value(self, gene: str, inputs: Mapping[str, Tensor | Tokens]) -> Tensor:
        """What one gene gives; nothing is computed, and no port read, that it does not need."""
        return _tensor(self._values([gene], inputs)[gene])

    def train(self, mode: bool = True) -> PathModule:
        super().train(mode)
        for step in self._steps:
            if step.gene.frozen:
                self.genes[step.index].eval()
        return self

    @torch.no_grad()
    def prepare(self, inputs: Mapping[str, Tensor | Tokens]) -> None:
        """Shows a sample of training rows to the fresh genes that want one (bin edges, medians), in order."""
        waiting = {
            step.index
            for step in self._steps
            if step.gene.weights is None and callable(getattr(self.genes[step.index], "prepare", None))
        }
        if not waiting:
            return
        training = self.training
        self.eval()
        values = dict(_port_values(self._steps, self.ports, inputs))
        for step in self._steps[: max(waiting) + 1]:
            module, arguments = self.genes[step.index], [values[source] for source in step.sources]
            if step.index in waiting:
                module.prepare(*arguments)  # type: ignore[operator]
            values[step.gene.name] = module(*arguments)
        self.train(training)

    @property
    def rows_kept(self) -> int:
        """Training rows that fresh genes want to keep as weights (layer `recall`), at most."""
        return max((module.rows_kept for _, module in self._keeping()), default=0)

    @torch.no_grad()
    def remember(self, inputs: Mapping[str, Tensor | Tokens]) -> None:
        """Shows training rows to these genes: what stands at the ports they read."""
        for step, module in self._keeping():
            ports = [source[len(INPUT) :] for source in step.sources if source.startswith(INPUT)]
            module.remember(*(as_value(inputs[port], self.ports[port]) for port in ports))

    def _keeping(self) -> list[tuple[_Step, Any]]:
        fresh = [(step, self.genes[step.index]) for step in self._steps if step.gene.weights is None]
        return [(step, module) for step, module in fresh if callable(getattr(module, "remember", None))]

    def memory(self, output: str, inputs: Mapping[str, Tensor | Tokens]) -> tuple[nn.Module, list[Value]]:
        """The module that gives an output, and all that it reads but the answer, for layers that answer step by step.

        Nothing is computed that these values do not need, so no answer has to stand at its port.
        """
        last = next(step for step in self._steps if step.gene.name == self.outputs[output])
        *sources, _ = last.sources
        ports = {source: source[len(INPUT) :] for source in sources if source.startswith(INPUT)}
        values = self._values([source for source in sources if source not in ports], inputs)
        values |= {source: as_value(inputs[port], self.ports[port]) for source, port in ports.items()}
        return self.genes[last.index], [values[source] for source in sources]

    def module(self, gene: str) -> nn.Module:
        """The module of a gene; equal genes have one module."""
        return self.genes[self._index[gene]]

    def weights(self, gene: str) -> dict[str, np.ndarray] | None:
        """Copies of a gene's tensors by name, to be stored under one address; None if the gene has none."""
        return get_weights(self.module(gene)) or None

    def state(self) -> dict[str, np.ndarray]:
        """Tensors of every gene, named `gene/tensor`: a checkpoint."""
        found = {step.gene.name: get_weights(self.genes[step.index]) for step in self._steps}
        return {f"{gene}/{name}": tensor for gene, tensors in found.items() for name, tensor in tensors.items()}

    def load(self, state: Weights) -> None:
        """Takes over a checkpoint made by `state` of an equal path. Raises ValueError if it does not fit."""
        parts: dict[str, dict[str, np.ndarray]] = {step.gene.name: {} for step in self._steps}
        for full, tensor in state.items():
            gene, _, name = full.rpartition("/")
            if gene not in parts:
                raise ValueError(f"checkpoint has tensor {printable(full)!r}; the path computes no such gene")
            parts[gene][name] = tensor
        for gene, tensors in parts.items():
            load_weights(self.module(gene), tensors, name=gene)

    def parameters_by_gene(self) -> dict[str, int]:
        """Number of trained or trainable numbers of each gene that is computed."""
        return {s.gene.name: sum(p.numel() for p in self.genes[s.index].parameters()) for s in self._steps}

    def _values(self, genes: Iterable[str], inputs: Mapping[str, Tensor | Tokens]) -> dict[str, Value]:
        """What these genes give."""
        plan = self._plan(genes)
        values = dict(_port_values([step for step, _ in plan], self.ports, inputs))
        for step, done in plan:
            values[step.gene.name] = self.genes[step.index](*(values[source] for source in step.sources))
            for source in done:
                del values[source]
        return values

    def _plan(self, genes: Iterable[str]) -> list[tuple[_Step, list[str]]]:
        """The steps that these genes need, in order, each with the values that nobody reads after it."""
        wanted = frozenset(genes)
        if wanted not in self._plans:
            steps = _needed(self._steps, wanted)
            self._plans[wanted] = list(zip(steps, _done_after(steps, wanted), strict=True))
        return self._plans[wanted]


def _needed(steps: list[_Step], genes: Collection[str]) -> list[_Step]:
    """The steps that some genes need, in order."""
    needed = set(genes)
    for step in reversed(steps):
        if step.gene.name in needed:
            needed.update(step.sources)
    return [step for step in steps if step.gene.name in needed]


def _done_after(steps: list[_Step], kept: Collection[str]) -> list[list[str]]:
    """For every step, whose values nobody reads after it: they are let go, so that memory holds what is needed only."""
    last = {source: step.index for step in steps for source in step.sources}
    return [[source for source, index in last.items() if index == step.index and source not in kept] for step in steps]


def _port_values(
    steps: list[_Step], ports: Mapping[str, Form], inputs: Mapping[str, Tensor | Tokens]
) -> Iterator[tuple[str, Value]]:
    for source in {source for step in steps for source in step.sources if source.startswith(INPUT)}:
        port = source[len(INPUT) :]
        if port not in inputs:
            raise ValueError(f"the path reads port {port!r}, the batch has {sorted(inputs)}")
        yield source, as_value(inputs[port], ports[port])


def as_value(x: Tensor | Tokens, form: Form) -> Value:
    """What stands at a port as the value of its form: tokens get their mask; layers leave zeros where no token is."""
    if form.kind == "tokens" and not isinstance(x, Tokens):
        return Tokens(x, x != 0 if form.vocabulary else (x != 0).any(-1))
    return x


def _tensor(value: Value) -> Tensor:
    return value.values if isinstance(value, Tokens) else value


def has_tensors(module: nn.Module) -> bool:
    """Whether a module has anything to store."""
    return bool(module.state_dict())


def get_weights(module: nn.Module) -> dict[str, np.ndarray]:
    """Copies of a module's stored tensors by name."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in module.state_dict().items()}


def load_weights(module: nn.Module, weights: Weights, *, name: str) -> None:
    """Copies tensors into a module. Raises ValueError unless names and shapes fit and all numbers are finite."""
    mine = module.state_dict()
    if set(mine) != set(weights):
        missing, other = sorted(set(mine) - set(weights)), sorted(set(weights) - set(mine))
        raise ValueError(f"weights of gene {name!r} do not fit its layer: missing {missing}, not its own {other}")
    for tensor_name, tensor in mine.items():
        array = np.asarray(weights[tensor_name])
        where = f"tensor {tensor_name!r} of gene {name!r}"
        if array.shape != tuple(tensor.shape):
            raise ValueError(f"{where} has shape {array.shape}, its layer wants {tuple(tensor.shape)}")
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{where} has type {array.dtype}, which is no number")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{where} holds NaN or infinity")
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.array(array)))  # a copy: arrays from a store are read-only
