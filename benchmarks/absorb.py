"""Claim: features absorbed from rows without a target help a later task that has few examples of each class.

    python benchmarks/absorb.py --quick     one seed, 2 and 10 examples, minutes
    python benchmarks/absorb.py             three seeds, 1 to 20 examples, about half an hour

The unlabelled rows of a set are absorbed, then its classes are learned from k examples each, and other rows are asked.
Systems, all with the same rows: Polymath with what was absorbed; Polymath without, with the same budget; only nets of
Polymath, without; and two models of scikit-learn that take no time: logistic regression on what is given (pixels,
tf-idf of words, columns), for pictures also on answers of whitened patches of the labelled pictures. Accuracy is the
mean over classes. The best of the four is chosen by the test rows themselves: a bar a little too high.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import common
import data
import reporting

sys.path.insert(0, str(common.ROOT / "src"))

Record = dict[str, Any]

NAME = "absorb"
OURS, ALONE, NETS, RAW, PATCHES = "absorbed", "alone", "net alone", "raw, linear", "patches, linear"
COLD = (ALONE, NETS, RAW, PATCHES)
MOST_ASKED = 2_000


@dataclass(frozen=True)
class Plan:
    seeds: tuple[int, ...]
    examples: tuple[int, ...]
    unlabelled: int
    seconds: float


FULL, QUICK = Plan((0, 1, 2), (1, 2, 5, 10, 20), 20_000, 10.0), Plan((0,), (2, 10), 3_000, 6.0)


@dataclass(frozen=True)
class Rows:
    """One set: a column or columns to read, and the class."""

    values: dict[str, Any]
    labels: np.ndarray
    target: str
    form: str

    def table(self, rows: np.ndarray, *, labels: bool = True) -> pa.Table:
        found: dict[str, Any] = {}
        for name, values in self.values.items():
            if self.form == "pictures":
                found[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values[rows]))
            else:
                found[name] = [values[row] for row in rows]
        return pa.table({**found, **({self.target: self.labels[rows].tolist()} if labels else {})})


def fashion(cache: Path) -> Rows:
    from prepare import images

    _, parts = images.fashion_arrays(cache)
    shown, labels = parts["train"]
    return Rows({"picture": shown}, np.array(images.FASHION)[labels], "class", "pictures")


def listed(name: str, target: str, form: str) -> Callable[[Path], Rows]:
    def load(cache: Path) -> Rows:
        data.prepare(name, cache=cache)
        csv.field_size_limit(sys.maxsize)
        with (cache / "sets" / name / "data.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        values: dict[str, Any] = {}
        for column in (column for column in rows[0] if column != target):
            words = [row[column] or None for row in rows]
            try:
                values[column] = [None if word is None else float(word) for word in words]
            except ValueError:
                values[column] = words
        return Rows(values, np.array([row[target] for row in rows]), target, form)

    return load


SETS: dict[str, Callable[[Path], Rows]] = {
    "fashion": fashion,
    "sections": listed("sections", "label", "texts"),
    "tweets": listed("tweets", "label", "texts"),
    "leaf": listed("leaf", "species", "columns"),
    "cells": listed("cells", "class", "columns"),
}


@dataclass(frozen=True)
class Parts:
    asked: np.ndarray
    pool: np.ndarray
    unlabelled: np.ndarray

    @classmethod
    def of(cls, rows: Rows, plan: Plan, *, seed: int) -> Parts:
        """A quarter is asked, a quarter has labels, the rest has none."""
        order = np.random.default_rng(seed).permutation(len(rows.labels))
        quarter = len(order) // 4
        return cls(
            order[: min(quarter, MOST_ASKED)], order[quarter : 2 * quarter], order[2 * quarter :][: plan.unlabelled]
        )

    def few(self, rows: Rows, each: int) -> np.ndarray:
        labels = rows.labels[self.pool]
        return np.concatenate([self.pool[labels == label][:each] for label in np.unique(rows.labels)])


def accuracy(rows: Rows, asked: np.ndarray, answers: Sequence[str]) -> float:
    truth = rows.labels[asked]
    right = np.array(answers) == truth
    return float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))


# The systems ----------------------------------------------------------------------------------------------------------
def learned(
    place: Path, rows: Rows, few: np.ndarray, asked: np.ndarray, *, name: str, seconds: float, **more: Any
) -> Record:
    """Polymath on k examples."""
    from polymath import Polymath
    from polymath.problem import Split
    from polymath.spec import BadInput

    begin = time.monotonic()
    with Polymath(place / "store") as store:
        try:
            task = store.learn(
                rows.table(few),
                target=rows.target,
                name=name,
                budget=seconds,
                cache=str(place / "cache"),
                engine="inline",
                lanes=1,
                private=True,
                split=Split(test_fraction=0.0),
                **more,
            )
        except BadInput as error:
            return {"error": str(error)}
        answers = [str(one[rows.target]["value"]) for one in task.predict(rows.table(asked, labels=False))]
        record = task.record
    return {
        "accuracy": accuracy(rows, asked, answers),
        "seconds": time.monotonic() - begin,
        "built_on": list(record.built_on),
        "path": [str(member["label"]) for member in record.members],
    }


def linear(rows: Rows, few: np.ndarray, asked: np.ndarray) -> Record:
    """Logistic regression on what is given."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if rows.form == "texts":
        said = next(iter(rows.values.values()))
        words = TfidfVectorizer(sublinear_tf=True).fit([said[row] or "" for row in few])
        x, given = (words.transform([said[row] or "" for row in part]) for part in (few, asked))
        strength = 10.0
    else:
        whole = _numbers(rows)
        scaler = StandardScaler().fit(whole[few])
        x, given = (
            scaler.transform(whole[few]) / whole.shape[1] ** 0.5,
            scaler.transform(whole[asked]) / whole.shape[1] ** 0.5,
        )
        strength = 10.0
    model = LogisticRegression(C=strength, max_iter=500).fit(x, rows.labels[few])
    return {"accuracy": accuracy(rows, asked, model.predict(given))}


