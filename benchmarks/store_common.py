"""What the checking programs of the store share: stores filled at random, what a reader sees of one, and the report."""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
from typing import Any

import numpy as np

import common
import reporting

sys.path.insert(0, str(common.ROOT / "src"))

from polymath.store import Store

KINDS = ("task", "experiment", "note", "head")


def act(store: Store, chance: random.Random, *, names: int = 6, layers: int = 12) -> str:
    """One random thing that a user of the store might do; what it was."""
    what = chance.choice(["learn", "learn", "learn", "experiment", "note", "forget"])
    if what == "learn":
        learn(store, f"task {chance.randrange(names)}", [chance.randrange(layers) for _ in range(3)])
    elif what == "experiment":
        number = chance.randrange(20)
        store.add_record("experiment", {"n": number, "score": chance.random()}, id=f"trial {number}")
    elif what == "note":
        store.add_record("note", {"n": chance.randrange(1000)})
    else:
        heads = store.heads("task/")
        if heads:
            store.tombstone(chance.choice(sorted(heads.values())), reason="forgotten")
    return what


def layer(number: int) -> dict[str, np.ndarray]:
    """Tensors that follow from a number, so that anybody can say whether they are right."""
    return {"w": np.random.default_rng(number).normal(size=(8, 8)).astype(np.float32)}


def learn(store: Store, name: str, numbers: list[int]) -> str:
    """A task with these layers, and the name that means it."""
    refs = [store.put_tensors(layer(number)) for number in numbers]
    address = store.add_record("task", {"name": name, "layers": numbers, "refs": refs}, refs=refs)
    store.set_head(f"task/{name}", address)
    return address


def seen(store: Store) -> dict[str, Any]:
    """All that a reader can see, in an order that does not depend on who wrote when."""
    found: dict[str, Any] = {kind: sorted(store.records(kind), key=lambda one: one[0]) for kind in KINDS}
    return {**found, "heads": store.heads()}


def served(store: Store) -> int:
    """Read every layer of every task; how many there are. Raises AssertionError for a wrong one."""
    count = 0
    for _, body in store.records("task"):
        for number, address in zip(body["layers"], body["refs"], strict=True):
            assert np.array_equal(store.get_tensors(address)["w"], layer(number)["w"]), "a wrong layer was served"
            count += 1
    return count


def arguments(doc: str | None, *, rounds: int, quick: int, what: str) -> argparse.Namespace:
    """--quick, --rounds and --seed."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help=f"{quick} {what}: does it run?")
    made.add_argument("--rounds", type=int, help=f"how many {what} (default {rounds}; with --quick {quick})")
    made.add_argument("--seed", type=int, default=0)
    chosen = made.parse_args()
    chosen.rounds = chosen.rounds or (quick if chosen.quick else rounds)
    return chosen


@dataclasses.dataclass
class Claim:
    """One line of a report. `wanted`: what it must be, None for a line that only tells."""

    what: str
    found: int
    wanted: int | None = None

    @property
    def met(self) -> bool:
        return self.wanted is None or self.found == self.wanted


def report(
    name: str, title: str, doc: str | None, claims: list[Claim], *, chosen: argparse.Namespace, seconds: float
) -> int:
    """Write the report and say where it is; the exit code."""
    rows = [
        [one.what, f"{one.found:,}", "" if one.wanted is None else f"{one.wanted:,}", "" if one.wanted is None else reporting.verdict(one.met)]
        for one in claims
    ]  # fmt: skip
    file = reporting.page(
        name,
        reporting.table(("what", "found", "must be", ""), rows),
        title=title,
        about="\n\n".join((doc or "").split("\n\n")[2:]).strip(),
        told=[f"{chosen.rounds} rounds, seed {chosen.seed}, {seconds:.0f} s"],
        quick=chosen.quick,
    )
    print(*("  ".join(row) for row in rows), file, sep="\n")
    return 0 if all(one.met for one in claims) else 1
