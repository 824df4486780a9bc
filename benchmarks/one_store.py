"""Claim: every kind of task is learned into ONE store after the others, and none is worse for it than learned cold.

    python benchmarks/one_store.py            seven tasks twice, a quarter of an hour of one core
    python benchmarks/one_store.py --quick    a few hundred rows, minutes: does it run?
    python benchmarks/one_store.py --report   only the report, from the kept results

Pictures -> class, texts -> class, message -> reply, text -> text, picture -> map of pixels, then texts and pictures again: one after the
other into one store, and each into an empty store with the same rows, seed and work units. Work is counted, not seconds, so
that nothing but the store differs; the CPU-seconds of both are told. Each is scored on test rows that neither has seen. Asked:
nowhere more than 1 % relative worse, and weights of texts or pictures shared between tasks at least once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import common
import data
import reporting
from prepare import pixels

sys.path.insert(0, str(common.ROOT / "src"))

NAME = "one_store"
SHARED = common.ROOT.parent / "shared" / "data"
WORST = 0.01
"""Relative loss against learning cold that is asked for at most."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """What a task is learned from and judged by: files or tables that `learn` and `evaluate` take."""

    train: Any
    test: Any
    wishes: dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One task: its rows, the score that counts (greater is better), and its work units."""

    name: str
    metric: str
    work: float
    made: Callable[[Path, bool], Given]


def _classes(name: str, rows: int) -> Callable[[Path, bool], Given]:
    def made(cache: Path, quick: bool) -> Given:
        cut = data.split(name, seed=0, cache=cache, train_rows=min(rows, 300) if quick else rows)
        return Given(cut.train, _truth(cut, rows=200 if quick else 2_000), {"target": cut.targets[0]})

    return made


def _truth(cut: data.Split, *, rows: int) -> Any:
    """Test rows with their truth beside them, pictures in the column that folders give them."""
    import pandas as pd

    folder = cut.test if cut.test.is_dir() else None
    frame = pd.read_csv(cut.test / "metadata.csv" if folder else cut.test, keep_default_na=False)
    if folder:
        frame["image"] = [str(folder / one) for one in frame.pop("file_name")]
    return frame.assign(**cut.truth).sample(min(rows, len(frame)), random_state=0)


def _replies(cache: Path, quick: bool) -> Given:
    import pandas as pd

    parts = [
        pd.read_csv(SHARED / "dialogue" / f"{part}.tsv.gz", sep="\t", quoting=3, keep_default_na=False)[
            ["message", "reply"]
        ].head(rows)
        for part, rows in (("train", 1_000 if quick else 20_000), ("test", 300 if quick else 3_000))
    ]
    return Given(*parts, {"target": "reply", "types": {"message": "text", "reply": "reply"}})


def _translation(cache: Path, quick: bool) -> Given:
    import pandas as pd

    parts = [
        pd.read_csv(SHARED / "multi30k" / f"{part}.tsv.gz", sep="\t", quoting=3, keep_default_na=False)[
            ["en", "de"]
        ].head(rows)
        for part, rows in (("train", 500 if quick else 8_000), ("test2016", 50 if quick else 500))
    ]
    return Given(*parts, {"target": "de", "types": {"en": "text", "de": "text"}})


def _pixels(cache: Path, quick: bool) -> Given:
    folder, _ = pixels.prepare("camvid", cache=cache)
    train, test = (16, 4) if quick else (120, 40)
    some = pixels.some(folder, cache / "sets" / "pixels" / f"camvid-{train}-{test}", train=train, test=test)
    return Given(some, some / "test", {})


KINDS = (
    Kind("fashion", "accuracy", 1_000.0, _classes("fashion", 2_000)),
    Kind("spam", "accuracy", 300.0, _classes("spam", 1_000)),
    Kind("replies", "recall_1_of_100", 2_000.0, _replies),
    Kind("translation", "token_accuracy", 6_000.0, _translation),
    Kind("camvid", "mean_iou", 6_000.0, _pixels),
    Kind("sections", "accuracy", 300.0, _classes("sections", 1_000)),
    Kind("mnist10k", "accuracy", 300.0, _classes("mnist10k", 300)),
)
"""In the order in which the store learns them; the last two are small and may build on what stands there."""
QUICK_WORK = 0.02
"""Share of the work units of a quick run."""


