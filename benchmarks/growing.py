"""One growing model: the next script needs fewer letters. Scripts of fonts-noto-core, the test font never seen.

Two thirds of the scripts are learned one after the other (random order by seed) into one store, `consolidate` makes a
trunk of them, then each remaining script is learned with 1, 2, 5, 10, 20 and 50 examples per letter, with the store and
without: nearest neighbour, support vectors and boosted trees on pixels, and a plain convolutional net, with the same,
5 times and 10 times the examples. The best of these four is chosen by the test rows themselves: a bar a little too high.

    python benchmarks/growing.py --quick     6 + 3 scripts, minutes
    python benchmarks/growing.py             31 + 12 scripts, about 40 minutes on 2 cores
    python benchmarks/growing.py --report    only the report, from the kept results
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import common
import data
import reporting
from prepare import fonts

Record = dict[str, Any]

NAME = "growing"
COLD = ("nearest", "svm", "trees", "net")
ASKED = (1, 2, 5)
"""Examples per letter with which the store must do as well as the best cold method with ten times as many."""
MOST_TREES = 20
"""Examples per letter up to which boosted trees are run: sixty classes of pixels are dear, and they never led."""
LATE = 5
"""Times the budget for a second try where nothing was finished within it."""
FEW_ROWS = 12
"""Rows per earlier task whose answers are compared, bit for bit, after each new task."""


@dataclass(frozen=True)
class Plan:
    """Sizes and budgets of one run."""

    sources: int
    targets: int
    each: int
    """Examples per letter of the scripts learned first."""
    source_seconds: float
    trunk_seconds: float
    target_seconds: float
    net_seconds: float
    examples: tuple[int, ...]


FULL = Plan(31, 12, 30, 6.0, 420.0, 6.0, 20.0, (1, 2, 5, 10, 20, 50))
QUICK = Plan(6, 3, 15, 3.0, 60.0, 4.0, 4.0, (1, 2, 5))


def table(pictures: np.ndarray, letters: np.ndarray) -> pa.Table:
    """Pictures and letters as Polymath is given them."""
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(pictures))
    return pa.table({"picture": column, "letter": [f"letter {code:02d}" for code in letters]})


# Learning with the store ---------------------------------------------------------------------------------------------
def learned(place: Path, script: fonts.Script, *, each: int, name: str, seconds: float) -> Record:
    """One script learned into the store, and how well it answers for the font it has not seen."""
    from polymath import Polymath
    from polymath.problem import Split
    from polymath.spec import BadInput

    begin = time.monotonic()
    knowledge = Polymath(place / "store")
    wishes = {"cache": str(place / "cache"), "engine": "inline", "lanes": 1, "split": Split(test_fraction=0.0)}
    given = {"target": "letter", "name": name, **wishes}
    try:
        task = knowledge.learn(table(*script.few(each)), budget=seconds, **given)
    except BadInput:  # a loaded machine has not finished anything: the record's seconds say so
        task = knowledge.learn(table(*script.few(each)), budget=LATE * seconds, **given)
    took = time.monotonic() - begin
    right = accuracy(task.predict(table(script.test, script.truth).drop_columns(["letter"])), script)
    share = knowledge.union().share(name)
    knowledge.close()
    return {
        "script": script.name,
        "system": "store",
        "examples": each,
        "classes": script.classes,
        "accuracy": right,
        "seconds": round(took, 2),
        "parameters": task.record.summary.parameters,
        "parameters_new": task.record.summary.parameters_new,
        "active": share.active,
        "active_work": share.active_work,
        "path": ", ".join(str(member["label"]) for member in task.record.members),
    }


def accuracy(answers: Sequence[Any], script: fonts.Script) -> float:
    found = [answer["letter"]["value"] for answer in answers]
    return float(np.mean([one == f"letter {code:02d}" for one, code in zip(found, script.truth, strict=True)]))


class Witness:
    """Remembers what every published record answered, and looks whether it still does."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.said: dict[str, tuple[np.ndarray, str]] = {}
        self.looks = self.changed = 0

    def note(self, name: str, pictures: np.ndarray) -> None:
        """The record that a task has now."""
        from polymath.store import Store

        with Store.open(self.place / "store", read_only=True) as store:
            address = store.head(f"task/{name}")
            assert address is not None
            self.said[address] = pictures[:FEW_ROWS], self._answer(store, address, pictures[:FEW_ROWS])

    def look(self) -> None:
        """Every record of before is loaded anew and asked again."""
        from polymath.store import Store

        with Store.open(self.place / "store", read_only=True) as store:
            for address, (pictures, said) in self.said.items():
                self.looks += 1
                self.changed += self._answer(store, address, pictures) != said

    def _answer(self, store: Any, address: str, pictures: np.ndarray) -> str:
        from polymath.predicting import Predictor, TaskRecord

        rows = table(pictures, np.zeros(len(pictures), dtype=int)).drop_columns(["letter"])
        raw = Predictor(TaskRecord.model_validate(store.record(address)), store).raw(rows).raw
        return hashlib.sha256(b"".join(raw[name].tobytes() for name in sorted(raw))).hexdigest()


