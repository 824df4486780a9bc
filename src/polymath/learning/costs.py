"""What a model costs beside what it is worth: new parameters, and compute for each answer.

Score = quality x factor for new parameters x factor for active compute, as in mu3Net (Gesmundo 2022, arXiv:2209.07326,
section 2.3), which takes 0.99 for each 2.2e9 parameters. Here the unit is the net that would be trained first from
nothing: `new=0.02` makes a model with as many new parameters as that one count 2 % less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import Field

from ..model.build import build
from ..model.combine import Member
from ..model.path import Path
from ..problem import Dataset
from ..search.choices import Recorder, first
from ..search.spaces.rows import problem_space
from ..spec import BadInput, Spec


class Cost(Spec):
    """Shares of the score that a model gives up for what it costs; 0 = it costs nothing."""

    new: float = Field(default=0.0, ge=0, lt=1)
    """For as many parameters that no stored task has as a fresh net of all defaults has."""
    active: float = Field(default=0.0, ge=0, lt=1)
    """For as many multiply-adds per example as a fresh net of all defaults has."""

    def __bool__(self) -> bool:
        return bool(self.new or self.active)

    def __str__(self) -> str:
        """In words for people; empty where nothing is taken off."""
        said = (("new parameters", self.new), ("multiply-adds", self.active))
        each = " and ".join(f"{100 * share:g} % for as many {what}" for what, share in said if share)
        return f"{each} as a fresh net has" if each else ""

    def charged(self, quality: float, *, new: float, active: float) -> float:
        """The quality with these multiples of a fresh net taken off. Below 0 it is divided: it gets worse too."""
        factor = (1 - self.new) ** new * (1 - self.active) ** active
        charged: float = quality * factor if quality >= 0 else quality / factor
        return charged


FREE = Cost()
"""Nothing counts but the quality."""


def parse_cost(text: str) -> Cost:
    """`new=0.02,active=0.01` as a cost, either alone too; nothing = free. Raises BadInput."""
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, share = part.partition("=")
        try:
            found[name.strip()] = float(share)
        except ValueError:
            found[name.strip()] = -1.0
    if not set(found) <= set(Cost.model_fields) or not all(0 <= share < 1 for share in found.values()):
        raise BadInput("is no cost", value=text, remedy="Give shares below 1: new=0.02,active=0.01, or one of them.")
    return Cost(**found)


@dataclass(frozen=True)
class Bill:
    """What paths hold and compute together: addresses of weights, and gene identity -> multiply-adds."""

    addresses: frozenset[str]
    work: Mapping[str, float]


class Charges:
    """What models of one problem cost. `lent`: addresses of weights that stored tasks have already."""

    def __init__(
        self, cost: Cost, dataset: Dataset, *, lent: set[str], fetch: Callable[[str], Mapping[str, np.ndarray]]
    ) -> None:
        self.cost, self.dataset, self.lent = cost, dataset, lent
        self._fetch = fetch
        self._sizes: dict[str, int] = {}

    def bill(self, paths: Sequence[Path]) -> Bill:
        """Of all these paths; what they share counts once."""
        work: dict[str, float] = {}
        for path in paths:
            forms, identities = path.forms(ports := self.dataset.problem.all_ports), path.identities()
            work |= {identities[gene.name]: gene.layer.work(*inputs) for gene, inputs in path.walk(ports, forms)}
        return Bill(frozenset().union(*(path.addresses for path in paths)), work)

    def charging(self, members: Sequence[Member]) -> Callable[[float, frozenset[int]], float]:
        """What takes off a quality what some of these members, by number, cost together."""
        if not self.cost:
            return lambda quality, _: quality
        bills = {member.number: self.bill(member.paths) for member in members}
        return lambda quality, numbers: self.charged(quality, [bills[number] for number in numbers])

    def charged(self, quality: float, bills: Sequence[Bill]) -> float:
        """The quality after what is on these bills, once each."""
        new = sum(self._size(address) for address in sorted(set().union(*(b.addresses for b in bills)) - self.lent))
        work = {identity: macs for bill in bills for identity, macs in bill.work.items()}
        parameters, macs = self._fresh
        return self.cost.charged(quality, new=new / parameters, active=sum(work.values()) / macs)

    def _size(self, address: str) -> int:
        if address not in self._sizes:
            self._sizes[address] = sum(tensor.size for tensor in self._fetch(address).values())
        return self._sizes[address]

    @cached_property
    def _fresh(self) -> tuple[float, float]:
        """Parameters and multiply-adds of the net with all defaults."""
        problem, rows = self.dataset.problem, int((self.dataset.folds >= 0).sum())
        path, _ = problem_space(Recorder(first), problem, rows=rows)
        module = build(path, problem.all_ports)
        return max(sum(module.parameters_by_gene().values()), 1.0), max(path.work(problem.all_ports), 1.0)
