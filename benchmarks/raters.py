"""Claim: learning from every rater's label beats the majority vote by a point of clean accuracy, and is better calibrated.

    python benchmarks/raters.py               three seeds, 20 minutes for each system and seed
    python benchmarks/raters.py --budget 400 --seeds 0    a quarter of an hour
    python benchmarks/raters.py --quick       3,000 pictures, one seed, 90 seconds each: does it run?

CIFAR-10 with three human labels for each training picture (CIFAR-10N, Wei et al. 2022); each is wrong for about 17 of 100, and
all three agree on 60. Both systems are `polymath learn` with the same pictures, budget, cores and seed; one is given the
majority vote (drawn where all three differ), the other `--raters label=rater1,rater2,rater3`. Neither sees a clean label. The
10,000 test pictures have the clean label, and what about 51 people said of each (CIFAR-10H, Peterson et al. 2019): the
cross-entropy to these shares says how honest probabilities are about what people doubt.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import common
import data
import reporting

SHARED = common.ROOT.parent / "shared" / "data"
NAME = "raters"
ASKED, AIM = 0.01, 0.02
BUDGET = 1_200.0
RATERS = ("rater1", "rater2", "rater3")
SYSTEMS = ("vote", "raters")


def pictures(cache: Path) -> Path:
    """The pictures as files, unpacked once."""
    folder = cache / "cifar10_raters"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(SHARED / "cifar10.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        (folder / "complete").touch()
    return folder


def voted(frame: pd.DataFrame, *, seed: int) -> list[str]:
    """What most raters say; drawn where all differ."""
    random = np.random.default_rng(seed)
    labels = frame[list(RATERS)].to_numpy()
    first = random.integers(0, 3, len(labels))
    return [
        next((one for one in row if list(row).count(one) > 1), row[f]) for row, f in zip(labels, first, strict=True)
    ]


def command(*words: str) -> dict[str, Any]:
    """The JSON of one command of ours."""
    done = subprocess.run(
        [*common.polymath_command(), *words, "--json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=common.environment(),
    )
    return dict(json.loads(done.stdout))


def one(
    system: str, train: pd.DataFrame, test: pd.DataFrame, votes: np.ndarray, *, folder: Path, seed: int, budget: float
) -> dict[str, Any]:
    """One system learned and scored."""
    name, store = f"{system}-{seed}", ["--store", str(folder / f"store-{system}-{seed}")]
    rows = train[["file", *RATERS]] if system == "raters" else train[["file"]].assign(label=voted(train, seed=seed))
    rows.to_csv(folder / f"{name}.csv", index=False)
    how = ["--raters", f"label={','.join(RATERS)}"] if system == "raters" else ["--target", "label"]
    words = ["--type", "file=image", "--test-fraction", "0", "--seed", str(seed), "--budget", f"{budget:.0f}s"]
    told = command("learn", str(folder / f"{name}.csv"), "--name", name, *how, *words, *store)
    test[["file"]].to_csv(folder / f"{name}-test.csv", index=False)
    answers = command("predict", name, str(folder / f"{name}-test.csv"), *store)["predictions"]
    classes = list(test.columns[2:])
    chance = np.array([[answer["label"]["probabilities"][c] for c in classes] for answer in answers])
    said = np.array(classes)[chance.argmax(1)]
    shares = votes / votes.sum(1, keepdims=True)
    agreed = command("show", name, *store)["problem"]["outputs"][0].get("agreement", {})
    return {
        "seed": seed,
        "system": system,
        "accuracy": float((said == test.clean.to_numpy()).mean()),
        "votes_cross_entropy": float(-(shares * np.log(np.maximum(chance, 1e-6))).sum(1).mean()),
        "clean_log_loss": float(
            -np.log(np.maximum(chance[np.arange(len(test)), pd.Index(classes).get_indexer(test.clean)], 1e-6)).mean()
        ),
        "validation": told["validation"],
        "experiments": told["experiments"],
        "seconds": told["seconds"],
        "agreement": agreed,
    }


def newest(records: list[dict[str, Any]], *, budget: float) -> list[dict[str, Any]]:
    """The last of each system and seed with this budget, of seeds that both systems have; also of earlier calls."""
    last = {(r["seed"], r["system"]): r for r in records if r.get("budget") == budget}
    return [r for (seed, _), r in last.items() if all((seed, system) in last for system in SYSTEMS)]


def body(records: list[dict[str, Any]]) -> list[str]:
    """The tables of the report."""
    by = {(r["seed"], r["system"]): r for r in records}
    seeds = sorted({r["seed"] for r in records})
    ahead = [by[seed, "raters"]["accuracy"] - by[seed, "vote"]["accuracy"] for seed in seeds]
    closer = [by[seed, "vote"]["votes_cross_entropy"] - by[seed, "raters"]["votes_cross_entropy"] for seed in seeds]
    asked = [
        [
            "clean accuracy above the vote's",
            "1 point (aim 2)",
            f"{100 * statistics.median(ahead):+.2f} (worst {100 * min(ahead):+.2f})",
            reporting.verdict(statistics.median(ahead) >= ASKED),
        ],
        [
            "cross-entropy to 51 people, below the vote's by",
            "0",
            f"{statistics.median(closer):+.3f} (worst {min(closer):+.3f})",
            reporting.verdict(statistics.median(closer) > 0),
        ],
    ]
    rows = [
        [
            r["system"],
            str(r["seed"]),
            f"{100 * r['accuracy']:.2f} %",
            f"{r['votes_cross_entropy']:.4f}",
            f"{r['clean_log_loss']:.4f}",
            str(r["experiments"]),
            f"{r['seconds']:.0f}",
        ]
        for r in sorted(records, key=lambda r: (r["seed"], r["system"]))
    ]
    agreed = next((r["agreement"] for r in records if r["agreement"]), {})
    return [
        *reporting.table(["what", "asked", "got (median of seeds)", ""], asked),
        *reporting.table(
            [
                "system",
                "seed",
                "clean accuracy",
                "cross-entropy to 51 people",
                "log loss, clean",
                "experiments",
                "seconds",
            ],
            rows,
        ),
        "How far the raters of the training pictures agree, as `show` says it:",
        "",
        *reporting.table(["what", "value"], [[name, f"{value:.3f}"] for name, value in agreed.items()]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3,000 pictures, one seed, 90 seconds each: does it run?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", type=float, help=f"seconds for each system (default {BUDGET:.0f})")
    parser.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE)
    chosen = parser.parse_args()
    if not SHARED.exists():
        raise SystemExit(f"the pictures are not there: {SHARED}")
    folder = pictures(chosen.cache)
    train = pd.read_csv(SHARED / "cifar10_raters.csv")
    people = pd.read_csv(SHARED / "cifar10h.csv")
    test = people.assign(clean=people.file.str.split("/").str[1])
    test = test[["file", "clean", *people.columns[1:]]]
    if chosen.quick:
        train, test = train.sample(3_000, random_state=0), test.sample(1_000, random_state=0)
    train, test = (one.assign(file=[str(folder / file) for file in one.file]) for one in (train, test))
    votes = test[list(people.columns[1:])].to_numpy(dtype=np.float64)
    budget = chosen.budget or (90.0 if chosen.quick else BUDGET)
    kept = common.HERE / "results" / f"{NAME}{'-quick' if chosen.quick else ''}.jsonl"
    with tempfile.TemporaryDirectory(prefix="polymath-raters-") as place:
        for seed in chosen.seeds[: 1 if chosen.quick else None]:
            for system in SYSTEMS if seed % 2 == 0 else SYSTEMS[::-1]:
                record = one(system, train, test, votes, folder=Path(place), seed=seed, budget=budget)
                common.keep(kept, {"when": common.now(), "budget": budget, **record})
                print(json.dumps({k: v for k, v in record.items() if k != "agreement"}), file=sys.stderr, flush=True)
    about = (__doc__ or "").split("\n\n", 2)[2].replace("\n", " ").strip()
    file = reporting.page(
        NAME,
        body(newest(common.kept(kept), budget=budget)),
        title="Several raters",
        about=about,
        told=[f"{budget:.0f} s for each system and seed"],
        quick=chosen.quick,
    )
    print(file.read_text())


if __name__ == "__main__":
    main()