def learned(kind: Kind, given: Given, *, place: Path, quick: bool, seed: int) -> Record:
    """One task learned into the store at `place`, scored on its test rows."""
    from polymath import Polymath

    work = kind.work * (QUICK_WORK if quick else 1)
    began = time.process_time()
    with Polymath(place / "store") as knowledge:
        task = knowledge.learn(
            given.train,
            name=kind.name,
            work=work,
            seed=seed,
            engine="inline",
            lanes=1,
            cache=str(place / "cache"),
            **given.wishes,
        )
        spent = time.process_time() - began
        scores = task.evaluate(given.test)["scores"]
        share = knowledge.union().share(kind.name)
    assert isinstance(scores, dict)
    return {
        "task": kind.name,
        "metric": kind.metric,
        "score": scores[kind.metric],
        "work": work,
        "seed": seed,
        "cpu_seconds": round(spent, 1),
        "parameters": share.parameters,
        "parameters_shared": share.parameters_shared,
        "builds_on": list(share.builds_on),
    }


def run(place: Path, *, kinds: Sequence[Kind], cache: Path, quick: bool, seed: int, file: Path) -> None:
    """All tasks, into one store and cold."""
    for kind in kinds:
        given = kind.made(cache, quick)
        for how, folder in (("one store", place / "one"), ("cold", place / kind.name)):
            record = {"how": how, **learned(kind, given, place=folder, quick=quick, seed=seed)}
            common.keep(file, {**record, "when": common.now(), "commit": common.commit()})
            print(
                f"{kind.name:12} {how:10} {kind.metric} {record['score']:.4f}  {record['cpu_seconds']:.0f} CPU-s",
                flush=True,
            )
        shutil.rmtree(place / kind.name)


def body(records: Sequence[Record]) -> list[str]:
    """The table, and what was asked."""
    by = {(one["task"], one["how"]): one for one in records}
    rows, worst = [], 0.0
    names = [kind.name for kind in KINDS if {(kind.name, "cold"), (kind.name, "one store")} <= by.keys()]
    for name in names:
        cold, warm = by[name, "cold"], by[name, "one store"]
        change = (warm["score"] - cold["score"]) / max(abs(cold["score"]), 1e-9)
        worst = min(worst, change)
        shared = f"{warm['parameters_shared'] / max(warm['parameters'], 1):.0%}"
        seconds = f"{cold['cpu_seconds']:.0f} / {warm['cpu_seconds']:.0f}"
        scores = [f"{one['score']:.4f}" for one in (cold, warm)]
        rows.append(
            [name, cold["metric"], *scores, f"{change:+.1%}", seconds, shared, ", ".join(warm["builds_on"]) or "-"]
        )
    header = (
        "task",
        "score",
        "cold",
        "one store",
        "change",
        "CPU-seconds, cold / store",
        "weights shared",
        "builds on",
    )
    built = [name for name in names if by[name, "one store"]["parameters_shared"]]
    return [
        *reporting.table(header, rows),
        "## Asked and got",
        "",
        f"- never more than 1 % relative worse than cold; worst of {len(names)} tasks (of {len(KINDS)}) {worst:+.1%}: "
        f"{reporting.verdict(worst >= -WORST)}",
        f"- weights of texts or pictures shared at least once; by {', '.join(built) or 'none'}: {reporting.verdict(bool(built))}",
        "",
    ]


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="few rows and little work: does it run?")
    made.add_argument("--only", nargs="+", choices=[kind.name for kind in KINDS], help="only these tasks")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--report", action="store_true", help="only the report, from the kept results")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="sets (default: %(default)s)")
    chosen = made.parse_args()
    file = common.HERE / "results" / f"{NAME}{'-quick' if chosen.quick else ''}.jsonl"
    kinds = [kind for kind in KINDS if kind.name in (chosen.only or [one.name for one in KINDS])]
    if not chosen.report:
        if not (SHARED / "multi30k").exists():
            raise SystemExit(f"{SHARED} is not there: this benchmark needs its dialogue, multi30k and camvid240")
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder), kinds=kinds, cache=chosen.cache, quick=chosen.quick, seed=chosen.seed, file=file)
    page = reporting.page(
        NAME,
        body(common.kept(file)),
        title="One store for every kind of task",
        about="Each kind learned after the others into one store, beside the same rows, seed and work in an empty store.",
        told=[f"Seed {chosen.seed}; one lane, one thread"],
        quick=chosen.quick,
    )
    print(f"report: {page}")


if __name__ == "__main__":
    main()
