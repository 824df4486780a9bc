"""Claim: a found update rule needs at most 0.95 of tuned AdamW's steps; 12,000 rules are tried in two hours on two cores.

    python benchmarks/optimizer_search.py [--quick] [--minutes 45] [--searches 2] [--generator evolution] [--folder DIR] [--no-speed]

An experiment is one rule on 3 small exercises with its own sweep of 11 learning rates x 3 seeds: 99 trainings, most of
them cut when they are dead or far behind. Searches by the generator and by random choice get the same minutes, each with
several seeds; the winner of each is chosen by exercises of the search alone, with seeds of their own. It is then judged
once, beside what people made, on exercises that share no data set with those of the search, and few kinds of net: for each
rule a coarse and a fine sweep of 11 learning rates, at five lengths of training, each to the end of its own decay.
Every search begins with the rules that people made; the report says whose the winner is, and judges the strongest of
what was published as well.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import common
import reporting

sys.path.insert(0, str(common.ROOT / "src"))

from polymath.engine import InLine, Processes
from polymath.inventing import Inventions, Order, judging
from polymath.inventing.bulk import RATES, SEEDS, train
from polymath.inventing.exercises import Exercise
from polymath.inventing.judging import Judged, judge
from polymath.inventing.optimizers import search_optimizer
from polymath.inventing.tasks import search_exercises
from polymath.search import Ledger
from polymath.search.choices import draw
from polymath.search.spaces.update_rules import KNOWN as POINTS
from polymath.search.spaces.update_rules import known, update_rule
from polymath.store import Store
from polymath.train.update import KNOWN, parse
from polymath.train.update.optimizer import ExpressionOptimizer

NAME = "optimizer_search"
WANTED, MUST_HOURS, AIM_HOURS = 12_000, 2.0, 1.0
MUST_TIMES, AIM_TIMES = 10.0, 30.0
MUST_STEPS, AIM_STEPS = 0.95, 0.90
MUST_WINS, AIM_WINS = 0.65, 0.75
PEOPLE = ("adamw", "momentum", "lion", "powersign", "addsign")
PUBLISHED = ("adam, second moment 0.95", "cautious adam", "nadam, second moment 0.95")
"""Points with which every search begins that may be better than all of `PEOPLE`; judged beside, but no part of what must
be beaten. They say what of a found rule is new."""
RESULTS = common.HERE / "results" / f"{NAME}.jsonl"


# Batched beside one by one ----------------------------------------------------------------------------------------
class Plain(nn.Module):
    """The net of one of the first three exercises as anybody would write it."""

    def __init__(self, exercise: Exercise) -> None:
        super().__init__()
        self.table = nn.Embedding(*exercise.shapes[0].sizes) if exercise.name.startswith("letters") else None
        sizes = [shape.sizes for shape in exercise.shapes[1 if self.table else 0 :] if len(shape.sizes) == 2]
        self.layers = nn.ModuleList(nn.Linear(*size) for size in sizes)
        self.scales = (3.0, 0.3) if exercise.name.startswith("shades") else (1.0,) * len(sizes)
        self.activation = nn.ReLU() if exercise.name.startswith("shades") else nn.Tanh()
        self.loss = nn.MSELoss() if exercise.name == "colours" else nn.CrossEntropyLoss()

    def forward(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        x, target = (batch[0][:, :-1], batch[0][:, -1]) if self.table is not None else batch
        x = self.table(x).flatten(1) if self.table is not None else x
        for place, (layer, scale) in enumerate(zip(self.layers, self.scales, strict=True)):
            x = layer(x) * scale if scale != 1 else layer(x)
            x = self.activation(x) if place + 1 < len(self.layers) else x
        found: torch.Tensor = self.loss(x, target)
        return found


def one_by_one(exercise: Exercise, rule: str, trainings: int) -> float:
    """Processor seconds of one training in eager PyTorch, one thread: the fastest of the optimizers at hand."""
    taken = []
    for make in (
        lambda net: ExpressionOptimizer(net.parameters(), rule, lr=1e-3, total_steps=exercise.steps),
        *([lambda net: torch.optim.AdamW(net.parameters(), fused=True)] if rule == "adamw" else []),
    ):
        begin = time.process_time()
        for seed in range(trainings):
            net = Plain(exercise)
            optimizer = make(net)
            for order in exercise.orders([seed], exercise.steps)[:, 0]:
                loss = net([rows[order] for rows in exercise.train])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        taken.append((time.process_time() - begin) / trainings)
    return min(taken)


def times_faster(quick: bool) -> list[dict[str, Any]]:
    """By rule: processor seconds of a sweep as one program, with and without cutting, and one by one."""
    found = []
    for rule in ("adamw", "powersign") if quick else ("adamw", "momentum", "lion", "powersign", "addsign_linear"):
        alone = cut = whole = 0.0
        for exercise in search_exercises()[:3]:
            for is_cut in (True, False):
                begin = time.process_time()
                train(exercise, KNOWN[rule], cut=is_cut)
                taken = time.process_time() - begin
                cut, whole = (cut + taken, whole) if is_cut else (cut, whole + taken)
            alone += one_by_one(exercise, rule, 2 if quick else 11) * len(RATES) * len(SEEDS)
        found.append({"rule": rule, "cut": cut, "whole": whole, "alone": alone})
    return found


# Searches ---------------------------------------------------------------------------------------------------------
def searched(
    store: Store, *, generator: str, seed: int, minutes: float | None, experiments: int | None
) -> tuple[Inventions, dict[str, float]]:
    """A search, by time or by experiments, and how many experiments it made in an hour."""
    name = f"{generator}-{seed}"
    before = sum(entry.rung == 0 for entry in Ledger(store, name).entries())  # of an earlier run that was killed
    begin = time.monotonic()
    order = Order(
        name=name,
        budget_seconds=None if minutes is None else 60 * minutes,
        experiments=experiments,
        generator=generator,
        seed=seed,
        lanes=common.cores(),
    )
    found = search_optimizer(store, order)
    hours = (time.monotonic() - begin) / 3600
    entries = list(Ledger(store, name).entries())
    first = [entry for entry in entries if entry.rung == 0]
    counts = {
        "experiments": len(first),
        "per_hour": (len(first) - before) / hours,
        "died": sum(not entry.ok for entry in first),
        "rungs": len(entries),
        "job_seconds": statistics.fmean(entry.seconds for entry in first) if first else math.nan,
        "busy": sum(entry.seconds for entry in entries) / (3600 * hours * common.cores()),
    }
    return found, counts


# The report -------------------------------------------------------------------------------------------------------
def speed_rows(speeds: Sequence[dict[str, Any]], counts: Sequence[dict[str, Any]]) -> list[list[str]]:
    hours = WANTED / statistics.fmean(one["per_hour"] for one in counts)
    if not speeds:
        return [_hours_row(hours)]
    times = math.exp(statistics.fmean(math.log(one["alone"] / one["whole"]) for one in speeds))
    with_cuts = math.exp(statistics.fmean(math.log(one["alone"] / one["cut"]) for one in speeds))
    return [
        _hours_row(hours),
        [
            "batched over one by one, all trained to their end",
            f"{times:.1f}x",
            f"{MUST_TIMES:g}x: {reporting.verdict(times >= MUST_TIMES)}",
            f"{AIM_TIMES:g}x: {reporting.verdict(times >= AIM_TIMES)}",
        ],
        ["... with dead learning rates taken out, as searches run", f"{with_cuts:.1f}x", "", ""],
    ]


def _hours_row(hours: float) -> list[str]:
    return [
        f"hours for {WANTED:,} experiments, {common.cores()} cores",
        f"{hours:.2f}",
        f"{MUST_HOURS:g}: {reporting.verdict(hours <= MUST_HOURS)}",
        f"{AIM_HOURS:g}: {reporting.verdict(hours <= AIM_HOURS)}",
    ]


def whose(number: int) -> str:
    """Who made an experiment of a search: people, whose rules come first, or the search."""
    return f"people: {list(POINTS)[number]}" if number < len(POINTS) else "the search"


def judged_rows(judged: Judged, winners: Sequence[str]) -> list[list[str]]:
    best_of_people = min(judged.mean_steps(rule) for rule in PEOPLE if rule != "adamw")
    rows = []
    for rule in (*winners, *(rule for rule in judged.curves if rule not in (*winners, "adamw"))):
        steps, wins, (low, high) = judged.mean_steps(rule), judged.wins(rule), judged.interval(rule)
        good = steps <= MUST_STEPS and wins >= MUST_WINS and steps < best_of_people
        worst = max(judged.exercises, key=lambda one: judged.steps(rule, one))
        rows.append(
            [
                rule,
                f"{steps:.3f} ({low:.3f} to {high:.3f})",
                f"{wins:.0%}",
                f"{worst} {judged.steps(rule, worst):.2f}",
                reporting.verdict(good) if rule in winners else "",
            ]
        )
    return rows


def exercise_rows(judged: Judged) -> list[list[str]]:
    return [[one, *(f"{judged.steps(rule, one):.2f}" for rule in judged.curves)] for one in judged.exercises]


def write(found: dict[str, Any], judged: Judged, *, chosen: argparse.Namespace) -> None:
    """Print the numbers and write the report."""
    ours = [one for one in found["searches"] if one["generator"] == chosen.generator]
    rows = speed_rows(found["speeds"], [one["counts"] for one in ours])
    winners = [one["name"] for one in found["searches"]]
    body = [
        "## Speed",
        "",
        *reporting.table(("what", "got", "must", "aim"), rows),
        "## Found rules beside what people made",
        "",
        f"Steps to what AdamW reaches at the end of its decay, over AdamW's steps; geometric mean over {len(judged.exercises)} "
        f"exercises (95 % interval over exercises). Must: {MUST_STEPS:g}, {MUST_WINS:.0%} wins, below all that people made; "
        f"aim {AIM_STEPS:g}, {AIM_WINS:.0%}. Ratios are cut at 0.5 and 2.",
        "",
        *reporting.table(("rule", "steps", "wins", "worst", "verdict"), judged_rows(judged, winners)),
        *reporting.table(
            ("search", "experiments", "per hour", "died", "score", "whose", "winner"),
            [
                [
                    one["name"],
                    f"{one['counts']['experiments']:,}",
                    f"{one['counts']['per_hour']:,.0f}",
                    f"{one['counts']['died']:,}",
                    f"{one['score']:.3f}",
                    one["whose"],
                    f"`{one['formula']}`",
                ]
                for one in found["searches"]
            ],
        ),
        "## By exercise",
        "",
        *reporting.table(("exercise", *judged.curves), exercise_rows(judged)),
    ]
    told = [
        f"{f'{chosen.minutes:g} minutes' if chosen.minutes else f'{chosen.experiments} experiments'} for each search, "
        f"{chosen.searches} searches by each generator",
        f"judging seeds: {chosen.judging_seeds}; lengths of the judging exercises times {chosen.length:g}",
    ]
    file = reporting.page(
        NAME,
        body,
        title="Search for update rules",
        about=(__doc__ or "").split("\n\n")[-1].strip(),
        told=told,
        quick=chosen.quick,
    )
    print("\n".join("  ".join(row) for row in [*rows, *judged_rows(judged, winners)]))
    print(f"report: {file}")


def run(chosen: argparse.Namespace, folder: Path) -> None:
    torch.set_num_threads(1)
    speeds = [] if chosen.no_speed else times_faster(chosen.quick)
    searches = []
    rules = {name: KNOWN[name] for name in PEOPLE}
    rules |= {} if chosen.quick else {name: draw(update_rule, known(name)).built for name in PUBLISHED}
    with Store.open(folder / "knowledge") as store:
        for seed in range(chosen.searches):
            for generator in dict.fromkeys((chosen.generator, "random")):
                found, counts = searched(
                    store, generator=generator, seed=seed, minutes=chosen.minutes, experiments=chosen.experiments
                )
                assert found.best is not None, "what people made is always tried"
                name = f"{generator} {seed}"
                rules[name] = parse(found.best.expression)
                searches.append(
                    {
                        "name": name,
                        "generator": generator,
                        "seed": seed,
                        "counts": counts,
                        "score": found.best.score,
                        "rung": found.best.rung,
                        "whose": whose(int(found.best.name.rsplit("/", 1)[1])),
                        "formula": found.best.formula,
                        "expression": found.best.expression,
                    }
                )
                print(json.dumps(searches[-1]), flush=True)
        lanes = common.cores()
        engine = Processes(judging.answered, lanes=lanes) if lanes > 1 else InLine(judging.answered)
        try:
            seeds = tuple(range(100, 100 + chosen.judging_seeds))
            judged = judge(rules, engine, store=store, seeds=seeds, length=chosen.length, only=chosen.only)
        finally:
            engine.close()
    result = {"speeds": speeds, "searches": searches, "curves": judged.curves, "at": common.now()}
    RESULTS.parent.mkdir(exist_ok=True)
    if not chosen.quick:
        with RESULTS.open("a") as file:
            file.write(json.dumps(result) + "\n")
    write(result, judged, chosen=chosen)


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="two minutes: does it run?")
    made.add_argument("--minutes", type=float, help="of each search (default 45; with --quick 40 experiments instead)")
    made.add_argument("--searches", type=int, help="seeds of each generator (default 2; with --quick 1)")
    made.add_argument("--generator", default="evolution")
    made.add_argument("--no-speed", action="store_true", help="leave out the trainings one by one")
    made.add_argument(
        "--folder", type=Path, help="where the store is kept, to go on after a kill (default: thrown away)"
    )
    chosen = made.parse_args()
    chosen.experiments = 40 if chosen.quick and chosen.minutes is None else None
    if chosen.minutes is None and not chosen.quick:
        chosen.minutes = 45.0
    chosen.searches = chosen.searches or (1 if chosen.quick else 2)
    chosen.judging_seeds, chosen.length = (1, 0.2) if chosen.quick else (5, 1.0)
    chosen.only = ("digits", "diabetes", "noisy-quadratic", "factors") if chosen.quick else ()
    if chosen.folder is not None:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        run(chosen, chosen.folder)
        return
    with tempfile.TemporaryDirectory(prefix=NAME) as folder:
        run(chosen, Path(folder))


if __name__ == "__main__":
    main()