def _numbers(rows: Rows) -> np.ndarray:
    """Rows as numbers: pixels, or columns with categories one-hot and gaps at the mean."""
    if rows.form == "pictures":
        shown = next(iter(rows.values.values()))
        return shown.reshape(len(shown), -1).astype(np.float32)
    parts = []
    for values in rows.values.values():
        if any(isinstance(value, str) for value in values):
            kinds = sorted({value for value in values if value is not None})[:50]
            parts += [np.array([value == kind for value in values], dtype=np.float32) for kind in kinds]
        else:
            column = np.array([np.nan if value is None else value for value in values], dtype=np.float32)
            parts.append(np.nan_to_num(column, nan=float(np.nanmean(column))))
    return np.stack(parts, 1)


def patched(rows: Rows, few: np.ndarray, asked: np.ndarray, *, seed: int) -> Record:
    """Logistic regression on answers of whitened patches that were taken from the labelled pictures."""
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from polymath.model.layers.patches import Patches
    from polymath.model.probes.patches import NUM_PATCHES, draw_patches, whitened_filters
    from polymath.problem.form import pixels

    shown = next(iter(rows.values.values()))[:, None]
    random = np.random.default_rng(seed)
    bank: Any = Patches(filters=200, side=6).build(pixels(1, *shown.shape[2:]))
    filters, bias = whitened_filters(
        draw_patches(shown[few].astype(np.float32), 6, NUM_PATCHES, random), 200, random, clusters=False
    )
    with torch.no_grad():
        bank.filter.copy_(torch.from_numpy(filters).view_as(bank.filter))
        bank.bias.copy_(torch.from_numpy(bias))
        x, given = (
            torch.cat(
                [bank(torch.from_numpy(part)) for part in np.array_split(shown[part], len(part) // 256 + 1)]
            ).numpy()
            for part in (few, asked)
        )
    scaler = StandardScaler().fit(x)
    scale = x.shape[1] ** 0.5
    model = LogisticRegression(C=10.0, max_iter=500).fit(scaler.transform(x) / scale, rows.labels[few])
    return {"accuracy": accuracy(rows, asked, model.predict(scaler.transform(given) / scale))}


def run(name: str, plan: Plan, *, cache: Path, keep: Callable[[Record], None]) -> None:
    """All systems on one set."""
    from polymath.learning import Silent, Wishes
    from polymath.learning.absorb import absorb
    from polymath.store import Store

    rows = SETS[name](cache)
    for seed in plan.seeds:
        parts = Parts.of(rows, plan, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            begin = time.monotonic()
            with Store.open(place / "store") as store:
                wishes = Wishes(name=name, budget_seconds=600, cache=str(place / "cache"), seed=seed)
                found = absorb(
                    rows.table(parts.unlabelled, labels=False), store=store, wishes=wishes, listener=Silent()
                )
            took = time.monotonic() - begin
            keep({"set": name, "system": "absorb", "seed": seed, "examples": 0, "rows": found.rows, "seconds": took})
            for each in plan.examples:
                few, asked = parts.few(rows, each), parts.asked
                given = {"seconds": plan.seconds, "seed": seed}
                done = {
                    OURS: learned(place, rows, few, asked, name=f"with {each}", **given),
                    ALONE: learned(place, rows, few, asked, name=f"alone {each}", build_on=False, **given),
                    NETS: learned(
                        place, rows, few, asked, name=f"net {each}", build_on=False, space="families", **given
                    ),
                    RAW: linear(rows, few, asked),
                }
                if rows.form == "pictures":
                    done[PATCHES] = patched(rows, few, asked, seed=seed)
                for system, record in done.items():
                    keep({"set": name, "system": system, "seed": seed, "examples": each, **record})
                    print(name, seed, each, system, record.get("accuracy", record.get("error")), flush=True)


# The report -------------------------------------------------------------------------------------------------------------
def report(records: Sequence[Record], *, plan: Plan, quick: bool) -> Path:
    of: dict[tuple[str, str, int], dict[int, float]] = {}
    for one in records:
        if "accuracy" in one:
            of.setdefault((one["set"], one["system"], one["examples"]), {})[one["seed"]] = one["accuracy"]
    sets = [name for name in SETS if any(one["set"] == name for one in records)]
    claims, rows = [], []
    for name in sets:
        gains: list[float] = []
        for each in plan.examples:
            ours = of.get((name, OURS, each), {})
            cold = {system: of[name, system, each] for system in COLD if (name, system, each) in of}
            gains += [ours[seed] - max(found.get(seed, 0.0) for found in cold.values()) for seed in ours]
            shown = [
                f"{statistics.median(of[key].values()):.3f}" if (key := (name, s, each)) in of else "-"
                for s in (OURS, *COLD)
            ]
            rows.append([name, str(each), *shown])
        middle, worst = statistics.median(gains), min(gains)
        got = f"{middle:+.3f}, worst {worst:+.3f}"
        claims.append([name, "above the best without", got, reporting.verdict(middle > 0)])
    told = [
        f"{len(plan.seeds)} seed(s); {plan.seconds:g} s for each task, one lane; up to {plan.unlabelled:,} rows absorbed",
        *(
            f"Absorbing {one['set']}, seed {one['seed']}: {one['rows']:,} rows, {one['seconds']:.0f} s"
            for one in records
            if one["system"] == "absorb"
        ),
    ]
    body = [
        "Difference of accuracy to the best of the others, median over examples and seeds:",
        "",
        *reporting.table(["set", "asked", "got", ""], claims),
        "Accuracy, median over seeds:",
        "",
        *reporting.table(["set", "examples of each class", OURS, *COLD], rows),
    ]
    title = "Absorbed features and few examples"
    about = (__doc__ or "").split("\n\n")[2]
    return reporting.page(NAME, body, title=title, about=about, told=told, quick=quick)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, two numbers of examples")
    parser.add_argument("--only", nargs="+", choices=sorted(SETS), help="only these sets")
    parser.add_argument("--report", action="store_true", help="only the report, from the kept results")
    parser.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="real data (default: %(default)s)")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="The number of unique classes is greater")
    plan = QUICK if options.quick else FULL
    results = common.HERE / "results" / f"{NAME}{'-quick' if options.quick else ''}.jsonl"
    for name in () if options.report else options.only or SETS:
        kept = [one for one in common.kept(results) if one["set"] != name]
        results.unlink(missing_ok=True)
        for one in kept:
            common.keep(results, one)
        run(name, plan, cache=options.cache, keep=lambda record: common.keep(results, {"when": common.now(), **record}))
    print(report(common.kept(results), plan=plan, quick=options.quick).read_text())


if __name__ == "__main__":
    main()
