"""Claim: 50 image tasks that share a trunk answer one batch of mixed requests at 5 times the rate of 50 separate models.

    python benchmarks/serving.py --quick    8 tasks, a minute
    python benchmarks/serving.py            50 tasks, about 10 minutes

A trunk is learned from pictures of clothes and of digits together, then each task, three of the classes, with 40 rows
of each: a linear head on the trunk. Then two processes answer the same requests, one row of pixels each, all rows
different or one picture asked of every task: `Serving`, and one `Predictor` for each task, which is handed all rows of
its task at once. Both are given tables and give answers, so reading rows and telling answers count. Memory is that of
the process after the first answers, less that of one that has only loaded the same libraries; and the bytes of weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import common
import data
import reporting
from prepare import images

sys.path.insert(0, str(common.ROOT / "src"))

Record = dict[str, Any]

NAME = "serving"
EACH, ASKED = 40, 40
"""Pictures of a class to learn from, and to ask about."""
BATCHES = (50, 256)
"""Requests that arrive together."""
MUST_RATE, MUST_MEMORY = 5.0, 0.1


@dataclass(frozen=True)
class Plan:
    tasks: int
    trunk_each: int
    trunk_seconds: float
    rounds: int


FULL, QUICK = Plan(50, 1_000, 180.0, 20), Plan(8, 150, 25.0, 5)


# The store ----------------------------------------------------------------------------------------------------------
def pictures(cache: Path) -> dict[str, np.ndarray]:
    """Class -> its pictures, 28 x 28."""
    from PIL import Image

    _, parts = images.fashion_arrays(cache)
    shown, labels = parts["train"]
    found = {name: shown[labels == code] for code, name in enumerate(images.FASHION)}
    data.prepare("mnist10k", cache=cache)
    folder = cache / "sets" / "mnist10k" / "images"
    for digit in range(10):
        files = sorted(folder.glob(f"{digit}_*.png"))
        found[f"digit-{digit}"] = np.stack([np.asarray(Image.open(file).convert("L")) for file in files])
    return found


def table(shown: np.ndarray, labels: Sequence[str] | None = None) -> pa.Table:
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(shown))
    return pa.table({"picture": column, **({"class": list(labels)} if labels is not None else {})})


def rows_of(found: dict[str, np.ndarray], classes: Sequence[str], *, begin: int, each: int) -> pa.Table:
    parts = [found[name][begin : begin + each] for name in classes]
    labels = [name for name, part in zip(classes, parts, strict=True) for _ in part]
    return table(np.concatenate(parts), labels)


def learned(place: Path, plan: Plan, *, seed: int, cache: Path) -> dict[str, tuple[str, ...]]:
    """A store with a trunk and tasks upon it; task -> its classes. Tasks that the trunk did not serve best go."""
    from polymath import Polymath
    from polymath.problem import Split

    found = pictures(cache)
    random = np.random.default_rng(seed)
    wishes = {"target": "class", "cache": str(place / "cache"), "members": 1, "split": Split(test_fraction=0.0)}
    tasks: dict[str, tuple[str, ...]] = {}
    with Polymath(place / "store") as store:
        rows = rows_of(found, list(found), begin=EACH + ASKED, each=plan.trunk_each)
        store.learn(rows, name="trunk", budget=plan.trunk_seconds, space="families", **wishes)
        for number in range(2 * plan.tasks):
            classes = tuple(random.choice(list(found), 3, replace=False))
            rows = rows_of(found, classes, begin=0, each=EACH)
            task = store.learn(rows, name=f"t{number}", work=0.05, space="heads", engine="inline", lanes=1, **wishes)
            if "trunk" in task.record.built_on:
                tasks[task.name] = classes
            else:
                store.forget(task.name)
            print(f"{task.name} {' '.join(classes)} {task}", flush=True)
            if len(tasks) == plan.tasks:
                break
    return tasks


# Answering, in a process of its own -----------------------------------------------------------------------------------
def together(place: Path) -> tuple[Callable[..., Any], Callable[[], int]]:
    from polymath.serving import Serving
    from polymath.store import Store

    serving = Serving(Store.open(place / "store", read_only=True))
    return serving.predict, lambda: serving.num_bytes


def separately(place: Path) -> tuple[Callable[..., Any], Callable[[], int]]:
    from polymath.predicting import Predictor, load_record
    from polymath.store import Store

    store = Store.open(place / "store", read_only=True)
    made: dict[str, Predictor] = {}

    def predict(requests: Sequence[tuple[str, pa.Table]]) -> list[list[Any]]:
        asked: dict[str, list[int]] = {}
        for number, (name, _) in enumerate(requests):
            asked.setdefault(name, []).append(number)
        answers: list[list[Any]] = [[] for _ in requests]
        for name, numbers in asked.items():
            if name not in made:
                made[name] = Predictor(load_record(store, name), store)
            rows = pa.concat_tables([requests[number][1] for number in numbers])
            told = [one for chunk in made[name].predict(rows) for one in chunk]
            for number, answer in zip(numbers, told, strict=True):
                answers[number] = [answer]
        return answers

    def num_bytes() -> int:
        return sum(tensor.nbytes for one in made.values() for tensor in one.module.state_dict().values())

    return predict, num_bytes


WAYS = {"together": together, "separately": separately}


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def warmed(found: np.ndarray) -> None:
    """Loads what answering loads, whatever the tasks."""
    import torch

    import polymath.model.build
    import polymath.model.layers
    import polymath.predicting
    import polymath.problem  # noqa: F401

    torch.set_num_threads(1)
    torch.nn.functional.conv2d(torch.from_numpy(found[:256, None]).float(), torch.zeros(32, 1, 3, 3))


def answered(place: Path, way: str, *, rounds: int) -> list[Record]:
    """Rates and memory of one way to answer."""
    given = np.load(place / "asked.npz")
    tasks: dict[str, list[str]] = json.loads((place / "tasks.json").read_text())
    warmed(given[next(iter(given.files))])
    before = resident()
    predict, num_bytes = WAYS[way](place)
    random = np.random.default_rng(0)
    names = sorted(tasks)
    result: list[Record] = []
    predict([(name, table(given[tasks[name][0]][:1])) for name in names])
    after = resident()
    told: list[Any] = []
    for kind, size in [*(("different rows", size) for size in BATCHES), ("one picture, every task", len(names))]:
        seconds = []
        for turn in range(rounds + 1):
            if kind == "different rows":
                asked = [names[place] for place in random.permutation(size) % len(names)]
                shown = [given[random.choice(tasks[name])][random.integers(ASKED)] for name in asked]
                requests = [(name, table(one[None])) for name, one in zip(asked, shown, strict=True)]
            else:
                one = table(given[given.files[turn % len(given.files)]][turn % ASKED][None])
                requests = [(name, one) for name in names]
            begin = time.perf_counter()
            answers = predict(requests)
            seconds.append(time.perf_counter() - begin)
            told += [[one["class"]["probabilities"] for one in rows] for rows in answers]
        result.append({"way": way, "kind": kind, "requests": size, "rate": size / statistics.median(seconds[1:])})
    (place / f"{way}.json").write_text(json.dumps(told))
    memory = {
        "way": way,
        "kind": "memory",
        "weights": num_bytes(),
        "resident": after - before,
        "peak": resident() - before,
    }
    return [*result, memory]


def difference(place: Path) -> float:
    """The largest difference of a probability between the two ways."""
    one, other = (json.loads((place / f"{way}.json").read_text()) for way in WAYS)
    return max(
        abs(mine[0][name] - theirs[0][name]) for mine, theirs in zip(one, other, strict=True) for name in mine[0]
    )


# The report -------------------------------------------------------------------------------------------------------------
def report(records: Sequence[Record], *, quick: bool, tasks: int) -> Path:
    rows, claims = [], []
    of = {(one["way"], one["kind"], one.get("requests")): one for one in records}
    speed = [(kind, size) for way, kind, size in of if way == "together" and kind != "memory"]
    for kind, size in speed:
        mine, theirs = of["together", kind, size]["rate"], of["separately", kind, size]["rate"]
        rows.append([f"{kind}, {size} requests", f"{mine:,.0f}", f"{theirs:,.0f}", f"{mine / theirs:.1f}"])
        claims.append([f"{kind}, {size} at once: rate", f">= {MUST_RATE:g} x", f"{mine / theirs:.1f} x"])
        claims[-1].append(reporting.verdict(mine >= MUST_RATE * theirs))
    for what, words in (("weights", "bytes of weights"), ("resident", "memory of the process beyond its libraries")):
        mine, theirs = (of[way, "memory", None][what] for way in WAYS)
        rows.append([words, f"{mine / 2**20:.1f} MiB", f"{theirs / 2**20:.1f} MiB", f"{mine / theirs:.3f}"])
        share = mine / theirs
        claims.append([words, f"<= {MUST_MEMORY:g}", f"{share:.3f}", reporting.verdict(share <= MUST_MEMORY)])
    largest = next(one["value"] for one in records if one["kind"] == "difference")
    body = [
        *reporting.table(["claim", "asked", "got", ""], claims),
        *reporting.table(["", "together", "separately", "ratio"], rows),
        f"Largest difference of a probability between the two: {largest:.1e}.",
        "",
    ]
    told = [
        f"{tasks} tasks of 3 classes, a linear head each on one trunk; one thread; median of the rounds, the first left out"
    ]
    return reporting.page(
        NAME,
        body,
        title="Serving: many tasks that share a trunk",
        about=(__doc__ or "").split("\n\n")[2],
        told=told,
        quick=quick,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 tasks, a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="real data (default: %(default)s)")
    parser.add_argument("--answer", nargs=3, metavar=("PLACE", "WAY", "ROUNDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        place, way, rounds = options.answer
        print(json.dumps(answered(Path(place), way, rounds=int(rounds))))
        return
    plan = QUICK if options.quick else FULL
    results = common.HERE / "results" / f"{NAME}{'-quick' if options.quick else ''}.jsonl"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tasks = learned(place, plan, seed=options.seed, cache=options.cache)
        (place / "tasks.json").write_text(json.dumps(tasks))
        found = pictures(options.cache)
        np.savez(place / "asked.npz", **{name: shown[EACH : EACH + ASKED] for name, shown in found.items()})
        records: list[Record] = []
        for way in WAYS:
            words = [sys.executable, __file__, "--answer", folder, way, str(plan.rounds)]
            environment = {**common.environment(), "OMP_NUM_THREADS": "1"}
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            records += json.loads(done.stdout.splitlines()[-1])
        records.append({"way": "both", "kind": "difference", "value": difference(place)})
    results.unlink(missing_ok=True)
    for record in records:
        common.keep(results, {"seed": options.seed, "tasks": len(tasks), "when": common.now(), **record})
    print(report(records, quick=options.quick, tasks=len(tasks)).read_text())


if __name__ == "__main__":
    main()
