"""Claim: merging stores is idempotent, commutative and associative, and survives kill -9.

python benchmarks/store_merge.py [--quick] [--rounds 60] [--seed 0]

Each round makes three stores that grew apart from a common one, at random: tasks of equal and of other names,
experiments, things forgotten, some of it collected. They are merged in different orders and groupings, and what a
reader sees must be the same each time: records, names, layers. A merge that is killed at a random moment leaves a sound
store in which everything is still there, and the same merge again gives the same as one that was not killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import store_common as shared
from polymath.store import Store, collect, merge, verify
from store_common import Claim


class Round:
    """Three stores in a folder."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance, self.number, self.corrupt = folder, chance, 0, 0
        self.names = ["a", "b", "c"]
        with Store.open(folder / "base") as base:
            for _ in range(chance.randrange(6)):
                shared.act(base, chance)
        for name in self.names:
            shutil.copytree(folder / "base", folder / name)
            with Store.open(folder / name) as store:
                for _ in range(chance.randrange(10)):
                    shared.act(store, chance)
                if chance.random() < 0.5:
                    collect(store)

    def fresh(self, name: str) -> Path:
        self.number += 1
        return Path(shutil.copytree(self.folder / name, self.folder / f"{name}.{self.number}"))

    def merged(self, into: Path, *others: Path) -> Path:
        with Store.open(into) as store:
            for other in others:
                merge(store, other)
            self.corrupt += verify(store).exit_status != 0
        return into

    def seen(self, path: Path) -> dict[str, Any]:
        with Store.open(path) as store:
            shared.served(store)
            return shared.seen(store)

    def killed(self, into: Path, other: Path) -> tuple[bool, bool]:
        """Merge in a process that is killed; whether it was in time, and whether all of ours was still there."""
        before = self.seen(into)
        with Store.open(other, read_only=True) as store:
            forgotten = store.catalogue.tombstones()
        process = os.fork()
        if process == 0:
            try:
                self.merged(into, other)
            finally:
                os._exit(0)
        time.sleep(self.chance.uniform(0, 0.08))
        os.kill(process, signal.SIGKILL)
        died = os.WIFSIGNALED(os.waitpid(process, 0)[1])
        with Store.open(into) as store:
            sound = verify(store, level="full").exit_status == 0
            shared.served(store)
            there = store.catalogue.addresses()
        ours = {address for kind in ("task", "note") for address, _ in before[kind]}
        return died, sound and ours - forgotten <= there


def main() -> int:
    chosen = shared.arguments(__doc__, rounds=60, quick=6, what="rounds of three stores")
    begin, chance = time.monotonic(), random.Random(chosen.seed)
    broken = dict.fromkeys(("idempotent", "commutative", "associative", "killed", "resumed"), 0)
    killed = corrupt = records = 0
    for number in range(chosen.rounds):
        with tempfile.TemporaryDirectory(prefix="store_merge") as folder:
            one = Round(Path(folder), chance)
            a, b, c = (Path(folder) / name for name in one.names)
            ab, ba = one.merged(one.fresh("a"), b), one.merged(one.fresh("b"), a)
            seen_ab = one.seen(ab)
            broken["commutative"] += seen_ab != one.seen(ba)
            left = one.seen(one.merged(ab, c))
            right = one.seen(one.merged(one.fresh("a"), one.merged(one.fresh("b"), c)))
            broken["associative"] += left != right
            records += sum(len(found) for found in left.values())
            broken["idempotent"] += one.seen(one.merged(ab, a, b, c, ab)) != left
            broken["idempotent"] += one.seen(one.merged(one.fresh("a"), a)) != one.seen(a)
            for _ in range(3):
                target = one.fresh("a")
                died, whole = one.killed(target, b)
                killed += died
                broken["killed"] += not whole
                broken["resumed"] += one.seen(one.merged(target, b)) != seen_ab
            corrupt += one.corrupt
        if number % 10 == 9:
            print(f"{number + 1} rounds, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    claims = [
        Claim("rounds of three stores", chosen.rounds),
        Claim("records, names and heads compared after all merges", records),
        Claim("merging what is there already changed something", broken["idempotent"], 0),
        Claim("a with b was not b with a", broken["commutative"], 0),
        Claim("(a with b) with c was not a with (b with c)", broken["associative"], 0),
        Claim("merges killed before they were done", killed),
        Claim("... after which something of ours was gone or unsound", broken["killed"], 0),
        Claim("... which, made again, gave something else than one that was not killed", broken["resumed"], 0),
        Claim("merged stores that verify found unsound", corrupt, 0),
    ]
    return shared.report(
        "store_merge", "The laws of merging", __doc__, claims, chosen=chosen, seconds=time.monotonic() - begin
    )


if __name__ == "__main__":
    raise SystemExit(main())
