"""Claim: the search itself (propose, record, schedule) costs 5 ms or less per experiment, durable on disk.

    python benchmarks/search_overhead.py [--quick] [--experiments 2000] [--only random bandit]

A function of ten choices that costs nothing is searched through `polymath.search.search`, with a store on disk (each
experiment is on the disk before the next one begins) and in memory. Optuna searches the same function in the same run,
in an environment of its own: in memory, with its journal file and with SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import data
import reporting

sys.path.insert(0, str(common.ROOT / "src"))

from polymath.search import search
from polymath.search.choices import Choose
from polymath.search.generators import generators
from polymath.store import Store

MUST, AIM = 5.0, 2.0
NAME = "search_overhead"


def space(choose: Choose) -> float:
    """Ten choices, and the score they get."""
    total = float(sum(choose(f"kind{i}", ["a", "b", "c"]) == "a" for i in range(5)))
    total += sum(choose(f"width{i}", 8, 512, log=True) / 512 for i in range(3))
    rate, decay = choose("rate", 1e-4, 1.0, log=True), choose("decay", 0.0, 1.0)
    return total - abs(rate - 0.1) - decay


def ours(generator: str, *, experiments: int, folder: Path | None) -> tuple[float, float]:
    """Milliseconds per experiment, of the clock and of the processor; `folder` for the store, None = nothing is kept."""
    store = None if folder is None else Store.open(folder)
    began, busy = time.monotonic(), time.process_time()
    found = search(space, float, generator=generator, experiments=experiments, store=store)
    spent, busy = time.monotonic() - began, time.process_time() - busy
    if store is not None:
        store.close()
    if len(found.experiments) != experiments or found.failed:
        raise RuntimeError(f"{len(found.experiments)} of {experiments} experiments, {len(found.failed)} failed")
    return spent / experiments * 1000, busy / experiments * 1000


def disk_wait(folder: Path, *, times: int = 100) -> float:
    """Milliseconds (mean) until this disk has one new small file: what every durable record pays at least."""
    began = time.monotonic()
    for number in range(times):
        with (folder / str(number)).open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    return (time.monotonic() - began) / times * 1000


def optuna(experiments: int, *, folder: Path, cache: Path) -> tuple[dict[str, tuple[float, float]], str]:
    """Milliseconds per trial by storage and sampler, and Optuna's version."""
    words = [
        common.peer_python("optuna", cache=cache),
        str(common.HERE / "systems" / "optuna_overhead.py"),
        str(experiments),
        str(folder),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=common.environment())
    if done.returncode:
        raise RuntimeError(f"Optuna ended with {done.returncode}:\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout)
    return answer["milliseconds"], answer["version"]


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="200 experiments: does it run?")
    made.add_argument("--experiments", type=int, help="of each (default 2000; with --quick 200)")
    made.add_argument("--only", nargs="+", choices=sorted(generators()), default=["random", "bandit"])
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="peers (default: %(default)s)")
    chosen = made.parse_args()
    experiments = chosen.experiments or (200 if chosen.quick else 2000)
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix=NAME) as temporary:
        folder = Path(temporary)
        (folder / "disk").mkdir()
        before = disk_wait(folder / "disk")
        for generator in chosen.only:
            durable, busy = ours(generator, experiments=experiments, folder=folder / f"store-{generator}")
            verdict, aim = "met" if durable <= MUST else "**NOT met**", "met" if durable <= AIM else "not met"
            rows.append([f"Polymath, {generator}, store on disk", f"{durable:.2f}", f"{busy:.2f}", verdict, aim])
            memory, busy = ours(generator, experiments=experiments, folder=None)
            rows.append([f"Polymath, {generator}, in memory", f"{memory:.2f}", f"{busy:.2f}", "-", "-"])
        theirs, version = optuna(experiments, folder=folder, cache=chosen.cache.expanduser().resolve())
        for name, (spent, busy) in theirs.items():
            rows.append([f"Optuna, {name}", f"{spent:.2f}", f"{busy:.2f}", "-", "-"])
    write(rows, version=version, wait=before, experiments=experiments, chosen=chosen)


def write(rows: list[list[str]], *, version: str, wait: float, experiments: int, chosen: argparse.Namespace) -> None:
    """Print the table and write the report."""
    about = (__doc__ or "").split("\n\n")[-1].strip()
    header = ("what", "ms per experiment", "of these processor", f"must be <= {MUST:g}", f"aim <= {AIM:g}")
    body = [
        *reporting.table(header, rows),
        f"One new file of 4 KiB made durable took this disk {wait:.2f} ms (mean of 100, at the begin).",
        "",
    ]
    file = reporting.page(
        NAME,
        body,
        title="What a search costs beside its experiments",
        about=about,
        told=[f"Optuna {version}; {experiments} experiments of each, seed 0"],
        quick=chosen.quick,
    )
    for row in rows:
        print("  ".join(f"{cell:<40}" if place == 0 else cell for place, cell in enumerate(row)))
    print(f"report: {file}")


if __name__ == "__main__":
    main()
