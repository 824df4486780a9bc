"""Claim: a history of events is one more kind of column, and a task learned from it alone is near what experts' summaries give.

    python benchmarks/events.py               set a learned, set b answered, 5 minutes
    python benchmarks/events.py --quick       800 stays, one minute: does it run?

Stays in intensive care (PhysioNet 2012, 4,000 in each set, 440 events each): who dies in hospital? `polymath learn` is given a
Parquet file with two columns, the list of events as it stands and who died; nothing says what a code means. Beside it in the
same run: the severity score of physicians (SAPS), and boosted trees on what a person would compute first: first, last, least,
largest and mean value of each code, and how often it was measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score

import common
import reporting

DATA = common.ROOT.parent / "shared" / "data" / "icu"
NAME = "events"
BUDGET = 300.0
SYSTEMS = {
    "saps": "SAPS, by physicians",
    "summaries": "boosted trees on summaries",
    "polymath": "polymath, events alone",
}


def stays(name: str, *, most: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events of a set, by stay and time, and what became of each stay."""
    outcomes = pd.read_csv(DATA / f"outcomes_{name}.csv").head(most)
    events = pd.read_parquet(DATA / f"events_{name}.parquet")
    return events[events.subject_id.isin(outcomes.subject_id)], outcomes.set_index("subject_id")


def written(events: pd.DataFrame, outcomes: pd.DataFrame, file: Path) -> None:
    """A row for each stay: its list of events, and who died."""
    subject = events.subject_id.to_numpy()
    begins = np.flatnonzero(np.append(True, subject[1:] != subject[:-1]))
    columns = [events.time_hours.to_numpy(), events.code.tolist(), events.numeric_value.to_numpy()]
    parts = [pa.array(column, from_pandas=True) for column in columns]
    events_of = pa.StructArray.from_arrays(parts, names=["time", "code", "value"])
    history = pa.ListArray.from_arrays(pa.array(np.append(begins, len(events)), pa.int32()), events_of)
    died = outcomes.in_hospital_death.reindex(subject[begins]).map({0: "no", 1: "yes"})
    pq.write_table(pa.table({"stay": subject[begins], "history": history, "died": died.tolist()}), file)


def summaries(events: pd.DataFrame, outcomes: pd.DataFrame, columns: pd.Index | None = None) -> pd.DataFrame:
    """First, last, least, largest and mean value and number of events of each code, a row for each stay."""
    wide = events.groupby(["subject_id", "code"]).numeric_value.agg(["first", "last", "min", "max", "mean", "count"])
    table = wide.unstack("code").reindex(outcomes.index)
    table.columns = [" ".join(column) for column in table.columns]
    return table if columns is None else table.reindex(columns=columns)


def scores(truth: pd.Series, chance: np.ndarray, seconds: float) -> dict[str, float]:
    return {
        "auc": float(roc_auc_score(truth, chance)),
        "average_precision": float(average_precision_score(truth, chance)),
        "seconds": seconds,
    }


def learned(train: Path, test: Path, *, folder: Path, seed: int, budget: float) -> tuple[np.ndarray, dict[str, Any]]:
    """Chance of death of each stay of the test file, by the command line."""

    def command(*words: str) -> dict[str, Any]:
        whole = [*common.polymath_command(), *words, "--store", str(folder / "store"), "--json"]
        done = subprocess.run(whole, check=True, stdout=subprocess.PIPE, text=True, env=common.environment())
        return dict(json.loads(done.stdout))

    how = ["--target", "died", "--ignore", "stay", "--metric", "auc", "--test-fraction", "0", "--seed", str(seed)]
    told = command("learn", str(train), "--name", "stays", *how, "--budget", f"{budget:.0f}s")
    answers = command("predict", "stays", str(test))["predictions"]
    return np.array([answer["died"]["probabilities"]["yes"] for answer in answers]), told


def run(folder: Path, *, quick: bool, seed: int, budget: float) -> dict[str, Any]:
    """All systems, learned on set a and scored on set b."""
    sets = {name: stays(name, most=800 if quick else None) for name in "ab"}
    for name, (events, outcomes) in sets.items():
        written(events, outcomes, folder / f"{name}.parquet")
    truth = sets["b"][1].in_hospital_death
    began = time.monotonic()
    known = summaries(*sets["a"])
    trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.05, random_state=seed)
    trees.fit(known, sets["a"][1].in_hospital_death)
    chance = trees.predict_proba(summaries(*sets["b"], known.columns))[:, 1]
    found = {
        "saps": scores(truth, sets["b"][1].saps.fillna(sets["a"][1].saps.median()).to_numpy(), 0.0),
        "summaries": scores(truth, chance, time.monotonic() - began),
    }
    chance, told = learned(folder / "a.parquet", folder / "b.parquet", folder=folder, seed=seed, budget=budget)
    order = pq.read_table(folder / "b.parquet", columns=["stay"])["stay"].to_numpy()
    found["polymath"] = scores(truth.reindex(order), chance, told["seconds"])
    return {"systems": found, "experiments": told["experiments"]}


def body(found: dict[str, Any]) -> list[str]:
    """The tables of the report."""
    ours, best = (found["systems"][name]["auc"] for name in ("polymath", "summaries"))
    asked = [
        ["AUC above that of SAPS", "0", f"{ours - found['systems']['saps']['auc']:+.3f}"],
        ["AUC above that of trees on summaries", "-0.02", f"{ours - best:+.3f}"],
    ]
    verdicts = [ours > found["systems"]["saps"]["auc"], ours >= best - 0.02]
    rows = []
    for name, title in SYSTEMS.items():
        one = found["systems"][name]
        rows.append([title, f"{one['auc']:.3f}", f"{one['average_precision']:.3f}", f"{one['seconds']:.0f}"])
    return [
        *reporting.table(
            ["what", "asked", "got", ""],
            [[*row, reporting.verdict(right)] for row, right in zip(asked, verdicts, strict=True)],
        ),
        *reporting.table(["system", "AUC", "average precision", "seconds"], rows),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="800 stays, one minute: does it run?")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, help=f"seconds to learn (default {BUDGET:.0f})")
    chosen = parser.parse_args()
    if not DATA.exists():
        raise SystemExit(f"the stays are not there: {DATA}")
    budget = chosen.budget or (60.0 if chosen.quick else BUDGET)
    with tempfile.TemporaryDirectory(prefix="polymath-events-") as folder:
        found = run(Path(folder), quick=chosen.quick, seed=chosen.seed, budget=budget)
    stem = f"{NAME}-quick" if chosen.quick else NAME
    common.keep(common.HERE / "results" / f"{stem}.jsonl", {"seed": chosen.seed, "when": common.now(), **found})
    about = (__doc__ or "").split("\n\n", 2)[2].replace("\n", " ").strip()
    told = [f"Seed {chosen.seed}, {budget:.0f} s to learn, {found['experiments']} experiments"]
    file = reporting.page(NAME, body(found), title="Histories of events", about=about, told=told, quick=chosen.quick)
    print(file.read_text())


if __name__ == "__main__":
    main()