# Learning without ----------------------------------------------------------------------------------------------------
def cold(script: fonts.Script, each: int, *, method: str, seconds: float) -> Record:
    """One method on pixels alone, with so many examples per letter."""
    begin = time.monotonic()
    pictures, letters = script.few(each)
    found, parameters = METHODS[method](pictures, letters, script.test, seconds)
    return {
        "script": script.name,
        "system": method,
        "examples": each,
        "classes": script.classes,
        "accuracy": float((found == script.truth).mean()),
        "seconds": round(time.monotonic() - begin, 2),
        "parameters": parameters,
    }


def _rows(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1).astype(np.float32) / 255


def nearest(pictures: np.ndarray, letters: np.ndarray, asked: np.ndarray, seconds: float) -> tuple[np.ndarray, int]:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1).fit(_rows(pictures), letters).predict(_rows(asked)), pictures.size


def svm(pictures: np.ndarray, letters: np.ndarray, asked: np.ndarray, seconds: float) -> tuple[np.ndarray, int]:
    from sklearn.svm import SVC

    model = SVC(C=10).fit(_rows(pictures), letters)
    return model.predict(_rows(asked)), int(model.support_vectors_.size)


def trees(pictures: np.ndarray, letters: np.ndarray, asked: np.ndarray, seconds: float) -> tuple[np.ndarray, int]:
    """Gradient boosting on pictures of half the side."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    def half(given: np.ndarray) -> np.ndarray:
        return given.reshape(len(given), 14, 2, 14, 2).mean((2, 4)).reshape(len(given), -1)

    model = HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=8, min_samples_leaf=2, max_bins=16)
    model.fit(half(pictures), letters)
    return model.predict(half(asked)), 0


def net(pictures: np.ndarray, letters: np.ndarray, asked: np.ndarray, seconds: float) -> tuple[np.ndarray, int]:
    """A plain convolutional net, trained on all rows with moved copies and one cycle of the rate, until time is up."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(1)
    torch.manual_seed(0)
    widths = (1, 32, 64, 128)
    stages = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        for a, b in itertools.pairwise(widths)
    ]
    model = nn.Sequential(*stages, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(128, int(letters.max()) + 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.05)
    x, y = torch.from_numpy(pictures[:, None]).float() / 255 - 0.15, torch.from_numpy(letters)
    begin, batch, random = time.monotonic(), min(64, len(x)), np.random.default_rng(0)
    while (spent := (time.monotonic() - begin) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(spent / 0.15, (1 - spent) / 0.85)
        rows = torch.from_numpy(random.choice(len(x), batch, replace=False))
        up, left = random.integers(0, 5, 2)
        moved = F.pad(x[rows], (2, 2, 2, 2), value=-0.15)[:, :, up : up + fonts.SIDE, left : left + fonts.SIDE]
        optimizer.zero_grad()
        F.cross_entropy(model(moved), y[rows], label_smoothing=0.1).backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        answers = model(torch.from_numpy(asked[:, None]).float() / 255 - 0.15).argmax(1).numpy()
    return answers, sum(p.numel() for p in model.parameters())


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, float], tuple[np.ndarray, int]]] = {
    "nearest": nearest,
    "svm": svm,
    "trees": trees,
    "net": net,
}


