"""What was invented, as records of a store: leaders of a search, and those that were given a name.

A search is a function `search_optimizer(store, order) -> Inventions` (or `search_cell`): the command line knows no
more. It writes its leaders as records of kind `invented`, named like their experiment: `optimizer/137`. `adopt` copies
one to a record of kind `rule` or `cell` and lets the head `rule/NAME` or `cell/NAME` mean it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import Field

from ..engine import cores
from ..search import Clock, Entry, Experiment, Ledger
from ..spec import BadInput, Spec, plain
from ..store import Draft, Store

KIND = "invented"
Kind = Literal["rule", "cell"]
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)


class Invented(Spec):
    """One thing that a search invented, or that a person wrote in the same language."""

    kind: Kind
    name: str
    """`optimizer/137`: search and number of the experiment; once adopted, the name that it was given."""
    formula: str
    """As people read it."""
    score: float
    """By which the search ranked it; higher is better."""
    rung: int = 0
    """Rungs of the search that it came through: the score of a later one weighs more."""
    expression: dict[str, Any]
    """Its JSON description in the language of its kind."""
    identity: str = ""
    """Hash of its behaviour: equal behaviour has equal hashes, however it is written."""
    facts: dict[str, float] = Field(default_factory=dict)
    """What else was measured, by name: learning rate, score on judging tasks ..."""
    origin: str = ""
    """Of an adopted one: what it was called before."""


class Watcher(Protocol):
    """Who is told how a search goes; the command line shows it."""

    def say(self, text: str) -> None:
        """One line of talk."""

    def tried(self, experiment: Experiment, *, formula: str, clock: Clock) -> None:
        """A rung of an experiment has ended; its last result says how."""


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        del text

    def tried(self, experiment: Experiment, *, formula: str, clock: Clock) -> None:
        del experiment, formula, clock


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a search for parts is asked for: the same for rules and cells."""

    name: str
    """Of the search: the same name in the same store goes on where it was."""
    budget_seconds: float | None = None
    experiments: int | None = None
    """At most so many; with this alone the result depends on the seed and the lanes, never on speed."""
    generator: str = "bandit"
    seed: int = 0
    lanes: int = field(default_factory=cores)
    watcher: Watcher = field(default_factory=Silent)
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Inventions:
    """What a search for parts gave: the same for rules and cells, so that one command shows both."""

    kind: Kind
    search: str
    """Name of the search; its experiments stand in the ledger under it."""
    experiments: int
    failed: int
    leaders: tuple[Invented, ...]
    """Best first."""
    seconds: float = 0.0

    @property
    def best(self) -> Invented | None:
        return self.leaders[0] if self.leaders else None

    def as_json(self) -> dict[str, Any]:
        """One plain object: experiments, failed, best and the leaders."""
        leaders = [plain(one.model_dump(mode="json")) for one in self.leaders]
        return {
            "kind": self.kind,
            "search": self.search,
            "experiments": self.experiments,
            "failed": self.failed,
            "seconds": round(self.seconds, 3),
            "best": leaders[0] if leaders else None,
            "leaders": leaders,
        }


@dataclass(frozen=True)
class Section:
    """A part of the page about a winner: words, and a table under them if it has rows."""

    title: str
    said: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    boxes: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], str]] = field(default_factory=dict)
    """A graph to be drawn: name -> words, what it takes, and what it is: "port", "out" or nothing."""


def record(store: Store, found: Sequence[Invented]) -> tuple[Invented, ...]:
    """Writes leaders of a search, in one durable step, and gives them as they are named there.

    One that stands there already is written anew. Another run of the search (another seed, other lanes) may have given
    its number to another part: then the begin of its identity is added to the name.
    """
    there = {one.name: one.identity for one in invented(store)}
    named = tuple(
        one.replace(name=f"{one.name}-{one.identity[:8]}") if there.get(one.name, one.identity) != one.identity else one
        for one in found
    )
    store.add_records([Draft(kind=KIND, body=one.model_dump(mode="json"), id=one.name) for one in named])
    return named


def invented(store: Store, search: str | None = None) -> list[Invented]:
    """What searches of this store found, best first; of one search, or of all."""
    found = [Invented.model_validate(body) for _, body in store.records(KIND)]
    return sorted(
        (one for one in found if search is None or search_of(one) == search),
        key=lambda one: (-one.rung, -one.score, one.name),
    )


def search_of(found: Invented) -> str:
    """Name of the search that found it."""
    return found.name.rpartition("/")[0]


def entries(store: Store, search: str) -> list[Entry]:
    """All finished rungs of a search, oldest first; a task of the same name has its own data, and is left out."""
    return [one for one in Ledger(store, search).entries() if one.dataset == search]


def furthest(rungs: Sequence[Entry]) -> list[Entry]:
    """The last rung that each part came through, best first. Runs of other seeds share numbers, but no traces."""
    latest = {one.trace.digest: one for one in sorted(rungs, key=lambda one: one.rung) if one.ok}
    return sorted(latest.values(), key=lambda one: (-one.rung, -(one.score or 0.0), one.number))


def lookup(store: Store, name: str) -> Invented:
    """A leader by its name (`optimizer/137`), the best of a search by the search's (`optimizer`), or an adopted part.

    Raises BadInput, naming what there is.
    """
    for kind in ("rule", "cell"):
        address = store.head(f"{kind}/{name}")
        if address is not None:
            return Invented.model_validate(store.record(address))
    leaders = invented(store)
    for one in leaders:
        if name in (search_of(one), one.name):
            return one
    there = ", ".join(one.name for one in leaders[:5]) or "nothing yet: polymath search optimizer --budget 20m"
    raise BadInput("is nothing that was found in this store", value=name, remedy=f"There is {there}.")


def adopt(store: Store, found: Invented, *, name: str) -> Invented:
    """Gives it a name of this store: from now on an option of every search there. Raises BadInput."""
    if not NAME.fullmatch(name):
        raise BadInput(
            "is no name for a part", value=name, remedy="Use small letters, digits, - and _, a letter first."
        )
    named = found.replace(name=name, origin=found.origin or found.name)
    address = store.add_record(named.kind, named.model_dump(mode="json"), id=name)
    store.set_head(f"{named.kind}/{name}", address)
    return named


def adopted(store: Store, kind: Kind) -> dict[str, Invented]:
    """Name -> part, of all rules or cells that this store has adopted."""
    heads = store.heads(f"{kind}/")
    return {head.partition("/")[2]: Invented.model_validate(store.record(address)) for head, address in heads.items()}
