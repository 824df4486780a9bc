"""Claim: an update rule that a search found on small exercises is no worse than tuned AdamW at translation.

    python benchmarks/optimizer_translation.py [--quick] [--rules RULE ...] [--pairs 12000] [--epochs 6] [--seeds 2]

Multi30k, English to German, by the house's Transformer (width 128, two blocks each way). Every rule gets the same:
four trainings of a quarter of the length, each with another learning rate and a decay to its own end, then one of the full
length for each seed with the rate that came out best. Nothing else of the recipe differs; equal work is equal steps.
The number is the loss on the validation pairs, in nats per token; the test part is not touched. Rules: the best that
`optimizer_search.py` left in its store (chosen on the exercises of the search alone), or names of known rules.
Every finished training is kept: the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

import common
import data
import reporting

sys.path.insert(0, str(common.ROOT / "src"))

import pyarrow

from polymath.inventing.found import invented
from polymath.inventing.optimizers import RATE
from polymath.problem import Problem
from polymath.problem.dataset import Dataset
from polymath.problem.inference import infer
from polymath.problem.sources import read
from polymath.search.choices import answering, draw
from polymath.search.spaces import sentences
from polymath.search.spaces.update_rules import KNOWN as POINTS
from polymath.search.spaces.update_rules import known, update_rule
from polymath.store import Store
from polymath.train import rung
from polymath.train.job import Context, Job
from polymath.train.recipe import GradientRecipe
from polymath.train.update import Expression, parse
from polymath.train.update.formula import formula
from translation import SHARED, pairs

NAME = "optimizer_translation"
BASELINE, FOUND = "adamw", "found"
USUAL = 4e-3
"""First learning rate of AdamW; that of another rule is so many times this as the search saw."""
TRIALS, SHORT, FACTOR = 4, 0.25, 2.0
"""Learning rates that every rule is given, the length of their trainings, and how far apart neighbours are."""
NET = {"family": "transformer", "width": 128, "depth": 2}
Record = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """A rule: its name in the report, what the recipe takes, and where its learning rates begin."""

    name: str
    rule: Any
    formula: str
    rate: float = USUAL
    whose: str = ""


# Rules ------------------------------------------------------------------------------------------------------------
def contenders(names: Sequence[str], folder: Path) -> list[Contender]:
    """AdamW, and the rules that were asked for."""
    made = [Contender(BASELINE, BASELINE, "PyTorch's own, fused", whose="people")]
    for name in names:
        if name in POINTS:
            rule: Expression = draw(update_rule, known(name)).built
            made.append(Contender(name, rule, formula(rule), whose="people"))
        else:
            made.append(found(folder))
    return made


def found(folder: Path) -> Contender:
    """The best that searches left in a store: who came furthest, then by the score on the exercises of the search."""
    if not (folder / "knowledge").exists():
        remedy = f"python benchmarks/optimizer_search.py --folder {folder}"
        raise SystemExit(f"{folder} holds no search: {remedy}, or name a rule by --rules")
    with Store.open(folder / "knowledge", create=False, read_only=True) as store:
        best = invented(store)[0]
    number = int(best.name.rsplit("/", 1)[1].split("-")[0])
    maker = f"people ({list(POINTS)[number]})" if number < len(POINTS) else f"the search ({best.name})"
    return Contender(FOUND, parse(best.expression), best.formula, USUAL * best.facts[RATE], maker)


# Trainings --------------------------------------------------------------------------------------------------------
def dataset(folder: Path, *, count: int) -> Dataset:
    """The first so many training pairs, and all validation pairs."""
    given = pairs("multi30k", quick=False)
    sides = {given.source: given.read, given.target: given.written}
    columns = {name: side["train"][:count] + side["validation"] for name, side in sides.items()}
    rows = read(pyarrow.table(columns))
    inferred = infer(rows, target=[given.target])
    problem = Problem(name=given.name, inputs=inferred.inputs, outputs=inferred.outputs)
    folds = numpy.repeat([1, 0], [count, len(rows) - count])
    return Dataset.build(rows, problem, folds, folder / "datasets")


class Trainings:
    """Runs trainings, or takes them from the results of an earlier run."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self._data = dataset(folder, count=chosen.pairs)
        self._scratch = folder / "scratch"
        self._epochs = chosen.epochs
        self._file = common.HERE / "results" / f"{NAME}{'-quick' if chosen.quick else ''}.jsonl"
        self._kept = {one["job"]: one for one in common.kept(self._file)}
        design = draw(
            lambda choose: sentences.space(choose, self._data.problem, rows=chosen.pairs), answering(NET)
        ).built
        self._path, self._recipe = design

    @property
    def pairs(self) -> int:
        """Training pairs that can be used."""
        return len(self._data.training(0))

    def run(self, contender: Contender, *, rate: float, length: float, seed: int) -> Record:
        """One training of so many lengths, to the end of its own decay; a rule that diverges has an infinite loss."""
        recipe: GradientRecipe = self._recipe.replace(rule=contender.rule, learning_rate=rate)
        work = 3e-9 * self.pairs * self._path.work(self._data.problem.all_ports) * self._epochs * length
        job = Job(dataset=self._data.digest, path=self._path, recipe=recipe, folds=(0,), work=work, seed=seed)
        if job.digest in self._kept:
            return self._kept[job.digest]
        began = time.process_time()
        outcome = rung.run(job, Context(dataset_folder=str(self._data.folder), scratch=str(self._scratch)))
        done = {
            "job": job.digest,
            "rule": contender.name,
            "formula": contender.formula,
            "rate": rate,
            "length": length,
            "seed": seed,
            "loss": None if outcome.score is None else -outcome.score,
            "reason": outcome.reason,
            "parameters": outcome.parameters,
            "cpu_seconds": round(time.process_time() - began, 1),
            "at": common.now(),
            "commit": common.commit(),
        }
        common.keep(self._file, done)
        print({key: done[key] for key in ("rule", "rate", "length", "seed", "loss", "cpu_seconds")}, flush=True)
        return done


