"""Claim: kill -9 of a process that writes to a store loses nothing that was acknowledged and corrupts nothing.

python benchmarks/store_storm.py [--quick] [--rounds 250] [--seed 0]

Each round two processes learn tasks, set names, claim and finish experiments, forget and collect without a pause, and
tell a pipe what the store has acknowledged. Both are killed at moments of their own, within four tenths of a second, most
of them in the middle of a write. Then the store is opened as the next command would: all that was acknowledged and not
forgotten is there, every byte of it hashes and is what was put, and no lease of the dead is held against the living.
Every fifth round both are killed again while they open what the round before left, and the store grows for 25 rounds.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import store_common as shared
from polymath.store import Store, collect, forget, verify
from store_collect import begun
from store_common import Claim

LONGEST = 0.4
"""Seconds until a writer is killed."""
KEPT = 25
"""Rounds that one store lives."""


def write(path: Path, which: str, seed: int) -> Callable[[int], None]:
    def work(report: int) -> None:
        def say(*words: str) -> None:
            os.write(report, (" ".join(words) + "\n").encode())

        chance, number, mine = random.Random(seed), 0, {}
        with Store.open(path) as store:
            say("opened")
            while True:
                number += 1
                name = f"{which}-{number}"
                mine[name] = shared.learn(store, name, [chance.randrange(20), seed * 1000 + number])
                say("learned", name, mine[name])
                fence = store.claim(f"trial {name}", which)
                assert fence is not None
                done = store.finish(f"trial {name}", fence, {"by": which, "n": number})
                assert done is not None
                say("finished", name, done)
                if chance.random() < 0.1:
                    name = chance.choice(sorted(mine))
                    say("forgets", name, mine[name])  # said first: it may be killed in between
                    forget(store, [mine.pop(name)])
                if chance.random() < 0.05:
                    collect(store)

    return work


def storm(path: Path, *, name: str, chance: random.Random, longest: float) -> tuple[list[str], int]:
    """Two writers and their deaths: what they said, and how many were killed."""
    seeds = [chance.randrange(1 << 20) for _ in range(2)]
    children = [begun(write(path, f"{name}{letter}", seed)) for letter, seed in zip("ab", seeds, strict=True)]
    moments = sorted((chance.uniform(0, longest), process) for process, _ in children)
    begin, killed = time.monotonic(), 0
    for moment, process in moments:
        time.sleep(max(0.0, begin + moment - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    lines: list[str] = []
    for process, reading in children:
        with open(reading) as file:
            lines += file.read().splitlines()
        _, status = os.waitpid(process, 0)
        killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return lines, killed


def main() -> int:
    chosen = shared.arguments(__doc__, rounds=250, quick=20, what="rounds of two kills")
    begin, chance = time.monotonic(), random.Random(chosen.seed)
    counts = dict.fromkeys(("opened", "learned", "finished", "forgets"), 0)
    kills = lost = unsound = layers = held = before_opened = 0
    failures: list[str] = []
    tasks: dict[str, str] = {}
    experiments: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="store_storm") as folder:
        path = Path(folder) / "knowledge"
        for number in range(chosen.rounds):
            if number % KEPT == 0:
                shutil.rmtree(path, ignore_errors=True)
                tasks, experiments = {}, {}
            longest = 0.03 if number % 5 == 4 else LONGEST
            lines, killed = storm(path, name=f"{number}", chance=chance, longest=longest)
            kills += killed
            before_opened += killed - sum(line == "opened" for line in lines)
            for line in lines:
                what, *rest = line.split()
                if what == "failed":
                    failures.append(line)
                    continue
                counts[what] += 1
                if what == "learned":
                    tasks[rest[0]] = rest[1]
                elif what == "finished":
                    experiments[rest[0]] = rest[1]
                elif what == "forgets":
                    del tasks[rest[0]]
            with Store.open(path) as store:
                heads = store.heads("task/")
                lost += sum(heads.get(f"task/{name}") != address for name, address in tasks.items())
                there = {address for address, _ in store.records("experiment")}
                lost += len(set(experiments.values()) - there)
                unsound += verify(store, level="full").exit_status != 0
                layers += shared.served(store)
                held += sum(lease.alive for lease in store.leases())
            if number % 25 == 24:
                print(f"{kills} kills, {lost} lost, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    for failure in failures[:10]:
        print(failure, file=sys.stderr)
    claims = [
        Claim("SIGKILLs of writers", kills, 2 * chosen.rounds),
        Claim("... before the writer had opened the store", before_opened),
        Claim("tasks acknowledged", counts["learned"]),
        Claim("experiments acknowledged", counts["finished"]),
        Claim("tasks forgotten", counts["forgets"]),
        Claim("layers read after kills and compared with what was put", layers),
        Claim("acknowledged tasks, names or experiments that are gone", lost, 0),
        Claim("stores that `verify --level full` finds unsound", unsound, 0),
        Claim("leases of the dead that still held", held, 0),
        Claim("other failures", len(failures), 0),
    ]
    return shared.report(
        "store_storm", "Killing writers", __doc__, claims, chosen=chosen, seconds=time.monotonic() - begin
    )


if __name__ == "__main__":
    raise SystemExit(main())