# One run -------------------------------------------------------------------------------------------------------------
def run(plan: Plan, *, seed: int, cache: Path) -> list[Record]:
    """All of it, in a store of its own; gives one record for each thing learned and one of what happened to the store."""
    from polymath import Polymath
    from polymath.learning import Silent, Wishes
    from polymath.learning.consolidate import consolidate

    known = fonts.scripts(cache=cache)
    order = np.random.default_rng(seed).permutation(len(known))
    sources = [known[n] for n in order[: plan.sources]]
    targets = [known[n] for n in order[plan.sources : plan.sources + plan.targets]]
    place = Path(tempfile.mkdtemp(prefix="growing-", dir=cache))
    witness, records = Witness(place), []
    try:
        for script in sources:
            found = learned(place, script, each=plan.each, name=script.name, seconds=plan.source_seconds)
            records.append({**found, "part": "source"})
            witness.look()
            witness.note(script.name, script.test)
            say(records[-1])
        knowledge = Polymath(place / "store")
        begin = time.monotonic()
        wish = Wishes(budget_seconds=plan.trunk_seconds, seed=seed, cache=str(place / "cache"), engine="inline")
        slept = consolidate(knowledge.store, wishes=wish.replace(lanes=common.cores()), listener=Silent())
        took = time.monotonic() - begin
        trunk = knowledge.task(slept.trunk).record
        knowledge.close()
        witness.look()
        for script in sources:
            witness.note(script.name, script.test)
        print(f"{slept.trunk}: {slept.classes} classes, {slept.rows} rows, {took:.0f} s", flush=True)
        with ProcessPoolExecutor(common.cores(), mp_context=multiprocessing.get_context("spawn")) as pool:
            jobs = [pool.submit(target, place, script, plan) for script in targets]
            for script, job in zip(targets, jobs, strict=True):
                records += job.result()
                witness.look()
                witness.note(f"{script.name}-{plan.examples[-1]}", script.test)
        knowledge = Polymath(place / "store")
        union = knowledge.union()
        whole = {
            "part": "whole",
            "tasks": len(knowledge.tasks()),
            "all_parameters": union.all_parameters,
            "trunk_seconds": round(took, 1),
            "trunk_rows": slept.rows,
            "trunk_classes": slept.classes,
            "trunk_score": trunk.summary.validation,
            "moved": [one.model_dump(mode="json") for one in slept.tasks],
            "looks": witness.looks,
            "changed": witness.changed,
        }
        knowledge.close()
        return [*records, whole]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def target(place: Path, script: fonts.Script, plan: Plan) -> list[Record]:
    """A script that is new to the store: with it, and without it with up to ten times the examples."""
    records = []
    for each in plan.examples:
        found = learned(place, script, each=each, name=f"{script.name}-{each}", seconds=plan.target_seconds)
        records.append({**found, "part": "target"})
        say(records[-1])
    sizes = sorted({times * each for each in plan.examples for times in (1, 5, 10) if times * each <= fonts.TRAINING})
    for each in sizes:
        for method in COLD:
            if method == "trees" and each > MOST_TREES:
                continue
            records.append({**cold(script, each, method=method, seconds=plan.net_seconds), "part": "target"})
        best = max(records[-len(COLD) :], key=lambda one: one["accuracy"])
        print(f"{script.name:24} cold  {each:3} {best['accuracy']:.3f} {best['system']}", flush=True)
    return records


def say(record: Record) -> None:
    print(
        f"{record['script']:24} store {record['examples']:3} {record['accuracy']:.3f} {record['path'][:60]}, "
        f"{record['parameters_new']:,} new, {record['seconds']} s",
        flush=True,
    )


# Report --------------------------------------------------------------------------------------------------------------
def best_cold(records: Sequence[Record], script: str, each: int) -> float | None:
    """Of all cold methods with so many examples; None where that many were not drawn."""
    found = [r["accuracy"] for r in records if r["script"] == script and r["examples"] == each and r["system"] in COLD]
    return max(found) if found else None