def next_rate(tried: dict[float, float]) -> float:
    """Beyond the best rate if it is at the edge of those tried, else between it and its better neighbour."""
    rates = sorted(tried)
    best = min(rates, key=lambda rate: tried[rate])
    if best == rates[-1]:
        return best * FACTOR
    if best == rates[0]:
        return best / FACTOR
    place = rates.index(best)
    neighbour = min(rates[place - 1], rates[place + 1], key=lambda rate: tried[rate])
    return math.sqrt(best * neighbour)


def tuned(contender: Contender, trainings: Trainings) -> dict[float, float]:
    """Loss of each learning rate that was tried, in short trainings of a seed of their own."""
    tried: dict[float, float] = {}
    rate = contender.rate
    for place in range(TRIALS):
        done = trainings.run(contender, rate=float(f"{rate:.4g}"), length=SHORT, seed=100)
        tried[done["rate"]] = math.inf if done["loss"] is None else done["loss"]
        rate = contender.rate * FACTOR if place == 0 else next_rate(tried)
    return tried


# Report -----------------------------------------------------------------------------------------------------------
def write(
    results: dict[str, tuple[Contender, dict[float, float], list[Record]]], *, chosen: argparse.Namespace, said: str
) -> None:
    """Print the table and write the report."""
    losses = {name: [_loss(one) for one in finals] for name, (_, _, finals) in results.items()}
    rows, tries = [], []
    for name, (contender, tried, finals) in results.items():
        apart = [one - other for one, other in zip(losses[name], losses[BASELINE], strict=True)]
        good = statistics.fmean(apart) <= 0
        rows.append(
            [
                name,
                f"{statistics.fmean(losses[name]):.4f}",
                "-" if name == BASELINE else f"{statistics.fmean(apart):+.4f}",
                "-" if name == BASELINE else f"{max(apart):+.4f}",
                f"{finals[0]['rate']:.3g}",
                f"{statistics.fmean(one['cpu_seconds'] for one in finals):.0f}",
                "-" if name == BASELINE else reporting.verdict(good),
            ]
        )
        told = ", ".join(f"{rate:.3g}: {loss:.4f}" for rate, loss in sorted(tried.items()))
        tries.append([name, f"`{contender.formula}`", contender.whose, told])
    header = ["rule", "validation loss", "over AdamW", "worst seed", "learning rate", "CPU-seconds", "must: not worse"]
    body = [
        "Nats per token on the validation pairs, mean over seeds; below is better.",
        "",
        *reporting.table(header, rows),
        "## Learning rates",
        "",
        *reporting.table(["rule", "formula", "whose", f"rate: loss after {SHORT:g} of the length"], tries),
    ]
    file = reporting.page(
        NAME,
        body,
        title="A found update rule at translation",
        about=(__doc__ or "").split("\n\n")[-1].strip(),
        told=[said, f"{TRIALS} learning rates for each rule, seed 100; then seeds 0 to {chosen.seeds - 1}"],
        quick=chosen.quick,
    )
    print("\n".join(body))
    print(f"report: {file}")


def _loss(record: Record) -> float:
    return math.inf if record["loss"] is None else float(record["loss"])


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="1,000 pairs, one epoch, one seed: does it run?")
    made.add_argument("--rules", nargs="+", choices=[FOUND, *POINTS], default=[FOUND], help="default: %(default)s")
    made.add_argument("--pairs", type=int, help="to learn from (default 12,000; with --quick 1,000)")
    made.add_argument("--epochs", type=float, help="of a full training (default 6; with --quick 1)")
    made.add_argument("--seeds", type=int, help="full trainings of each rule (default 2; with --quick 1)")
    made.add_argument("--folder", type=Path, help="of the search (default: runs/optimizer_search in the cache)")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="(default: %(default)s)")
    chosen = made.parse_args()
    chosen.pairs = chosen.pairs or (1_000 if chosen.quick else 12_000)
    chosen.epochs = chosen.epochs or (1.0 if chosen.quick else 6.0)
    chosen.seeds = chosen.seeds or (1 if chosen.quick else 2)
    if not (SHARED / "multi30k").exists():
        raise SystemExit(f"{SHARED} is not there: this benchmark needs Multi30k")
    runs = chosen.cache.expanduser().resolve() / "runs"
    trainings = Trainings(chosen, runs / NAME)
    results = {}
    for contender in contenders(chosen.rules, chosen.folder or runs / "optimizer_search"):
        tried = tuned(contender, trainings)
        rate = min(tried, key=lambda one: tried[one])
        finals = [trainings.run(contender, rate=rate, length=1.0, seed=seed) for seed in range(chosen.seeds)]
        results[contender.name] = contender, tried, finals
    said = f"{trainings.pairs:,} pairs, {chosen.epochs:g} epochs of a full training; {NET}"
    write(results, chosen=chosen, said=said)


if __name__ == "__main__":
    main()
