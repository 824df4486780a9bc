"""Does the search find better nets than a person designed? Real training on Fashion-MNIST, 10,000 rows, equal work for all.

    python benchmarks/search_images.py                                  1,000 experiments, 5 seeds: days, goes on where it was
    python benchmarks/search_images.py --experiments 60 --seeds 0 1     less of it
    python benchmarks/search_images.py --quick                          8x8 digits, 40 experiments, one seed: does it run?
    python benchmarks/search_images.py --report                         only the report, from the kept runs

Contenders, each by the whole of `polymath.learning.learn` under the virtual clock of the same work: the generator over all
paths (families that a person designed and free architectures), random over the same, and the generator over the designed
families alone. `defaults` is the designed net without any search. What a contender's search scored best on its validation
rows is then trained anew from fresh seeds on all training rows, with equal work for all, and judged once on the test rows,
which no search has seen. `--experiments` N sets the work: N times what one experiment of the default net takes on average
when the best third goes on twice.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common

sys.path.insert(0, str(common.ROOT / "src"))

import data
import reporting
from polymath import learning
from polymath.engine import Processes
from polymath.learning import compose
from polymath.problem import Dataset, Split
from polymath.search import Entry, Ledger, draw
from polymath.search.choices import first
from polymath.search.spaces import problems
from polymath.search.spaces.rows import problem_space
from polymath.store import Store
from polymath.train import Context, Job, Outcome
from polymath.train.rung import Runner, request

NAME = "search_images"
PER_EXPERIMENT = 1 / 9 + (1 / 3 - 1 / 9) / 3 + (1 - 1 / 3) / 9
"""Share of a full training that an experiment takes on average: three rungs, the best third of each goes on."""
CONTENDERS = {"search": "paths", "random": "paths", "families": "families", "defaults": ""}
"""Contender -> the space it searches; none for the net that is tried first."""
FRESH = 1_000
"""Seeds of the final trainings begin here, far from those of the searches."""


@dataclass(frozen=True)
class Options:
    quick: bool
    experiments: int
    epochs: int
    final_epochs: int
    final_seeds: int
    rows: int
    seeds: tuple[int, ...]
    only: tuple[str, ...]
    generator: str
    lanes: int
    cache: Path

    @property
    def stem(self) -> str:
        return f"{NAME}-quick" if self.quick else NAME

    @property
    def runs(self) -> Path:
        return self.cache / "runs" / f"{self.stem}-{self.rows}-{self.experiments}-{self.epochs}"


@dataclass(frozen=True)
class Ground:
    """The data of one seed: what is searched on, and the same training rows with the test rows to judge on."""

    train: Path
    test: Path
    searched: Dataset
    judged: Dataset

    def work(self, epochs: float) -> float:
        """Work units of so many epochs of the default net over the training rows of a search."""
        rows = int((self.searched.folds >= 0).sum())
        return 3e-9 * epochs * rows * problems.usual_work(self.searched.problem, rows)


def ground(seed: int, chosen: Options) -> Ground:
    """Folders of pictures: training rows drawn by the seed, and all test rows."""
    folder = chosen.runs / f"data-seed{seed}"
    train, test = folder / "train", folder / "test"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        (_digits if chosen.quick else _fashion)(folder, seed, chosen)
        (folder / "complete").touch()
    wishes = learning.Wishes(name="search", targets=("label",), split=Split(test_fraction=0), seed=seed)
    silent = learning.Silent()
    _, searched = compose.prepare(str(train), wishes, cache=chosen.runs / "cache", listener=silent)
    both = wishes.replace(validation=str(test))
    _, judged = compose.prepare(str(train), both, cache=chosen.runs / "cache", listener=silent)
    return Ground(train, test, searched, judged)


def _fashion(folder: Path, seed: int, chosen: Options) -> None:
    cut = data.split("fashion", seed=seed, cache=chosen.cache, train_rows=chosen.rows)
    shutil.copytree(cut.train, folder / "train", copy_function=os.link)
    shutil.copytree(cut.test, folder / "test", copy_function=os.link)
    listing = folder / "test" / "metadata.csv"
    names = listing.read_text().split("\n")[1:]
    lines = [f"{name.split(',')[0]},{label}" for name, label in zip(names, cut.truth["label"], strict=False)]
    listing.unlink()  # a hard link to the file of the cache
    listing.write_text("\n".join(["file_name,label", *lines]) + "\n")


def _digits(folder: Path, seed: int, chosen: Options) -> None:
    """Digits of 8x8 pixels (scikit-learn): small enough to try everything in a minute."""
    import numpy
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = numpy.random.default_rng(seed).permutation(len(digits.images))
    for part, rows in (("train", order[: chosen.rows]), ("test", order[-400:])):
        for row in rows:
            place = folder / part / f"digit-{digits.target[row]}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digits.images[row] * 15.9).astype("uint8")).save(place / f"{row}.png")


def best_of(entries: Sequence[Entry]) -> Entry:
    """The experiment that scored best at the end of its schedule; at its last rung where none came so far."""
    last = {entry.number: entry for entry in entries if entry.ok}.values()
    complete = [entry for entry in last if entry.request["rate"][1] == 0] or list(last)
    return max(complete, key=lambda entry: (entry.score or 0.0, -entry.number))


def searched(contender: str, seed: int, *, on: Ground, chosen: Options) -> dict[str, Any]:
    """What a contender found, and what that took."""
    if not CONTENDERS[contender]:
        path, recipe = draw(
            lambda choose: problem_space(choose, on.searched.problem, rows=int((on.searched.folds >= 0).sum())), first
        ).built
        spent = {"experiments": 0, "failed": 0, "work": 0.0, "validation": None, "by": "a person"}
        return {**spent, "path": path.model_dump(mode="json"), "recipe": recipe.model_dump(mode="json")}
    problems.EXAMPLES["map"] = (0.0, chosen.epochs, chosen.epochs)  # a full training, of any number of rows
    wishes = learning.Wishes(
        name="search",
        targets=("label",),
        split=Split(test_fraction=0),
        seed=seed,
        work=chosen.experiments * PER_EXPERIMENT * on.work(chosen.epochs),
        lanes=chosen.lanes,
        generator="random" if contender == "random" else chosen.generator,
        space=CONTENDERS[contender],
        cache=str(chosen.runs / "cache"),
    )
    with Store.open(chosen.runs / f"store-{contender}-{seed}") as store:
        learning.learn(str(on.train), store=store, wishes=wishes, listener=learning.Silent())
        entries = list(Ledger(store, "search").entries())
    won = best_of(entries)
    last = {entry.number: entry for entry in entries}
    return {
        "experiments": len(last),
        "failed": sum(not entry.ok for entry in last.values()),
        "work": sum(entry.work for entry in last.values()),
        "validation": won.score,
        "by": won.generator,
        "path": won.request["path"],
        "recipe": won.request["recipe"],
    }


def judged(found: dict[str, Any], seed: int, *, on: Ground, chosen: Options) -> list[float]:
    """Test accuracy of a design trained anew on all training rows, once for each fresh seed, with equal work for all."""
    context = Context(dataset_folder=str(on.judged.folder), scratch=str(chosen.runs / "scratch"))
    jobs = [
        Job(
            dataset=on.judged.digest,
            path=found["path"],
            recipe=found["recipe"],
            folds=(0,),  # the test rows: judged once, at the end
            work=on.work(chosen.final_epochs),
            rate=(1.0, 0.0),
            seed=FRESH * (seed + 1) + number,
        )
        for number in range(chosen.final_seeds)
    ]
    engine = Processes(Runner(), lanes=chosen.lanes)
    try:
        outcomes = [Outcome.from_json(f.result()) for f in [engine.submit(request(job, context)) for job in jobs]]
    finally:
        engine.close()
    return [outcome.scores["label"]["accuracy"] if outcome.ok else 0.0 for outcome in outcomes]


def measured(contender: str, seed: int, *, on: Ground, chosen: Options) -> dict[str, Any]:
    """One line of the results."""
    began = time.monotonic()
    found = searched(contender, seed, on=on, chosen=chosen)
    middle = time.monotonic()
    tests = judged(found, seed, on=on, chosen=chosen)
    kinds = [gene["layer"]["kind"] for gene in found["path"]["genes"]]
    return {
        "contender": contender,
        "seed": seed,
        **{word: found[word] for word in ("experiments", "failed", "work", "validation", "by")},
        "tests": tests,
        "net": " > ".join(kinds),
        "recipe": found["recipe"],
        "search_seconds": round(middle - began),
        "final_seconds": round(time.monotonic() - middle),
    }


def report(chosen: Options, records: Sequence[dict[str, Any]]) -> str:
    """The tables of the report."""
    of = {(record["contender"], record["seed"]): statistics.mean(record["tests"]) for record in records}
    seeds = sorted({record["seed"] for record in records})
    rows = [
        [
            record["contender"],
            str(record["seed"]),
            f"{100 * statistics.mean(record['tests']):.2f} %",
            "-" if record["validation"] is None else f"{100 * record['validation']:.2f} %",
            f"{record['experiments']} ({record['failed']})",
            f"{record['work']:,.0f}",
            f"{record['search_seconds'] / 3600:.2f} h",
            f"{record['by']}: {record['net']}",
        ]
        for record in sorted(records, key=lambda record: (record["seed"], -of[record["contender"], record["seed"]]))
    ]
    lines = [f"# Search over nets for pictures{' (quick: not a claim)' if chosen.quick else ''}", ""]
    for other, asked in (("families", "above it"), ("random", "above it in 4 of 5 seeds"), ("defaults", "-")):
        ahead = [100 * (of["search", s] - of[other, s]) for s in seeds if ("search", s) in of and (other, s) in of]
        if ahead:
            lines.append(
                f"- search against {other}: {statistics.mean(ahead):+.2f} points (worst seed {min(ahead):+.2f}), better in "
                f"{sum(a > 0 for a in ahead)} of {len(ahead)} seeds; asked: {asked}"
            )
    header = ("contender", "seed", "test", "validation", "experiments (failed)", "work", "search", "won by: net")
    about = " ".join((__doc__ or "").split("\n\n")[2].split())
    return "\n".join(
        [
            *lines,
            "",
            *reporting.table(header, rows),
            about,
            "",
            "## How it was run",
            "",
            f"- {'8x8 digits' if chosen.quick else 'Fashion-MNIST'}, {chosen.rows} training rows; a full training of a search is "
            f"{chosen.epochs} epochs of the default net, the final ones {chosen.final_epochs} (x {chosen.final_seeds} fresh seeds); "
            f"generator {chosen.generator}, {chosen.lanes} lanes",
            f"- Machine: {common.hardware()}; other load at the end: {os.getloadavg()[0]:.1f}",
            f"- Date: {common.now()}; Polymath at {common.commit()}",
            f"- Command: `{' '.join(['python', f'benchmarks/{NAME}.py', *sys.argv[1:]])}`",
            "",
        ]
    )


def options() -> tuple[Options, bool]:
    """The command line."""
    made = argparse.ArgumentParser(
        prog=f"benchmarks/{NAME}.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="8x8 digits, 40 experiments, one seed: does it run?")
    made.add_argument("--experiments", type=int, help="sets the work of each search (default 1000; quick 40)")
    made.add_argument("--epochs", type=int, help="of a full training in a search (default 6)")
    made.add_argument("--final-epochs", type=int, help="of the final trainings (default 30; quick 3)")
    made.add_argument("--final-seeds", type=int, help="fresh seeds of the final trainings (default 3; quick 2)")
    made.add_argument("--rows", type=int, help="training rows (default 10000; quick 1200)")
    made.add_argument("--seeds", nargs="+", type=int, help="of searches and rows (default 0 1 2 3 4; quick 0)")
    made.add_argument("--only", nargs="+", choices=list(CONTENDERS), help="only these contenders")
    made.add_argument("--generator", default="bandit", help="of `search` and `families` (default: %(default)s)")
    made.add_argument("--lanes", type=int, default=common.cores(), help="experiments side by side (default: cores)")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="data and runs (default: %(default)s)")
    made.add_argument("--report", action="store_true", help="run nothing, write the report from the kept runs")
    given = made.parse_args()
    quick = given.quick
    return Options(
        quick=quick,
        experiments=given.experiments or (40 if quick else 1_000),
        epochs=given.epochs or 6,
        final_epochs=given.final_epochs or (3 if quick else 30),
        final_seeds=given.final_seeds or (2 if quick else 3),
        rows=given.rows or (1_200 if quick else 10_000),
        seeds=tuple(given.seeds or ((0,) if quick else range(5))),
        only=tuple(given.only or CONTENDERS),
        generator=given.generator,
        lanes=given.lanes,
        cache=given.cache.expanduser().resolve(),
    ), given.report


def main() -> None:
    chosen, only_report = options()
    results = common.HERE / "results" / f"{chosen.stem}.jsonl"
    results.parent.mkdir(exist_ok=True)
    setting = {
        "runs": chosen.runs.name,
        "generator": chosen.generator,
        "final": [chosen.final_epochs, chosen.final_seeds],
    }
    kept = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    records = [record for record in kept if record["setting"] == setting]
    for seed in chosen.seeds if not only_report else ():
        on = None
        for contender in chosen.only:
            if any((record["contender"], record["seed"]) == (contender, seed) for record in records):
                continue
            on = on or ground(seed, chosen)
            record = {**measured(contender, seed, on=on, chosen=chosen), "setting": setting}
            records.append(record)
            with results.open("a") as stream:
                stream.write(json.dumps(record) + "\n")
            print(
                f"{contender:9} seed {seed}: test {statistics.mean(record['tests']):.4f}, {record['experiments']} experiments",
                flush=True,
            )
    file = common.HERE / "reports" / f"{chosen.stem}.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text(report(chosen, records))
    print(f"report: {file}")


if __name__ == "__main__":
    main()