def report(file: Path, records: Sequence[Record], *, plan: Plan, command: str) -> None:
    whole = next(record for record in records if record["part"] == "whole")
    targets = [record for record in records if record["part"] == "target"]
    names = sorted({record["script"] for record in targets})
    fresh = {r["script"]: r["parameters"] for r in targets if r["system"] == "net"}
    ours = {(r["script"], r["examples"]): r for r in targets if r["system"] == "store"}
    lines = [
        "# One growing model: scripts of fonts-noto-core",
        "",
        f"{len([r for r in records if r['part'] == 'source'])} scripts learned one after the other with {plan.each} examples per letter, a trunk of "
        f"{whole['trunk_classes']:,} letters from {whole['trunk_rows']:,} rows in {whole['trunk_seconds']:.0f} s, then {len(names)} new scripts. All test "
        "pictures are drawn with a font that no picture before was drawn with. Cold: the best of nearest neighbour, support vectors, boosted trees (up "
        f"to {MOST_TREES} examples) and a plain convolutional net, chosen by the test rows.",
        "",
        "## Median accuracy over the new scripts (worst)",
        "",
    ]
    rows = []
    for each in plan.examples:
        mine = [ours[name, each]["accuracy"] for name in names]
        row = [str(each), reporting.spread(mine, lower_is_better=False)]
        for times in (1, 5, 10):
            bar = [found for name in names if (found := best_cold(targets, name, times * each)) is not None]
            row.append(reporting.spread(bar, lower_is_better=False) if bar else "not drawn")
        rows.append(row)
    lines += reporting.table(
        ["examples per letter", "with the store", "cold, the same", "cold, 5 x", "cold, 10 x"], rows
    )
    lines += ["## Asked and got", ""]
    rows = []
    for each in ASKED:
        differences = {
            name: ours[name, each]["accuracy"] - bar
            for name in names
            if (bar := best_cold(targets, name, 10 * each)) is not None
        }
        worst = min(differences, key=lambda name: differences[name])
        middle = statistics.median(differences.values())
        rows.append(
            [
                f"with {each}: store minus cold with {10 * each}, median of scripts",
                "0 or more",
                f"{middle:+.3f}",
                _met(middle >= 0),
                f"{worst} {differences[worst]:+.3f}",
            ]
        )
    new = [ours[name, each]["parameters_new"] / fresh[name] for name in names for each in plan.examples]
    rows.append(
        [
            f"new parameters over those of a fresh net, median ({whole['tasks']} tasks)",
            "10 % or less",
            f"{statistics.median(new):.1%}",
            _met(statistics.median(new) <= 0.1),
            f"{max(new):.1%}",
        ]
    )
    active = [ours[name, each]["active"] for name in names for each in plan.examples]
    rows.append(
        [
            "active share of the whole model's parameters, median",
            "5 % or less",
            f"{statistics.median(active):.1%}",
            _met(statistics.median(active) <= 0.05),
            f"{max(active):.1%}",
        ]
    )
    rows.append(
        [
            f"earlier records asked again after each new task ({whole['looks']:,} looks): answers changed",
            "0",
            str(whole["changed"]),
            _met(whole["changed"] == 0),
            "",
        ]
    )
    lines += reporting.table(["what", "asked", "got", "", "worst"], rows)
    lines += ["## Every new script", ""]
    lines += reporting.table(
        ["script", "letters", *(f"store {each}" for each in plan.examples), *(f"cold {n}" for n in _sizes(targets))],
        [
            [
                name,
                str(ours[name, plan.examples[0]]["classes"]),
                *(f"{ours[name, each]['accuracy']:.3f}" for each in plan.examples),
                *(_shown(best_cold(targets, name, n)) for n in _sizes(targets)),
            ]
            for name in names
        ],
    )
    lines += ["## Who was the best cold method, and what it took", ""]
    rows = []
    for system in ("store", *COLD):
        own = [record for record in targets if record["system"] == system]
        led = sum(
            record["accuracy"] == best_cold(targets, record["script"], record["examples"])
            for record in own
            if system != "store"
        )
        seconds = [record["seconds"] for record in own]
        rows.append([system, str(led) if system != "store" else "", reporting.spread(seconds, lower_is_better=True)])
    lines += reporting.table(["system", "times best", "seconds, median (worst)"], rows)
    moved = [one for one in whole["moved"] if one["moved"]]
    changes = [one["after"] - one["before"] for one in whole["moved"] if one["before"] is not None]
    lines += [
        "## Moving onto the trunk",
        "",
        f"{len(moved)} of {len(whole['moved'])} tasks moved. Accuracy on rows that the trunk has not seen: median "
        f"{statistics.median(changes):+.3f}, worst {min(changes):+.3f} (a task that is worse stays where it was). Parameters of a task's path: "
        f"{statistics.median(one['parameters_before'] for one in moved):,.0f} before, "
        f"{statistics.median(one['parameters_after'] for one in moved):,.0f} after, most of them the trunk's, stored once."
        if moved
        else "No task moved.",
        "",
        "## How it was run",
        "",
        f"- Machine: {common.hardware()}",
        f"- {common.now()}, Polymath at {common.commit()}, seed {whole['seed']}",
        f"- Budgets: {plan.source_seconds:g} s a script, {plan.trunk_seconds:g} s for the trunk, {plan.target_seconds:g} s a new script, "
        f"{plan.net_seconds:g} s a fresh net; one core each, two for the trunk",
        f"- Command: `{command}`",
    ]
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[4:]))


def _sizes(targets: Sequence[Record]) -> list[int]:
    return sorted({record["examples"] for record in targets if record["system"] in COLD})


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _met(yes: bool) -> str:
    return "met" if yes else "**not met**"


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="6 + 3 scripts, seconds each: does it run?")
    made.add_argument("--seed", type=int, default=0, help="of the order of scripts")
    made.add_argument("--report", action="store_true", help="run nothing, write the report from the kept results")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE)
    given = made.parse_args()
    plan, stem = (QUICK, f"{NAME}-quick") if given.quick else (FULL, NAME)
    file = common.HERE / "results" / f"{stem}.jsonl"
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}  # of the two that learn side by side
    if not given.report:
        records = [{**record, "seed": given.seed} for record in run(plan, seed=given.seed, cache=given.cache)]
        file.unlink(missing_ok=True)
        for record in records:
            common.keep(file, record)
    words = "python benchmarks/growing.py" + (" --quick" if given.quick else "") + f" --seed {given.seed}"
    report(common.HERE / "reports" / f"{stem}.md", common.kept(file), plan=plan, command=words)


if __name__ == "__main__":
    main()
