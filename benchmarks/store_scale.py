"""Claim: with 200 tasks stored it takes 1 s to open the store, 3 s to predict one row cold, 30 s to pick parents.

python benchmarks/store_scale.py [--quick] [--sizes 10 50 200 1000] [--seed 0] [--keep FOLDER]

Five scripts, a table and a set of texts are really learned, and a trunk of the scripts. The tail is made of them: a copy
has another name, its experiments in the ledger, what its original shares with others as it is, and tensors of its own
otherwise. Every time is taken in a new process, the middle of three, in seconds, those of the processor in brackets; the files are in the
memory of the system. A store that is opened looks only into those folders of records that have changed since an
earlier open looked; right after the tasks were stored that is all of them. "Cold"
is the whole command `polymath predict`, from its start to its exit. Sub-linear: from 50 to 1,000 tasks, 20 times as many,
the processor's time grows less than 20 times.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import common
import data
import reporting
from families.scripts import table
from prepare import fonts
from reporting import verdict

sys.path.insert(0, str(common.ROOT / "src"))

from polymath.store import Draft, Store

REPEATS = 3
ASKED = {"open": 1.0, "predict": 3.0, "parents": 30.0}
"""Seconds, at 200 tasks."""
SAID = {
    "open": "open the store",
    "first": "open it right after the tasks were stored",
    "tasks": "`polymath tasks`",
    "predict": "`polymath predict`, one row",
    "parents": "pick parents for a new task",
    "union": "the whole model (`show`, `map`)",
}
LOOK = """
import sys, time
from polymath.store import Store
from polymath.predicting import load_record
from polymath.problem import Problem
from polymath.model import layers
from polymath.learning import parents
from polymath import growing
path, name, what = sys.argv[1:]
begin, spent = time.perf_counter(), time.process_time()
with Store.open(path) as store:
    if what != "open":
        begin, spent = time.perf_counter(), time.process_time()
    if what == "parents":
        found = parents.parents(store, Problem.model_validate(load_record(store, name).problem), but=name)
        assert found
    if what == "union":
        union = growing.union(store)
        shares = [union.share(one) for one in union.tasks]
    print(time.perf_counter() - begin, time.process_time() - spent)
