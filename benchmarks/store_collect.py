"""Claim: collecting beside writers takes nothing that lives.

python benchmarks/store_collect.py [--quick] [--rounds 60] [--seed 0]

Each round: two processes learn and forget tasks that share layers, two collect without a pause while every object is
made two days old again and again, so that no grace protects what is about to be named, and one reads. At a random
moment one of the writers or collectors is killed. Everything that a writer had acknowledged and not forgotten must be
there with all its layers. A writer whose layers were taken before it could name them must be told so, and then put them
again: these are counted too.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import store_common as shared
from polymath.store import MissingObject, Store, collect, forget, verify
from store_common import Claim

SECONDS = 0.8


def begun(work: Callable[[int], None]) -> tuple[int, int]:
    """A process that works and reports on a pipe."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reading)
            work(writing)
            os._exit(0)
        except BaseException as error:
            os.write(writing, f"failed {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(1)
    os.close(writing)
    return process, reading


def write(path: Path, which: int, end: float) -> Callable[[int], None]:
    def work(report: int) -> None:
        chance, kept, number = random.Random(which), [], 0
        with Store.open(path) as store:
            while time.monotonic() < end:
                number += 1
                name, layers = f"{which}-{number}", [chance.randrange(10), 1000 * which + number]
                while True:
                    try:
                        address = shared.learn(store, name, layers)
                        break
                    except MissingObject:
                        os.write(report, b"told\n")
                os.write(report, f"learned {name} {address}\n".encode())
                kept.append((name, address))
                if chance.random() < 0.5:
                    name, address = kept.pop(chance.randrange(len(kept)))
                    os.write(report, f"forgot {name} {address}\n".encode())  # said first: it may be killed in between
                    forget(store, [address])

    return work


def gather(path: Path, end: float) -> Callable[[int], None]:
    def work(report: int) -> None:
        with Store.open(path) as store:
            while time.monotonic() < end:
                for address in store.objects.addresses():
                    with contextlib.suppress(FileNotFoundError):
                        os.utime(store.objects.path(address), (time.time() - 2 * 86400,) * 2)
                done = collect(store)
                os.write(report, f"collected {done.objects}\n".encode())

    return work


def read(path: Path, end: float) -> Callable[[int], None]:
    def work(report: int) -> None:
        with Store.open(path, read_only=True) as store:
            while time.monotonic() < end:
                for name, address in store.heads().items():
                    with contextlib.suppress(MissingObject):  # forgotten since the names were listed
                        for layer in store.record(address)["refs"]:
                            store.get_tensors(layer)
                    os.write(report, f"read {name}\n".encode())

    return work


def main() -> int:
    chosen = shared.arguments(__doc__, rounds=60, quick=5, what="rounds")
    begin, chance = time.monotonic(), random.Random(chosen.seed)
    lost: list[str] = []
    failures: list[str] = []
    counts = dict.fromkeys(("learned", "forgot", "told", "collected", "read"), 0)
    unsound = left = 0
    for number in range(chosen.rounds):
        with tempfile.TemporaryDirectory(prefix="store_collect") as folder:
            path, end = Path(folder) / "knowledge", time.monotonic() + SECONDS
            Store.open(path).close()
            makers = [write(path, 1, end), write(path, 2, end), gather(path, end), gather(path, end), read(path, end)]
            children = [begun(work) for work in makers]
            time.sleep(chance.uniform(0, SECONDS))
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(children[:4])[0], signal.SIGKILL)
            alive: dict[str, str] = {}
            for process, reading in children:
                with open(reading) as file:
                    lines = file.read().splitlines()
                os.waitpid(process, 0)
                for line in lines:
                    what, _, rest = line.partition(" ")
                    if what == "failed":
                        failures.append(rest)
                    else:
                        counts[what] += int(rest) if what == "collected" else 1
                    if what == "learned":
                        alive[rest.split()[0]] = rest.split()[1]
                    elif what == "forgot":
                        del alive[rest.split()[0]]
            with Store.open(path) as store:
                heads = store.heads("task/")
                lost += [name for name, address in alive.items() if heads.get(f"task/{name}") != address]
                unsound += verify(store, level="full").exit_status != 0
                shared.served(store)
                collect(store)
                unsound += verify(store, level="full").exit_status != 0
                shared.served(store)
                needed = {layer for address in heads.values() for layer in store.record(address)["refs"]}
                named = store.catalogue.needed()
                left += len(set(store.objects.addresses()) - named) + len(needed - set(store.objects.addresses()))
        if number % 10 == 9:
            print(f"{number + 1} rounds, {len(lost)} lost, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    for failure in failures[:10]:
        print(failure, file=sys.stderr)
    claims = [
        Claim("rounds, one kill -9 in each", chosen.rounds),
        Claim("tasks learned", counts["learned"]),
        Claim("tasks forgotten", counts["forgot"]),
        Claim("objects collected by the two collectors", counts["collected"]),
        Claim("writers told that their layers were taken before these had a record", counts["told"]),
        Claim("tasks read meanwhile", counts["read"]),
        Claim("acknowledged tasks that are gone", len(lost), 0),
        Claim("stores that verify found unsound", unsound, 0),
        Claim("objects that nobody names and that stayed, or that are named and missing", left, 0),
        Claim("other failures", len(failures), 0),
    ]
    return shared.report(
        "store_collect", "Writers beside collectors", __doc__, claims, chosen=chosen, seconds=time.monotonic() - begin
    )


if __name__ == "__main__":
    raise SystemExit(main())
