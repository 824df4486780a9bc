"""Which stored paths a new task may build upon, the most promising first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..importing import ABSORBED, imports
from ..importing import HEAD as IMPORTED
from ..model.layers.namesakes import Namesakes
from ..model.path import Gene, Path
from ..model.prefix import END, grafted, matching, prefixes
from ..predicting import HEAD, TaskRecord, load_record
from ..problem import Category, Dataset, Problem
from ..problem.features import Feature, Text, parse_feature
from ..problem.features.common import key
from ..problem.form import Form
from ..search.generators import Experience
from ..search.spaces.designs import sizes
from ..search.spaces.parents import Parent
from ..store import Store
from .promise import Lender, expected, gains
from .translating import translated
from .trunks import TRUNK

MOST = 12
"""Parents offered to one search."""
FEW_NAMED = 50
"""Examples per class up to which stored answers about classes of the same names are tried."""
LEAST_NAMED = 0.5
"""Share of the new classes that must have a namesake: the others could hardly be answered."""


def parents(
    store: Store, problem: Problem, *, but: str, most: int = MOST, experience: Experience | None = None
) -> tuple[Parent, ...]:
    """Prefixes of all tasks of the store that fit the ports of this problem; `but`: the task that is learned now.

    Tasks that are private are left out. Equal prefixes, of tasks that share them, belong to the one that tells the most
    classes apart (the trunk, where tasks were moved onto one) and promise what the most promising of these tasks does:
    by what `experience` of earlier tasks has taught, where it is enough, else by a formula.
    """
    found: dict[str, Parent] = {}
    lenders = list(_lenders(store, but=but))
    learned = None
    if experience is not None:
        learned = expected([one.known for one in lenders], gains(experience.past), experience.fingerprint)
    for lender in lenders:
        for part in lender.parts:
            fitted = translated(part, lender.features, problem, put=store.put_tensors)
            ports = matching(fitted.part, lender.ports, problem.ports, settled=fitted.ports)
            if ports is None:
                continue
            placed = grafted(fitted.part, ports=ports, name=lender.name)
            end = placed.outputs[END]
            width = placed.forms(problem.ports)[end].width
            parent = Parent(
                task=lender.name,
                path=placed,
                width=width,
                classes=lender.classes,
                promise=_promise(lender, problem) if learned is None else learned[lender.name],
                learned=learned is not None,
            )
            identity = placed.identities()[end]
            if (other := found.get(identity)) is not None:
                owner = max(parent, other, key=lambda one: (one.classes, one.promise))
                parent = owner.replace(promise=max(parent.promise, other.promise))
            found[identity] = parent
    return tuple(sorted(found.values(), key=lambda parent: (-parent.promise, parent.name))[:most])


def namesakes(store: Store, dataset: Dataset, *, but: str, source: str) -> tuple[Parent, ...]:
    """The stored task that says most about classes of the same names, up to its answers about the new classes.

    For few examples of each class: with many, their own say more. A trunk speaks for all tasks that it was made of: its
    classes are called TASK/CLASS. A task of the same data (fingerprint `source`) knows these rows by heart, and is not
    asked.
    """
    problem, rows = dataset.problem, dataset.training()
    if len(problem.outputs) != 1 or not isinstance(output := problem.outputs[0], Category):
        return ()
    if len(rows) > FEW_NAMED * output.head_width:
        return ()
    places = {key(value): place for place, value in enumerate(output.classes or ())}
    found: list[tuple[int, int, Parent]] = []
    for record in _records(store, but=but):
        own = Problem.model_validate(record.problem)
        if len(own.outputs) != 1 or not isinstance(answer := own.outputs[0], Category):
            continue
        if record.origin.get("fingerprint") == source:
            continue
        names = [key(value) for value in answer.classes or ()]
        if TRUNK in record.origin:
            names = [name.partition("/")[2] for name in names]
        classes = tuple(places.get(name, -1) for name in names)
        named = {place for place in classes if place >= 0}
        if len(named) < max(2, LEAST_NAMED * len(places)):
            continue
        whole = Path.model_validate(record.path)
        layer = Namesakes(width=len(places), classes=classes)
        gene = Gene(name="namesakes", layer=layer, inputs=(whole.outputs[answer.name],), frozen=True)
        part = Path(genes=(*whole.giving({END: gene.inputs[0]}).genes, gene), outputs={END: gene.name})
        features = {own.port_of(one): (one,) for one in own.inputs if isinstance(one, Text)}
        fitted = translated(part, features, problem, put=store.put_tensors)
        ports = matching(fitted.part, own.all_ports, problem.ports, settled=fitted.ports)
        if ports is not None:
            path = grafted(fitted.part, ports=ports, name=f"{record.name} named")
            parent = Parent(task=record.name, path=path, width=len(places), classes=len(names))
            found.append((sum(place >= 0 for place in classes), record.summary.rows_used, parent))
    ranked = sorted(found, key=lambda one: (-one[0], -one[1], one[2].task))
    return tuple(parent for *_, parent in ranked[:1])


def said(found: tuple[Parent, ...]) -> dict[str, Any]:
    """Why these were tried, for the record: how promising each lender is, and who says so."""
    if not found:
        return {}
    promise = {parent.task: round(parent.promise, 4) for parent in reversed(found)}
    return {"by": "ledger" if found[0].learned else "formula", "promise": dict(sorted(promise.items()))}


def fetch(found: tuple[Parent, ...], *, store: Store, scratch: Store) -> None:
    """Puts the weights of parents where experiments look for weights."""
    for address in sorted({address for parent in found for address in parent.path.addresses}):
        if not scratch.has(address):
            scratch.put(store.get(address))


def _records(store: Store, *, but: str) -> Iterator[TaskRecord]:
    for head in sorted(store.heads(HEAD)):
        name = head.removeprefix(HEAD)
        record = load_record(store, name) if name != but else None
        if record is not None and record.state != "learning" and not record.private:
            yield record


@dataclass(frozen=True)
class _Lender:
    """A task, or knowledge from outside, that may be built upon."""

    name: str
    ports: Mapping[str, Form]
    parts: Sequence[Path]
    """Its prefixes, each to `END`."""
    features: Mapping[str, tuple[Feature, ...]]
    """What stands at its ports, as far as it can be translated."""
    rows: int
    classes: int
    trunk: bool = False
    """Made of tasks of several sizes, for all of them."""

    @property
    def known(self) -> Lender:
        """What the regression knows of it."""
        return Lender(
            name=self.name,
            sizes=sizes(self.ports, rows=self.rows, width=self.classes),
            classes=math.log10(1 + self.classes),
            trunk=self.trunk,
            outside=self.name.startswith((IMPORTED, ABSORBED)),
        )


def _lenders(store: Store, *, but: str) -> Iterator[_Lender]:
    for record in _records(store, but=but):
        own = Problem.model_validate(record.problem)
        whole = prefixes(Path.model_validate(record.path), own.all_ports)
        parts = [part for part in whole if set(part.ports) <= set(own.ports)]
        classes = sum(output.head_width for output in own.outputs)
        texts = {own.port_of(one): (one,) for one in own.inputs if isinstance(one, Text)}
        yield _Lender(record.name, own.ports, parts, texts, record.summary.rows_used, classes, TRUNK in record.origin)
    for one in imports(store):
        path = Path.model_validate(one.path)
        part = path.replace(outputs=dict.fromkeys([END], next(iter(path.outputs.values()))))
        features = tuple(parse_feature(feature) for feature in one.features)
        yield _Lender(one.head, one.ports, [part], dict.fromkeys(one.ports, features), one.rows, one.classes)


def imported(store: Store, built_on: Iterable[str]) -> tuple[str, ...]:
    """Knowledge from outside that these lenders are, or themselves were built upon."""
    found: set[str] = set()
    for name in built_on:
        if name.startswith(IMPORTED):
            found.add(name)
        elif store.head(HEAD + name) is not None:  # it may have been forgotten while this task was learned
            found.update(load_record(store, name).imported)
    return tuple(sorted(found))


def _promise(lender: _Lender, problem: Problem) -> float:
    """Before anything was tried: many rows and many classes make good features, and alike forms make likely ones."""
    alike = sum(form in lender.ports.values() for form in problem.ports.values()) / max(len(problem.ports), 1)
    alike = 1.0 if lender.trunk else alike
    return math.log10(1 + lender.rows) + math.log10(1 + lender.classes) + alike
