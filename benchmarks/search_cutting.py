"""Claim: cutting reaches a mean regret of 0.0027 for 0.35 of the compute (aim 0.25), and beats one-rung top-K at equal cost.

    python benchmarks/search_cutting.py [--quick]

A replay of LCDB: a learner is an experiment, training sizes are its rungs, the schedule's share is the share of the
largest size. Cost: training seconds of every size that was run, the final ones included, over the seconds of all learners at the
largest size; nothing is continued, each size is paid in full. Regret: test accuracy of the best learner at the largest
size minus that of the chosen one, which is the best by validation among those that got there. All learners begin with the
first rung, in the order of a seed; then the cutter decides. What the next rung costs is either known (as it is in a
search of ours, where work is planned) or guessed: proportional to the size.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas

import common
import data
import reporting
from polymath.search.cutters import Curve, Cutter, Halving, Median, Standing, TopK

LEAST_LEARNERS, LEAST_SIZE, SMALLEST = 12, 128, 16
MUST_REGRET, MUST_COST = 0.0027, 0.35


@dataclass(frozen=True)
class Replay:
    """One data set: learners x sizes; validation and test accuracy and seconds of one training."""

    sizes: np.ndarray
    learners: tuple[str, ...]
    valid: np.ndarray
    test: np.ndarray
    seconds: np.ndarray

    @property
    def total(self) -> float:
        return float(self.seconds[:, -1].sum())

    def rungs(self, shares: Sequence[float]) -> list[int]:
        """Columns whose sizes are nearest to these shares of the largest."""
        wanted = [max(share * self.sizes[-1], SMALLEST) for share in shares]
        return sorted({int(np.abs(np.log(self.sizes / size)).argmin()) for size in wanted})

    def regret(self, learner: int) -> float:
        return float(self.test[:, -1].max() - self.test[learner, -1])


@dataclass(frozen=True)
class Contender:
    """A rule on a ladder of shares, and what it knows."""

    name: str
    shares: tuple[float, ...]
    cutter: Callable[[int], Cutter] | None = None
    """Made for a number of learners; None: synchronous halving by heads, as in the field note."""
    eta: int = 3
    guessed: bool = False
    arriving: bool = False
    """The cutter is asked after each first rung already, as in an endless stream; else when all have begun."""
    experience: bool = False


def replays(cache: Path) -> list[Replay]:
    """Sets with enough learners at the largest size that enough of them reached."""
    table = pandas.read_parquet(data.replay("lcdb", cache=cache) / "curves.parquet")
    found = []
    for _, rows in table.groupby("set"):
        reached = rows.groupby("size").size()
        enough = reached.index[reached >= LEAST_LEARNERS]
        if not len(enough) or enough.max() < LEAST_SIZE:
            continue
        sizes = [size for size in reached.index if size <= enough.max()]
        part = {
            key: rows.pivot(index="learner", columns="size", values=key)[sizes] for key in ("valid", "test", "seconds")
        }
        kept = part["valid"].index[part["valid"][sizes[-1]].notna()]
        valid, test, seconds = (part[key].loc[kept].to_numpy(copy=True) for key in ("valid", "test", "seconds"))
        for column in range(len(sizes) - 2, -1, -1):  # a size that was not run: the time of the next, the worst score
            gaps = np.isnan(seconds[:, column])
            seconds[gaps, column] = seconds[gaps, column + 1]
        valid = np.where(np.isnan(valid), np.nanmin(valid, axis=0, keepdims=True), valid)
        found.append(Replay(np.array(sizes, float), tuple(kept), valid, test, np.maximum(seconds, 1e-6)))
    return found


def play(replay: Replay, contender: Contender, *, order: np.ndarray) -> tuple[float, float]:
    """(cost, regret) of one contender on one set."""
    if contender.cutter is None:
        return halved(replay, contender)
    columns = replay.rungs(contender.shares)
    seconds, valid = replay.seconds[:, columns], replay.valid[:, columns]
    shares = tuple(float(share) for share in replay.sizes[columns] / replay.sizes[-1])
    cutter, standings, cost = contender.cutter(len(order)), dict[int, Standing](), 0.0
    while True:
        new = len(standings) < len(order)
        chosen = None if new and not contender.arriving else cutter.promote([*standings.values()], work_left=math.inf)
        if chosen is None and not new:
            break
        number = len(standings) if chosen is None else chosen
        learner, rung = order[number], 0 if chosen is None else len(standings[number].scores)
        cost += seconds[learner, rung]
        ahead = seconds[learner, rung + 1 :]
        if contender.guessed:
            ahead = seconds[learner, rung] * np.array(shares[rung + 1 :]) / shares[rung]
        works = tuple(float(work) for work in np.cumsum(seconds[learner, : rung + 1]))
        standings[number] = Standing(
            number=number,
            works=works,
            scores=tuple(float(score) for score in valid[learner, : rung + 1]),
            next_work=float(ahead[0]) if len(ahead) else 0.0,
            full_work=works[-1] + float(ahead.sum()),
            shares=shares[: rung + 1],
        )
    # Where nobody got to the end, the best of those that got furthest is trained to the end, and paid for.
    best = max(standings.values(), key=lambda s: (len(s.scores), s.scores[-1], -s.number))
    if len(best.scores) < len(columns):
        cost += float(seconds[order[best.number], -1])
    return cost / replay.total, replay.regret(order[best.number])


def halved(replay: Replay, contender: Contender) -> tuple[float, float]:
    """Synchronous successive halving: the best 1/eta of each rung, rounded up, go on. `eta` 0: all at the last rung."""
    alive, cost = np.arange(len(replay.learners)), 0.0
    columns = replay.rungs(contender.shares)
    for place, column in enumerate(columns):
        cost += float(replay.seconds[alive, column].sum())
        order = alive[np.argsort(-replay.valid[alive, column], kind="stable")]
        alive = order if place == len(columns) - 1 else order[: math.ceil(len(order) / contender.eta)]
    return cost / replay.total, replay.regret(int(alive[0]))


def experienced(sets: Sequence[Replay], number: int, shares: Sequence[float]) -> Replay:
    """Early scores moved by how much more each learner rose to its end than the others did, on all other sets.

    Seven tenths of the mean of that, chosen on the development half. Only scores before the last rung change.
    """
    replay = sets[number]
    valid = replay.valid.copy()
    for share in shares[:-1]:
        rises: dict[str, list[float]] = {}
        for other, one in enumerate(sets):
            if other != number:
                (column,) = one.rungs([share])
                rise = one.valid[:, -1] - one.valid[:, column]
                for name, value in zip(one.learners, np.clip(rise - np.median(rise), -0.1, 0.1), strict=True):
                    rises.setdefault(name, []).append(float(value))
        (column,) = replay.rungs([share])
        if column < len(replay.sizes) - 1:
            valid[:, column] += [0.7 * statistics.fmean(rises.get(name, [0.0])) for name in replay.learners]
    return replace(replay, valid=valid)


NINTHS, TWELFTHS, SIXTH = (1 / 9, 1 / 3, 1.0), (1 / 12, 1 / 6, 1.0), (1 / 6, 1.0)


PRICES = (0.3, 0.6, 1.2)
"""Of `Curve`, for choosing on one half of the sets and judging on the other."""


def candidates() -> list[Contender]:
    """Ladders and prices among which one half of the sets chooses for the other."""
    return [
        Contender(f"curve at {price:g}, {name}", shares, lambda learners, price=price: Curve(price=price))  # type: ignore[misc]
        for name, shares in (("1/9 1/3 1", NINTHS), ("1/12 1/6 1", TWELFTHS), ("1/6 1", SIXTH))
        for price in PRICES
    ]


def crossed(tables: dict[str, np.ndarray]) -> list[str]:
    """The cheapest candidate that one half allows, judged on the other half, both ways."""
    lines, judged = [], []
    for half, name in ((0, "first"), (1, "second")):
        chosen = {rule: table[half::2].mean(axis=0) for rule, table in tables.items()}
        allowed = {rule: means for rule, means in chosen.items() if round(means[1], 4) <= MUST_REGRET} or chosen
        best = min(allowed, key=lambda rule: float(allowed[rule][0]))
        other = tables[best][1 - half :: 2]
        judged.append(other)
        lines.append(
            f"- {name} half chooses *{best}* (there {chosen[best][0]:.3f} / {chosen[best][1]:.4f}); "
            f"the other half: cost {other[:, 0].mean():.3f}, regret {other[:, 1].mean():.4f}"
        )
    both = np.concatenate(judged).mean(axis=0)
    met = "met" if both[0] <= MUST_COST and round(both[1], 4) <= MUST_REGRET else "NOT met"
    return [
        *lines,
        f"- both together, judged only where they were not chosen: cost {both[0]:.3f}, regret {both[1]:.4f}: {met}",
    ]


def contenders() -> list[Contender]:
    """The rules of the report. A one-rung top-K for several rungs and K, so that one is near each cost."""

    def best(count: int) -> Callable[[int], Cutter]:
        return lambda learners: TopK(wave=learners, best=count)

    def curve(**settings: float) -> Callable[[int], Cutter]:
        return lambda learners: Curve(**settings)  # type: ignore[arg-type]

    tops = [
        Contender(f"one rung at 1/{round(1 / share)}, top {count}", (share, 1.0), best(count))
        for share in (1 / 27, 1 / 9, 1 / 6, 1 / 3)
        for count in (1, 2, 3, 5)
    ]
    return [
        Contender("all full", (1.0,)),
        Contender("halving eta 3, rungs 1/9 1/3 1, synchronous", NINTHS),
        Contender("halving eta 3, rungs 1/27 1/9 1/3 1, synchronous", (1 / 27, *NINTHS)),
        Contender("halving eta 2, rungs 1/8 1/4 1/2 1, synchronous", (1 / 8, 1 / 4, 1 / 2, 1.0), eta=2),
        *tops,
        Contender("cutter halving, 1/9 1/3 1", NINTHS, lambda learners: Halving()),
        Contender("cutter median, 1/9 1/3 1", NINTHS, lambda learners: Median()),
        Contender("cutter curve, 1/9 1/3 1", NINTHS, curve()),
        Contender("cutter curve, 1/12 1/6 1", TWELFTHS, curve()),
        Contender("cutter curve, 1/6 1", SIXTH, curve()),
        Contender("cutter curve, 1/6 1, costs guessed", SIXTH, curve(), guessed=True),
        Contender("cutter curve, 1/9 1/3 1, learners arriving", NINTHS, curve(), arriving=True),
        Contender("cutter halving, 1/9 1/3 1, learners arriving", NINTHS, lambda learners: Halving(), arriving=True),
        Contender("cutter curve, 1/12 1/6 1, with experience", TWELFTHS, curve(), experience=True),
        Contender("cutter curve, 1/6 1, with experience", SIXTH, curve(), experience=True),
    ]


def race(sets: Sequence[Replay], contender: Contender, *, seeds: int) -> np.ndarray:
    """[sets, 2]: cost and regret, means over seeds. Only what arrives one by one depends much on the order."""
    rows = []
    for number, replay in enumerate(sets):
        seen = experienced(sets, number, contender.shares) if contender.experience else replay
        orders = [np.random.default_rng([seed, number]).permutation(len(replay.learners)) for seed in range(seeds)]
        rows.append(np.mean([play(seen, contender, order=order) for order in orders], axis=0))
    return np.array(rows)


def row(contender: Contender, table: np.ndarray) -> list[str]:
    halves = table[0::2], table[1::2]
    parts = [f"{part[:, 0].mean():.3f} / {part[:, 1].mean():.4f}" for part in halves]
    cost, regret = table[:, 0].mean(), table[:, 1].mean()
    met = "met" if cost <= MUST_COST and round(regret, 4) <= MUST_REGRET else ""
    return [contender.name, f"{cost:.3f}", f"{regret:.4f}", f"{np.quantile(table[:, 1], 0.9):.4f}", *parts, met]


def at_equal_cost(results: dict[str, np.ndarray], name: str) -> list[str]:
    """The best one-rung top-K that costs no more than this rule, chosen with hindsight, beside it."""
    mine = results[name]
    tops = {top: table for top, table in results.items() if top.startswith("one rung")}
    cheaper = {top: table for top, table in tops.items() if table[:, 0].mean() <= mine[:, 0].mean() + 0.005}
    if not cheaper:
        return [name, "none is so cheap", "-", "-", "-"]
    best = min(cheaper, key=lambda top: float(cheaper[top][:, 1].mean()))
    other = cheaper[best]
    difference = other[:, 1] - mine[:, 1]
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    costs = f"{mine[:, 0].mean():.3f} / {other[:, 0].mean():.3f}"
    regrets = f"{mine[:, 1].mean():.4f} / {other[:, 1].mean():.4f}"
    return [name, best, costs, regrets, f"{difference.mean():+.4f} +- {error:.4f}"]


def report(
    results: dict[str, np.ndarray], *, tables: dict[str, np.ndarray], sets: int, seeds: int, cache: Path
) -> None:
    """Write the report: asked beside got."""
    rules = contenders()
    ours = [rule.name for rule in rules if "cutter curve" in rule.name]
    entry: dict[str, Any] = data.recorded("lcdb", cache=cache)
    lines = [
        "# Cutting: LCDB replayed",
        "",
        *(__doc__ or "").split("\n\n", 2)[2].strip().splitlines(),
        "",
        f"Asked: mean regret <= {MUST_REGRET} at cost <= {MUST_COST} (aim 0.25), and less regret than one-rung top-K at equal cost.",
        "The constants of `Curve` were chosen on the first half of the sets (every second one); its price and ladder, and those with",
        "experience, with both halves in view. The fair figure is therefore this one: price and ladder chosen on one half, judged on the other.",
        "",
        *crossed(tables),
        "",
        *reporting.table(
            ["rule", "cost", "mean regret", "p90", "developed on: cost / regret", "other half", "asked"],
            [row(rule, results[rule.name]) for rule in rules] + [row(rule, tables[rule.name]) for rule in candidates()],
        ),
        "## Against the best one-rung top-K of no more cost (chosen with hindsight)",
        "",
        *reporting.table(
            ["rule", "one-rung top-K", "cost, ours / its", "regret, ours / its", "regret saved +- standard error"],
            [at_equal_cost(results, name) for name in ours],
        ),
        "## How it was run",
        "",
        f"- {sets} sets of at least {LEAST_LEARNERS} learners at a largest size of at least {LEAST_SIZE} rows; means over repeats",
        f"- Orders of learners: {seeds} seeds where they arrive, 3 elsewhere (there they only decide ties)",
        f"- Data: {entry['source']['name']} {entry['source']['version']}, sha256 {entry['source']['sha256'][:16]}",
        f"- {common.now()}, Polymath at {common.commit()}; {common.hardware()}",
        f"- Command: `{' '.join(['python', 'benchmarks/search_cutting.py', *sys.argv[1:]])}`",
    ]

    file = common.HERE / "reports" / f"search_cutting{'-quick' if '--quick' in sys.argv else ''}.md"
    file.write_text("\n".join(lines) + "\n")
    print(f"report: {file}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 sets, 2 orders: does it run?")
    parser.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="data (default: %(default)s)")
    options = parser.parse_args()
    sets = replays(options.cache)[: 20 if options.quick else None]
    seeds = 2 if options.quick else 20
    results = {}
    for rule in contenders():
        results[rule.name] = race(sets, rule, seeds=seeds if rule.arriving else min(seeds, 3))
        print(" | ".join(row(rule, results[rule.name])), flush=True)
    tables = {rule.name: race(sets, rule, seeds=1) for rule in candidates()}
    report(results, tables=tables, sets=len(sets), seeds=seeds, cache=options.cache)


if __name__ == "__main__":
    main()