"""


def learned(place: Path, *, cache: Path, quick: bool) -> None:
    """The tasks that are really learned, into a store at `place`/store."""
    import pandas as pd
    from sklearn.datasets import load_breast_cancer

    from polymath import Polymath
    from polymath.learning import Silent, Wishes
    from polymath.learning.consolidate import consolidate

    own: dict[str, Any] = {"cache": str(place / "cache"), "engine": "inline", "lanes": 1}
    seconds = 4 if quick else 8
    with Polymath(place / "store") as knowledge:
        scripts = fonts.scripts(cache=cache)[: 3 if quick else 5]
        for number, script in enumerate(scripts):
            if number == len(scripts) - 1:
                consolidate(
                    knowledge.store, wishes=Wishes(name="letters", budget_seconds=6 * seconds, **own), listener=Silent()
                )
            knowledge.learn(table(*script.few(10)), target="letter", name=script.name, budget=seconds, **own)
        frame = load_breast_cancer(as_frame=True).frame
        knowledge.learn(frame, target="target", name="cells", budget=seconds, **own)
        words = pd.DataFrame({"text": [f"{'good' if n % 2 else 'bad'} thing number {n}" for n in range(200)]})
        knowledge.learn(
            words.assign(mood=["y" if n % 2 else "n" for n in range(200)]),
            target="mood",
            name="moods",
            budget=seconds,
            **own,
        )


class Tail:
    """Copies of learned tasks."""

    def __init__(self, store: Store, *, seed: int) -> None:
        self.store, self.chance, self.noise = store, random.Random(seed), np.random.default_rng(seed)
        self.bodies = {name.removeprefix("task/"): store.record(one) for name, one in store.heads("task/").items()}
        refs = {name: store.entry(one).refs for name, one in store.heads("task/").items()}
        used = Counter(itertools.chain.from_iterable(refs.values()))
        self.own = {name.removeprefix("task/"): [ref for ref in some if used[ref] == 1] for name, some in refs.items()}
        self.shared = {
            name.removeprefix("task/"): [ref for ref in some if used[ref] > 1] for name, some in refs.items()
        }
        self.experiments: dict[str, list[dict[str, Any]]] = {}
        for _, body in store.records("experiment"):
            self.experiments.setdefault(str(body["task"]), []).append(body)

    def add(self, number: int) -> str:
        """One more task; its name."""
        name = self.chance.choice([one for one in sorted(self.bodies) if not one.startswith("trunk")])
        fresh = f"{name} {number:04d}"
        renamed = {ref: self._varied(ref) for ref in self.own[name]}
        body = _replaced(self.bodies[name], renamed)
        refs = [*renamed.values(), *self.shared[name]]
        drafts = [Draft(kind="experiment", body={**one, "task": fresh}) for one in self.experiments.get(name, [])]
        if drafts:
            self.store.add_records(drafts)
        self.store.set_head(f"task/{fresh}", self.store.add_record("task", {**body, "name": fresh}, refs=refs))
        return fresh

    def _varied(self, address: str) -> str:
        """Own tensors: those of the original and a little noise."""
        tensors = self.store.get_tensors(address)
        return self.store.put_tensors(
            {
                name: (one + 1e-3 * self.noise.normal(size=one.shape)).astype(one.dtype)
                if one.dtype.kind == "f"
                else one
                for name, one in tensors.items()
            }
        )


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def measured(path: Path, *, row: Path, name: str, new: str) -> dict[str, float]:
    """Seconds of each thing, in new processes."""
    surroundings = {**common.environment(), "OMP_NUM_THREADS": "1"}
    found: dict[str, list[float]] = {}
    spent: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for what in ("open", "parents", "union"):
            words = [sys.executable, "-c", LOOK, str(path), new, what]
            done = subprocess.run(words, env=surroundings, capture_output=True, text=True, check=True)
            wall, processor = map(float, done.stdout.split())
            found.setdefault(what, []).append(wall)
            spent.setdefault(what, []).append(processor)
        for what, command in (("predict", ["predict", name, str(row)]), ("tasks", ["tasks"])):
            begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            words = [*common.polymath_command(), *command, "--store", str(path), "--json"]
            subprocess.run(words, env=surroundings, capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found.setdefault(what, []).append(time.monotonic() - begin)
            spent.setdefault(what, []).append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    found["first"], spent["first"] = found["open"][:1], spent["open"][:1]  # all folders of records have just changed
    times = {what: statistics.median(seconds) for what, seconds in found.items()}
    return times | {f"{what} processor": statistics.median(seconds) for what, seconds in spent.items()}


def size(path: Path) -> int:
    """Bytes of all files of a store, its scratch stores left out."""
    files = (Path(folder) / name for folder, _, names in os.walk(path) if "scratch" not in folder for name in names)
    return sum(file.stat().st_size for file in files)


def run(chosen: argparse.Namespace, place: Path) -> list[dict[str, Any]]:
    seed = chosen.cache / "runs" / f"store_scale{'-quick' if chosen.quick else ''}"
    if not (seed / "done").exists():
        shutil.rmtree(seed, ignore_errors=True)
        learned(seed, cache=chosen.cache, quick=chosen.quick)
        (seed / "done").touch()
    path = place / "knowledge"
    shutil.copytree(seed / "store", path, ignore=shutil.ignore_patterns("scratch"))
    rows = []
    row = place / "row.csv"
    with Store.open(path) as store:
        tail = Tail(store, seed=chosen.seed)
        real = len(tail.bodies)
        names: list[str] = []
        row.write_text("text\ngood thing number 12\n")
        new = next(one for one in sorted(tail.bodies) if one not in ("cells", "moods") and not one.startswith("trunk"))
        base = size(path)
        for wanted in chosen.sizes:
            begin, before = time.monotonic(), len(names)
            while len(names) + real < wanted:
                names.append(tail.add(len(names)))
            seconds = time.monotonic() - begin
            store.close()
            added = len(names) - before
            rows.append(
                {
                    "count": len(names) + real,
                    "records": len(store.catalogue.addresses()),
                    "bytes": (size(path) - base) / max(len(names), 1),
                    "add": seconds / max(added, 1),
                    **measured(path, row=row, name="moods", new=new),
                }
            )
            store.close()
            print(json.dumps({key: round(value, 4) for key, value in rows[-1].items()}), file=sys.stderr, flush=True)
    return rows


def write(rows: Sequence[Mapping[str, float]], *, chosen: argparse.Namespace, seconds: float) -> Path:
    """The report."""
    header = ["tasks", "records", *SAID.values(), "bytes a copy", "seconds to store a copy"]
    body = [
        [
            f"{one['count']:,}",
            f"{one['records']:,}",
            *(f"{one[what]:.2f} ({one[f'{what} processor']:.2f})" for what in SAID),
            f"{one['bytes']:,.0f}",
            f"{one['add']:.3f}",
        ]
        for one in rows
    ]
    lines = reporting.table(header, body)
    at = next((one for one in rows if one["count"] == 200), rows[-1])
    claims = [
        [f"{SAID[what]} at {at['count']:,} tasks", f"{asked:g} s", f"{at[what]:.2f} s", verdict(at[what] <= asked)]
        for what, asked in ASKED.items()
    ]
    small, large = next((one for one in rows if one["count"] == 50), rows[0]), rows[-1]
    times = large["count"] / small["count"]
    for what in ASKED:
        grown = large[f"{what} processor"] / small[f"{what} processor"]
        claims.append(
            [f"growth of it, {small['count']:,} to {large['count']:,} tasks: {SAID[what]}", f"below {times:.1f}x",
             f"{grown:.1f}x", verdict(grown < times)]
        )  # fmt: skip
    lines += reporting.table(["claim", "asked", "got", ""], claims)
    return reporting.page(
        "store_scale",
        lines,
        title="A store with many tasks",
        about="\n\n".join((__doc__ or "").split("\n\n")[2:]).strip(),
        told=[f"sizes {', '.join(map(str, chosen.sizes))}, seed {chosen.seed}, {seconds:.0f} s"],
        quick=chosen.quick,
    )


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="10 and 30 tasks: does it run?")
    made.add_argument("--sizes", type=int, nargs="+", help="tasks (default 10 50 200 1000)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--keep", type=Path, help="leave the largest store here")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE)
    chosen = made.parse_args()
    chosen.sizes = chosen.sizes or ([10, 30] if chosen.quick else [10, 50, 200, 1000])
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="store_scale") as folder:
        rows = run(chosen, Path(folder))
        if chosen.keep:
            shutil.copytree(Path(folder) / "knowledge", chosen.keep)
    print(write(rows, chosen=chosen, seconds=time.monotonic() - begin))


if __name__ == "__main__":
    main()
