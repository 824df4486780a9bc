"""Claim: 50 image tasks that share a trunk answer one batch of mixed requests at 5 times the rate of 50 separate models.

    python benchmarks/serving.py --quick    a small trunk, a minute
    python benchmarks/serving.py            about 10 minutes

A trunk is learned from pictures of clothes and of digits together; each task, three of the classes with 40 rows of
each, is a linear head on the trunk. Then two processes answer the same requests, one row of pixels each, all rows
different or one picture asked of every task: `Serving`, and one `Predictor` for each task, which is handed all rows of
its task at once. Both are given tables and give answers, so reading rows and telling answers count. Rates are requests per
processor second, which a loaded machine changes less than the clock. Memory is the bytes
of weights; and what the process grows by for all tasks after the first, which is asked as many rows, so that the
libraries are loaded and the room for a batch is there. What can be gained with different rows is bounded: a trunk
that takes c for a row in a batch takes it for each row in either way, so with o for all else the gain is
(c' + o') / (c + o), where c' and o' are those of a model that is handed one or a few rows at a time.
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
    trunk_work: float
    rounds: int


FULL, QUICK = Plan(50, 500, 6_000.0, 20), Plan(50, 20, 60.0, 5)


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
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(shown, order="C"))
    return pa.table({"picture": column, **({"class": list(labels)} if labels is not None else {})})


def rows_of(found: dict[str, np.ndarray], classes: Sequence[str], *, begin: int, each: int) -> pa.Table:
    parts = [found[name][begin : begin + each] for name in classes]
    labels = [name for name, part in zip(classes, parts, strict=True) for _ in part]
    return table(np.concatenate(parts), labels)


def learned(place: Path, plan: Plan, *, seed: int, cache: Path) -> dict[str, tuple[str, ...]]:
    """A store with a trunk and tasks upon it; task -> its classes."""
    from polymath import Polymath
    from polymath.problem import Split

    found = pictures(cache)
    random = np.random.default_rng(seed)
    tasks: dict[str, tuple[str, ...]] = {}
    with Polymath(place / "store") as store:
        rows = rows_of(found, list(found), begin=EACH + ASKED, each=plan.trunk_each)
        trunk = store.learn(
            rows,
            name="trunk",
            target="class",
            work=plan.trunk_work,
            space="families",
            members=1,
            split=Split(test_fraction=0.0),
            cache=str(place / "cache"),
            engine="inline",
            lanes=1,
        )
        print(trunk, flush=True)
        for number in range(plan.tasks):
            classes = tuple(sorted(str(name) for name in random.choice(list(found), 3, replace=False)))
            tasks[f"t{number}"] = classes
            publish(store, f"t{number}", classes, rows_of(found, classes, begin=0, each=EACH))
    return tasks


def publish(store: Any, name: str, classes: tuple[str, ...], rows: pa.Table) -> None:
    """A task of its own: a linear head, least squares with a penalty, on what the trunk gives."""
    from polymath.model.build import build
    from polymath.model.layers.linear import Linear
    from polymath.model.path import Gene
    from polymath.model.path import Path as Genes
    from polymath.model.prefix import END, grafted, prefixes
    from polymath.predicting import HEAD, KIND, forward, load_record
    from polymath.problem import Category, Problem

    record = load_record(store.store, "trunk")
    problem = Problem.model_validate(record.problem)
    trunk = grafted(
        prefixes(Genes.model_validate(record.path), problem.ports)[0],
        ports={port: port for port in problem.ports},
        name="trunk",
    )
    inputs = problem.encode_inputs(rows).arrays
    module = build(trunk, problem.ports, fetch=store.store.get_tensors).eval()
    features = np.pad(forward(module, inputs)[END].astype(np.float64), ((0, 0), (0, 1)), constant_values=1.0)
    wanted = np.array([[float(one == kind) for kind in classes] for one in rows["class"].to_pylist()])
    penalty = 1e-2 * np.trace(features.T @ features) / features.shape[1] * np.eye(features.shape[1])
    weight = 10 * np.linalg.solve(features.T @ features + penalty, features.T @ wanted).T.astype(np.float32)
    stored = store.store.put_tensors({"0.weight": np.ascontiguousarray(weight[:, :-1]), "0.bias": weight[:, -1].copy()})
    head = Gene(name="head", layer=Linear(width=len(classes)), inputs=(trunk.outputs[END],), weights=stored)
    path = Genes(genes=(*trunk.genes, head), outputs={"class": "head"})
    own = problem.replace(name=name, outputs=(Category(name="class", classes=classes),), constants={})
    task = record.replace(
        name=name,
        problem=own.model_dump(mode="json"),
        path=path.model_dump(mode="json"),
        calibration={},
        members=(),
        built_on=("trunk",),
        evidence=None,
    )
    address = store.store.add_record(KIND, task.model_dump(mode="json"), refs=sorted(path.addresses))
    store.store.set_head(HEAD + name, address)


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


def answered(place: Path, way: str, *, rounds: int) -> list[Record]:
    """Rates and memory of one way to answer."""
    given = np.load(place / "asked.npz")
    tasks: dict[str, list[str]] = json.loads((place / "tasks.json").read_text())
    import torch

    torch.set_num_threads(1)
    predict, num_bytes = WAYS[way](place)
    random = np.random.default_rng(0)
    names = sorted(tasks)
    result: list[Record] = []
    warm = np.concatenate([given[kind] for kind in given.files])[: len(names)]  # room for a batch is there before
    predict([(names[0], table(one[None])) for one in warm])
    before = resident()
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
            begin = time.process_time()
            answers = predict(requests)
            seconds.append(time.process_time() - begin)
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
    for what, words in (
        ("weights", "bytes of weights"),
        ("resident", "growth of the process for all tasks after the first"),
    ):
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
    parser.add_argument("--quick", action="store_true", help="a small trunk, a minute")
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
