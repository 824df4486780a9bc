"""A path: a directed acyclic graph of genes from input ports to outputs, as plain data.

The identity of a gene is the hash of its layer description, the address of its weights and the identities of its
inputs: a Merkle graph, so equal identity means equal computation in any task on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, field_serializer, field_validator, model_validator

from ..problem.form import Form
from ..spec import Spec, canonical, sha256
from .layers import Layer, parse_layer

INPUT = "in:"
"""Prefix of a gene input that names a port of the problem instead of another gene."""


class Gene(Spec):
    """One layer in a path: description, inputs, address of its weights (none yet = fresh), frozen or not."""

    name: str = Field(min_length=1)
    """Name within the path; not part of the identity."""
    layer: Layer
    inputs: tuple[str, ...] = Field(min_length=1)
    weights: str | None = None
    frozen: bool = False

    @field_validator("layer", mode="before")
    @classmethod
    def _layer_by_kind(cls, value: Any) -> Any:
        return parse_layer(value) if isinstance(value, Mapping) else value

    @field_serializer("layer")
    def _whole_layer(self, layer: Layer) -> dict[str, Any]:
        return layer.model_dump(mode="json")


class Path(Spec):
    """Genes in an order in which every gene stands after its inputs, and which gene gives which output."""

    genes: tuple[Gene, ...]
    outputs: dict[str, str]

    @model_validator(mode="after")
    def _is_a_graph(self) -> Path:
        known: set[str] = set()
        for gene in self.genes:
            name = gene.name
            if name in known:
                raise ValueError(f"gene {name!r} is named twice")
            if name.startswith(INPUT):
                raise ValueError(f"gene {name!r}: a name may not begin with {INPUT!r}")
            for source in gene.inputs:
                if not source.startswith(INPUT) and source not in known:
                    raise ValueError(f"gene {name!r} takes {source!r}, no port ({INPUT}...) and no earlier gene")
            known.add(name)
        for output, name in self.outputs.items():
            if name not in known:
                raise ValueError(f"output {output!r} comes from {name!r}, which is no gene")
        return self

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of the ports that the path reads, sorted."""
        used = {s[len(INPUT) :] for gene in self.genes for s in gene.inputs if s.startswith(INPUT)}
        return tuple(sorted(used))

    @property
    def addresses(self) -> set[str]:
        """Addresses of all that its genes have stored."""
        weights = {gene.weights for gene in self.genes if gene.weights}
        return weights.union(*(gene.layer.addresses for gene in self.genes))

    def giving(self, outputs: Mapping[str, str]) -> Path:
        """The part of this path that gives these outputs (output -> gene): a prefix, or some of the outputs."""
        needed = set(outputs.values())
        for gene in reversed(self.genes):
            if gene.name in needed:
                needed.update(gene.inputs)
        return Path(genes=tuple(gene for gene in self.genes if gene.name in needed), outputs=dict(outputs))

    def identities(self) -> dict[str, str]:
        """Gene name -> Merkle identity. A gene without weights is identified by its description alone."""
        result: dict[str, str] = {}
        for gene in self.genes:
            sources = [s if s.startswith(INPUT) else result[s] for s in gene.inputs]
            described = {"layer": gene.layer.model_dump(mode="json"), "weights": gene.weights, "inputs": sources}
            result[gene.name] = sha256(canonical(described).encode())
        return result

    def forms(self, ports: Mapping[str, Form]) -> dict[str, Form]:
        """Gene name -> form it gives. Raises ValueError naming the gene that does not fit."""
        result: dict[str, Form] = {}
        for gene, inputs in self.walk(ports, result):
            try:
                result[gene.name] = gene.layer.form(*inputs)
            except ValueError as error:
                raise ValueError(f"gene {gene.name!r}: {error}") from error
        return result

    def walk(self, ports: Mapping[str, Form], forms: Mapping[str, Form]) -> Iterator[tuple[Gene, list[Form]]]:
        """Genes in order with the forms of their inputs; `forms` is filled by the caller as it goes."""
        for gene in self.genes:
            inputs = []
            for source in gene.inputs:
                if source.startswith(INPUT):
                    port = source[len(INPUT) :]
                    if port not in ports:
                        raise ValueError(f"gene {gene.name!r} reads port {port!r}; the problem has {sorted(ports)}")
                    inputs.append(ports[port])
                else:
                    inputs.append(forms[source])
            yield gene, inputs

    def work(self, ports: Mapping[str, Form]) -> float:
        """Multiply-adds of one forward pass of one example."""
        forms = self.forms(ports)
        return sum(gene.layer.work(*inputs) for gene, inputs in self.walk(ports, forms))
